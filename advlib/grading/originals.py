"""The course's own files as they were, to be put back where an answer got at them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from advlib.files import replacing

__all__ = ["Originals"]


class Originals:
    """Remembers files, and all files of folders, whole."""

    def __init__(self, places: Iterable[Path]):
        every = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
        self.kept = {
            path: (path.read_bytes(), _stamp(path)) for path in every if path.is_file() and not path.is_symlink()
        }

    def put_back(self) -> list[Path]:
        """Restore what was changed or removed; its paths."""
        found = []
        for path, (data, stamp) in self.kept.items():
            if path.is_file() and _stamp(path) == stamp:
                continue
            if not path.is_file() or path.read_bytes() != data:
                with replacing(path) as temporary:
                    temporary.write_bytes(data)
                found.append(path)
            self.kept[path] = (data, _stamp(path))
        return found


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written, as far as its folder knows: the moment of its change cannot be set."""
    known = path.stat()
    return known.st_size, known.st_mtime_ns, known.st_ctime_ns
