"""What ``advlib attack`` leaves behind: files that overwrite nothing of the person's, and a table."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin

from advlib.cli import printable
from advlib.files import replacing

ADVERSARIAL, FIGURE = "-adversarial.png", "-figure.png"
MADE_BY = "advlib attack"
LONGEST = 200  # bytes of a name: file systems take 255, and the endings need some


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    photo: str
    clean: str
    clean_probability: str
    adversarial: str
    adversarial_probability: str
    fooled: str
    size: str


def stems(photos: Sequence[str], folder: str | os.PathLike) -> Iterator[str]:
    """A name for each photo's results, its own where it is free; the results of an earlier run are replaced.

    >>> list(stems(["a/1.png", "b/1.png", "b/2.png"], "nowhere"))
    ['1', 'b-1', '2']
    """
    given = {_same(photo) for photo in photos}
    taken: set[str] = set()
    for photo in photos:
        path = Path(photo)
        plain, longer = _short(path.stem), _short(f"{path.parent.name}-{path.stem}")
        candidates = itertools.chain([plain, longer], (f"{longer}-{k}" for k in itertools.count(2)))
        stem = next(name for name in candidates if name.lower() not in taken and _is_free(Path(folder, name), given))
        taken.add(stem.lower())
        yield stem


def save(image: Image.Image, path: Path) -> None:
    """Write a lossless PNG that says that this command made it, so that it may replace it."""
    made_by = PngImagePlugin.PngInfo()
    made_by.add_text("Software", MADE_BY)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=made_by)


def save_figure(png: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(png)) as figure:
        save(figure, path)


def print_table(rows: Sequence[Row], norm: str) -> None:
    """Columns as wide as their longest entry."""
    lines = [("photo", "clean", "", "adversarial", "", "fooled", f"{norm} size"), *(astuple(row) for row in rows)]
    cells = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _is_free(stem: Path, given: set[str]) -> bool:
    """Whether no file of the results' names is there, or one that this command made and is not to attack."""
    for path in (stem.with_name(stem.name + ending) for ending in (ADVERSARIAL, FIGURE)):
        if path.exists() and (_same(path) in given or not _is_ours(path)):
            return False
    return True


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.info.get("Software") == MADE_BY
    except (OSError, ValueError, SyntaxError):
        return False


def _same(path: str | os.PathLike) -> str:
    return os.path.normcase(os.path.realpath(path))


def _short(name: str) -> str:
    data = os.fsencode(name)
    return name if len(data) <= LONGEST else data[:LONGEST].decode("utf-8", "ignore")
