"""The teacher's edition as a book: the public one, and the answers, which `make book` never reads."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ANSWERS = Path("classroom") / "answers"


def build_book(root: Path, folder: Path, toc: dict | None = None) -> Path:
    """Build the book at ``root`` with the answers into ``folder``; return the folder of its pages.

    ``toc`` is the public table of contents, by default that of `_toc.yml`. Raises `RuntimeError` with what Jupyter Book
    wrote last where it fails.
    """
    toc = toc or yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    work = folder.with_name(f".{folder.name}")  # what a next build starts from, and nobody takes along
    work.mkdir(parents=True, exist_ok=True)
    write(work / "_toc.yml", with_answers(toc, root))
    write(work / "_config.yml", named_for_teachers(config, root))
    tool = Path(sys.executable).with_name("jupyter-book")
    options = ["--config", work / "_config.yml", "--toc", work / "_toc.yml", "--path-output", work]
    done = subprocess.run([tool, "build", *options, root], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the teacher's book could not be built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Path(shutil.copytree(work / "_build" / "html", folder / "book", dirs_exist_ok=True))


def with_answers(toc: dict, root: Path) -> dict:
    """The table of contents, and below it the answers that there are."""
    pages = sorted(page.stem for page in (root / ANSWERS).glob("[0-9]*.md"))
    sections = [{"file": (ANSWERS / page).as_posix()} for page in pages]
    part = {"caption": "For you alone", "chapters": [{"file": (ANSWERS / "index").as_posix(), "sections": sections}]}
    return toc | {"parts": [*toc["parts"], part]}


def named_for_teachers(config: dict, root: Path) -> dict:
    """The book's configuration under another title, with the extension where it lies."""
    config["title"] += ": the teacher's edition"
    sphinx = config["sphinx"]
    sphinx["local_extensions"] = {name: str(root / path) for name, path in sphinx["local_extensions"].items()}
    sphinx["config"]["html_theme_options"]["logo"]["text"] = config["title"]
    return config


def write(path: Path, value: dict) -> None:
    path.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
