"""Files that the build writes beside the pages."""

from pathlib import Path

from sphinx.errors import ExtensionError


def write(path: Path, content: bytes) -> Path:
    """Write a file at once: of two processes that write the same, neither reads half of it.

    Raises
        ExtensionError: the file cannot be written.
    """
    from advlib.files import replacing  # brings PyTorch, which only some of those who import this module need

    try:
        with replacing(path) as half:
            half.write_bytes(content)
    except OSError as error:
        why = error.strerror or error
        raise ExtensionError(
            f"{path} cannot be written: {why}. The build needs room, and a folder of its own."
        ) from error
    return path
