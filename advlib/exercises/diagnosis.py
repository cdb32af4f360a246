"""Which mistake, or which two, give just what an answer gives: the search through the known ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from advlib.exercises import slips
from advlib.exercises.exercise import Case, Wrong
from advlib.exercises.guarded import Failed
from advlib.exercises.mistake import Mistake

Suspect = tuple[Callable, Mistake]


@dataclass(frozen=True)
class Search:
    """What an answer to a `Formula` gave on its cases, each with its trace, and what is right."""

    exercise: Any
    cases: list[Case]
    seen: list[tuple[Any, Any]]
    rights: list[Any]

    def diagnose(self, pairs: bool) -> None:
        """Raise the mistakes that give this on every case: one that is known, or two at once."""
        right = self.exercise.right
        known = [(self.exercise.function(wrong), wrong.mistake()) for wrong in self.exercise.wrong]
        known += [(_fed(right, change), mistake) for change, mistake in slips.given(right)]
        found = self._match(known)
        self._slipped(right, None, self.rights)
        if pairs:
            self._match(self._pairs())
            for (function, mistake), (outcome, _) in zip(known, found):
                self._slipped(function, mistake, [outcome])
        broken = sum(not _whole(result) for result, _ in self.seen)
        if any(not isinstance(one, Failed) and not _whole(one) for one, _ in self.seen):
            # Two ways to write one mistake may part in what is infinite and what NaN.
            self._match(known, agree=lambda a, b: self.exercise.agree(_blurred(a), _blurred(b)))
        # Where all that did not break is right, nothing tells a known mistake from the right function.
        wrong = any(not self._agree_where_finite(one, right) for (one, _), right in zip(self.seen, self.rights))
        failed = sum(isinstance(result, Failed) for result, _ in self.seen)
        if wrong and 0 < 2 * broken <= len(self.cases) > 2 * failed:
            besides = self._breaks()
            these = [(function, Mistake.all([mistake, besides])) for function, mistake in known]
            self._match(these, agree=self._agree_where_finite)

    def _pairs(self) -> Iterator[Suspect]:
        """Two known parts exchanged, or one of them and a slip in what is given."""
        function, right = self.exercise.function, self.exercise.right
        parts = [wrong for wrong in self.exercise.wrong if isinstance(wrong.way, dict)]
        for one, other in combinations(parts, 2):
            if not one.way.keys() & other.way.keys():
                both = Wrong({**one.way, **other.way}, "")
                yield function(both), Mistake.both(one.mistake(), other.mistake())
        for change, mistake in slips.given(right):
            yield from ((_fed(function(one), change), Mistake.both(one.mistake(), mistake)) for one in parts)

    def _match(self, suspects: Iterable[Suspect], agree: Callable | None = None) -> list[tuple[Any, Any]]:
        """Raise the mistake that gives what was seen; of several, the first that leaves the same trace.

        Else return what each of the suspects gives on the first case. ``agree`` tells two outcomes alike, by default
        as the exercise does.
        """
        agree = agree or self.exercise.agree
        traces, firsts, matching = [trace for _, trace in self.seen], [], []
        for function, mistake in suspects:
            theirs = []
            for (result, _), found in zip(self.seen, self.exercise.results(function, self.cases)):
                if not theirs:
                    firsts.append(found)
                if not agree(result, found[0]):
                    break
                theirs.append(found[1])
            else:
                if theirs == traces:
                    raise mistake
                matching.append(mistake)
        if matching:
            raise matching[0]
        return firsts

    def _agree_where_finite(self, result: Any, other: Any) -> bool:
        """Whether they are alike, as far as the call ended well and its values are finite."""
        if isinstance(result, Tensor) and isinstance(other, Tensor) and result.shape == other.shape:
            other = torch.where(result.isfinite(), other, result.to(other.dtype))
        return isinstance(result, Failed) or self.exercise.agree(result, other)

    def _breaks(self) -> Mistake:
        """Where an answer fails beside what is wrong with its other results."""
        case, result = next((case, one) for case, (one, _) in zip(self.cases, self.seen) if not _whole(one))
        if isinstance(result, Failed):
            return Mistake(f"Besides, on {case.name}: {result.mistake.seen}", "", result.mistake.mend)
        bad = int((~result.isfinite()).sum())
        return Mistake(f"Besides, on {case.name}, {bad} of {result.numel()} values are NaN or infinite")

    def _slipped(self, function: Callable, mistake: Mistake | None, known: list[Any]) -> None:
        """Raise where the results are a function's with a slip at the end; ``known`` are the first of its outcomes."""

        def words(slip: Mistake) -> Mistake:
            return Mistake.both(mistake, slip) if mistake else slip

        results = [result for result, _ in self.seen]
        values = slips.value(known[0]), slips.value(results[0])
        likely = slips.returned(self.exercise.right, self.cases[0].args, *values)
        self._match((_then(function, change), words(slip)) for change, slip in likely)
        if slips.multiple(self.cases[: len(known)], results, known):
            bases = [base for base, _ in self.exercise.results(function, self.cases)]
            if factor := slips.multiple(self.cases, results, bases):
                raise words(factor)


def _fed(function: Callable, change: slips.Given) -> Callable:
    return lambda *args: function(*change(args))


def _then(function: Callable, change: slips.Returned) -> Callable:
    return lambda *args: change(function(*args), args)


def _blurred(outcome: Any) -> Any:
    """What is infinite counts as NaN."""
    if isinstance(outcome, tuple):
        return tuple(map(_blurred, outcome))
    return torch.where(outcome.isfinite(), outcome, torch.nan) if isinstance(outcome, Tensor) else outcome


def _whole(result: Any) -> bool:
    """A call that ended well, and with finite values."""
    return not isinstance(result, Failed) and not (isinstance(result, Tensor) and bool((~result.isfinite()).any()))
