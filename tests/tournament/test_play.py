"""A whole tournament: what is handed in is played, scored, kept, and played again only where something changed."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from advlib import load_model, tournament
from advlib.norms import Linf
from advlib.tournament import cell
from tests.conftest import DATA

pytestmark = pytest.mark.slow


def my_fgsm(model, x, y, within):
    x = x.requires_grad_()
    gradient = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), x)[0]
    return (x + within.eps * gradient.sign()).clamp(0, 1).detach()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, one_warden):
    folder = tmp_path_factory.mktemp("class")
    tournament.submit_attack(folder, "ada", my_fgsm)
    tournament.submit_model(folder, "bob", load_model("signs-patches"), "signs-patches")
    tournament.submit_model(folder, "cyd", load_model("signs-linear"), "signs-linear")
    return folder


SETTINGS = dict(images=5, within=Linf(10 / 255), seed=1, seconds=20, progress=False)


@pytest.fixture(scope="module")
def result(folder):
    return tournament.play(folder, **SETTINGS)


def test_all_meet_all_and_the_house_plays(result):
    pairs = {(match.defense, match.attack) for match in result.matches}
    assert len(pairs) == len(result.matches) == 3 * 4
    assert {one.team for one in result.scores if one.house} == {"signs-cnn", "signs-robust", *cell.HOUSE_ATTACKS}


def test_who_reads_too_few_clean_images_scores_zero_and_is_not_attacked(result):
    cyd = result.of("cyd")
    assert (cyd.score, cyd.matches) == (0, 0) and 0 < cyd.clean < 0.8
    assert cyd.notes == (f"it reads {cyd.clean:.0%} of the clean signs; at least 80% are asked for",)


def test_an_attack_that_does_what_fgsm_does_takes_its_two_passes(result):
    assert result.of("ada", "attack").passes_per_image == 2
    assert 2 <= result.of("fgsm", "attack").passes_per_image < 2.5  # it first sees whether there is a gradient
    assert result.of("worst_case", "attack").score >= result.of("pgd", "attack").score > 0


def test_a_defence_scores_what_stands_after_every_attack(result):
    for one in (score for score in result.scores if score.side == "defense" and score.matches):
        met = [match for match in result.matches if match.defense == one.team]
        stands = sum(all(match.right[i] for match in met) for i in range(5))
        assert one.score == stands / 5 <= one.clean and one.low <= one.score <= one.high
    assert result.of("signs-robust").place == 1


def test_what_was_played_is_read(folder, result, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.Warden.ask", lambda *_: pytest.fail("played again"))
    assert tournament.play(folder, **SETTINGS) == result


def without_cost(one):
    """Equal ones may change places: the cheaper comes first."""
    return sorted((s.side, s.team, s.score, s.clean or 0, s.passes_per_image or 0) for s in one.scores)


def test_the_same_seed_gives_the_same_scores(folder, result, tmp_path):
    for match in (folder / "results" / "matches").iterdir():
        kept = json.loads(match.read_text())
        if kept["defense"] == "bob":
            match.unlink()
    again = tournament.play(folder, **SETTINGS)
    assert without_cost(again) == without_cost(result)


def test_the_files(folder, result):
    assert (folder / "results" / "scores.csv").read_text().splitlines()[0].startswith("place,side,team")
    assert "ada" in (folder / "results" / "index.html").read_text()
    assert not list((folder / "results").rglob(".writing*"))


def test_real_photos_are_scored_apart(tmp_path, one_warden, weights):
    if not (DATA / "gtsrb_sample").is_dir():
        pytest.skip("no gtsrb_sample in ADVLIB_DATA")
    result = tournament.play(tmp_path, **{**SETTINGS, "images": 2, "within": Linf(40 / 255)}, photos=3)
    robust = result.of("signs-robust")
    assert robust.photos * 3 in (0, 1, 2, 3) and 0 <= robust.clean_photos <= 1
    assert all(len(match.right) == 5 for match in result.matches)
    assert "On photos" in (tmp_path / "results" / "index.html").read_text()


PLAY = """
import sys
from advlib import tournament
from advlib.norms import Linf
tournament.play(sys.argv[1], images=5, within=Linf(10 / 255), seed=1, seconds=20, progress=False)
"""


@pytest.mark.thorough
def test_killed_in_the_middle_it_leaves_nothing_behind_and_goes_on_where_it_was(folder, result, tmp_path):
    """The matches that are there when it is killed are not played again, and the scores are the same."""
    for side in ("defenses", "attacks"):
        shutil.copytree(folder / side, tmp_path / side)
    matches = tmp_path / "results" / "matches"
    with subprocess.Popen([sys.executable, "-c", PLAY, tmp_path], cwd=Path(__file__).parents[2]) as player:
        while player.poll() is None and len(list(matches.glob("*.json"))) < 6:
            time.sleep(0.02)
        started = [*(wardens := _children(player.pid)), *(pid for one in wardens for pid in _children(one))]
        player.kill()
    kept = {path: path.stat().st_mtime_ns for path in matches.glob("*.json")}
    assert 6 <= len(kept) < 16
    again = tournament.play(tmp_path, **SETTINGS)
    assert without_cost(again) == without_cost(result)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert len(list(matches.glob("*.json"))) == 16
    assert (wardens or sys.platform != "linux") and not any(Path(f"/proc/{pid}").exists() for pid in started)


def _children(pid: int) -> list[int]:
    """Of a process, on Linux; one that has ended has none."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
