"""Whatever the network is like, it is attacked, and left as it was; or a named error says why it cannot be."""

import pytest
import torch
from hypothesis import given

from advlib.answers import logits_of
from advlib.attacks.facts import LABELS, SCORES, WEIGHTS
from tests.properties import models
from tests.properties.problems import ATTACKS, ROUNDING, Problem, changed, examples, problems, state

pytestmark = [
    pytest.mark.filterwarnings("ignore::advlib.attacks.GradientMaskingWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch.jit's own
]
ATTACKING = [attack for attack in ATTACKS if attack.fact.name != "AdvGAN"]  # which asks no network
BY_GRADIENT = [attack for attack in ATTACKING if attack.fact.knows == WEIGHTS and attack.fact.name != "bpda"]
BY_QUESTIONS = [attack for attack in ATTACKING if attack.fact.knows in (SCORES, LABELS)]


def each(attacks):
    return pytest.mark.parametrize("attack", attacks, ids=str)


def attacked(attack, model, problem):
    """Attack it, and see that the result is what was promised, and all else as before."""
    x = problem.images()
    y = problem.labels(model, x)
    ball, settings = problem.within(attack), problem.settings(attack, x, y)
    before = state(model, x, y)
    result = attack(model, x, y, ball, **settings)
    assert not changed(before, state(model, x, y))
    assert not attack.faults(ball, x, result)
    return result


@pytest.mark.parametrize("kind", models.KINDS)
@each(ATTACKING)
@examples(1)
@given(problem=problems(dtype=torch.float32, layout="plain"))
def test_every_kind_of_network_is_attacked_and_left_as_it_was(attack, kind, problem):
    attacked(attack, models.made(kind, problem), problem)


@pytest.mark.parametrize("kind", ["in place", "in place at once", "same memory"])
@each([attack for attack in ATTACKING if attack.fact.name not in ("eot", "bpda")])  # which copy the images themselves
def test_what_a_network_does_with_memory_changes_no_result(attack, kind):
    problem = Problem(n=4, dtype=torch.float64)
    model = models.made(kind, problem)
    plain = {"in place": lambda x: 2 * (x - 0.5), "in place at once": torch.relu, "same memory": torch.clone}[kind]

    class Clean(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(plain(x))

    clean = Clean(problem.network())
    assert torch.allclose(attacked(attack, model, problem), attacked(attack, clean, problem), atol=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("make", [models.exported, models.compiled], ids=["exported", "compiled"])
def test_exported_and_compiled_networks_are_attacked_too(make):
    problem = Problem()
    model = make(problem)
    for attack in ATTACKING:
        attacked(attack, model, problem)


@pytest.mark.filterwarnings("ignore:quantized.*autograd kernel")  # torch has the same to say
@pytest.mark.parametrize("kind", models.WITHOUT_GRADIENT)
def test_where_no_gradient_goes_through_an_error_says_so_and_questions_work(kind):
    make, words = models.WITHOUT_GRADIENT[kind]
    problem = Problem()
    model, x = make(problem), problem.images()
    y = problem.labels(model, x)
    before = state(model, x, y)
    for attack in BY_GRADIENT:
        with pytest.raises(ValueError, match=words):
            attack(model, x, y, problem.within(attack))
        assert not changed(before, state(model, x, y))
    for attack in BY_QUESTIONS:
        attacked(attack, model, problem)


@each(ATTACKING)
def test_a_lazy_network_is_to_see_an_image_first(attack):
    problem = Problem()
    model, x = models.lazy(problem), problem.images()
    with pytest.raises(ValueError, match=r"lazy layers that have seen no image.*Call it once: model\(x\)"):
        attack(model, x, torch.zeros(len(x), dtype=torch.long), problem.within(attack))
    model(x)
    assert logits_of(model, x).shape == (problem.n, problem.classes)
