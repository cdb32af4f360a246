"""Every example in a docstring runs and prints what it says; every public function of the subject has one."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import advlib
from advlib import attacks

MODULES = sorted(m.name for m in pkgutil.walk_packages(advlib.__path__, "advlib.") if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


@pytest.mark.parametrize("room", ["attacks", "defenses", "evaluate"])
def test_public_functions_have_an_example(room):
    module = importlib.import_module(f"advlib.{room}")
    functions = [getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))]
    bare = [f.__name__ for f in functions if ">>>" not in (f.__doc__ or "")]
    assert not bare, f"no runnable example in the docstring of {', '.join(bare)}"


ATTACKS = [name for name in attacks.__all__ if inspect.isfunction(getattr(attacks, name))]


def words_of(function) -> str:
    """The docstring without its examples."""
    return inspect.getdoc(function).split(">>>")[0]


def named_as_in_ascend(name: str) -> set[str]:
    """The parameters that an attack's docstring refers to that of ``ascend``."""
    words = " ".join(words_of(getattr(attacks, name)).split())
    return {
        one
        for names in re.findall(r"([\w, ]+): as in ``advlib.attacks.ascend``", words)
        for one in names.strip().split(", ")
    }


@pytest.mark.parametrize("name", ATTACKS)
def test_every_parameter_of_an_attack_is_named_in_its_docstring(name):
    attack = getattr(attacks, name)
    unnamed = [one for one in inspect.signature(attack).parameters if not re.search(rf"\b{one}\b", words_of(attack))]
    assert not unnamed, f"the docstring of {name} says nothing of {', '.join(unnamed)}"


def test_ascend_has_a_line_on_each_of_its_arguments():
    lines = words_of(attacks.ascend).splitlines()
    told = {line.split()[0] for line in lines if re.match(r"\w+ {2,}", line)}
    assert told == set(inspect.signature(attacks.ascend).parameters) - {"model", "x", "y"} and len(told) > 10


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "mifgsm", "apgd", "climb"])
def test_what_is_as_in_ascend_is_a_parameter_of_both(name):
    both = set(inspect.signature(attacks.ascend).parameters) & set(inspect.signature(getattr(attacks, name)).parameters)
    named = named_as_in_ascend(name)
    assert len(named) >= 5 and named <= both
