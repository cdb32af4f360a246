"""Scores and rounds, without playing any match: what the matches would come to is written down."""

from collections import Counter
from dataclasses import replace

import torch

from advlib import load_images
from advlib.progress import progress
from advlib.tournament import Match, Result, playing, scores
from advlib.tournament.entries import Entry
from advlib.tournament.matches import Rules


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
    matches = playing._matches(organiser, defenses, attacks, clean, rounds, progress(disable=True))
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
