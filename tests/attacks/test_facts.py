"""The cheat sheet's facts are true: every attack is in it, and its passes, norms and knowledge are what is measured."""

import functools
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from advlib import attacks
from advlib.attacks import facts
from advlib.attacks.facts import FACTS, Fact
from advlib.norms import L0, L1, L2, Linf
from tests.attacks.calls import gaps

ATTACKS = Path(attacks.__file__).parent
RADIUS = {Linf: 0.1, L2: 0.5, L1: 1.0, L0: 10}
by_name = functools.partial(pytest.mark.parametrize, "fact", ids=lambda fact: fact.name)


class Counting(nn.Module):
    """A linear classifier of 1×6×6 images into eleven classes that nothing in the box can fool; it counts images.

    Eleven classes are enough for every attack that looks at the nine or ten likeliest rivals.
    """

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(36, 11)
        self.linear.weight.data = 0.05 * torch.randn(11, 36, generator=generator)
        self.linear.bias.data[0], self.linear.bias.data[1:] = 6.0, 0.0
        self.forwards = self.backwards = 0

    def forward(self, x):
        self.forwards += len(x)
        if x.requires_grad:
            x = x.clone()
            x.register_hook(self._seen)
        return self.linear(x.flatten(1))

    def _seen(self, grad):
        self.backwards += len(grad)


class Short(Counting):
    """The same, but fooled by anything: an attack that is allowed to try is soon done."""

    def __init__(self):
        super().__init__()
        self.linear.bias.data[0] = -1.0


class Rough:
    """A victim that tells labels alone, 1 where a picture is rough: a grey one is 0, noise is not. It counts images."""

    forwards = backwards = 0

    def __call__(self, x):
        self.forwards += len(x)
        return (x.flatten(1).std(1) > 0.2).long()


def run(fact: Fact, victim, x, y, norm: type | None = None):
    """The attack, with the arguments that have no default."""
    if fact.attack is attacks.eot:
        return attacks.fgsm(attacks.eot(victim, attacks.Views()), x, y, norm(RADIUS[norm]))
    if fact.attack is attacks.bpda:
        return attacks.fgsm(attacks.bpda(victim, torch.round), x, y, norm(RADIUS[norm]))
    if fact.attack is attacks.AdvGAN:
        return attacks.AdvGAN(norm(RADIUS[norm]), channels=1, width=4).attack(x)
    if fact.attack is attacks.patch:
        return attacks.patch(victim, x, y, 3)
    if "within" in fact.call:
        return fact.attack(victim, x, y, norm(RADIUS[norm]))
    if "norm=" in fact.call:
        return fact.attack(victim, x, y, norm=norm)
    return fact.attack(victim, x, y)


def one_image():
    return torch.full((1, 1, 6, 6), 0.5), torch.tensor([0])


def test_every_attack_is_exported_in_the_cheat_sheet_and_under_contract():
    found = gaps(ATTACKS, attacks.__all__)
    assert not found, "\n".join(found)


def test_every_fact_is_there_once_and_of_what_is_exported():
    names = [fact.name for fact in FACTS]
    assert len(names) == len(set(names)) and all(getattr(attacks, fact.name) is fact.attack for fact in FACTS)
    assert set(facts.FORMULAS) == {fact.attack for fact in FACTS} >= set(facts.NOTES)


# ------------------------------------------------------------------------------------ what the guard would say, when
def lines_about(name, folder=ATTACKS, **changes):
    return [line for line in gaps(folder, **{"exported": attacks.__all__} | changes) if name in line]


@pytest.fixture
def with_dummy(tmp_path):
    """`advlib/attacks` with one module more, that nobody has told of."""
    folder = tmp_path / "attacks"
    shutil.copytree(ATTACKS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "dummy.py").write_text('__all__ = ["dummy"]\n\n\ndef dummy(model, x, y, within):\n    return x\n')
    return folder


def test_a_new_attack_that_nobody_told_of_is_named_with_each_file_to_change(with_dummy):
    files = [line.split(":")[0] for line in lines_about("dummy", with_dummy)]
    assert files == ["advlib/attacks/__init__.py", "advlib/attacks/facts.py", "tests/attacks/calls.py"]


def dummy(model, x, y, within):
    return x


def odd(images, generator):
    return images


def test_an_attack_with_a_fact_is_under_contract_unless_its_call_is_odd(with_dummy):
    told = [*FACTS, Fact(dummy, "", "", "", facts.ALL, facts.WEIGHTS, 0, 0, 0)]
    assert not lines_about("dummy", with_dummy, exported=[*attacks.__all__, "dummy"], facts=told)
    (with_dummy / "dummy.py").write_text('__all__ = ["odd"]\n')
    told = [*FACTS, Fact(odd, "", "", "", facts.ALL, facts.WEIGHTS, 0, 0, 0)]
    (line,) = lines_about("odd of", with_dummy, exported=[*attacks.__all__, "odd"], facts=told)
    assert line.startswith("tests/attacks/calls.py: odd of advlib/attacks/dummy.py is under no contract")


def test_an_attack_missing_from_the_facts_or_the_exports_is_named():
    told = [fact for fact in FACTS if fact.name != "fgsm"]
    assert [line.split(":")[0] for line in lines_about(" fgsm ", facts=told)] == [
        "advlib/attacks/facts.py",
        "tests/attacks/calls.py",
    ]
    (line,) = lines_about("fgsm", exported=set(attacks.__all__) - {"fgsm"})
    assert line.startswith("advlib/attacks/__init__.py: does not export fgsm of advlib/attacks/fgsm.py")


def test_tables_that_name_what_is_gone_are_named(with_dummy, tmp_path):
    (with_dummy / "dummy.py").write_text("")
    (with_dummy / "universal.py").unlink()
    assert "advlib/attacks/dummy.py: has no __all__; list in it what other modules may use" in gaps(with_dummy, [])
    about = lines_about("universal", with_dummy, tests=tmp_path)
    assert [line.split(",")[0] for line in about] == [
        "advlib/attacks/__init__.py: exports universal",
        "tests/attacks/calls.py: APART names universal",
        "tests/attacks/test_universal.py: does not test universal",
    ]


def test_what_is_looked_for_shows_in_what_is_asked():
    asks = lambda name: {fact.name for fact in FACTS if name in fact.call}
    wrappers, pixels = {"eot", "bpda"}, {"jsma", "sparse_rs"}
    inside = {fact.name for fact in FACTS if fact.goal == facts.INSIDE} | {"universal"}
    assert inside - wrappers == asks("within") - pixels
    assert {fact.name for fact in FACTS if fact.goal == facts.SMALLEST} == asks("norm=") | {"carlini_wagner"}
    assert {fact.name for fact in FACTS if fact.goal == facts.MODEL} == asks("fraction")


# ------------------------------------------------------------------------------------------------ what facts measure
@by_name([fact for fact in FACTS if fact.knows != facts.TRAINING])
def test_passes_are_what_a_counting_model_measures(fact, monkeypatch):
    # A small network is asked ahead, sixteen images in the time of one: those asked in vain are no cost to speak of.
    monkeypatch.setattr(sys.modules["advlib.attacks.square"], "FILLED", {"cpu": 1})
    victim = Rough() if fact.knows == facts.LABELS else Counting()
    run(fact, victim, *one_image(), norm=next(iter(fact.norms), None))
    assert victim.backwards == fact.backward
    if fact.knows in (facts.SCORES, facts.LABELS):  # a budget: an attack stops short of a round that exceeds it
        assert 0.98 * fact.forward < victim.forwards <= fact.forward
    else:
        assert victim.forwards == fact.forward


@by_name([fact for fact in FACTS if fact.norms])
def test_norms_are_those_it_takes(fact):
    x, y = one_image()
    for norm in (Linf, L2, L1, L0):
        victim = Rough() if fact.knows == facts.LABELS else Short()
        if norm in fact.norms or fact.attack is attacks.carlini_wagner:  # which has no choice, so no argument
            run(fact, victim, x, y, norm)
        else:
            with pytest.raises(ValueError):
                run(fact, victim, x, y, norm)


@by_name([fact for fact in FACTS if fact.knows in (facts.SCORES, facts.LABELS)])
def test_questions_need_no_network(fact):
    model = Short()
    answers = {facts.SCORES: lambda x: model(x).softmax(1), facts.LABELS: lambda x: model(x).argmax(1)}
    run(fact, answers[fact.knows], *one_image(), norm=next(iter(fact.norms), None))


def test_without_the_weights_there_is_no_backward_pass():
    # A substitute's weights are the attacker's own, so `transfer` may look into them.
    assert {fact.name for fact in FACTS if fact.backward and fact.knows != facts.WEIGHTS} == {"transfer"}
    assert all(fact.backward for fact in FACTS if fact.knows == facts.WEIGHTS)


@pytest.mark.parametrize(
    "value, shown",
    [
        (8, "8"),
        ("best", "'best'"),
        (L2, "L2"),
        (one_image, "one_image"),
        (attacks.Views(), "Views(…)"),
        (None, "None"),
        ((0.5, 1), "(0.5, 1)"),
    ],
)
def test_defaults_are_written_as_a_person_writes_them(value, shown):
    def attack(model, x, *, option=value):
        return x

    fact = Fact(attack, "", "", "", (), "", 0, 0, 0)
    assert fact.call == f"attack(model, x, *, option={shown})"
