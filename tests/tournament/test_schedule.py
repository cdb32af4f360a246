"""Who meets whom, without a match being played: 200 submissions, where a result is a number drawn from a strength."""

import random
from collections import Counter

import pytest

from advlib.tournament.schedule import everyone, pair


def swiss(defenses: int, attacks: int, rounds: int) -> list[list[tuple[str, str]]]:
    """Rounds among entries whose numbers are their strengths: "d3" is worth 3, and so scores it from the start."""
    sides = [{f"{side}{n}": float(n) for n in range(many)} for side, many in (("d", defenses), ("a", attacks))]
    met: list[tuple[str, str]] = []
    played = []
    for _ in range(rounds):
        played.append(pair(*sides, met))
        met += played[-1]
    return played


SIZES = [(100, 100), (150, 50), (50, 150), (199, 1), (1, 199), (67, 133)]


@pytest.mark.parametrize("defenses, attacks", SIZES)
def test_nobody_meets_anybody_twice_and_all_of_the_larger_side_play_in_each_round(defenses, attacks):
    rounds = swiss(defenses, attacks, 6)
    met = [one for each in rounds for one in each]
    assert len(set(met)) == len(met) and set(met) <= set(everyone(*_names(defenses, attacks)))
    larger = 0 if defenses >= attacks else 1
    for number, each in enumerate(rounds):
        expected = max(defenses, attacks) if number < min(defenses, attacks) else 0
        assert len(each) == len({one[larger] for one in each}) == expected


@pytest.mark.parametrize("defenses, attacks", SIZES)
def test_the_smaller_side_shares_the_work(defenses, attacks):
    smaller = 1 if defenses >= attacks else 0
    counts = Counter(one[smaller] for one in swiss(defenses, attacks, 1)[0])
    assert len(counts) == min(defenses, attacks) and max(counts.values()) - min(counts.values()) <= 1


def test_like_meets_like_and_the_best_the_best():
    rounds = swiss(100, 100, 6)
    assert ("d99", "a99") in rounds[0]
    distance = lambda one: abs(int(one[0][1:]) - int(one[1][1:]))
    assert all(distance(one) <= 6 for each in rounds for one in each)


def test_a_round_is_the_same_whatever_the_order_of_the_names():
    names = _names(90, 110)
    draw = random.Random(0)
    sides = [{name: draw.random() for name in side} for side in names]
    met = pair(*sides, [])
    turned = [dict(reversed(side.items())) for side in sides]
    assert pair(*turned, set(met)) == pair(*sides, met)


def test_enough_rounds_are_all_against_all():
    rounds = swiss(7, 4, 10)
    assert sorted(one for each in rounds for one in each) == sorted(everyone(*_names(7, 4)))
    assert rounds[-1] == []


def test_a_round_is_played_by_far_fewer_than_all_against_all():
    assert sum(map(len, swiss(100, 100, 8))) == 800


def test_without_one_side_nobody_plays():
    assert pair({}, {"a": 1.0}, []) == pair({"d": 1.0}, {}, []) == []


def _names(defenses: int, attacks: int) -> tuple[list[str], list[str]]:
    return [f"d{n}" for n in range(defenses)], [f"a{n}" for n in range(attacks)]
