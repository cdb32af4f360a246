"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replacing", "replacing_together", "try_writing"]


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


def try_writing(folder: str | os.PathLike) -> None:
    """Make `folder` where it is missing and write to it, so that hours of work do not end at a closed door; OSError."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=Path(folder)) as file:
            file.write(b"?")
    except OSError as error:
        raise OSError(f"cannot write to {folder} ({error.strerror}); choose another folder with --out") from None
