"""A whole tournament: what is handed in is played, scored, kept, and played again only where something changed."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from tqdm import tqdm

from advlib import load_images, load_model, tournament
from advlib.norms import Linf
from advlib.tournament import Match, Result, cell, playing, scores
from advlib.tournament.entries import Entry
from advlib.tournament.matches import Rules
from tests.conftest import DATA


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


SETTINGS = dict(images=8, within=Linf(2 / 255), seed=3, seconds=20, progress=False)


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
    assert result.of("ada", "attack").passes_per_image == result.of("fgsm", "attack").passes_per_image == 2
    assert result.of("worst_case", "attack").place == 1


def test_a_defence_scores_what_stands_after_every_attack(result):
    for one in (score for score in result.scores if score.side == "defense" and score.matches):
        met = [match for match in result.matches if match.defense == one.team]
        stands = sum(all(match.right[i] for match in met) for i in range(8))
        assert one.score == stands / 8 <= one.clean and one.low <= one.score <= one.high
    assert result.of("signs-robust").place == 1


def test_what_was_played_is_read(folder, result, monkeypatch):
    monkeypatch.setattr("advlib.tournament.warden.Warden.ask", lambda *_: pytest.fail("played again"))
    assert tournament.play(folder, **SETTINGS) == result


def without_cost(one):
    return [(s.side, s.team, s.score, s.clean, s.passes_per_image) for s in one.scores]


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


# ------------------------------------------------------------------------------------- without playing any match
class Scripted:
    """Stands in for the organiser: a defence of strength d falls to an attack of strength a on a − d of ten images."""

    rules = Rules(10, 0, "L∞ ≤ 8/255", 0, 1, None, 500)

    def __init__(self):
        self.played = []

    def play(self, defense, attack):
        self.played.append((defense.team, attack.team))
        fallen = max(0, min(10, _strength(attack) - _strength(defense)))
        return Match(defense.team, attack.team, (False,) * fallen + (True,) * (10 - fallen), 1.0, 10, 10)


def _strength(entry: Entry) -> int:
    return {"house": 5}.get(entry.team, 0) if entry.house else int(entry.team[1:]) % 10


def scripted(rounds: int | None, teams: int):
    organiser = Scripted()
    defenses, attacks = (
        [Entry(side, "house", house=True), *(Entry(side, f"{side[0]}{n}") for n in range(teams))]
        for side in ("defense", "attack")
    )
    clean = {one.team: Match(one.team, "", (True,) * 10, 1.0, 1) for one in defenses}
    matches = playing._matches(organiser, defenses, attacks, clean, rounds, tqdm(disable=True))
    assert organiser.played == [(one.defense, one.attack) for one in matches]
    scores = playing._ranked(playing._scores(defenses, attacks, clean, matches, 10))
    return matches, scores


def test_in_rounds_two_hundred_meet_the_house_and_their_like():
    matches, scores = scripted(rounds=4, teams=100)
    assert len({(one.defense, one.attack) for one in matches}) == len(matches) == (101 + 100) + 4 * 100
    met = Counter(one.defense for one in matches)
    assert all(met[f"d{n}"] == 1 + 4 for n in range(100))
    best = [one.team for one in scores if one.side == "defense" and one.place <= 10]
    assert {int(team[1:]) % 10 for team in best} <= {8, 9}


def test_rounds_without_end_are_all_against_all():
    every, in_rounds = scripted(None, 6), scripted(20, 6)
    assert {(m.defense, m.attack) for m in every[0]} == {(m.defense, m.attack) for m in in_rounds[0]}
    assert every[1] == in_rounds[1]


def test_the_cheaper_of_two_equal_ones_comes_first():
    defenses = [Entry("defense", team) for team in ("slow", "fast")]
    attacks = [Entry("attack", team) for team in ("dear", "cheap")]
    clean = {one.team: Match(one.team, "", (True,) * 10, 0.2 if one.team == "slow" else 0.1, 1) for one in defenses}
    met = [
        Match(one.team, other.team, (False,) * 10, 1.0, 50 if other.team == "dear" else 20, 10)
        for one in defenses
        for other in attacks
    ]
    ranked = playing._ranked(playing._scores(defenses, attacks, clean, met, 10))
    assert [one.team for one in ranked] == ["fast", "slow", "cheap", "dear"]


def test_the_images_are_none_that_a_class_has_seen():
    rules = Scripted.rules
    drawn = playing._images(rules).x
    seen = torch.cat([load_images("signs", "test", n=10, seed=seed).x for seed in range(5)])
    assert (drawn[:, None] - seen[None]).abs().amax((2, 3, 4)).min() > 0.1
    assert torch.equal(drawn, playing._images(rules).x)
    assert not torch.equal(drawn, playing._images(replace(rules, seed=1)).x)


def test_a_formula_in_a_name_is_none_in_a_spreadsheet():
    score = scores.score_attack(Entry("attack", "=1+1", problem=("missing", "no file")), [], 10)
    table = Result(None, Scripted.rules, (score,), ()).csv()
    assert "'=1+1" in table and "no file" in table


@pytest.mark.slow
def test_real_photos_are_scored_apart(tmp_path, one_warden, weights):
    if not (DATA / "gtsrb_sample").is_dir():
        pytest.skip("no gtsrb_sample in ADVLIB_DATA")
    result = tournament.play(tmp_path, **{**SETTINGS, "images": 2}, photos=3)
    robust = result.of("signs-robust")
    assert robust.photos * 3 in (0, 1, 2, 3) and 0 <= robust.clean_photos <= 1
    assert all(len(match.right) == 5 for match in result.matches)
    assert "On photos" in (tmp_path / "results" / "index.html").read_text()


PLAY = """
import sys
from advlib import tournament
from advlib.norms import Linf
tournament.play(sys.argv[1], images=8, within=Linf(2 / 255), seed=3, seconds=20, progress=False)
"""


def test_killed_in_the_middle_it_goes_on_where_it_was(folder, result, tmp_path):
    """The matches that are there when it is killed are not played again, and the scores are the same."""
    for side in ("defenses", "attacks"):
        shutil.copytree(folder / side, tmp_path / side)
    matches = tmp_path / "results" / "matches"
    with subprocess.Popen([sys.executable, "-c", PLAY, tmp_path], cwd=Path(__file__).parents[2]) as player:
        while player.poll() is None and len(list(matches.glob("*.json"))) < 6:
            time.sleep(0.02)
        player.kill()
    kept = {path: path.stat().st_mtime_ns for path in matches.glob("*.json")}
    assert 6 <= len(kept) < 16
    again = tournament.play(tmp_path, **SETTINGS)
    assert without_cost(again) == without_cost(result)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert len(list(matches.glob("*.json"))) == 16
