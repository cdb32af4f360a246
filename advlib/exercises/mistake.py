"""What is wrong with an answer, in words."""

from __future__ import annotations

from collections.abc import Sequence


class Mistake(Exception):
    """What was seen; its cause, where that is known; what to do."""

    def __init__(self, seen: str, cause: str = "", mend: str = ""):
        super().__init__(seen, cause, mend)
        self.seen, self.cause, self.mend = seen, cause, mend

    def __str__(self) -> str:
        parts = [self.seen]
        parts += [f"Likely cause: {self.cause}"] if self.cause else []
        parts += [f"What to do: {self.mend}"] if self.mend else []
        return "\n".join(parts)

    @classmethod
    def all(cls, mistakes: Sequence[Mistake]) -> Mistake:
        """Several at once, each in full."""
        together = cls("\n".join(map(str, mistakes)))
        return mistakes[0] if len(mistakes) == 1 else together

    @classmethod
    def both(cls, one: Mistake, other: Mistake) -> Mistake:
        """Two mistakes that together explain what was seen."""
        return cls(f"two mistakes at once\nFirst: {one}\nSecond: {other}")


class Unwritten(Exception):
    """The stub is still there."""
