"""Who meets whom: all against all, or rounds in the manner of a Swiss tournament."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["everyone", "pair"]

Pair = tuple[str, str]  # a defence and an attack
FAR = 1e12  # the price of a match that was played already: more than that of any round without one


def everyone(defenses: Collection[str], attacks: Collection[str]) -> list[Pair]:
    """All against all.

    >>> everyone(["a", "b"], ["x", "y"])
    [('a', 'x'), ('a', 'y'), ('b', 'x'), ('b', 'y')]
    """
    return [(defense, attack) for defense in defenses for attack in attacks]


def pair(defenses: Mapping[str, float], attacks: Mapping[str, float], met: Collection[Pair]) -> list[Pair]:
    """The matches of one round: like against like, and none again.

    Each side is ranked by its scores so far, equals by name. Every entry of the larger side plays once. The smaller
    side is spread over it, so that its best meets the best, and each of it plays as often as another, give or take
    one. The sum of the squared differences in rank is the least there is (an assignment problem). Who has met
    everybody sits out.

    defenses, attacks   scores by name, higher is better.
    met                 pairs (defence, attack) that were played.

    >>> pair({"a": 0.9, "b": 0.1}, {"x": 0.2, "y": 0.7}, met=[])
    [('a', 'y'), ('b', 'x')]
    >>> pair({"a": 0.9, "b": 0.1}, {"x": 0.2, "y": 0.7}, met=[("a", "y"), ("b", "x")])
    [('a', 'x'), ('b', 'y')]
    """
    if not defenses or not attacks:
        return []
    ranked = [sorted(side, key=lambda name: (-side[name], name)) for side in (defenses, attacks)]
    many, few = sorted(ranked, key=len, reverse=True)
    turned = many is not ranked[0]
    as_pair = lambda one, other: (other, one) if turned else (one, other)
    seats = [few[math.floor(i * len(few) / len(many))] for i in range(len(many))]
    played, seat = set(met), {name: [i for i, one in enumerate(seats) if one == name] for name in few}
    price = np.abs(np.subtract.outer(np.arange(len(many)), np.arange(len(many)))) ** 2.0
    for row, name in enumerate(many):
        for other in few:
            if as_pair(name, other) in played:
                price[row, seat[other]] = FAR
    rows, columns = linear_sum_assignment(price)
    return sorted(as_pair(many[r], seats[c]) for r, c in zip(rows, columns) if price[r, c] < FAR)
