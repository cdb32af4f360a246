"""Names that a person types, and what to say where one is not known."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["alike", "unknown"]

FEW = 20


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message for a name that is not known: the nearest one that is, and the others if they are few.

    >>> unknown("model", "signs-ccn", ["signs-cnn", "signs-linear"])
    "unknown model 'signs-ccn': did you mean 'signs-cnn'? Known: signs-cnn, signs-linear"
    """
    known = list(dict.fromkeys(known))
    near = alike(str(name), known)[:FEW]
    guess = f": did you mean {near[0]!r}?" if near else "."
    if len(known) <= FEW:
        return f"unknown {kind} {name!r}{guess} Known: {', '.join(known)}"
    others = f" Also close: {', '.join(near[1:])}" if near[1:] else ""
    return f"unknown {kind} {name!r}{guess}{others}"


def alike(name: str, known: Iterable[str]) -> list[str]:
    """Those of the ``known`` names that ``name`` may have been meant for, the likeliest first.

    A slip of the fingers for each four letters is forgiven; so is a name that was not written out, or too long.

    >>> alike("80", ["60 km/h", "80 km/h"]), alike("epsilon", ["eps", "steps"]), alike("cat", ["Persian cat", "car"])
    (['80 km/h'], ['eps'], ['car', 'Persian cat'])
    >>> alike("pdg", ["fgsm", "pgd"]), alike("avocado", ["volcano"])
    (['pgd'], [])
    """
    found = []
    for one in known:
        typed, meant = name.strip().lower(), one.lower()
        distance = slips(typed, meant)
        short, long = sorted((typed, meant), key=len)
        if typed and distance <= max(1, len(typed) // 4) and distance < len(typed):
            found.append((0, distance, one))
        elif typed and (f" {typed} " in f" {meant} " or (len(short) > 2 and long.startswith(short))):
            found.append((1, distance, one))
    return [one for *_, one in sorted(found, key=lambda each: each[:2])]


def slips(one: str, other: str) -> int:
    """How many letters to insert, leave out, replace or swap with their neighbour (optimal string alignment).

    >>> slips("pdg", "pgd"), slips("stop", "stopp"), slips("avocado", "volcano")
    (1, 1, 3)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one):
        last, before, row = before, row, [i + 1]
        for j, b in enumerate(other):
            row.append(min(before[j] + (a != b), before[j + 1] + 1, row[j] + 1))
            if i and j and a == other[j - 1] and b == one[i - 1]:
                row[-1] = min(row[-1], last[j - 1] + 1)
    return row[-1]
