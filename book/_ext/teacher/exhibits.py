"""What a code cell has to show: its short functions, its figures, what it prints, its slider or its quiz."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from book._ext.coursebook import chapter
from book._ext.coursebook.stills import STATE, VIEW

ROOM = 17  # lines of code or of print that a slide has room for
SHARED = 15  # lines of code and of print together, each in a frame of its own
ASIDE = 12  # lines of code where a section is not about code
COLUMNS = 82  # letters of code or of print in a line
HELPER = 4  # lines of a function that is worth no slide where there are longer ones
RICH = (VIEW, "image/svg+xml", "text/html")


@dataclass
class Exhibit:
    """What one slide shows of a cell, as a cell, its kind, and what else the speaker may read out."""

    kind: str
    cell: NotebookNode
    aside: str = ""


def exhibits(cell: NotebookNode, notebook: NotebookNode, *, in_code: bool) -> Iterator[Exhibit]:
    """What a code cell has to show, one slide each; a text leads to the figure or the slider, so that comes first."""
    if chapter.grade_id(cell):
        return
    rich = [one for one in cell.outputs if set(RICH) & set(one.get("data", {}))]
    printed = narrowed("".join(said(one) for one in cell.outputs if one not in rich).rstrip("\n"))
    lines = len(printed.splitlines())
    whole = "" if rich else short(cell, in_code)
    parts = packed(functions(cell)) if in_code else []
    codes = [whole] if whole and (not parts or len(whole.splitlines()) + lines <= SHARED) else parts
    for code in codes:
        beside = code == codes[-1] and printed and not rich and len(code.splitlines()) + lines <= SHARED
        yield Exhibit("code", shown(code, [stream(printed)] if beside else []))
        printed = "" if beside else printed
    for one in rich:
        kind = "figure" if VIEW not in one.data else "quiz" if is_quiz(one, notebook) else "slider"
        beside = kind == "figure" and printed and lines <= 3
        aside = printed if kind == "slider" else ""
        yield Exhibit(kind, shown("", [one, *([stream(printed)] if beside else [])], cell), aside)
        printed = "" if beside or aside else printed
    if printed and not (rich and lines > ROOM):  # else the figure says the same
        yield Exhibit("print", shown("", [stream(begun(printed))]))


def narrowed(text: str) -> str:
    """A print that is too wide, with less room between its columns; rows that are still too wide go on below.

    >>> print(narrowed("a" * 79 + "     1\\n" + "b" * 79 + "    22").replace("a" * 70, "").replace("b" * 70, ""))
    aaaaaaaaa  1
    bbbbbbbbb 22
    """
    if max(map(len, text.splitlines()), default=0) <= COLUMNS:
        return text
    columns = [*zip_longest(*text.splitlines(), fillvalue=" ")]
    blank = [set(column) == {" "} for column in columns]
    kept = [column for column, here, before in zip(columns, blank, [False, *blank]) if not (here and before)]
    return "\n".join(hung("".join(line).rstrip()) for line in zip(*kept))


def hung(line: str) -> str:
    """A line of print that goes on below, further in, where it is too wide; broken between two columns.

    >>> print(hung("x" * 40 + "  50% (40% to 60%)" * 3).replace("x" * 30, ""))
    xxxxxxxxxx  50% (40% to 60%)  50% (40% to 60%)
            50% (40% to 60%)
    """
    if len(line) <= COLUMNS:
        return line
    gaps = [gap.end() for gap in re.finditer(r"\)\s|\S\s\s", line[:COLUMNS]) if gap.end() > COLUMNS / 3]
    ends = [end for end in gaps if line.count("(", 0, end) == line.count(")", 0, end)]
    end = ends[-1] if ends else line.rfind(" ", 0, COLUMNS)
    return f"{line[:end].rstrip()}\n{hung(' ' * 8 + line[end:].lstrip())}"


def begun(text: str) -> str:
    """As much of a print as a slide has room for."""
    lines = text.splitlines()
    return text if len(lines) <= ROOM else "\n".join([*lines[: ROOM - 1], "…"])


def is_quiz(output: NotebookNode, notebook: NotebookNode) -> bool:
    models = notebook.metadata.widgets[STATE].state
    return "advlib-quiz" in models[output.data[VIEW].model_id].state.get("_dom_classes", [])


def said(output: NotebookNode) -> str:
    """What an output prints."""
    return output.get("text", "") or output.get("data", {}).get("text/plain", "")


def stream(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


def short(cell: NotebookNode, in_code: bool) -> str:
    """A cell's code where it has room and defines something; in a section on code also where it only prints."""
    tree, lines = parsed(cell), cell.source.splitlines()
    for node in sorted(asserts(tree), key=lambda one: -one.lineno):  # what a cell asserts is said by what it prints
        del lines[node.lineno - 1 : node.end_lineno]
    defines = bool(tree.body) and isinstance(tree.body[0], ast.FunctionDef)
    worth = defines or (in_code and tree.body and cell.outputs)
    return "\n".join(lines).strip() if worth and len(lines) <= (ROOM if in_code else ASIDE) else ""


def asserts(tree: ast.Module) -> list[ast.Assert]:
    """Those that are not all that a block has."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    return [one for body in bodies if len(body) > 1 for one in body if isinstance(one, ast.Assert)]


def functions(cell: NotebookNode) -> list[str]:
    """A cell's functions and classes that fit on a slide each, without small helpers where there are others."""
    tree = parsed(cell).body
    found = [
        ast.get_source_segment(cell.source, one) for one in tree if isinstance(one, (ast.FunctionDef, ast.ClassDef))
    ]
    fitting = [one for one in found if len(one.splitlines()) <= ROOM]
    longest = max((len(one.splitlines()) for one in fitting), default=0)
    return [one for one in fitting if len(one.splitlines()) >= min(HELPER, longest)]


def packed(codes: list[str]) -> list[str]:
    """Pieces of code, as many on a slide as it has room for.

    >>> [piece.count("x") for piece in packed(["x\\n" * 9, "x\\n" * 5, "x\\n" * 9])]
    [14, 9]
    """
    found: list[str] = []
    for code in codes:
        both = f"{found[-1]}\n\n{code}" if found else ""
        if both and len(both.splitlines()) <= ROOM:
            found[-1] = both
        else:
            found.append(code)
    return found


def parsed(cell: NotebookNode) -> ast.Module:
    """A cell's code; nothing where it is not meant to be looked at."""
    hidden = "hide-input" in cell.metadata.get("tags", []) or re.search(r"^\s*[%!]", cell.source, re.M)
    return ast.parse("" if hidden else cell.source)


def shown(code: str, outputs: list[NotebookNode], cell: NotebookNode | None = None) -> NotebookNode:
    """A code cell of a slide; a figure keeps the words that say what it shows."""
    outputs = [nbformat.from_dict(dict(one)) for one in outputs]
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "") if cell else ""
    for one in outputs:
        if "image/svg+xml" in one.get("data", {}):
            one.metadata = NotebookNode(alt=alt)
    return new_code_cell(code, outputs=outputs)
