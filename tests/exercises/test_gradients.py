"""Answers about gradients that no list of known mistakes foresees, and right ones in other styles."""

import pytest
import torch
from torch.nn import functional as F

from advlib import losses
from advlib.exercises import check
from tests.exercises.verdicts import verdict


def own(model, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]


def image_by_image(model, x, y):
    return torch.cat([own(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])


def into_float32(f, x, tau):
    slopes = torch.zeros(len(x))
    for i, e in enumerate(torch.eye(len(x))):
        slopes[i] = (f(x + tau * e) - f(x - tau * e)) / (2 * tau)
    return slopes


def in_columns(weights, biases, x, y):
    W1, W2, W3 = weights
    b1, b2, b3 = (b[:, None] for b in biases)
    u1 = torch.tanh(W1 @ x.T + b1)
    u2 = torch.tanh(W2 @ u1 + b2)
    error = (W3 @ u2 + b3).softmax(0) - F.one_hot(y, len(b3)).T
    return (W1.T @ ((W2.T @ ((W3.T @ error) * (1 - u2**2))) * (1 - u1**2))).T


@pytest.mark.parametrize(
    ("checker", "answer"),
    [
        (check.input_gradient, image_by_image),
        (check.input_gradient, lambda m, x, y: torch.func.grad(lambda v: losses.cross_entropy(m(v), y).sum())(x)),
        (check.backprop, in_columns),
        (check.finite_differences, into_float32),
    ],
)
def test_right_in_another_style(capsys, checker, answer):
    assert verdict(capsys, checker, answer).startswith("✓")


def with_backward(model, x, y):
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y, reduction="sum").backward()
    return x.grad


def with_a_clean_slate(model, x, y):
    model.zero_grad()
    grad = with_backward(model, x, y)
    model.zero_grad()
    return grad


def freezes(model, x, y):
    for weight in model.parameters():
        weight.requires_grad_(False)
    return own(model, x, y)


def autograd(weights, biases, x, y):
    def network(v):
        for W, b in zip(weights[:2], biases):
            v = torch.tanh(v @ W.T + b)
        return v @ weights[2].T + biases[2]

    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(network(x), y, reduction="sum"), x)[0]


def put_back(f, x, tau):
    slopes = torch.zeros_like(x)
    for i in range(len(x)):
        x[i] += tau
        above = f(x)
        x[i] -= 2 * tau
        slopes[i] = (above - f(x)) / (2 * tau)
        x[i] += tau
    return slopes


@pytest.mark.parametrize(
    ("checker", "answer", "words"),
    [
        (check.input_gradient, with_backward, "also filled the .grad of every weight"),
        (check.input_gradient, with_a_clean_slate, "threw away what stood in the .grad"),
        (check.input_gradient, lambda m, x, y: own(m.eval(), x, y), "model was left in eval mode"),
        (check.input_gradient, freezes, "no longer record gradients as before"),
        (check.input_gradient, lambda m, x, y: own(m, x.requires_grad_(), y), "x now records gradients"),
        (check.input_gradient, lambda m, x, y: own(m, x, y).abs().sum(1), "shape (5, 9, 9), expected (5, 1, 9, 9)"),
        (check.backprop, autograd, "it calls torch's own grad"),
        (check.finite_differences, lambda f, x, tau: x * torch.nan, "4 of 4 values are NaN"),
        (check.finite_differences, put_back, "the caller's x was changed"),
        (check.finite_differences, lambda f, x, tau: torch.func.grad(f)(x), "autograd, or a far smaller step than τ"),
    ],
)
def test_wrong_in_another_way(capsys, checker, answer, words):
    said = verdict(capsys, checker, answer)
    assert said.startswith("✗") and words in said, said
