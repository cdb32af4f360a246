"""Answers of other styles than the known ones: right ones pass; a network that hides its weakness does not."""

import pytest
import torch
from torch import nn

from advlib import load_model
from advlib.exercises import check
from advlib.models import nets
from tests.exercises.verdicts import verdict


def by_the_worst_image(w, b, x, y, eps):
    return ((x - eps * y[:, None] * w.sign()) * w).sum(1) * y + y * b


def image_by_image(w, b, x, y, eps):
    return torch.stack([label * (row @ w + b) - eps * w.norm(1) for row, label in zip(x, y)])


def without_flatten(grad):
    norms = [torch.linalg.vector_norm(grad, order, dim=(1, 2, 3)) for order in (1, 2)]
    return (norms[0] / norms[1]).nan_to_num(0)


def one_by_one(grad):
    return torch.stack([g.abs().sum() / g.square().sum().sqrt() if g.any() else g.sum() for g in grad])


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        (check.worst_margin, by_the_worst_image),
        (check.worst_margin, image_by_image),
        (check.noise_ratio, without_flatten),
        (check.noise_ratio, one_by_one),
    ],
)
def test_right_in_another_style(capsys, exercise, answer):
    assert verdict(capsys, exercise, answer).startswith("✓")


class Coarse(nn.Sequential):
    def forward(self, x):
        return super().forward((x * 7).round() / 7)


def patched():
    model = load_model("signs-decayed-b")
    model.forward = lambda x: nn.Sequential.forward(model, x.round(decimals=1))
    return model


@pytest.mark.parametrize("hiding", [lambda: Coarse(*load_model("signs-decayed-b")), patched])
def test_nothing_hides_in_a_network(capsys, hiding):
    assert "it answers otherwise than a signs_small" in verdict(capsys, check.sturdier, hiding())


def test_all_that_is_missing_is_named(capsys):
    said = verdict(capsys, check.sturdier, nets.signs_small())
    assert "85% are needed" in said and "40% are needed" in said
