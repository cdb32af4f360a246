"""Answers of other styles than the known ones: right ones pass, and of wrong ones only what was seen is said."""

import pytest
import torch
from torch.nn import functional as F

from advlib import Linf, attacks
from advlib.exercises import check
from tests.exercises.verdicts import verdict


def refuse(y, target):
    if torch.any(target.eq(y)):
        raise ValueError("a target is the label")


def up_the_negative_mean(model, x, y, target, eps):
    refuse(y, target)
    x = x.clone().requires_grad_()
    (-F.cross_entropy(model(x), target)).backward(inputs=[x])
    return torch.clamp(x.detach() + eps * x.grad.sign(), 0, 1)


def as_it_is_in_advlib(model, x, y, target, eps):
    return attacks.fgsm(model, x, y, Linf(eps), target=target)


def asserts(model, x, y, target, eps):
    assert not (target == y).any(), "a target is the label"
    return up_the_negative_mean(model, x, y, target, eps)


def by_bounds(model, x, y, target, eps, steps, step):
    refuse(y, target)
    low, high, adv = (x - eps).clamp_min(0), (x + eps).clamp_max(1), x.clone()
    for _ in range(steps):
        adv = adv.detach().requires_grad_()
        (-model(adv).log_softmax(1).gather(1, target[:, None])).mean().backward(inputs=[adv])
        adv = torch.max(torch.min(adv - step * adv.grad.sign(), high), low)
    return adv.detach()


def log_odds(z, target):
    """−u of the target, as chapter 8 writes it."""
    others = z.scatter(1, target[:, None], -torch.inf).logsumexp(1)
    return (z.gather(1, target[:, None])[:, 0] - others).sum()


def up_the_odds(model, x, y, target, eps, steps=1, step=None):
    refuse(y, target)
    adv = x.clone()
    for _ in range(steps):
        adv.requires_grad_()
        (grad,) = torch.autograd.grad(log_odds(model(adv), target), adv)
        moved = adv.detach() + (eps if step is None else step) * grad.sign()
        adv = moved.clamp(x - eps, x + eps).clamp(0, 1)
    return adv


def shrinking(model, x, y, target, eps, steps, step):
    for k in range(steps):
        x = by_bounds(model, x, y, target, eps, 1, step * (1 - k / steps))
    return x


@pytest.mark.parametrize(
    ("exercise", "answer", "words"),
    [
        (check.targeted_fgsm, up_the_negative_mean, "✓"),
        (check.targeted_fgsm, up_the_odds, "✓"),
        (check.targeted_fgsm, as_it_is_in_advlib, "it calls advlib's own fgsm"),
        (check.targeted_fgsm, asserts, "expected ValueError, got AssertionError"),
        (check.targeted_bim, by_bounds, "✓"),
        (check.targeted_bim, up_the_odds, "✓"),
        (check.targeted_bim, shrinking, "values differ from the formula's"),
    ],
)
def test_says_no_more_than_it_knows(capsys, exercise, answer, words):
    said = verdict(capsys, exercise, answer)
    assert words in said and "Likely cause" not in said, said
