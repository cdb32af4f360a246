"""Chapter 23's exercises: answers in other styles, and targets that are none."""

import pytest
import torch

from advlib import Linf
from advlib.data.photos import to_8bit_within
from advlib.exercises import check, imagenet
from tests.exercises.verdicts import verdict


def by_levels(x_adv, x, eps):
    levels, own, most = (x_adv * 255).round(), (x * 255).round(), int(eps * 255 + 1e-3)
    return torch.max(torch.min(levels, own + most), own - most).clamp(0, 255) / 255


def test_to_file_by_levels_is_right(capsys):
    assert verdict(capsys, check.to_file, by_levels).startswith("✓")


def test_to_file_by_the_library_is_not_the_learners_own(capsys):
    said = verdict(capsys, check.to_file, lambda x_adv, x, eps: to_8bit_within(x_adv, x, Linf(eps)))
    assert said.startswith("✗") and "to_8bit_within, and that is what this exercise asks you to write" in said, said


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(context, x, f):
        return f(x.detach())

    @staticmethod
    def backward(context, grad):
        return grad, None


@pytest.mark.parametrize("answer", [lambda f, x: f(x.detach()) + (x - x.detach()), lambda f, x: Straight.apply(x, f)])
def test_straight_through_in_other_styles_is_right(capsys, answer):
    assert verdict(capsys, check.straight_through, answer).startswith("✓")


def test_a_picture_and_a_network_of_float64_survive_too(capsys):
    model, x, target = imagenet.survivor.example()
    x_adv = imagenet.survivor.right(model, x, target)
    assert verdict(capsys, check.survivor, x_adv.double(), model.double(), x, torch.tensor([target])).startswith("✓")


@pytest.mark.parametrize(
    ("target", "words"), [(None, "set my_target"), (0, "as class 0 already"), ("cat", "one finite number")]
)
def test_a_target_that_is_none(capsys, target, words):
    model, x, _ = imagenet.survivor.example()
    said = verdict(capsys, check.survivor, imagenet.survivor.right(model, x, 1), model, x, target)
    assert said.startswith("✗") and words in said, said
