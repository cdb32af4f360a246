"""Is what a student's process handed over right? No code of theirs runs here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from advlib.exercises import check, own
from advlib.exercises.exercise import Exercise, Verdict
from advlib.exercises.frame import Formula
from advlib.exercises.guarded import Failed
from advlib.exercises.mistake import Mistake
from advlib.grading.answering import Setting, arguments_of
from advlib.grading.notebook import Call, Task
from advlib.grading.results import Result
from advlib.grading.supervisor import Supervisor

__all__ = ["Judge", "outcome_of"]

DOUBT = "its process says that it is right, and what it handed over is not: read this answer"


@dataclass
class Judge:
    """Judges a chapter's answers. Each exercise is right as a whole or not at all, as in nbgrader.

    own_numbers   whether every student had numbers of their own (`advlib.exercises.own`), by the name on the notebook
    """

    tasks: Sequence[Task]
    own_numbers: bool = False
    _settings: dict[str, Setting] = field(default_factory=dict)
    _rights: dict[str, list] = field(default_factory=dict)

    def grade(
        self, number: int, supervisor: Supervisor, cell: str | None, others: Sequence[str], student: str
    ) -> Result:
        """Run a student's answer, and judge what comes of it."""
        task = self.tasks[number]
        if cell is None and not any(call.answer in other for call in task.calls for other in others):
            return Result(0, "\n".join(f"○ {call.answer}: not written yet" for call in task.calls))
        with own.named(student if self.own_numbers else ""):
            reply = supervisor.run(number, cell, others)
        found = reply.get("found")
        if not isinstance(found, list) or len(found) != len(task.calls):
            why = str(reply.get("died", "it handed over something else than an answer"))
            return Result(0, f"✗ {why}", (f"{task.grade_id}: {why}",))
        judged = [self._one(task, call, message, student) for call, message in zip(task.calls, found)]
        right = all(ok for ok, _, _ in judged)
        remarks = tuple(f"{task.grade_id}: {remark}" for _, _, remark in judged if remark)
        return Result(task.points if right else 0, "\n".join(words for _, words, _ in judged), remarks)

    def _one(self, task: Task, call: Call, message: Any, student: str) -> tuple[bool, str, str]:
        """Whether it is right, the words for the student, and those for the teacher."""
        exercise: Exercise = getattr(check, call.check)
        message = message if isinstance(message, dict) else {}
        says_right, words = message.get("mark") == "✓", str(message.get("words", ""))
        if isinstance(exercise, Formula):
            if says_right and not self._agree(exercise, message.get("evidence")):
                return False, f"✗ {call.answer}: what the function returns is not right", DOUBT
            return says_right, words, ""
        if exercise.live:
            return says_right, words, ""
        if "value" not in message:
            return (False, "✗ no value was handed over", DOUBT) if says_right else (False, words, "")
        return self._value(task, call, exercise, message["value"], student)

    def _value(self, task: Task, call: Call, exercise: Exercise, value: Any, student: str) -> tuple[bool, str, str]:
        """The whole verdict, on what was handed over and on the chapter's own images and networks."""
        if task.grade_id not in self._settings:
            with contextlib.redirect_stdout(None):  # the chapter's own cells print what the chapter shows
                self._settings[task.grade_id] = Setting(task.sent())
        names = self._settings[task.grade_id].names
        match value:
            case [answer, dict(theirs)] if set(theirs) == set(call.own):
                names = names | theirs
            case _:
                return False, "✗ it handed over something else than an answer", DOUBT

        def verdict(of: str) -> Verdict:
            with own.named(of):  # a check that is given numbers of one's own asks for them
                given, options = arguments_of({"arguments": call.arguments}, names)
            return exercise.verdict(answer, *given, **options)

        by, other = (student, "") if self.own_numbers else ("", student)
        said, remark = verdict(by), ""
        if not said.right and re.search(r"\bown\.", call.arguments) and verdict(other).right:
            remark = f"{task.grade_id}: right for the {'student’s own' if other else 'book’s'} numbers, "
            remark += "so grade with --own-numbers" if other else "not for the student’s own"
        return said.right, said.text, remark

    def _agree(self, exercise: Formula, evidence: Any) -> bool:
        """Whether the outcomes are those of the right function, on every case."""
        if exercise.name not in self._rights:
            self._rights[exercise.name] = [right for right, _ in exercise.results(exercise.right, exercise.cases())]
        rights = self._rights[exercise.name]
        if not isinstance(evidence, list) or len(evidence) != len(rights):
            return False
        try:
            return all(exercise.agree(outcome_of(exercise, one), right) for one, right in zip(evidence, rights))
        except Exception:  # what is not of the kind that can be compared is not right
            return False


def outcome_of(exercise: Formula, told: dict) -> Any:
    """What a call gave, from what was handed over of it."""
    if "result" in told:
        return told["result"]
    refused = exercise.refuses is not None and exercise.refuses.__name__ in told["error"]
    error = exercise.refuses() if exercise.refuses is not None and refused else Exception()
    return Failed("an error", Mistake("an error"), error=error)
