"""Chapter 6's exercises beyond what all exercises keep to."""

import pytest
import torch

from advlib import Linf, attacks, evaluate, load_images, load_model
from advlib.exercises import check, own
from tests.exercises.verdicts import verdict


def on_the_log_odds(model, x, y, eps):
    x = x.clone().requires_grad_()
    z = model(x)
    u = z.scatter(1, y[:, None], -torch.inf).logsumexp(1) - z.gather(1, y[:, None])[:, 0]
    (grad,) = torch.autograd.grad(u.sum(), x)
    return (x + eps * grad.sign()).clamp(0, 1)


def test_a_step_on_the_log_odds_is_right_as_well(capsys):
    assert "✓" in verdict(capsys, check.fgsm, on_the_log_odds)


@pytest.mark.parametrize("high", [1, 0.5, 0.25])
def test_halving_jumps_over_the_answer_for_the_chapters_sign(capsys, high):
    signs, model = load_images("signs", "test", n=512), load_model("signs-cnn")
    bent, label = own.sign(signs.x, signs.y)

    def misread(eps):
        return bool(evaluate.predict(model, attacks.fgsm(model, bent, label, Linf(eps)))[0] != label)

    low = 0
    assert misread(high) and misread(0.031)
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if misread(middle) else (middle, high)
    assert high > 0.2
    assert "✗" in verdict(capsys, check.smallest_eps, high, model, bent, label)
