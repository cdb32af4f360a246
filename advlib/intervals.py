"""How sure is a share that was counted on a few images, or in a few runs?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

from advlib import contract

__all__ = ["Share", "interval", "interval_over_runs"]


class Share(float):
    """How many of n images: a float that also says how sure it is, and shows that when printed.

    ``low`` and ``high`` are the ends of its 95 % interval (Wilson's), for other images of the same kind; ``n`` is the
    number of images. It calculates, compares and formats (``f"{share:.1%}"``) as the float that it is.

    >>> share = Share(293, 512)
    >>> share, share > 0.5, f"{share:.0%}"
    (57.2% (52.9% to 61.4%, 512 images), True, '57%')
    """

    low: float
    high: float
    n: int

    def __new__(cls, successes: int, n: int):
        low, high = interval(successes, n)
        share = super().__new__(cls, successes / n)
        share.low, share.high, share.n = low, high, n
        return share

    def __getnewargs__(self):  # copied and pickled as what it was made of
        return round(self * self.n), self.n

    def __repr__(self) -> str:
        images = "1 image" if self.n == 1 else f"{self.n:,} images"
        return f"{self:.1%} ({self.low:.1%} to {self.high:.1%}, {images})"

    __str__ = __repr__


def interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's (1927) 95 % confidence interval for a proportion: right even at 0 of n and n of n.

    >>> low, high = interval(0, 20)
    >>> print(f"{low:.2f} to {high:.2f}")
    0.00 to 0.16
    """
    contract.check_count(n, "n")
    contract.check_count(successes, "successes", least=0)
    contract.check_number(z, "z", positive=True)
    if successes > n:
        raise ValueError(f"{successes} successes among n = {n}; expected at most n.")
    return _wilson(successes / n, n, z)


def interval_over_runs(successes: Sequence[int], n: int) -> tuple[float, float]:
    """A 95 % interval for the share that a run takes on average, from the successes of each run on the same n images.

    Two causes of error know nothing of each other: which images there are (Wilson's interval around the mean) and
    which runs (Student's t for the mean of a few). Their half-widths add up in squares, each side on its own (Zou &
    Donner 2008, the MOVER). A single run says nothing of others: its interval is Wilson's.

    >>> for runs in ([40], [40, 40, 40], [30, 40, 50]):
    ...     low, high = interval_over_runs(runs, 100)
    ...     print(f"{low:.2f} to {high:.2f}")
    0.31 to 0.50
    0.31 to 0.50
    0.14 to 0.67

    Raises
        TypeError, ValueError: no runs, or counts that are none of n.
    """
    if isinstance(successes, str) or not isinstance(successes, Sequence) or not successes:
        raise ValueError(f"successes is {contract.shown(successes)}; expected a count for each run, such as [40, 43].")
    for count in successes:
        low, high = interval(count, n)
    if len(successes) == 1:
        return low, high
    shares = [count / n for count in successes]
    mean = statistics.fmean(shares)
    low, high = _wilson(mean, n)
    by_run = float(stdtrit(len(shares) - 1, 0.975)) * statistics.stdev(shares) / math.sqrt(len(shares))
    return max(0.0, mean - math.hypot(mean - low, by_run)), min(1.0, mean + math.hypot(high - mean, by_run))


def _wilson(p: float, n: int, z: float = 1.96) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
