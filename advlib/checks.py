"""Settings, checked: numbers, switches, words, functions and paths. Each mistake gets an error that names it.

Each check takes the value and the name of its parameter, and raises TypeError for what is of another kind, ValueError
for what is out of range: what came, what was expected. Images, labels, models and balls are checked in
``advlib.contract``, which offers these checks as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence

from advlib.names import alike

__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_function",
    "check_jpeg_quality",
    "check_number",
    "check_pair",
    "check_path",
    "check_scales",
    "check_seed",
    "check_share",
    "check_step",
    "check_text",
    "check_texts",
    "shown",
]

MOST = 2**63 - 1  # the largest whole number that a tensor, or a generator's seed, holds
LONG = 80
BEST_JPEG = 95  # beyond it, Pillow says, files grow and pictures do not


def shown(value) -> str:
    """What came, in a few words: a value as Python writes it, a tensor by its shape.

    >>> shown("eight"), shown(10**400)
    ("'eight'", 'a whole number of 1329 bits')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    if isinstance(value, int) and abs(value) > MOST:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _plain(value, kind: str) -> str:
    """The mend for a number of NumPy's, or a tensor of one number, where a plain one is meant."""
    return f" Use {kind}(…)." if getattr(value, "shape", None) == () else ""


def check_count(value, name: str, least: int = 1, most: int = MOST) -> None:
    """``value`` is a whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} is {shown(value)} of type {type(value).__name__}; expected a whole number.{_plain(value, 'int')}"
        )
    if not least <= value <= most:
        limit = f"≥ {least}" if most == MOST and value < least else f"from {least} to {most}"
        raise ValueError(f"{name} is {shown(value)}; expected a whole number {limit}.")


def check_seed(value, name: str = "seed") -> None:
    """``value`` is a whole number ≥ 0 that torch takes for a seed."""
    check_count(value, name, least=0)


def check_number(value, name: str, positive: bool = False, least: float = 0, most: float = math.inf) -> None:
    """``value`` is a finite number from ``least`` to ``most``; if ``positive``, not ``least`` itself."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{name} is {shown(value)} of type {type(value).__name__}; expected a number.{_plain(value, 'float')}"
        )
    too_small = value <= least if positive else value < least
    if too_small or value > most or not abs(value) < 1e300:  # 10**400 is finite, but no float; and NaN is nothing
        limits = f"{'>' if positive else '≥'} {least:g}" if math.isfinite(least) else ""
        limits += f"{' and' * bool(limits)} ≤ {most:g}" if math.isfinite(most) else ""
        raise ValueError(f"{name} is {shown(value)}; expected a finite number {limits}".rstrip() + ".")


def check_share(value, name: str, positive: bool = False, what: str = "share") -> None:
    """``value`` is a number from 0 to 1; if ``positive``, not 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected a number from 0 to 1.")
    if not (0 < value <= 1 if positive else 0 <= value <= 1):
        mend = f" Did you mean {value:g} %? Write {value / 100:g}." if 1 < value <= 100 and what == "share" else ""
        raise ValueError(
            f"{name} is {shown(value)}; expected a {what} {'in (0, 1]' if positive else 'from 0 to 1'}.{mend}"
        )


def check_step(step) -> None:
    """``step`` is a finite number > 0."""
    if isinstance(step, bool) or not isinstance(step, (int, float)):
        raise TypeError(f"step is {shown(step)} of type {type(step).__name__}; expected a number in the units of ε.")
    if not 0 < step < 1e300:
        raise ValueError(f"step is {shown(step)}; expected a finite number > 0. For the other direction use target.")


def check_pair(value, name: str, example: str, whole: bool = False) -> None:
    """``value`` is two finite numbers, or two whole numbers ≥ 1."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError(f"{name} is {shown(value)}; expected two numbers, such as {example}.")
    for one in value:
        if whole:
            check_count(one, f"{name}, of which one part")
        else:
            check_number(one, f"{name}, of which one part", least=-math.inf)


def check_scales(scale) -> None:
    """``scale`` is the smallest and the largest of a range of sizes."""
    check_pair(scale, "scale", "(0.8, 1.2)")
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale}; expected (smallest, largest) such as (0.8, 1.2).")


def check_flag(value, name: str) -> None:
    """``value`` is True or False: a text such as "false" would count as True."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected True or False.")


def check_choice(value, name: str, known: Collection[str]) -> None:
    """``value`` is one of the words ``known``."""
    words = " or ".join(f'"{word}"' for word in known)
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected {words}.")
    if value not in known:
        guess = "".join(f" (did you mean {one!r}?)" for one in alike(value, known)[:1])
        raise ValueError(f"{name} is {shown(value)}; expected {words}.{guess}")


def check_text(value, name: str, empty: bool = True) -> None:
    """``value`` is a text; where ``empty`` is False, with something in it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected a text.")
    if not empty and not value.strip():
        raise ValueError(f"got an empty {name} text; expected some words: screen readers say it aloud.")


def check_texts(value, name: str, example: str = "('stop', 'yield')") -> None:
    """``value`` is several texts; one text counts as its letters only where it is not one word by mistake."""
    if not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected texts, such as {example}.")


def check_function(value, name: str, like: str) -> None:
    """``value`` can be called; ``like`` shows how it will be."""
    if not callable(value):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected a function {like}.")


def check_jpeg_quality(quality) -> None:
    """``quality`` is one that JPEG has: 1 to 95."""
    check_count(quality, "quality")
    if quality > BEST_JPEG:
        raise ValueError(f"quality is {quality}; expected a JPEG quality from 1 to {BEST_JPEG} (75 is usual).")


def check_path(value, name: str = "path") -> None:
    """``value`` names a file or a folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} is {shown(value)} of type {type(value).__name__}; expected a path, such as 'out/one'.")
    if not os.fspath(value) or "\0" in str(value):
        raise ValueError(f"{name} is {shown(value)}; expected the name of a file or a folder.")
