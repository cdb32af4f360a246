"""Whatever the images are like: the result is like them, in ball and box, the same again, and all else is as it was."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from advlib.attacks.facts import FACTS
from tests.properties.problems import ATTACKS, ELSEWHERE, ROUNDING, Problem, changed, examples, problems, state

AUTOCAST = partial(torch.autocast, "cpu", torch.bfloat16)
BATCHED = [attack for attack in ATTACKS if "batch_size" in attack.takes]
# Those that draw nothing, or promise to draw for each image by itself.
ON_ITS_OWN = [a for a in BATCHED if "seed" not in a.takes or "each image having its own" in a.fact.attack.__doc__]
pytestmark = pytest.mark.filterwarnings("ignore::advlib.attacks.GradientMaskingWarning")


def each(attacks):
    slow = {"worst_case": pytest.mark.slow}  # many attacks in one
    return pytest.mark.parametrize(
        "attack", [pytest.param(one, marks=slow.get(str(one), ()), id=str(one)) for one in attacks]
    )


def test_every_attack_is_here():
    assert {attack.fact.name for attack in ATTACKS} | ELSEWHERE == {fact.name for fact in FACTS}


@each(ATTACKS)
@examples(10)
@example(problem=Problem(layout="requires_grad"), mode=nullcontext)  # the worst case required a gradient, too
@example(problem=Problem(), mode=AUTOCAST)  # NES put half precision into single
@given(problem=problems(), mode=st.sampled_from([nullcontext, torch.no_grad, torch.inference_mode, AUTOCAST]))
def test_the_result_keeps_its_promises_and_so_does_everything_else(attack, problem, mode):
    if mode is AUTOCAST and problem.dtype == torch.float16:  # torch has no batch norm for both
        problem = replace(problem, dtype=torch.float32)
    model, x = problem.network(), problem.images()
    y = problem.labels(model, x)
    settings = problem.settings(attack, x, y)
    ball = problem.within(attack)
    model.train()
    before = state(model, x, y)
    with mode():
        result = attack(model, x, y, ball, **settings)
        assert torch.equal(result, attack(model, x, y, ball, **settings)), "another result at the second call"
    assert not changed(before, state(model, x, y))
    assert not attack.faults(ball, x, result)


@each(BATCHED)
@examples(3)
@given(problem=problems(dtype=torch.float64, scale=1.0, corners=False), size=st.integers(1, 4))
def test_no_result_depends_on_how_many_images_are_worked_on_at_once(attack, problem, size):
    model, x = problem.network(), problem.images()
    y = problem.labels(model, x)
    settings, ball = problem.settings(attack, x, y), problem.within(attack)
    whole = attack(model, x, y, ball, **settings)
    assert torch.allclose(attack(model, x, y, ball, batch_size=size, **settings), whole, atol=ROUNDING)


@each(ON_ITS_OWN)
@examples(3)
@given(problem=problems(dtype=torch.float64, scale=1.0, corners=False))
def test_no_result_depends_on_the_images_that_come_after_it(attack, problem):
    model, x = problem.network(), problem.images()
    y = problem.labels(model, x)
    settings, ball, few = problem.settings(attack, x, y), problem.within(attack), max(1, problem.n // 2)
    whole = attack(model, x, y, ball, **settings)
    if problem.targeted and "target" in settings:
        settings["target"] = settings["target"][:few]
    assert torch.allclose(attack(model, x[:few], y[:few], ball, **settings), whole[:few], atol=ROUNDING)
