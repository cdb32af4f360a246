"""What a teacher gets: scores.csv, a page of feedback for each student, and the record of who is done."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from advlib import __version__
from advlib.files import for_spreadsheet, replacing
from advlib.grading.notebook import Chapter
from advlib.grading.submissions import Submission

__all__ = ["FOLDER", "Graded", "Record", "Result", "about", "write_page", "write_scores"]

RECORD = "graded.json"
FOLDER = "feedback"

STYLE = """
:root { color-scheme: light dark; --text: #23272e; --page: #fdfcf9; --quiet: #555b66; --line: #ddd7ca; --card: #fff;
  --right: #1d6b34; --wrong: #9c2b1c }
@media (prefers-color-scheme: dark) { :root { --text: #dcdfe4; --page: #14171c; --quiet: #a6adb8; --line: #3a414c;
  --card: #1b1f26; --right: #7fd39a; --wrong: #f4a58f } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 44rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.05rem; margin: 0; display: flex; gap: 1rem }
h2 span { margin-left: auto; white-space: nowrap; font-weight: 400 }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem;
  margin: 1rem 0 }
pre { white-space: pre-wrap; margin: .5rem 0 0; font: .875rem/1.5 ui-monospace, monospace }
p { margin: .25rem 0; color: var(--quiet) } .right { color: var(--right) } .wrong { color: var(--wrong) }
"""


@dataclass(frozen=True)
class Result:
    """An exercise graded: the points, what the check said, and what the teacher should know."""

    points: float
    words: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graded:
    """A student's results, an exercise each, and what the teacher should know."""

    student: str
    results: tuple[Result, ...] = ()
    trouble: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return sum(result.points for result in self.results)

    @property
    def every_remark(self) -> list[str]:
        return [*filter(None, [self.trouble]), *self.remarks, *(r for one in self.results for r in one.remarks)]


class Record:
    """Who is done, on disk: a student whose notebook is the same is not run again."""

    def __init__(self, folder: Path, about: str):
        self.path, self.about = folder / RECORD, about
        self.done: dict[str, dict] = {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.done = found["students"] if found["about"] == about else {}
        except (OSError, ValueError, TypeError, KeyError):
            pass

    def get(self, submission: Submission) -> Graded | None:
        try:
            kept = self.done[submission.student]
            if kept["notebook"] != _hash(submission.data):
                return None
            results = tuple(Result(one["points"], one["words"], tuple(one["remarks"])) for one in kept["results"])
            return Graded(submission.student, results, "", submission.remarks)
        except (KeyError, TypeError):
            return None

    def put(self, submission: Submission, graded: Graded) -> None:
        results = [asdict(result) for result in graded.results]
        self.done[submission.student] = {"notebook": _hash(submission.data), "results": results}
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps({"about": self.about, "students": self.done}), encoding="utf-8")


def about(chapter: Chapter, limits: object, package: Path, own_numbers: bool) -> str:
    """All that a grade depends on besides the notebook: the chapter, the package, the limits, whose numbers."""
    sources = [chapter.path, *sorted(package.rglob("*.py"))]
    return _hash(b"".join(path.read_bytes() for path in sources) + f"{__version__} {limits} {own_numbers}".encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_scores(path: Path, chapter: Chapter, students: Sequence[Graded]) -> None:
    """A row for each student, a column for each exercise; those that a person marks are empty."""
    out_of = sum(task.points for task in chapter.tasks)
    heads = [task.grade_id for task in chapter.tasks]
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8-sig", errors="backslashreplace") as file,
    ):
        table = csv.writer(file)
        table.writerow(["student", *heads, *chapter.by_hand, "total", "out of", "remarks"])
        for one in students:
            points = [_points(result.points) for result in one.results] or [""] * len(heads)
            total = _points(one.total) if one.results else ""
            remarks = "; ".join(one.every_remark)
            table.writerow(
                [
                    for_spreadsheet(one.student),
                    *points,
                    *[""] * len(chapter.by_hand),
                    total,
                    _points(out_of),
                    for_spreadsheet(remarks),
                ]
            )


def _points(value: float) -> str:
    return f"{value:g}"


def write_page(folder: Path, chapter: Chapter, graded: Graded, by_hand: dict[str, str]) -> None:
    """The student's page of feedback: what the checks said, in words. It asks nothing of the network."""
    name = os.fsencode(graded.student)[:200].decode("utf-8", "ignore")
    words = html.escape(graded.student)
    out_of = sum(task.points for task in chapter.tasks)
    parts = [f"<h1>{html.escape(chapter.title)}</h1>\n<p>{words}</p>"]
    if graded.trouble:
        parts.append(f'<section><h2 class="wrong">Not graded</h2><pre>{html.escape(graded.trouble)}</pre></section>')
    else:
        parts.append(f"<p><strong>{_points(graded.total)} of {_points(out_of)} points</strong></p>")
    for task, result in zip(chapter.tasks, graded.results):
        look = "right" if result.points == task.points else "wrong"
        parts.append(
            f'<section><h2>{html.escape(task.title)} <span class="{look}">{_points(result.points)} of '
            f"{_points(task.points)}</span></h2>\n<pre>{html.escape(result.words)}</pre></section>"
        )
    for grade_id, text in by_hand.items():
        most = _points(chapter.by_hand[grade_id])
        parts.append(
            f"<section><h2>{html.escape(grade_id)} <span>of {most}, marked by hand</span></h2>\n"
            f"<pre>{html.escape(text)}</pre></section>"
        )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{words}: {html.escape(chapter.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )
    with replacing(folder / f"{name}.html") as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
