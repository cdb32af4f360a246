"""Values of the command line: from text as people write it; where it is none, what to write instead."""

from __future__ import annotations

import argparse
import math


def size(text: str) -> float:
    """ε as people write it.

    >>> size("8/255") == 8 / 255, size("0.03"), size("0.5/255") == 0.5 / 255
    (True, 0.03, True)
    """
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 8/255 or 0.03")
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; ε is a size")
    return value


def picture_size(text: str) -> int:
    """The side of a model's square pictures.

    >>> picture_size("32"), picture_size("32x32")
    (32, 32)
    """
    sides = set(text.lower().replace("×", "x").split("x"))
    side = sides.pop() if len(sides) == 1 else ""
    if not side.isdecimal() or int(side) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no side of a square picture; write 32 or 32x32")
    return int(side)


def megapixels(text: str) -> int:
    """Millions of pixels, as pixels."""
    value = size(text)
    if not 1 <= value <= 178:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 178 (million pixels)")
    return round(value * 1e6)


def some(text: str) -> int | None:
    """A number of images, None for all of them.

    >>> some("250"), some("all")
    (250, None)
    """
    if text != "all" and (not text.isdecimal() or int(text) < 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of images; write 100, or all")
    return None if text == "all" else int(text)


def duration(text: str) -> float:
    """Seconds.

    >>> duration("90"), duration("2.5")
    (90.0, 2.5)
    """
    value = size(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} seconds are too few; 1 is the least")
    return value


def megabytes(text: str) -> int:
    """Megabytes, of which torch alone needs some hundred."""
    value = size(text)
    if value < 256:
        raise argparse.ArgumentTypeError(f"{text} MB are too few; 256 is the least")
    return round(value)


def usable_device(name: str | None):
    """The torch device of ``--device``; the best one there is where none was named."""
    import torch

    from advlib.device import device

    try:
        return torch.zeros(1, device=name or device()).device
    except (RuntimeError, AssertionError) as error:  # torch's words for no such device, or none on this machine
        raise ValueError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from None
