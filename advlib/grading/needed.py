"""Which statements of a notebook a piece of code needs, found without running any of it."""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Sequence

__all__ = ["asks_for", "binds", "needed", "python", "reads", "statements", "touches"]

# A call for its own sake that shows something changes nothing that other code needs.
SHOWS = re.compile(r"^(print|display|assert|plots|widgets|check|evaluate)\b")


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


def needed(above: Sequence[ast.stmt], code: str | set[str], touched: Sequence[set[str]] | None = None) -> list[int]:
    """The numbers of the statements that set or change what ``code`` reads, and of what those read in turn.

    ``code`` may also be the names themselves. ``touched`` says which names each of them sets or changes, where that is
    another answer than that of `touches`.

    >>> cells = ast.parse("a = 1; b = a + 1; c = 3; print(b)").body
    >>> needed(cells, "b * 2")
    [0, 1]
    """
    touched = list(map(touches, above)) if touched is None else touched
    wanted, kept = set(code) if isinstance(code, set) else reads(code), set()
    more = True
    while more:  # a function reads names that are set below it
        more = False
        for number, statement in enumerate(above):
            if number not in kept and touched[number] & wanted:
                kept.add(number)
                wanted |= asks_for([statement])
                more = True
    return sorted(kept)


def asks_for(body: Sequence[ast.stmt], bound: set[str] | None = None) -> set[str]:
    """The names that statements read before they set them: what must be there already.

    >>> sorted(asks_for(ast.parse("a = b + 1; c = a; c = c + d; f = lambda: e").body))
    ['b', 'd', 'e']
    >>> sorted(asks_for(ast.parse("for k in many: best = max(k, least)").body) - {"max"})
    ['least', 'many']
    """
    bound = set() if bound is None else bound
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.For | ast.While | ast.If | ast.With | ast.Try):
            inner = [part for _, part in ast.iter_fields(statement) if isinstance(part, list)]
            heads = [getattr(statement, name, None) for name in ("iter", "test")]
            heads += [item.context_expr for item in getattr(statement, "items", [])]
            for head in filter(None, heads):
                found |= reads(ast.unparse(head)) - bound
            for target in (
                getattr(statement, "target", None),
                *(i.optional_vars for i in getattr(statement, "items", [])),
            ):
                bound |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)} if target else set()
            for part in inner:
                handlers = [one for one in part if isinstance(one, ast.ExceptHandler)]
                bound |= {one.name for one in handlers if one.name}
                found |= asks_for([one for one in part if isinstance(one, ast.stmt)], bound)
                for handler in handlers:
                    found |= asks_for(handler.body, bound)
        else:
            found |= reads(ast.unparse(statement)) - bound
            bound |= binds(statement)
    return found


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
    """What a statement binds or, standing for its own sake, may change.

    >>> sorted(touches(ast.parse("for k in many: found[k] = 1; best.append(k)").body[0]))
    ['best', 'found', 'k']
    """
    if isinstance(statement, ast.Expr | ast.Assert):
        text = ast.unparse(statement)
        return set() if SHOWS.match(text) else reads(text)
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return binds(statement)
    changed = set()
    for node in ast.walk(statement):
        stored = isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.func
        place = node if stored else called
        while isinstance(place, ast.Subscript | ast.Attribute):
            place = place.value
            if isinstance(place, ast.Name) and not SHOWS.match(place.id):
                changed.add(place.id)
    return binds(statement) | changed
