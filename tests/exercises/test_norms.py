"""Answers about norms that no list of known mistakes foresees, and right ones in other styles."""

import pytest
import torch

from advlib.exercises import check
from advlib.norms import L2
from tests.exercises.verdicts import verdict


def shared_by_ties(grad, eps):
    best = (grad.abs() == grad.abs().amax((1, 2, 3), keepdim=True)).to(grad)
    return eps * grad.sign() * best / best.sum((1, 2, 3), keepdim=True)


def duchi(delta, eps):
    """Algorithm 1 of Duchi et al. (2008): the price from the last k that stays above zero."""
    u = delta.abs().flatten(1).sort(descending=True).values
    total, k = u.cumsum(1) - eps, torch.arange(1, u.shape[1] + 1)
    last = (u * k > total).sum(1, keepdim=True)
    price = (total.gather(1, last - 1) / last).clamp_min(0)[:, :, None, None]
    return delta.sign() * (delta.abs() - price).clamp_min(0)


@pytest.mark.parametrize(
    ("checker", "answer"),
    [
        (check.project_linf, lambda d, e: torch.where(d.abs() > e, e * d.sign(), d)),
        (check.project_l2, lambda d, e: d.renorm(2, 0, e)),
        (check.project_l2, lambda d, e: d * e / d.flatten(1).norm(dim=1).clamp_min(e)[:, None, None, None]),
        (check.project_l1, duchi),
        (check.steepest_l1, shared_by_ties),
    ],
)
def test_right_in_another_style(capsys, checker, answer):
    assert verdict(capsys, checker, answer).startswith("✓")


@pytest.mark.parametrize(
    ("checker", "answer", "words"),
    [
        (check.project_linf, lambda d, e: d.clamp_(-e, e), "the caller's delta was changed"),
        (check.project_linf, lambda d, e: d.clamp(-0.3, 0.3), "that of ε = 0.3, whatever eps is"),
        (check.project_l2, lambda d, e: L2(e).project(d), "it calls advlib's own project"),
        (check.project_l2, lambda d, e: 0.9 * d.renorm(2, 0, e), "0.9 times what it should be"),
        (check.project_l2, lambda d, e: d * e / d.norm(dim=(1, 2, 3)), "flatten(1) first"),
        (check.project_l2, lambda d, e: d.renorm(2, 0, e) * d / d, "zero was divided by zero"),
        (check.project_l1, lambda d, e: d.abs().flatten(1).sort(1).cumsum(1), "take .values"),
        (check.steepest_l1, lambda g, e: g.sign() * (g == g.flatten(1).max(1)[:, None]), "take .values"),
        (check.norms_by_hand, {"L0": 4, "L1": None, "L2": 0.25, "L∞": 0.4}, "L1 is None"),
        (check.norms_by_hand, {"L0": 4, "L1": None, "L2": 0.25, "L∞": 0.4}, "the root is missing"),
    ],
)
def test_wrong_in_another_way(capsys, checker, answer, words):
    said = verdict(capsys, checker, answer, *checker.example())
    assert said.startswith("✗") and words in said, said
