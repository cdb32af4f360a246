"""The warden: what it starts inherits nothing and outlives nobody; where it cannot fork, each task gets a Python."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from advlib.tournament.warden import Warden
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
    monkeypatch.setattr("advlib.tournament.warden.START", "raise SystemExit  # {path} {function}")
    with Warden() as broken:
        table.organiser.warden = broken
        with pytest.raises(RuntimeError, match="could not start"):
            table.attack(ATTACK + "return x")


ORGANISER = """
import sys
from pathlib import Path
from tests.tournament.conftest import Table
from advlib.tournament.warden import Warden
with Warden() as warden:
    table = Table(Path(sys.argv[1]), warden, Path(sys.argv[2]))
    table.attack("def attack(model, x, y, within): return x")
    print(warden._process.pid, flush=True)
    table.attack("import time\\ndef attack(model, x, y, within): time.sleep(99)")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_when_the_organiser_is_killed_nothing_stays_behind(tmp_path, weights):
    command = [sys.executable, "-c", ORGANISER, tmp_path, weights]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as organiser:
        warden = int(organiser.stdout.readline())
        assert _until(lambda: _children(warden))  # the attack sleeps
        children = _children(warden)
        organiser.send_signal(signal.SIGKILL)
    assert _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (warden, *children)))


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _until(true, seconds=20) -> bool:
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        time.sleep(0.05)
    return bool(true())


FLOOD = """import os
    for n in range(3, 20):
        try:
            while True: os.write(n, b'0' * 2**20)
        except OSError: pass
"""


@pytest.mark.slow
def test_without_fork_matches_are_the_same(tmp_path, weights, table, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.wall", lambda seconds: 2.0)
    works = ATTACK + "from advlib.attacks import fgsm\n    return fgsm(model, x, y, within)"
    with Warden(fork=False) as warden:
        fresh = Table(tmp_path, warden, weights)
        fresh.organiser.known["linear"] = table.organiser.clean(table.linear)  # a Python less to start
        one, other = fresh.attack(works), table.attack(works)
        assert (one.outcome, one.right, one.passes) == ("", other.right, other.passes)
        assert fresh.attack(ATTACK + FLOOD).outcome == "output"
        monkeypatch.setattr("advlib.tournament.warden.STARTING", 10)
        assert fresh.attack(ATTACK + "import time\n    time.sleep(99)").outcome == "hung"
