"""What every chapter keeps to, so that nbval compares something and the page is whole without a kernel."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from advlib.grading.needed import asks_for, binds, statements
from book._ext.coursebook.course_map import run_seconds
from tests.notebooks.needs import needs

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
UNCOMPARED = "nbval-ignore-output"
LONGEST_RUN = 60  # seconds of processor time
# Only MyST draws these; Colab shows them raw.
MYST = {
    "directive ```{…}": re.compile(r"^\s*(`{3,}|~{3,}|:{3,})\s*\{[\w:-]+\}", re.M),
    "directive :::": re.compile(r"^\s*:{3,}", re.M),
    "role {…}`…`": re.compile(r"\{[\w:.+-]+\}`[^`]+`"),
    "target (…)=": re.compile(r"^\s*\([\w:. -]+\)=\s*$", re.M),
    "comment %": re.compile(r"^%+ ", re.M),
    "substitution {{…}}": re.compile(r"\{\{\s*\w+\s*\}\}"),
}
PROGRESS_BAR = re.compile(r"\d+%\|.*\d+/\d+ \[")
SAMPLE = re.compile(r"load_images\([^)]*[\"']sample[\"']")
FENCED = re.compile(r"^(`{3,}|~{3,})(?!\s*\{).*?^\1\s*$", re.M | re.S)


def faults(path: Path, toc_text: str, setup: str) -> list[str]:
    """Everything wrong with the chapter at ``path``, one line each, with the number of the cell.

    ``toc_text`` is the table of contents' text, ``setup`` the source of the golden chapter's setup cell.
    """
    notebook = nbformat.read(path, as_version=4)
    found = [*_unlisted(path, toc_text), *_other_setup(notebook, setup)]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            found += [f"cell {number}: {fault}" for fault in _markdown_faults(cell)]
    return found + untrue(notebook)


def untrue(notebook: NotebookNode) -> list[str]:
    """What of a notebook's stored run is missing, wrong or too slow; also for the book's own pages."""
    found = [*_slow(notebook), *_missed_where_skipped(notebook)]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            found += [f"cell {number}: {fault}" for fault in _code_faults(cell, notebook)]
    return found


def setup_source(notebook: NotebookNode) -> str:
    """The source of the first code cell."""
    return next((cell.source for cell in notebook.cells if cell.cell_type == "code"), "")


def _unlisted(path: Path, toc_text: str) -> Iterator[str]:
    if not re.search(rf"\bfile: {path.parent.name}/{path.stem}\b", toc_text):
        yield f"_toc.yml does not list {path.parent.name}/{path.stem}"


def _slow(notebook: NotebookNode) -> Iterator[str]:
    seconds = run_seconds(notebook)
    if not seconds:
        yield "no run time is stored: run it with `make notebook`"
    elif seconds > LONGEST_RUN:
        yield f"it took {seconds:.0f} s of processor time, the limit is {LONGEST_RUN} s"


def _missed_where_skipped(notebook: NotebookNode) -> Iterator[str]:
    """Names that a cell uses, though the only cell that defines them is skipped on machines where this one runs."""
    always: set[str] = set()
    skipped: dict[str, tuple[int, set[str]]] = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        body, asked = statements(cell.source), set(needs(cell.metadata))
        for name in sorted(asks_for(body) - always):
            where, lacking = skipped.get(name, (0, set()))
            if lacking - asked:
                yield f"cell {number}: {name} comes from cell {where}, which is skipped without {', '.join(lacking)}"
        defines = set().union(*map(binds, body))
        if asked:
            skipped |= dict.fromkeys(defines, (number, asked))
        else:
            always |= defines


def _other_setup(notebook: NotebookNode, setup: str) -> Iterator[str]:
    if setup_source(notebook) != setup:
        yield "the first code cell is not the setup cell that all chapters share"


def _code_faults(cell: NotebookNode, notebook: NotebookNode) -> Iterator[str]:
    if not cell.source.strip():
        yield "an empty code cell"
    elif cell.execution_count is None:
        yield "it has not been run: no output is stored"
    elif not cell.outputs and speaks(cell.source):
        yield "it should print or show something, but no output is stored"
    if UNCOMPARED in cell.metadata.get("tags", []) and "assert " not in cell.source:
        yield f"tagged {UNCOMPARED}, so that no test sees its figures: assert what the text says of them"
    if SAMPLE.search(cell.source) and not ("FileNotFoundError" in cell.source and needs(cell.metadata)):
        yield "it loads photographs that cannot be downloaded: catch FileNotFoundError, and name one in advlib.needs"
    for output in cell.outputs:
        yield from _output_faults(output, cell, notebook)


def speaks(source: str) -> bool:
    """Must this code print or show something when it runs? Definitions, assignments and conditions need not.

    >>> speaks("x = 1"), speaks("x"), speaks("print(1)"), speaks("x;"), speaks("def f(): print(1)")
    (False, True, True, False, False)
    """
    body = statements(source)
    if not body:
        return False
    ends_in_value = isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";")
    silent = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Try, ast.If)
    calls = [
        node.func
        for part in body
        if not isinstance(part, silent)
        for node in ast.walk(part)
        if isinstance(node, ast.Call)
    ]
    shown = any(isinstance(call, ast.Name) and call.id in ("print", "display") for call in calls)
    return ends_in_value or shown


def _output_faults(output: NotebookNode, cell: NotebookNode, notebook: NotebookNode) -> Iterator[str]:
    if output.output_type == "error":
        yield f"it ended in an error: {output.ename}"
    if output.get("name") == "stderr":
        yield f"it wrote to stderr: {output.text[:60]!r}"
    data = output.get("data", {})
    if PROGRESS_BAR.search("".join(data.get("text/plain", ""))):
        yield "a progress bar is stored, which differs on every run"
    if any(kind in data for kind in PICTURES) and len(_alt(cell)) < 15:
        yield "a figure without alt text: say what it shows in the cell's metadata, mystnb.image.alt"
    if WIDGET_VIEW in data and not _reaches(data[WIDGET_VIEW]["model_id"], _state(notebook)):
        yield "its widget's state is not stored: run it with `make notebook`"
    for html in ["".join(data.get("text/html", "")), *_frames(data, notebook)]:
        for image in re.findall(r"<img\b[^>]*>", html):
            if not re.search(r"\balt=([\"'])\s*\S.*?\1", image, re.S):
                yield "an <img> without alt text"


def _alt(cell: NotebookNode) -> str:
    return str(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")).strip()


def _state(notebook: NotebookNode) -> dict:
    return notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})


def stored_widgets(notebook: NotebookNode) -> Iterator[tuple[str, bool]]:
    """The id of each widget that a notebook shows, and whether its state is stored with all that it refers to."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if view := output.get("data", {}).get(WIDGET_VIEW):
                yield view["model_id"], _reaches(view["model_id"], _state(notebook))


def _reaches(model_id: str, state: dict) -> bool:
    """Is the widget stored, with all the widgets that it refers to?"""
    return _family(model_id, state) is not None


def _family(model_id: str, state: dict) -> list[str] | None:
    """The ids of a widget and its descendants; None where one is missing from the stored state."""
    family, waiting = [], [model_id]
    while waiting:
        current = waiting.pop()
        if current not in state:
            return None
        family.append(current)
        values = str(state[current].get("state", {}))
        waiting += [found for found in re.findall(r"IPY_MODEL_(\w+)", values) if found not in family]
    return family


def _frames(data: dict, notebook: NotebookNode) -> list[str]:
    """The HTML inside a widget."""
    if WIDGET_VIEW not in data:
        return []
    state = _state(notebook)
    family = _family(data[WIDGET_VIEW]["model_id"], state) or []
    return [
        state[member]["state"].get("value", "") for member in family if state[member].get("model_name") == "HTMLModel"
    ]


def _markdown_faults(cell: NotebookNode) -> Iterator[str]:
    text = FENCED.sub("", cell.source)
    for name, pattern in MYST.items():
        if pattern.search(text):
            yield f"MyST only, shown raw in Colab: {name}"
    for alt in re.findall(r"!\[(.*?)\]\(", text):
        if not alt.strip():
            yield "a picture without alt text"
    if "attachment:" in text or re.search(r"!\[.*?\]\(https?:", text):
        yield "a picture that is not in the notebook or the repository"
