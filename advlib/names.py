"""Names that a person types, and what to say where one is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["unknown"]

FEW = 20


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is not known: the nearest one that is, and the others if they are few.

    >>> unknown("model", "signs-ccn", ["signs-cnn", "signs-linear"])
    "unknown model 'signs-ccn': did you mean 'signs-cnn'? Known: signs-cnn, signs-linear"
    """
    spelled = {one.lower(): one for one in known}
    near = [spelled[match] for match in difflib.get_close_matches(str(name).lower(), spelled, n=FEW)]
    guess = f": did you mean {near[0]!r}?" if near else "."
    if len(spelled) <= FEW:
        return f"unknown {kind} {name!r}{guess} Known: {', '.join(spelled.values())}"
    others = f" Also close: {', '.join(near[1:])}" if near[1:] else ""
    return f"unknown {kind} {name!r}{guess}{others}"
