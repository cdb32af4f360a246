"""Which statements of a notebook a piece of code needs, found without running any of it."""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Sequence

__all__ = ["binds", "needed", "python", "reads", "statements", "touches"]

# A call for its own sake that shows something changes nothing that other code needs.
SHOWS = re.compile(r"^(print|display|assert|plots|widgets|check)\b")


def python(source: str) -> str:
    """A cell as plain Python, IPython's magics as the calls that they stand for.

    Raises
        SyntaxError: the cell is no Python.
    """
    try:
        ast.parse(source)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        source = TransformerManager().transform_cell(source)
        ast.parse(source)
    return source


def statements(source: str) -> list[ast.stmt]:
    """The statements of a cell; raises as `python`."""
    return ast.parse(python(source)).body


def needed(above: Sequence[ast.stmt], code: str, touched: Sequence[set[str]] | None = None) -> list[int]:
    """The numbers of the statements that set or change what ``code`` reads, and of what those read in turn.

    ``touched`` says which names each of them sets or changes, where that is another answer than that of `touches`.

    >>> cells = ast.parse("a = 1; b = a + 1; c = 3; print(b)").body
    >>> needed(cells, "b * 2")
    [0, 1]
    """
    touched = list(map(touches, above)) if touched is None else touched
    wanted, kept = reads(code), set()
    more = True
    while more:  # a function reads names that are set below it
        more = False
        for number, statement in enumerate(above):
            if number not in kept and touched[number] & wanted:
                kept.add(number)
                wanted |= reads(ast.unparse(statement))
                more = True
    return sorted(kept)


def binds(statement: ast.stmt) -> set[str]:
    """The names that a statement sets."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    return {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}


def reads(code: str) -> set[str]:
    """The notebook's names that the code looks up, those inside its functions among them."""
    top = symtable.symtable(code, "cell", "exec")
    names = {name.get_name() for name in top.get_symbols() if name.is_referenced()}
    tables = top.get_children()
    while tables:
        table = tables.pop()
        names |= {name.get_name() for name in table.get_symbols() if name.is_global()}
        tables += table.get_children()
    return names


def touches(statement: ast.stmt) -> set[str]:
    """What a statement binds or, standing for its own sake, may change."""
    if isinstance(statement, ast.Expr | ast.Assert):
        text = ast.unparse(statement)
        return set() if SHOWS.match(text) else reads(text)
    return binds(statement)
