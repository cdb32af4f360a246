"""The worst case: never weaker than its parts, and blind to none of their blind spots."""

import pytest
import torch
from torch import nn

from advlib import losses
from advlib.answers import logits_of
from advlib.attacks import apgd, fgsm, pgd, worst_case
from advlib.evaluate import accuracy, robust_accuracy
from advlib.norms import L0, L1, L2, Linf

X = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 5))


Y = logits_of(network(), X).argmax(1)


@pytest.mark.parametrize("ball", [Linf(0.05), L2(0.25), L1(1.0), L0(2)], ids=str)
def test_it_is_inside_and_never_weaker_than_its_parts(ball):
    worst = worst_case(network(), X, Y, ball, queries=100)
    assert (ball.size(worst - X) <= ball.eps + 1e-6).all() and (worst >= 0).all() and (worst <= 1).all()
    for attack in (fgsm, pgd, apgd):
        taken = logits_of(network(), attack(network(), X, Y, ball)).argmax(1) != Y
        assert (logits_of(network(), worst).argmax(1) != Y)[taken].all()


def test_it_takes_what_hides_its_gradient():
    """A model that rounds its input has no gradient at all: gradient attacks find nothing, the search does."""

    class Rounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net((x * 16).round() / 16 + 0 * x)

    model = Rounds()
    y = logits_of(model, X).argmax(1)
    with pytest.warns(UserWarning, match="exactly zero"):
        by_gradient = accuracy(model, pgd(model, X, y, Linf(0.2)), y)
        by_all = accuracy(model, worst_case(model, X, y, Linf(0.2), queries=500), y)
    assert by_gradient > 0.8 and by_all < 0.5


def test_what_stands_is_the_largest_margin_seen():
    worst = worst_case(network(), X, Y, Linf(0.01), queries=50)
    margin = lambda x: losses.margin(logits_of(network(), x), Y)
    assert (margin(worst) >= margin(pgd(network(), X, Y, Linf(0.01))) - 1e-6).all() and (
        margin(worst) > margin(X)
    ).all()


def test_targets_are_what_counts_when_there_are_some():
    target = (Y + 1) % 5
    worst = worst_case(network(), X, Y, Linf(0.6), target=target, queries=50)
    assert (logits_of(network(), worst).argmax(1) == target).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("ball", [Linf(8 / 255), L2(0.2)], ids=str)
def test_half_precision_rounds_no_part_of_it_out_of_the_ball(dtype, ball):
    model, x = network().to(dtype), X.to(dtype)
    y = logits_of(model, x).argmax(1)
    worst = worst_case(model, x, y, ball, queries=100)
    assert worst.dtype == dtype and (ball.size(worst.double() - x.double()) <= ball.eps + 1e-6).all()


def test_two_classes_do():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    y = logits_of(model, X).argmax(1)
    assert robust_accuracy(model, X, y, Linf(1.0), queries=50) == 0


def test_robust_accuracy_counts_the_wrong_as_wrong_and_attacks_only_the_right():
    wrong = Y.clone()
    wrong[:6] = (Y[:6] + 1) % 5
    asked = []

    def attack(model, x, y, within, *, batch_size):
        asked.append(len(x))
        return x

    assert robust_accuracy(network(), X, wrong, Linf(0.1), attack=attack) == pytest.approx(18 / 24)
    assert asked == [18]
    assert robust_accuracy(network(), X, (Y + 1) % 5, Linf(0.1), attack=attack) == 0


def test_the_same_call_gives_the_same_answer():
    assert torch.equal(*(worst_case(network(), X, Y, Linf(0.03), queries=60, seed=3) for _ in range(2)))
