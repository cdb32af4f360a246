"""Where a learner stands: the solved exercises, in one small file on their own machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

from advlib.files import replacing

__all__ = ["file", "forget", "latest", "record", "solved"]

# The chapter whose check ran last, in this session.
latest: int | None = None


def file() -> Path:
    """``$ADVLIB_PROGRESS`` (the null device for no record), or ``.advlib_progress.json`` in the home folder. Nothing is ever sent anywhere."""
    return Path(os.environ.get("ADVLIB_PROGRESS") or Path.home() / ".advlib_progress.json")


def solved() -> set[tuple[int, str]]:
    """The solved exercises, as (chapter, name). A file that cannot be read counts as none."""
    try:
        return {(int(chapter), str(name)) for chapter, name in json.loads(file().read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return set()


def record(chapter: int, name: str) -> None:
    """Remember a solved exercise; where nothing can be written, do without."""
    done = solved()
    if (chapter, name) in done or file() == Path(os.devnull):
        return
    try:
        with replacing(file()) as temporary:
            temporary.write_text(json.dumps(sorted({*done, (chapter, name)})), encoding="utf-8")
    except OSError:
        return


def forget() -> None:
    """Delete the file."""
    file().unlink(missing_ok=True)
