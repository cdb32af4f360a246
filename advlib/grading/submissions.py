"""Which notebook is whose. All are read before anything runs: what runs can change none of them."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from advlib.grading.notebook import Cell, Chapter, cells_of, number_of

__all__ = ["Submission", "collected"]

LARGEST = 100 * 2**20  # bytes of a notebook


@dataclass(frozen=True)
class Submission:
    """A student's notebook: for each exercise the cell of their answer, None where it is missing or still the stub.

    trouble   why nothing of it can be graded; empty where it can
    remarks   what a teacher should know besides
    """

    student: str
    data: bytes = b""
    answers: tuple[str | None, ...] = ()
    others: tuple[tuple[str, ...], ...] = ()
    by_hand: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    remarks: tuple[str, ...] = ()


def collected(folder: str | os.PathLike, chapter: Chapter) -> list[Submission]:
    """One submission for each student, by name: ``<student>.ipynb``, or a folder ``<student>`` that holds the notebook.

    Raises
        ValueError: no such folder, or nothing in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; expected one with <student>.ipynb or <student>/{chapter.path.name}")
    found: dict[str, list[Path]] = defaultdict(list)
    names: dict[str, str] = {}
    for entry in sorted(root.iterdir()):
        if entry.name.startswith((".", "_")) or not (entry.is_symlink() or entry.is_dir() or entry.suffix == ".ipynb"):
            continue
        student = entry.name if entry.is_dir() else entry.name.removesuffix(".ipynb")
        # Anna and ANNA would share a page of feedback on some file systems.
        key = unicodedata.normalize("NFC", student).casefold()
        names.setdefault(key, student)
        found[key].append(entry)
    if not found:
        raise ValueError(f"{root} holds no notebooks; expected <student>.ipynb or <student>/{chapter.path.name}")
    return [_submission(names[key], entries, chapter) for key, entries in found.items()]


def _submission(student: str, entries: list[Path], chapter: Chapter) -> Submission:
    try:
        if len(entries) > 1:
            several = " and ".join(entry.name for entry in entries)
            raise ValueError(f"handed in twice, as {several}: keep one, and run this again")
        path = _notebook(entries[0], chapter.path.name)
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.name} has more than {LARGEST >> 20} MB: clear its outputs")
        data = path.read_bytes()
        return of_cells(student, data, cells_of(data), chapter)
    except (ValueError, OSError) as error:
        words = f"{error.strerror}" if isinstance(error, OSError) else str(error)
        return Submission(student, trouble=words)


def _notebook(entry: Path, expected: str) -> Path:
    if entry.is_symlink():
        raise ValueError(f"{entry.name} is a link, which may lead to somebody else's work: ask for the file itself")
    if entry.is_file():
        return entry
    # No link is followed, neither to a file nor to a folder.
    every = [
        Path(place, name)
        for place, folders, files in os.walk(entry)
        for name in files
        if name.endswith(".ipynb") and ".ipynb_checkpoints" not in Path(place).parts
    ]
    every = [path for path in every if not path.is_symlink()]
    named = [path for path in every if path.name == expected] or every
    if len(named) != 1:
        raise ValueError(
            f"{len(named)} notebooks in {entry.name}/, and none or several are called {expected}"
            if named
            else f"no notebook in {entry.name}/"
        )
    return named[0]


def of_cells(student: str, data: bytes, cells: list[Cell], chapter: Chapter) -> Submission:
    """What of these cells is graded.

    Raises
        ValueError: the notebook is another chapter's.
    """
    known = {task.grade_id for task in chapter.tasks} | {task.check_id for task in chapter.tasks}
    ids = {cell.grade_id for cell in cells}
    if not known & ids and (number := number_of(cells)) not in (chapter.number, None):
        raise ValueError(f"this is the notebook of chapter {number}, not of chapter {chapter.number}")
    remarks, answers, others = [], [], []
    code = [cell for cell in cells if cell.kind == "code"]
    for task in chapter.tasks:
        mine = [cell.source for cell in code if cell.grade_id == task.grade_id]
        if not mine:
            remarks.append(f"{task.grade_id}: no such cell; the answer is looked for in the others")
        written = [source for source in mine if source.strip() != task.stub.strip()]
        if len(mine) > 1:
            remarks.append(f"{task.grade_id}: {len(mine)} cells; the last that was written in counts")
        answers.append(written[-1] if written else None)
        others.append(tuple(_others(code, task.grade_id, chapter)))
        given = {cell.source.strip() for cell in code if cell.grade_id == task.check_id}
        if given - {task.check.strip()}:
            remarks.append(
                f"{task.check_id}: another check than the chapter's, which counts; changed, or an old version?"
            )
    by_hand = {cell.grade_id: cell.source for cell in cells if cell.grade_id in chapter.by_hand}
    return Submission(student, data, tuple(answers), tuple(others), by_hand, remarks=tuple(remarks))


def _others(code: Iterable[Cell], grade_id: str, chapter: Chapter) -> Iterable[str]:
    """The cells, besides the answer and all checks, that an answer may lean on."""
    checks = {task.check_id for task in chapter.tasks}
    return (cell.source for cell in code if cell.grade_id not in checks and cell.grade_id != grade_id)
