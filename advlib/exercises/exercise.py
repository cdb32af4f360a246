"""What every exercise has, and how its verdict is printed."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from advlib.exercises import progress
from advlib.exercises.advice import first_line
from advlib.exercises.guarded import Failed, Watch, guarded
from advlib.exercises.mistake import Mistake, Unwritten
from advlib.exercises.properties import described
from advlib.exercises.sandbox import sandbox

PAGE = 72  # characters that fit the book's column


def _settings() -> tuple[bool, bool]:
    """Whether wrong answers raise, as ADVLIB_GRADING or nbgrader ask for; whether right ones raise as well.

    They do where nbgrader grades in the notebook's own kernel, without the course's settings: there a check can be
    replaced by another. Who wants that all the same sets ADVLIB_GRADING.
    """
    asked, by = os.environ.get("ADVLIB_GRADING", "") not in ("", "0"), os.environ.get("NBGRADER_EXECUTION", "")
    return asked or bool(by), by == "autograde" and not asked


# Read here as well, so that no cell can unset it later.
_FROM_THE_START = _settings()
NOT_SET_UP = (
    "nbgrader runs without the course's settings, so nobody gets points: copy classroom/nbgrader_config.py "
    "to the course's folder, and autograde again"
)


class Case:
    """What an answer is tried on: a name in words, and the arguments."""

    def __init__(self, name: str, *args: Any):
        self.name, self.args = name, args


@dataclass(frozen=True)
class Verdict:
    """What a check says: ✓ right, ○ not written yet or ✗ wrong, in words, and what it noted besides."""

    mark: str
    words: str
    notes: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return self.mark == "✓"

    @property
    def text(self) -> str:
        """All of it, in lines as long as they are."""
        return "\n".join([f"{self.mark} {self.words}", *(f"Note: {note}" for note in self.notes)])

    def __str__(self) -> str:
        return wrapped(self.text)


@dataclass(frozen=True)
class Wrong:
    """What people write instead, and the words for it: what was seen, its cause, the mend.

    ``way`` is a function with the parameters of the right one, or a dict of keyword arguments ("parts") that turn the
    right function into the wrong one. Two dicts without a common part also make a function with two mistakes.
    ``raises`` says that it ends in an error on every case.
    """

    way: Callable | dict
    seen: str
    cause: str = ""
    mend: str = ""
    raises: bool = False

    def mistake(self) -> Mistake:
        return Mistake(self.seen, self.cause, self.mend)


def instead_of(part: str, *rows: tuple) -> list[Wrong]:
    """What people put in the place of one part of the right function: rows of (the way, seen, cause, mend)."""
    return [Wrong({part: way}, *words) for way, *words in rows]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """What every exercise has. ``check.<name>(answer, *given)`` is a call of it.

    title, chapter, points   as the chapter prints them
    right                    the answer asked for, or the function that computes it from what the check is given
    wrong                    what people write instead
    verified                 what to say of a right answer
    example                  arguments for the check beside the answer, on which the tests try ``right`` and ``wrong``
    by_hand                  names of functions, torch's or advlib's, that the answer writes itself
    allowed                  rooms of advlib that the answer may call: "advlib.attacks", "advlib"
    seconds                  how long one call of the answer may take
    live                     True where the answer is a function or a network that is measured: it cannot be handed over
    """

    name: str
    chapter: int
    title: str
    points: int
    right: Callable
    wrong: Sequence[Wrong] = ()
    verified: str = ""
    example: Callable[[], tuple] = tuple
    by_hand: Sequence[str] = ()
    allowed: Sequence[str] = ()
    seconds: float = 20
    live: bool = False
    order: int = field(default_factory=count().__next__, compare=False)

    def __call__(self, answer: Any, *given: Any, **options: Any) -> None:
        """Print the verdict. Where a class is graded, anything but a right answer raises."""
        progress.latest = self.chapter
        raises, not_set_up = (now or then for now, then in zip(_settings(), _FROM_THE_START))
        if not_set_up:
            raise AssertionError(NOT_SET_UP)
        verdict = self.verdict(answer, *given, **options)
        if verdict.right:
            progress.record(self.chapter, self.name)
        elif raises:
            raise AssertionError(f"{verdict.mark} {verdict.words}")
        print(verdict)

    def verdict(self, answer: Any, *given: Any, **options: Any) -> Verdict:
        """What the check says of an answer; nothing that the answer does comes out as an error."""
        notes: list[str] = []
        name = getattr(answer, "__name__", self.name)
        try:
            if answer is None or answer is ...:
                raise Unwritten
            with sandbox(answer, given, notes):
                verified = self.judge(answer, given, options, notes)
        except Unwritten:
            mark, words = "○", "not written yet"
        except Mistake as mistake:
            mark, words = "✗", str(mistake)
        except Exception as error:  # an answer so odd that the check itself stumbles over it
            mark, words = "✗", f"the check cannot read this answer ({type(error).__name__}: {first_line(error)})"
        else:
            mark, words = "✓", verified
        # Each call of an answer may leave the same note: said once.
        return Verdict(mark, f"{name}: {words}", tuple(dict.fromkeys(notes)))

    def judge(self, answer: Any, given: tuple, options: dict, notes: list[str]) -> str:
        """What was verified; raises `Mistake` at what is wrong."""
        raise NotImplementedError

    def attempt(self, answer: Callable, args: tuple, notes: list[str]) -> Any:
        """Call the learner's function; what goes wrong inside it comes as a `Mistake`."""
        if not callable(answer):
            raise Mistake(
                f"got {described(answer)}, expected a function",
                mend=f"pass the function itself, without brackets: check.{self.name}(my_function)",
            )
        result = guarded(answer, args, self._watch(notes))
        if isinstance(result, Failed):
            raise result.mistake
        return result

    def _watch(self, notes: list[str]) -> Watch:
        return Watch(tuple(self.by_hand), tuple(self.allowed), self.seconds, notes)


def wrapped(text: str) -> str:
    """Lines no longer than a page is wide, those after the first set in."""
    first, *rest = text.split("\n")
    lines = [textwrap.fill(first, PAGE, subsequent_indent="  ")]
    lines += [textwrap.fill(line, PAGE, initial_indent="  ", subsequent_indent="    ") for line in rest]
    return "\n".join(lines)
