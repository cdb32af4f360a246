"""In the student's process: run their cell above the chapter's own code, and hand over what it gives.

What is said here decides nothing by itself: a student's code may change all of it. `judge` decides.
"""

from __future__ import annotations

import ast
import copy
import linecache
import traceback
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from advlib.exercises import check
from advlib.exercises.exercise import Exercise
from advlib.exercises.frame import Formula
from advlib.exercises.guarded import Failed
from advlib.grading.needed import asks_for, binds, needed, python, reads, statements, touches

__all__ = ["Setting", "answered", "arguments_of", "outcome"]

WORDS = 4000  # characters of a verdict


class Setting:
    """What the chapter's own cells give: the names, and which statements above were run for them."""

    def __init__(self, task: dict):
        self.task = task
        self.above = [statement for cell in task["above"] for statement in statements(cell)]
        stub = statements(task["stub"])
        self.given = set().union(*map(binds, stub))  # by the stub itself
        self.done = set(needed(self.above, asks_for(stub) | (reads(task["check"]) - self.given)))
        self.names: dict[str, Any] = {"__name__": "__main__", "display": _Nothing(), "get_ipython": _Nothing()}
        self.run(self.done)
        exec(compile(task["stub"], "<the chapter's stub>", "exec"), self.names)

    def run(self, numbers: set[int]) -> None:
        """Run those of the statements above, in order."""
        body = [self.above[number] for number in sorted(numbers)]
        exec(compile(ast.Module(body, []), "<the chapter>", "exec"), self.names)


def arguments_of(call: dict, names: dict[str, Any]) -> tuple[tuple, dict]:
    """What a check is given besides the answer."""
    return eval(call["arguments"], {**names, "arguments": lambda *given, **options: (given, options)})


def answered(setting: Setting, cell: str | None, others: Sequence[str]) -> list[dict]:
    """For each check of the exercise a message: {"value": …} or {"mark": …, "words": …, "evidence": …}.

    cell     the student's answer cell, None where it is missing or still the stub
    others   their other cells, for what the answer needs and the chapter does not define above it
    """
    task, names = setting.task, setting.names
    # As the chapter has them, whatever the student's cells do to the originals.
    given = [_apart(arguments_of(call, names)) for call in task["calls"]]
    trouble = _run(setting, cell, others)
    return [_one(call, names, pair, trouble) for call, pair in zip(task["calls"], given)]


def _run(setting: Setting, cell: str | None, others: Sequence[str]) -> str:
    """Run the student's cells as far as the answer needs them; the error of the answer's own in words, if any."""
    names, answers = setting.names, {call["answer"] for call in setting.task["calls"]}
    if cell is not None:
        for name in answers:
            names.pop(name, None)
    try:
        code = python(cell or "")
        body = ast.parse(code).body
        mine = set().union(*map(binds, body))
        # What the answer sets itself is not looked for; a function may read what is set below it.
        wanted = (asks_for(body) | reads(setting.task["check"])) - (mine - asks_for(_not_functions(body)))
        own = [statement for other in others for statement in _parsed(other)]
        known = set().union(*map(binds, setting.above))
        numbers = needed([*setting.above, *own], wanted, [*map(touches, setting.above), *_theirs(own, known | mine)])
    except Exception as error:  # no Python, or too deep for who reads it
        return _words(error)
    shipped = len(setting.above)
    setting.run({number for number in numbers if number < shipped} - setting.done)
    kept = {name: names[name] for name in known & set(names)}
    for number in numbers[bisect_left(numbers, shipped) :]:
        _tried(ast.unparse(own[number - shipped]), names)
    names.update(kept)
    return _tried(code, names)


def _not_functions(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    return [one for one in body if not isinstance(one, ast.FunctionDef | ast.ClassDef)]


def _parsed(cell: str) -> list[ast.stmt]:
    """The statements of another cell; none where it is broken, which is not this exercise's fault."""
    try:
        return statements(cell)
    except Exception:
        return []


def _theirs(own: Sequence[ast.stmt], known: set[str]) -> list[set[str]]:
    """What each statement of a student's other cells sets or changes, of the names that only those cells know."""
    new = set().union(*map(binds, own)) - known
    return [touches(statement) & new for statement in own]


def _tried(code: str, names: dict[str, Any]) -> str:
    """Run it; its error in words."""
    place = "<the cell>"
    # The check quotes the line that raised an error.
    linecache.cache[place] = (len(code), None, code.splitlines(keepends=True), place)
    try:
        exec(compile(code, place, "exec"), names)
    except BaseException as error:  # SystemExit and KeyboardInterrupt among them
        return _words(error)
    return ""


def _one(call: dict, names: dict[str, Any], given: tuple[tuple, dict], trouble: str) -> dict:
    exercise: Exercise = getattr(check, call["check"])
    if call["answer"] not in names or (trouble and names[call["answer"]] is None):
        seen = f"the cell ends in {trouble}" if trouble else "it is not defined"
        return {"mark": "✗", "words": f"✗ {call['answer']}: {seen}"}
    answer = names[call["answer"]]
    if not isinstance(exercise, Formula) and not exercise.live:
        return {"value": [answer, {name: names.get(name) for name in call["own"]}]}
    verdict = exercise.verdict(answer, *given[0], **given[1])
    found: dict = {"mark": verdict.mark, "words": verdict.text[:WORDS]}
    if trouble and not verdict.right:
        found["words"] += f"\nThe cell itself ends in {trouble}"
    if isinstance(exercise, Formula) and verdict.right:
        found["evidence"] = [outcome(result) for result, _ in exercise.results(answer, exercise.cases())]
    return found


def outcome(result: Any) -> dict:
    """What a call gave; an error as its kind."""
    if isinstance(result, Failed):
        return {"error": [kind.__name__ for kind in type(result.error).__mro__]}
    return {"result": result}


def _apart(given: Any) -> Any:
    try:
        return copy.deepcopy(given)
    except Exception:  # what cannot be copied is given as it is
        return given


class _Nothing:
    """Stands for what only a notebook has: whatever is asked of it, nothing happens."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    def __getattr__(self, _: str) -> Any:
        return self


def _words(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in its line {error.lineno}: {error.msg}"
    try:
        return "".join(traceback.format_exception_only(error))[-WORDS:].strip()
    except Exception:  # an exception of the learner's own may do anything
        return type(error).__name__
