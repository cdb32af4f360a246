"""Step sizes: how long each step of an ascent is.

``at(k, steps, eps)`` is the length of step k of ``steps``, counted from 0, in the units of ε. ``eps`` is one number,
or (n,) with the ε of each image that steps; so is the length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from advlib.checks import check_choice, check_count, check_flag, check_number, check_share, shown

__all__ = ["Constant", "Fixed", "Linear", "Adaptive", "check_climb"]

Length = float | Tensor


@dataclass(frozen=True)
class Constant:
    """The same step throughout: ``size`` · ε.

    >>> Constant(0.1).at(0, 10, eps=0.5)
    0.05
    """

    size: float

    def __post_init__(self):
        check_number(self.size, "size")

    def at(self, k: int, steps: int, eps: Length) -> Length:
        return self.size * eps


@dataclass(frozen=True)
class Fixed:
    """The same step throughout and for every image, whatever its ε: ``size``."""

    size: float

    def __post_init__(self):
        check_number(self.size, "size")

    def at(self, k: int, steps: int, eps: Length) -> Length:
        return self.size


@dataclass(frozen=True)
class Linear:
    """Large steps to explore, small ones to settle: from ``size`` · ε straight down to zero."""

    size: float = 2.0

    def __post_init__(self):
        check_number(self.size, "size")

    def at(self, k: int, steps: int, eps: Length) -> Length:
        return self.size * (1 - k / steps) * eps


@dataclass(frozen=True)
class Adaptive:
    """Auto-PGD: an image's step is halved when it stops paying, and the image goes back to its best iterate.

    Croce & Hein (2020), Section 3: looked at after 22 %, 41 %, 57 %, … of the steps. The engine halves.
    """

    size: float = 2.0
    rho: float = 0.75  # a step size is kept while at least this share of its steps raised the loss

    def __post_init__(self):
        check_number(self.size, "size")
        check_share(self.rho, "rho")

    def checkpoints(self, steps: int) -> list[int]:
        shares = [0.0, 0.22]
        while shares[-1] < 1:
            shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
        return [math.ceil(round(share * steps, 6)) for share in shares if share < 1]


def check_climb(steps, schedule, momentum, inertia, keep, early_stop, least: int = 1) -> None:
    """What every climb is told how to go; else TypeError or ValueError."""
    check_count(steps, "steps", least)
    if not isinstance(schedule, (Constant, Fixed, Linear, Adaptive)):
        raise TypeError(f"schedule is {shown(schedule)}; expected step sizes, such as Linear(2.0) or Fixed(0.01).")
    check_number(momentum, "momentum")
    check_share(inertia, "inertia")
    check_choice(keep, "keep", ("best", "last"))
    check_flag(early_stop, "early_stop")
