"""Files that the build writes beside the pages."""

import os
from pathlib import Path

from sphinx.errors import ExtensionError


def write(path: Path, content: bytes) -> Path:
    """Write a file at once: of two processes that write the same, neither reads half of it.

    Raises
        ExtensionError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{path.name}.{os.getpid()}")
        half.write_bytes(content)
        half.replace(path)
    except OSError as error:
        why = error.strerror or error
        raise ExtensionError(
            f"{path} cannot be written: {why}. The build needs room, and a folder of its own."
        ) from error
    return path
