"""Every public function answers bad input with words of ours: what came, what was expected.

The table is derived: the public names from each module's ``__all__``, their parameters from signatures, the kind of a
parameter from its annotation and name, and its bad values from the kind. What is missing for that, a test names.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import linecache
import re
import types
import warnings
from pathlib import Path

import nbformat
import pytest
import torch

import advlib
from advlib import contract
from advlib.grading.needed import python
from tests.bad_input import kinds
from tests.bad_input.good import GOOD, MODULES
from tests.bad_input.rules import ALLOWED, APART, kind_of

ROOT = str(Path(advlib.__file__).parent)
COURSE = Path(__file__).resolve().parents[2]


def raised(one: object) -> bool:
    """Whether it is an error or a warning."""
    return isinstance(one, type) and issubclass(one, BaseException)


def public() -> dict[str, object]:
    """Every public function, class and method, by its name: "attacks.fgsm", "norms.Linf.size"."""
    found: dict[str, object] = {}
    for room, module in (MODULES | {"advlib": advlib}).items():
        names = getattr(module, "__all__", None) or [
            name
            for name, one in vars(module).items()
            if getattr(one, "__module__", "") == module.__name__ and not name.startswith("check_")
        ]
        for name in names:
            one = getattr(module, name)
            owner = f"{room}.{name}"
            if (
                name.startswith("_")
                or not callable(one)
                or raised(one)
                or any(one is known for known in found.values())
            ):
                continue
            found[owner] = one
            for method, inner in vars(one).items() if isinstance(one, type) else ():
                inner = getattr(inner, "__func__", inner)
                if isinstance(inner, types.FunctionType) and (method == "__call__" or not method.startswith("_")):
                    found[f"{owner}.{method}"] = getattr(one, method)
    return {name: one for name, one in found.items() if name not in APART and not name.endswith("extra_repr")}


def parameters(name: str) -> list[inspect.Parameter]:
    every = inspect.signature(PUBLIC[name]).parameters.values()
    return [one for one in every if one.name != "self" and one.kind is not one.VAR_KEYWORD]


def make(name: str, folder: Path, /, **changes) -> None:
    given = GOOD[name](folder) | changes
    several = [given.pop(one.name, ()) for one in parameters(name) if one.kind is one.VAR_POSITIONAL]
    own = [given.pop("self")] if "self" in given else []
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        result = PUBLIC[name](*own, *(several[0] if several else ()), **given)
        if isinstance(result, types.GeneratorType):
            list(result)


PUBLIC = public()
TABLE = [(name, one) for name in PUBLIC for one in parameters(name)]


def fault(error: BaseException | None, parameter: str) -> str | None:
    """What is wrong with this answer to bad input; None where it is ours and says enough."""
    if error is None:
        return "accepted"
    if not isinstance(error, (TypeError, ValueError)):
        return f"{type(error).__name__}: {error}"
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename
    raised = linecache.getline(file, trace.tb_lineno).strip().startswith("raise ")
    if not file.startswith(ROOT) or not raised:
        return f"not ours, {type(error).__name__}: {str(error)[:120]}"
    if not re.search(rf"\b({ALIASES.get(parameter, parameter)})", str(error)):
        return f"does not name {parameter}: {error}"
    if not re.search(r"expected|Did you mean|Known:|Choose|Try|lists them|at least", str(error)):
        return f"does not say what was expected: {error}"
    return None


def caught(call) -> BaseException | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def answer(name: str, parameter: inspect.Parameter, value, folder: Path) -> str | None:
    """What is wrong with what the function says to this value of its parameter."""
    return fault(caught(lambda: make(name, folder, **{parameter.name: value})), parameter.name)


def kind(name: str, parameter: inspect.Parameter):
    return kind_of(name, parameter, [one.name for one in parameters(name)])


def bad_values(name: str, parameter: inspect.Parameter, folder: Path) -> dict[str, object]:
    good = GOOD[name](folder).get(parameter.name, parameter.default)
    return kinds.wrap_none(kind(name, parameter), parameter)(good)


# Other words in which a message may name a parameter.
ALIASES = {
    "eps": "eps|ε",
    "model": "model|substitute",
    "victim": "victim|model",
    "substitutes": "substitutes|model",
    "loss": "loss",
    "name": "name|model|data set|unknown",
    "split": "split",
    "x": "x|images?|the network",
    "frames": "frames?|image",
    "line": "lines?",
    "lines": "lines?",
    "within": "within|ball|ε|L0",
    "y": "y|target",
    "images": "images?",
    "teacher": "teacher|model",
    "student": "student|model",
    "models": "models?",
    "path": "path|file|folder",
    "folder": "folder|path",
}


def used_in_notebooks() -> dict[str, object]:
    """The functions and classes of the package that chapters and pages call, by where they are imported from."""
    found: dict[str, object] = {}
    for path in (*COURSE.glob("chapters/*.ipynb"), *COURSE.glob("book/*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        cells = (cell.source for cell in notebook.cells if cell.cell_type == "code")
        code = ast.parse("\n".join(map(python, cells)))
        imports = [one for one in ast.walk(code) if isinstance(one, ast.ImportFrom)]
        names = {one.asname or one.name: (line.module, one.name) for line in imports for one in line.names}
        for node in ast.walk(code):
            owner, *more = (node.value, node.attr) if isinstance(node, ast.Attribute) else (node,)
            module, name = names.get(owner.id, ("", "")) if isinstance(owner, ast.Name) else ("", "")
            if module.split(".")[0] == "advlib":
                value = getattr(importlib.import_module(module), name, None)
                value = value or importlib.import_module(f"{module}.{name}")
                if more and isinstance(value, types.ModuleType):
                    value, name = getattr(value, more[0]), f"{name}.{more[0]}"
                found[f"{module}.{name}"] = value
    return {name: one for name, one in found.items() if callable(one)}


def test_whatever_a_notebook_calls_stands_in_the_table():
    calls = used_in_notebooks()
    assert len(calls) > 60
    known = {id(one) for one in PUBLIC.values()}
    missing = [
        name
        for name, one in calls.items()
        if id(one) not in known
        and not raised(one)
        and ".".join(name.split(".")[-2:]) not in APART
        and not name.startswith("advlib.exercises")  # what a check is given, is an answer
        and inspect.signature(one).parameters
    ]
    assert not missing, f"tests/bad_input/good.py: MODULES and GOOD lack {', '.join(missing)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_there_is_one_good_call_of_each_public_function(name, tmp_path):
    assert name in GOOD, f"tests/bad_input/good.py: GOOD has no call of {name}; write one that is right"
    make(name, tmp_path)
    given = set(GOOD[name](tmp_path))
    missing = [one.name for one in parameters(name) if one.name not in given and one.kind is not one.VAR_POSITIONAL]
    assert not missing, f"tests/bad_input/good.py: {name} is called without {missing}"


@pytest.mark.parametrize("name, parameter", TABLE, ids=[f"{name}({one.name})" for name, one in TABLE])
def test_every_bad_value_is_answered_in_our_words(name, parameter, tmp_path):
    assert kind(name, parameter), (
        f"tests/bad_input/rules.py: no kind for {name}({parameter.name}: {parameter.annotation}); say what it forbids"
    )
    answers = {
        what: answer(name, parameter, value, tmp_path)
        for what, value in bad_values(name, parameter, tmp_path).items()
        if (name, parameter.name, what) not in ALLOWED
    }
    faults = [f"{what}: {problem}" for what, problem in answers.items() if problem]
    assert not faults, f"{name}({parameter.name}=…) given\n" + "\n".join(faults)


@pytest.mark.parametrize("name, parameter, what", ALLOWED)
def test_every_exception_is_needed(name, parameter, what, tmp_path):
    (one,) = (one for one in parameters(name) if one.name == parameter)
    assert answer(name, one, bad_values(name, one, tmp_path)[what], tmp_path), f"rules.py: {name} needs no exception"


def refuse(words: str):
    raise ValueError(words)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: None, "accepted"),
        (lambda: torch.zeros(2) + torch.zeros(3), "RuntimeError"),
        (lambda: abs("x"), "not ours, TypeError"),
        (lambda: refuse("eps is -1; expected a number ≥ 0"), "not ours, ValueError"),
        (lambda: contract.check_count(-1, "steps"), "does not name eps"),
        (lambda: contract.check_count(-1, "eps"), None),
    ],
)
def test_a_wrong_answer_is_seen(call, words):
    problem = fault(caught(call), "eps")
    assert (problem or "None").startswith(str(words))
