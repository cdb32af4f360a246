"""Numbers of one's own: where everyone in a class has others, an answer cannot be copied.

They follow from a name, and are the book's own where none is said. A class turns them on twice: each student by
``own.name("ada")``, or the administrator of a JupyterHub for all, and the teacher by ``advlib grade --own-numbers``.
"""

from __future__ import annotations

import contextlib
import os
import random
import unicodedata
from collections.abc import Iterator

from torch import Tensor

__all__ = ["SETTING", "named", "name", "pixels", "share", "sign"]

SETTING = "ADVLIB_STUDENT"

Pixel = tuple[float, float, float]
OF_THE_BOOK: tuple[Pixel, ...] = ((0.1, 0, -0.4), (0, 0, 0), (0.2, 0.2, 0), (0, 0, 0))

# Of the 512 test signs, those on which halving an interval of ε, from 0 to 1 on, misses the first one that fools.
YIELD = 152
JUMPED_OVER = (
    56, 58, 63, 88, 111, 127, 152, 175, 186, 207, 223, 266, 287, 344, 383, 415, 440, 442, 464, 474, 504, 506,
)  # fmt: skip


def name(student: str) -> None:
    """Take the numbers of this student from here on; of the book, where the name is empty."""
    if not isinstance(student, str):
        raise TypeError(f'got {student!r}, expected your name as text, such as own.name("ada")')
    os.environ[SETTING] = student


@contextlib.contextmanager
def named(student: str) -> Iterator[None]:
    """`name`, for as long as this lasts."""
    before = os.environ.get(SETTING, "")
    name(student)
    try:
        yield
    finally:
        name(before)


def _chance(exercise: str) -> random.Random | None:
    """The same for the same name, in any process and on any machine; None without a name."""
    student = unicodedata.normalize("NFC", os.environ.get(SETTING, "")).strip().casefold()
    return random.Random(f"{student}: {exercise}") if student else None


def pixels() -> tuple[Pixel, ...]:
    """Four colour pixels of a perturbation: the four changes in them are tenths, and their length is a tenth, too."""
    chance = _chance("norms by hand")
    if chance is None:
        return OF_THE_BOOK
    low, middle, other, high = chance.choice(QUADRUPLES)
    changes = [low, -high, middle, other]
    # The largest change is negative and shares its pixel with a smaller one; the others may have a pixel each.
    places = chance.sample(range(4), chance.choice((2, 3)))
    rows = [[0.0, 0.0, 0.0] for _ in range(4)]
    for change, place in zip(changes, [places[0], places[0], places[1], places[-1]]):
        rows[place][chance.choice([i for i in range(3) if rows[place][i] == 0])] = change / 10
    return tuple((red, green, blue) for red, green, blue in rows)


# a ≤ b ≤ c < d, all below 10, with a² + b² + c² + d² the square of a whole number.
QUADRUPLES = [
    (a, b, c, d)
    for d in range(3, 10)
    for c in range(1, d)
    for b in range(1, c + 1)
    for a in range(1, b + 1)
    if ((a * a + b * b + c * c + d * d) ** 0.5).is_integer()
]


def share() -> float:
    """Which share of the signs is to fall silent: a half, or one's own between 0.2 and 0.8."""
    chance = _chance("half of the signs go silent")
    return 0.5 if chance is None else chance.choice(range(20, 81)) / 100


def sign(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """One of the 512 test signs with its label: a yield sign, or one's own.

    Shapes: x (512, 3, H, W), y (512,); what is returned has N = 1.
    """
    if len(x) != 512 or len(y) != 512:
        raise ValueError(f"got {len(x)} images and {len(y)} labels, expected the chapter's 512 test signs")
    chance = _chance("the smallest ε")
    one = YIELD if chance is None else chance.choice(JUMPED_OVER)
    return x[one : one + 1], y[one : one + 1]
