"""The warden: what it starts inherits nothing; where it cannot fork, each task gets a Python of its own."""

import os

import pytest
import safetensors.torch
import torch

from advlib.tournament.warden import Warden, _understood
from tests.tournament.conftest import Table
from tests.tournament.test_hostile import ATTACK


def test_a_submission_sees_none_of_the_organisers_settings(table):
    """pytest sets one, which says what test runs."""
    assert "PYTEST_CURRENT_TEST" in os.environ
    match = table.attack(ATTACK + "import os\n    raise ValueError(sorted(os.environ))")
    assert "OMP_NUM_THREADS" in match.reason and "PYTEST" not in match.reason and "ADVLIB" not in match.reason


def test_a_warden_that_is_taken_down_is_replaced(table, warden):
    assert table.attack(ATTACK + "return x").outcome == ""
    warden._process.kill()
    assert table.attack(ATTACK + "return x + 0").outcome == ""


def test_a_task_that_takes_down_every_warden_has_crashed(table, monkeypatch):
    assert all(table.organiser.clean(table.linear).right)
    monkeypatch.setattr("advlib.tournament.warden.START", "print('ready')  # {path} {function}")
    with Warden() as falls:
        table.organiser.warden = falls
        assert table.attack(ATTACK + "return x").outcome == "crashed"


def test_a_warden_that_cannot_start_is_an_error_and_no_score(table, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.START", "raise SystemExit('no torch here')  # {path} {function}")
    with Warden() as broken:
        table.organiser.warden = broken
        with pytest.raises(RuntimeError, match="could not start: no torch here"):
            table.attack(ATTACK + "return x")


LINES = {
    "nested": b"[" * 100_000,
    "no dictionary": b"[1]",
    "no text": b"\xff",
    "infinite": b'{"outcome": "", "reason": "", "passes": 1e999}',
    "without passes": b'{"outcome": ""}',
    "half a letter": b'{"outcome": "crashed", "reason": "\\ud800"}',
}
TENSORS = safetensors.torch.save({"x_adv": torch.zeros(1, dtype=torch.complex64)})


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("rest", [b"", TENSORS, TENSORS[:-1], b"\xff" * 99])
def test_a_forged_answer_is_an_answer_like_any_other(line, rest):
    job, head = {"most": 2**20, "seconds": 1}, {"end": "exit", "status": 0, "seconds": 0.1}
    answer = _understood(job, head, line + b"\n" + rest)
    assert answer.reason.encode() or answer.passes == 0


@pytest.mark.thorough
def test_without_fork_matches_are_the_same_and_what_hangs_is_stopped(tmp_path, weights, table, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.wall", lambda seconds: 2.0)
    works = ATTACK + "from advlib.attacks import fgsm\n    return fgsm(model, x, y, within)"
    with Warden(fork=False) as warden:
        fresh = Table(tmp_path, warden, weights)
        fresh.organiser.known["linear"] = table.organiser.clean(table.linear)  # a Python less to start
        one, other = fresh.attack(works), table.attack(works)
        assert (one.outcome, one.right, one.passes) == ("", other.right, other.passes)
        monkeypatch.setattr("advlib.tournament.warden.STARTING", 10)
        assert fresh.attack(ATTACK + "import time\n    time.sleep(99)").outcome == "hung"
