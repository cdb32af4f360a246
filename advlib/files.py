"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PICKLES", "for_spreadsheet", "replacing", "replacing_together"]

PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".tar"}  # such a file may run anything when it is opened
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet takes for the beginning of one


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; move it to `path` if that went well, else remove it.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "note.txt")) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     Path(folder, "note.txt").read_text()
    'whole'
    """
    with replacing_together(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def replacing_together(*paths: str | os.PathLike) -> Iterator[tuple[Path, ...]]:
    """`replacing` for files of one folder that belong together: none is moved before all are written."""
    final = [Path(path) for path in paths]
    folder = final[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as aside:
        temporary = tuple(Path(aside, path.name) for path in final)
        yield temporary
        for source, path in zip(temporary, final):
            os.replace(source, path)


def for_spreadsheet(text: str) -> str:
    """A text as a cell of a table in CSV: on one line, and none that a spreadsheet computes.

    >>> for_spreadsheet("=cmd|' /C calc'!A0"), for_spreadsheet("Anna")
    ("'=cmd|' /C calc'!A0", 'Anna')
    """
    text = " ".join(text.splitlines()) if len(text.splitlines()) > 1 else text
    return f"'{text}" if text.startswith(FORMULA) else text
