"""One frame judges every exercise: it tries the answer, compares it with known wrong ones, and words the verdict.

An exercise is a value. This is all that one takes:

    half = Formula(
        name="half", chapter=6, title="Halve it", points=1,
        right=lambda x, *, factor=0.5: factor * x,
        cases=lambda: [Case("three numbers", torch.arange(3.0))],
        wrong=[Wrong({"factor": 2}, "every number grew", "multiplied by 2", "multiply by 0.5")],
        verified="half of three numbers",
    )
    half(my_half)      # prints ✓, ○ or ✗ with the mistake's name; raises where ADVLIB_GRADING is set

A cause is named where an answer gives, on every case, just what a known wrong function gives, or where a property
proves it. Otherwise the verdict says what was seen, and no more.
"""

from __future__ import annotations

import copy
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from advlib.exercises import progress
from advlib.exercises.guarded import Failed, Watch, guarded, sandbox
from advlib.exercises.mistake import Mistake, Unwritten
from advlib.exercises.properties import alike, damage, described, number

__all__ = ["Case", "Explore", "Exercise", "Formula", "Mistake", "Number", "Wrong", "instead_of"]

PAGE = 72  # characters that fit the book's column


class Case:
    """What an answer is tried on: a name in words, and the arguments."""

    def __init__(self, name: str, *args: Any):
        self.name, self.args = name, args


@dataclass(frozen=True)
class Wrong:
    """What people write instead, and the words for it: what was seen, its cause, the mend.

    ``way`` is a function with the parameters of the right one, or a dict of keyword arguments ("parts") that turn the
    right function into the wrong one. Two dicts without a common part also make a function with two mistakes.
    """

    way: Callable | dict
    seen: str
    cause: str = ""
    mend: str = ""

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
    seconds                  how long the answer may take, on all cases together
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
    seconds: float = 30

    def __call__(self, answer: Any, *given: Any, **options: Any) -> None:
        """Print the verdict. Where a class is graded, anything but a right answer raises."""
        progress.latest = self.chapter
        notes: list[str] = []
        name = getattr(answer, "__name__", self.name)
        try:
            if answer is None or answer is ...:
                raise Unwritten
            with sandbox(answer, given, notes):
                verified = self.judge(answer, given, options, notes)
        except Unwritten:
            verdict = f"○ {name}: not written yet"
        except Mistake as mistake:
            verdict = f"✗ {name}: {mistake}"
        except Exception as error:  # an answer so odd that the check itself stumbles over it
            verdict = f"✗ {name}: the check cannot read this answer ({type(error).__name__}: {error!s:.120})"
        else:
            progress.record(self.chapter, self.name)
            return print(wrapped("\n".join([f"✓ {name}: {verified}", *(f"Note: {note}" for note in notes)])))
        if os.environ.get("ADVLIB_GRADING", "") not in ("", "0"):
            raise AssertionError(verdict)
        print(wrapped("\n".join([verdict, *(f"Note: {note}" for note in notes)])))

    def judge(self, answer: Any, given: tuple, options: dict, notes: list[str]) -> str:
        """What was verified; raises `Mistake` at what is wrong."""
        raise NotImplementedError

    def attempt(self, answer: Callable, args: tuple) -> Any:
        """Call the learner's function; what goes wrong inside it comes as a `Mistake`."""
        if not callable(answer):
            raise Mistake(
                f"got {described(answer)}, expected a function",
                mend=f"pass the function itself, without brackets: check.{self.name}(my_function)",
            )
        result = guarded(answer, args, self._watch())
        if isinstance(result, Failed):
            raise result.mistake
        return result

    def _watch(self) -> Watch:
        return Watch(by_hand=tuple(self.by_hand), allowed=tuple(self.allowed), seconds=self.seconds)


@dataclass(frozen=True, kw_only=True)
class Formula(Exercise):
    """A function that is to be written, compared with the right one on each case.

    cases        builds the cases anew for each check, so that an answer that damages them harms nobody
    properties   called as ``property(case, result, right)`` on the first case with a wrong result; raise `Mistake`
    same         when two results count as equal
    trace        what the arguments remember of the call, such as the seeds an attack was given; tells known mistakes
                 apart that end in the same result
    strict       True where leaving something behind (a .grad, a mode) is wrong, not only worth a note
    """

    cases: Callable[[], list[Case]]
    properties: Sequence[Callable[[Case, Any, Any], None]] = ()
    same: Callable[[Any, Any], bool] = alike
    trace: Callable[[tuple], Any] = lambda args: None  # noqa: E731
    strict: bool = False

    def judge(self, answer: Any, given: tuple, options: dict, notes: list[str]) -> str:
        if not callable(answer):
            self.attempt(answer, ())
        cases = self.cases()
        results, traces, left = [], [], []
        for case in cases:
            args = copy.deepcopy(case.args)
            results.append(guarded(answer, args, self._watch()))
            traces.append(self.trace(args))
            left.append(damage(self.right, case.args, args))
        rights = [right for right, _ in self.results(self.right, cases)]
        agreed = [self._agree(*pair) for pair in zip(results, rights)]
        if not all(agreed):
            self._random(answer, cases[0], results[0])
            self._diagnose(cases, list(zip(results, traces)))
            for case, result, right, fine in zip(cases, results, rights, agreed):
                if not fine:
                    self._describe(case, result, right)
        for harm in filter(None, left):
            if harm.serious or self.strict:
                raise harm.mistake
            notes += [harm.note] if harm.note not in notes else []
        return self.verified

    def results(self, function: Callable, cases: list[Case]) -> Iterator[tuple[Any, Any]]:
        """What a function of ours gives on each case, and its trace; an exception counts as a result."""
        for case in cases:
            args = copy.deepcopy(case.args)
            yield guarded(function, args, Watch(seconds=self.seconds)), self.trace(args)

    def _agree(self, a: Any, b: Any) -> bool:
        if isinstance(a, Failed) or isinstance(b, Failed):
            return isinstance(a, Failed) and isinstance(b, Failed) and a.what == b.what
        return self.same(a, b)

    def suspects(self, pairs: bool = True) -> Iterator[tuple[Callable, Mistake]]:
        """The known wrong functions, then those with two of the known mistakes at once."""
        for wrong in self.wrong:
            yield self.function(wrong), wrong.mistake()
        parts = [wrong for wrong in self.wrong if isinstance(wrong.way, dict)]
        for one, other in combinations(parts, 2) if pairs else ():
            if not one.way.keys() & other.way.keys():
                both = Wrong({**one.way, **other.way}, "")
                yield self.function(both), Mistake.both(one.mistake(), other.mistake())

    def function(self, wrong: Wrong) -> Callable:
        """The wrong function itself."""
        if callable(wrong.way):
            return wrong.way
        return lambda *args: self.right(*args, **wrong.way)

    def _diagnose(self, cases: list[Case], seen: list[tuple[Any, Any]]) -> None:
        """Raise the known mistake that gives this on every case; of several, the first that leaves the same trace."""
        matching = []
        for function, mistake in self.suspects(pairs=not any(isinstance(result, Failed) for result, _ in seen)):
            theirs = []
            for (result, _), (other, trace) in zip(seen, self.results(function, cases)):
                if not self._agree(result, other):
                    break
                theirs.append(trace)
            else:
                if theirs == [trace for _, trace in seen]:
                    raise mistake
                matching.append(mistake)
        if matching:
            raise matching[0]

    def _random(self, answer: Callable, case: Case, result: Any) -> None:
        """Raise where the same call gives something else with other random numbers."""
        if not isinstance(result, Tensor):
            return
        torch.manual_seed(1)
        again = guarded(answer, copy.deepcopy(case.args), self._watch())
        if isinstance(again, Tensor) and not self._agree(result, again):
            raise Mistake(
                "two calls with the same arguments gave different results",
                "something is drawn at random: noise, a random start, dropout",
                "the formula has no chance in it: leave the random numbers out",
            )

    def _describe(self, case: Case, result: Any, right: Any) -> None:
        if isinstance(result, Failed):
            raise result.mistake
        for prove in self.properties:
            prove(case, result, right)
        raise Mistake(f"on {case.name}, {_difference(result, right)}")


@dataclass(frozen=True, kw_only=True)
class Number(Exercise):
    """A number, or several under their names, that the learner finds out.

    ``right(*given)`` computes it, ``near`` (absolute) and ``share`` (of the right one) say how exact it has to be. The
    known wrong ones are functions of the same arguments, or, of several numbers, a dict with the wrong one.
    """

    label: str = "the number"
    near: float = 1e-6
    share: float = 0.0
    properties: Sequence[Callable[..., None]] = ()

    def judge(self, answer: Any, given: tuple, options: dict, notes: list[str]) -> str:
        right = self.right(*given, **options)
        if not isinstance(right, dict):
            answer, right = {self.label: answer}, {self.label: right}
        elif not isinstance(answer, dict) or set(answer) != set(right):
            raise Mistake(
                f"got {described(answer)}, expected a dictionary with the keys {', '.join(right)}",
                mend="keep the keys, and put your numbers in",
            )
        if all(value is None or value is ... for value in answer.values()):
            raise Unwritten
        found = []
        for name, value in answer.items():
            try:
                value = number(value, name)
            except Mistake as mistake:
                found.append(mistake)
                continue
            if not self._close(value, right[name]):
                found.append(self._words(name, value, right[name], given, options))
        if found:
            raise Mistake.all(found)
        return self.verified.format(*answer.values(), **options)

    def _close(self, value: float, right: float) -> bool:
        return abs(value - right) <= max(self.near, self.share * abs(right)) * (1 + 1e-6)

    def _words(self, name: str, value: float, right: float, given: tuple, options: dict) -> Mistake:
        for wrong in self.wrong:
            theirs = wrong.way.get(name) if isinstance(wrong.way, dict) else wrong.way(*given, **options)
            if theirs is not None and self._close(value, theirs) and not self._close(theirs, right):
                return Mistake(f"{name} is {value:.4g}: {wrong.seen}", wrong.cause, wrong.mend)
        try:
            for prove in self.properties:
                prove(value, right, *given, **options)
        except Mistake as mistake:
            return mistake
        return Mistake(f"{name} is {value:.4g}; that is {'too small' if value < right else 'too large'}")


@dataclass(frozen=True, kw_only=True)
class Explore(Exercise):
    """An open task with a criterion: images, a network or an attack that has to reach something.

    ``measured(self, answer, notes, *given, **options)`` returns what was verified, or raises `Mistake`. ``right`` and
    the ways of ``wrong`` are functions of what the check is given; they return an answer.
    """

    measured: Callable[..., str] = field(default=lambda *_: "")

    def judge(self, answer: Any, given: tuple, options: dict, notes: list[str]) -> str:
        return self.measured(self, answer, notes, *given, **options)


def parameters(function: Callable) -> list[str]:
    """The names of the arguments that a case passes."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, given in inspect.signature(function).parameters.items() if given.kind in kinds]


def wrapped(text: str) -> str:
    """Lines no longer than a page is wide, those after the first set in."""
    first, *rest = text.split("\n")
    lines = [textwrap.fill(first, PAGE, subsequent_indent="  ")]
    lines += [textwrap.fill(line, PAGE, initial_indent="  ", subsequent_indent="    ") for line in rest]
    return "\n".join(lines)


def _difference(result: Any, right: Any) -> str:
    """What differs, without a guess why."""
    if isinstance(result, Tensor) and isinstance(right, Tensor) and result.shape == right.shape:
        off = (result.double() - right.double()).abs()
        wrong = int((off > 1e-5).sum())
        return f"{wrong} of {right.numel()} values differ from the formula's, by up to {off.max().item():.3g}"
    return f"the result is {described(result)}, expected {described(right)}"
