"""What a code cell has to show: its code where that is short, what it prints, its figures, its slider or its quiz."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from book._ext.coursebook import chapter
from book._ext.coursebook.stills import STATE, VIEW

ROOM = 15  # lines of code or of print that a slide has room for
ASIDE = 10  # lines of code that define nothing, where a section is not about code
COLUMNS = 80  # letters of code or of print in a line
RICH = (VIEW, "image/png", "text/html")


@dataclass
class Exhibit:
    """What one slide shows of a cell, as a cell, and its kind."""

    kind: str
    cell: NotebookNode


def exhibits(cell: NotebookNode, notebook: NotebookNode, *, in_code: bool) -> Iterator[Exhibit]:
    """What a code cell has to show, one slide each."""
    if chapter.grade_id(cell):
        return
    rich = [one for one in cell.outputs if set(RICH) & set(one.get("data", {}))]
    printed = "".join(said(one) for one in cell.outputs if one not in rich).rstrip("\n")
    code = ("" if rich else whole(cell, in_code)) or (function(cell) if in_code else "")
    lines = sum(1 + len(line) // COLUMNS for line in printed.splitlines())
    if code and printed and len(code.splitlines()) + lines <= ROOM:
        yield Exhibit("code", shown(code, [stream(printed)]))
        printed = ""
    elif code:
        yield Exhibit("code", shown(code, []))
    if printed and lines <= 3 and rich and VIEW not in rich[0].data:
        yield Exhibit("figure", shown("", [rich.pop(0), stream(printed)], cell))
    elif printed and lines <= ROOM:
        yield Exhibit("print", shown("", [stream(printed)]))
    for one in rich:
        kind = "figure" if VIEW not in one.data else "quiz" if is_quiz(one, notebook) else "slider"
        yield Exhibit(kind, shown("", [one], cell))


def is_quiz(output: NotebookNode, notebook: NotebookNode) -> bool:
    models = notebook.metadata.widgets[STATE].state
    return "advlib-quiz" in models[output.data[VIEW].model_id].state.get("_dom_classes", [])


def said(output: NotebookNode) -> str:
    """What an output prints."""
    return output.get("text", "") or output.get("data", {}).get("text/plain", "")


def stream(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


def whole(cell: NotebookNode, in_code: bool) -> str:
    """A cell's code where it has room, and prints or defines something."""
    tree, lines = parsed(cell), cell.source.splitlines()
    for node in reversed(tree.body):  # what a cell asserts is said by what it prints
        if isinstance(node, ast.Assert):
            del lines[node.lineno - 1 : node.end_lineno]
    defines = bool(tree.body) and isinstance(tree.body[0], ast.FunctionDef)
    room = ROOM if in_code or defines else ASIDE
    return "\n".join(lines).strip() if len(lines) <= room and tree.body and (defines or cell.outputs) else ""


def function(cell: NotebookNode) -> str:
    """A cell's first function that fits on a slide."""
    short = [
        one for one in parsed(cell).body if isinstance(one, ast.FunctionDef) and one.end_lineno - one.lineno < ROOM
    ]
    return ast.get_source_segment(cell.source, short[0]) if short else ""


def parsed(cell: NotebookNode) -> ast.Module:
    """A cell's code; nothing where it is not meant to be looked at."""
    hidden = "hide-input" in cell.metadata.get("tags", []) or re.search(r"^\s*[%!]", cell.source, re.M)
    return ast.parse("" if hidden else cell.source)


def shown(code: str, outputs: list[NotebookNode], cell: NotebookNode | None = None) -> NotebookNode:
    """A code cell of a slide; a figure keeps the words that say what it shows."""
    outputs = [nbformat.from_dict(dict(one)) for one in outputs]
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") if cell else ""
    for one in outputs:
        if "image/png" in one.get("data", {}):
            one.metadata = NotebookNode(alt=alt)
    return new_code_cell(code, outputs=outputs)
