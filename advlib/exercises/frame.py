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
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from advlib.exercises.diagnosis import Search
from advlib.exercises.exercise import Case, Exercise, Wrong, instead_of
from advlib.exercises.guarded import Failed, Watch, guarded
from advlib.exercises.harm import called, damage
from advlib.exercises.mistake import Mistake, Unwritten
from advlib.exercises.properties import alike, described, difference, like, number, plain

__all__ = ["Case", "Exercise", "Explore", "Formula", "Mistake", "Number", "Wrong", "instead_of"]


@dataclass(frozen=True, kw_only=True)
class Formula(Exercise):
    """A function that is to be written, compared with the right one on each case.

    cases        builds the cases anew for each check, so that an answer that damages them harms nobody
    properties   called as ``property(case, outcome, right)`` on the first case with a wrong one; raise `Mistake`
    kind         the property that comes first: of what type and shape a result has to be
    outcome      what is compared of a call, given its arguments and its result: the result, or also a gradient
    same         when two outcomes count as equal
    trace        what the arguments remember of the call, such as the seeds an attack was given; tells known mistakes
                 apart that end in the same result
    strict       True where leaving something behind (a .grad, a mode) is wrong, not only worth a note
    refuses      the error that the text asks for, where some case is to be refused; its words are free
    """

    cases: Callable[[], list[Case]]
    properties: Sequence[Callable[[Case, Any, Any], None]] = ()
    kind: Callable[[Case, Any, Any], None] = like
    outcome: Callable[[tuple, Any], Any] = lambda args, result: result
    same: Callable[[Any, Any], bool] = alike
    trace: Callable[[tuple], Any] = lambda args: None
    strict: bool = False
    refuses: type[Exception] | None = None

    def judge(self, answer: Any, given: tuple, options: dict, notes: list[str]) -> str:
        if not callable(answer):
            self.attempt(answer, (), notes)
        cases = self.cases()
        rights = [right for right, _ in self.results(self.right, cases)]
        for right in rights:
            if isinstance(right, Failed) and not right.refused(self.refuses):
                raise RuntimeError(f"the exercise's own answer fails: {right.what}")
        results, traces, harms, asks = [], [], [], []
        for case in cases:
            args = copy.deepcopy(case.args)
            with called(args) as asked:
                results.append(self._outcome(answer, args, self._watch(notes)))
            traces.append(self.trace(args))
            harms += damage(self.right, case.args, args)
            asks.append(asked())
        agreed = [self.agree(*pair) for pair in zip(results, rights)]
        if not all(agreed):
            plain(results)
            self._random(answer, cases[0], results[0])
            crashed = any(isinstance(result, Failed) and not fine for result, fine in zip(results, agreed))
            # A few bits or one number agree with two mistakes by chance.
            few = any(
                isinstance(right, float) or (isinstance(right, Tensor) and right.dtype == torch.bool)
                for right in rights
            )
            Search(self, cases, list(zip(results, traces)), rights).diagnose(pairs=not crashed and not few)
            if any(self._ignored(*one) for *one, asked, fine in zip(cases, results, asks, agreed) if not asked | fine):
                raise Mistake(
                    "the model that was passed was never called", mend="call the argument, and no other network"
                )
            for case, result, right, fine in zip(cases, results, rights, agreed):
                if not fine:
                    self._describe(case, result, right, sum(agreed), len(cases))
        for harm in harms:
            if harm.serious or self.strict:
                raise harm.mistake
        notes += dict.fromkeys(harm.note for harm in harms)
        return self.verified

    def results(self, function: Callable, cases: list[Case]) -> Iterator[tuple[Any, Any]]:
        """What a function of ours gives on each case, and its trace; an exception counts as a result."""
        for case in cases:
            args = copy.deepcopy(case.args)
            yield self._outcome(function, args, Watch(seconds=self.seconds)), self.trace(args)

    def _outcome(self, function: Callable, args: tuple, watch: Watch) -> Any:
        result = guarded(function, args, watch)
        return result if isinstance(result, Failed) else self.outcome(args, result)

    def agree(self, a: Any, b: Any) -> bool:
        if isinstance(a, Failed) or isinstance(b, Failed):
            both = isinstance(a, Failed) and isinstance(b, Failed)
            return both and (a.what == b.what or (a.refused(self.refuses) and b.refused(self.refuses)))
        return self.same(a, b)

    def function(self, wrong: Wrong) -> Callable:
        """The wrong function itself."""
        if callable(wrong.way):
            return wrong.way
        return lambda *args: self.right(*args, **wrong.way)

    def _ignored(self, case: Case, result: Any) -> bool:
        """Whether an answer got to a wrong result without the model, which the right function asks on this case."""
        args = copy.deepcopy(case.args)
        with called(args) as asked:
            guarded(self.right, args, Watch(seconds=self.seconds))
        return asked() and (not isinstance(result, Failed) or result.in_network)

    def _random(self, answer: Callable, case: Case, result: Any) -> None:
        """Raise where the same call gives something else with other random numbers."""
        if not isinstance(result, Tensor):
            return
        torch.manual_seed(1)
        again = self._outcome(answer, copy.deepcopy(case.args), self._watch([]))
        if isinstance(again, Tensor) and not self.agree(result, again):
            raise Mistake(
                "two calls with the same arguments gave different results",
                "something is drawn at random: noise, a random start, dropout",
                "the formula has no chance in it: leave the random numbers out",
            )

    def _describe(self, case: Case, result: Any, right: Any, fine: int, of: int) -> None:
        """Raise what is seen on a case with a wrong result, and how many others have none."""
        try:
            self._see(case, result, right)
        except Mistake as mistake:
            if fine and not mistake.cause:
                mistake.seen += f"; on {fine} of {of} cases it is right"
            raise mistake from None

    def _see(self, case: Case, result: Any, right: Any) -> None:
        if isinstance(right, Failed):
            seen = result.what if isinstance(result, Failed) else described(result)
            raise Mistake(f"on {case.name}, expected {self.refuses.__name__}, got {seen}")
        if isinstance(result, Failed):
            raise result.mistake
        for prove in (self.kind, *self.properties):
            prove(case, result, right)
        raise Mistake(f"on {case.name}, {difference(result, right, case.args)}")


@dataclass(frozen=True, kw_only=True)
class Number(Exercise):
    """A number, or several under their names, that the learner finds out.

    ``right(*given)`` computes it, ``near`` (absolute) and ``share`` (of the right one) say how exact it has to be. The
    known wrong ones are functions of the same arguments; of several numbers, a dict with the function of the wrong one.
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
        found, values = [], {}
        for name, value in answer.items():
            try:
                values[name] = value = number(value, name)
            except Mistake as mistake:
                found.append(mistake)
                continue
            if not self._close(value, right[name]):
                found.append(self._words(name, value, right[name], given, options))
        if found:
            raise Mistake.all(found)
        return self.verified.format(*values.values(), **options)

    def _close(self, value: float, right: float) -> bool:
        return abs(value - right) <= max(self.near, self.share * abs(right)) * (1 + 1e-6)

    def _words(self, name: str, value: float, right: float, given: tuple, options: dict) -> Mistake:
        for wrong in self.wrong:
            way = wrong.way.get(name) if isinstance(wrong.way, dict) else wrong.way
            theirs = way and way(*given, **options)
            # Much nearer than an answer has to be: a number can lie near a wrong one by chance.
            if theirs is not None and math.isclose(value, theirs, rel_tol=2e-3) and not self._close(theirs, right):
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
