"""Every example in a docstring runs and prints what it says; every public function of the subject has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import advlib

MODULES = sorted(m.name for m in pkgutil.walk_packages(advlib.__path__, "advlib.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


@pytest.mark.parametrize("room", ["attacks", "evaluate"])
def test_public_functions_have_an_example(room):
    module = importlib.import_module(f"advlib.{room}")
    functions = [getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))]
    bare = [f.__name__ for f in functions if ">>>" not in (f.__doc__ or "")]
    assert not bare, f"no runnable example in the docstring of {', '.join(bare)}"
