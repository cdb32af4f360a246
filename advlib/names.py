"""Names that a person types, and what to say where one is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["unknown"]


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is not known, with the nearest one that is.

    >>> unknown("model", "signs-ccn", ["signs-cnn", "signs-linear"])
    "unknown model 'signs-ccn': did you mean 'signs-cnn'? Known: signs-cnn, signs-linear"
    """
    known = list(known)
    near = difflib.get_close_matches(str(name).lower(), [k.lower() for k in known], n=1)
    guess = next((f": did you mean {k!r}?" for k in known if near and k.lower() == near[0]), ".")
    return f"unknown {kind} {name!r}{guess} Known: {', '.join(known)}"
