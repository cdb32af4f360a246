"""The source of a function with all that it uses, so that it can be run elsewhere: from a notebook to a file."""

from __future__ import annotations

import ast
import contextlib
import dis
import importlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

from advlib.checks import shown

__all__ = ["source_of"]

PLAIN = (bool, int, float, complex, str, bytes, type(None))


def source_of(function: Callable, name: str = "attack") -> str:
    """A module's text that defines ``function`` under ``name``, with the imports, values and functions that it uses.

    Raises
        ValueError: it has no source, or uses something that cannot be written down; which, and what to do.

    >>> source_of(textwrap.indent).splitlines()[-1]
    'attack = indent'
    """
    parts: dict[str, str] = {}
    _collect(function, parts, set())
    own = function.__name__
    last = "" if own == name else f"\n\n{name} = {own}\n"
    imports = [text for text in parts.values() if text.startswith(("import ", "from "))]
    others = [text for text in parts.values() if text not in imports]
    return "\n".join([*imports, *(["\n"] if imports else []), "\n\n".join(others)]).rstrip() + "\n" + last


def _collect(function: Callable, parts: dict[str, str], met: set[str]) -> None:
    """Put what ``function`` uses, and then its own source, into ``parts``, by name."""
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise ValueError(f"attack is {shown(function)}; expected a function that was written with def.")
    met.add(function.__name__)
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        raise ValueError(
            f"attack uses {function.__name__}, whose source cannot be found; expected one that a file or a notebook's "
            "cell defines. Or pass the text itself."
        ) from None
    if function.__closure__:
        inner = ", ".join(function.__code__.co_freevars)
        raise ValueError(
            f"attack uses {inner} of the function around {function.__name__}; expected a function that stands alone. "
            "Define it at the top."
        )
    for name in dict.fromkeys([*_names(function.__code__), *_names_of_signature(text)]):
        if name in met or name in parts or name not in function.__globals__:
            continue  # builtins, attributes, and what will be missing when it runs
        value = function.__globals__[name]
        if isinstance(value, types.FunctionType) and value.__module__ in ("__main__", function.__module__):
            _collect(value, parts, met)
        else:
            parts[name] = _line(name, value)
    parts[function.__name__] = text


def _names(code: types.CodeType) -> Iterator[str]:
    """The global names that the code reads: not those of attributes, which may be called like one."""
    yield from (one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _names_of_signature(text: str) -> Iterator[str]:
    """What the line with ``def`` uses: in defaults, annotations and decorators."""
    definition = ast.parse(text).body[0]
    assert isinstance(definition, ast.FunctionDef)
    parts = [definition.args, *definition.decorator_list, *filter(None, [definition.returns])]
    yield from (node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name))


def _line(name: str, value: Any) -> str:
    """One line that makes ``value`` again: an import, or a plain value."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
    if isinstance(value, PLAIN) or (isinstance(value, (tuple, list)) and all(isinstance(v, PLAIN) for v in value)):
        return f"{name} = {value!r}"
    own = getattr(value, "__name__", name)
    for room in (str(getattr(value, "__module__", "")), "torch", "torch.nn.functional", "numpy", "math"):
        with contextlib.suppress(
            ImportError, AttributeError, TypeError, ValueError
        ):  # a value may say anything of its module
            if room != "__main__" and getattr(importlib.import_module(room), own) is value:
                return f"from {room} import {own}" + (f" as {name}" if own != name else "")
    raise ValueError(
        f"attack uses {name}, {shown(value)}, which cannot be written down; expected modules, functions and plain "
        "values. Make it inside the function."
    )
