"""Is what a student's process handed over right? No code of theirs runs here."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from advlib.exercises import check
from advlib.exercises.exercise import Exercise
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
    """Judges a chapter's answers. Each exercise is right as a whole or not at all, as in nbgrader."""

    tasks: Sequence[Task]
    _settings: dict[str, Setting] = field(default_factory=dict)
    _rights: dict[str, list] = field(default_factory=dict)

    def grade(self, number: int, supervisor: Supervisor, cell: str | None, others: Sequence[str]) -> Result:
        """Run an answer, and judge what comes of it."""
        task = self.tasks[number]
        if cell is None and not any(call.answer in other for call in task.calls for other in others):
            return Result(0, "\n".join(f"○ {call.answer}: not written yet" for call in task.calls))
        reply = supervisor.run(number, cell, others)
        found = reply.get("found")
        if not isinstance(found, list) or len(found) != len(task.calls):
            why = str(reply.get("died", "it handed over something else than an answer"))
            return Result(0, f"✗ {why}", (f"{task.grade_id}: {why}",))
        judged = [self._one(task, call, message) for call, message in zip(task.calls, found)]
        right = all(ok for ok, _, _ in judged)
        remarks = tuple(f"{task.grade_id}: {remark}" for _, _, remark in judged if remark)
        return Result(task.points if right else 0, "\n".join(words for _, words, _ in judged), remarks)

    def _one(self, task: Task, call: Call, message: Any) -> tuple[bool, str, str]:
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
        return self._value(task, call, exercise, message["value"])

    def _value(self, task: Task, call: Call, exercise: Exercise, value: Any) -> tuple[bool, str, str]:
        """The whole verdict, on what was handed over and on the chapter's own images and networks."""
        if task.grade_id not in self._settings:
            with contextlib.redirect_stdout(None):  # the chapter's own cells print what the chapter shows
                self._settings[task.grade_id] = Setting(task.sent())
        match value:
            case [answer, dict(own)] if set(own) == set(call.own):
                given, options = arguments_of({"arguments": call.arguments}, self._settings[task.grade_id].names | own)
            case _:
                return False, "✗ it handed over something else than an answer", DOUBT
        verdict = exercise.verdict(answer, *given, **options)
        return verdict.right, verdict.text, ""

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
