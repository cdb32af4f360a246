"""The directive `course-map`: every chapter of the course, linked where it exists, with the time it takes.

A chapter's minutes are those that its notebook states; `course.yml` has a guess for those that are not written.
"""

import json
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from . import chapter


def run_seconds(notebook: dict) -> float:
    """Seconds of processor time that a notebook took when `make notebook` last ran it; 0 where it never did.

    >>> run_seconds({"metadata": {"advlib": {"cpu_seconds": 20.5}}, "cells": []})
    20.5
    """
    return notebook["metadata"].get("advlib", {}).get("cpu_seconds", 0.0)


def parts(source: Path) -> list[dict]:
    """What `course.yml` says: the course's parts, each with its chapters."""
    return yaml.safe_load(source.read_text(encoding="utf-8"))


class CourseMap(SphinxDirective):
    """Draw `course.yml`, which lies beside the page."""

    def run(self) -> list[nodes.Node]:
        page = Path(self.env.doc2path(self.env.docname))
        source = page.parent / "course.yml"
        self.env.note_dependency(str(source))
        lines = []
        for part in parts(source):
            lines += ["", f"**{part['part']}**", "", "| No. | Chapter | Time |", "|---|---|---|"]
            lines += [self._row(page.parents[1], **row) for row in part["chapters"]]
        box = nodes.container(classes=["course-map"])
        self.state.nested_parse(StringList(lines, str(source)), self.content_offset, box)
        return [box]

    def _row(self, root: Path, file: str, title: str, hook: str, minutes: int | None = None, **_) -> str:
        number, path = int(file[:2]), root / "chapters" / f"{file}.ipynb"
        if f"chapters/{file}" not in self.env.found_docs:
            return f"| {number} | {title}<br>{hook} | {minutes} min, planned |"
        self.env.note_dependency(str(path))
        seconds = run_seconds(json.loads(path.read_text(encoding="utf-8")))
        link = f"[{title}](../chapters/{file}.ipynb)"
        return f"| {number} | {link}<br>{hook} | {chapter.read(path).minutes} min<br>runs in {seconds:.0f}&nbsp;s |"
