"""Chapter 22's exercises: answers in other styles, and wrong ones that no list foresees."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib.exercises import check, mnist, specimens
from advlib.models import nets
from tests.exercises.verdicts import verdict


def loss(weights, biases, x, y):
    for i, (W, b) in enumerate(zip(weights, biases)):
        x = (x.relu() if i else x) @ W.T + b
    return F.cross_entropy(x, y, reduction="sum")


def image_by_image(weights, biases, x, y):
    rows = []
    for out, label in zip(x, y):
        sums = []
        for W, b in zip(weights, biases):
            sums.append(W @ out + b)
            out = torch.where(sums[-1] > 0, sums[-1], 0)
        error = torch.exp(sums[-1] - torch.logsumexp(sums[-1], 0))
        error[label] -= 1
        for W, a in zip(weights[:0:-1], sums[-2::-1]):
            error = (W.T @ error).masked_fill(a <= 0, 0)
        rows.append(weights[0].T @ error)
    return torch.stack(rows)


def test_an_image_at_a_time_is_right(capsys):
    assert verdict(capsys, check.relu_gradient, image_by_image).startswith("✓")


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x: torch.func.grad(f)(x),
        lambda f, x: torch.func.vjp(f, x)[1](torch.tensor(1.0))[0],
        lambda f, x: torch.autograd.functional.jacobian(f, x),
        lambda f, x: torch.autograd.grad(f(x.requires_grad_()), x)[0],
    ],
)
def test_autograd_is_noticed_whatever_its_name(capsys, derivative):
    said = verdict(capsys, check.relu_gradient, lambda W, b, x, y: derivative(lambda x: loss(W, b, x, y), x))
    assert "that is what this exercise asks you to write" in said


def test_a_network_of_ones_own_of_float64_in_training_mode_with_huge_logits_is_right(capsys):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            _, self.first, _, self.last = copy.deepcopy(mnist.robust_mlp.right())
            self.last.weight.data *= 1e6
            self.last.bias.data *= 1e6
            self.dropout = nn.Dropout()

        def forward(self, x):
            return self.last(self.dropout(F.relu(self.first(x.flatten(1)))))

    assert verdict(capsys, check.robust_mlp, Own().double().train(), *mnist.robust_mlp.example()).startswith("✓")


def test_all_that_is_missed_is_said_at_once(capsys):
    said = verdict(capsys, check.robust_mlp, nn.Sequential(specimens.Rounded(), nets.mnist_mlp()), *mnist._grey())
    assert all(words in said for words in ("something else stands before", "95% are asked", "80% are asked")), said
