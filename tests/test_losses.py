"""Losses against their formulas, their scale laws, and in half precision."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from advlib import losses
from advlib.losses import cross_entropy, dlr, margin

ALL = pytest.mark.parametrize("loss", [cross_entropy, margin, dlr], ids=lambda f: f.__name__)


def some(n=64, k=7, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(n, k, generator=generator)
    y = torch.randint(0, k, (n,), generator=generator)
    target = (y + 1 + torch.randint(0, k - 1, (n,), generator=generator)) % k
    return logits, y, target


def test_cross_entropy_is_minus_the_log_probability():
    logits, y, target = some()
    p = logits.softmax(1)
    rows = torch.arange(len(y))
    assert torch.allclose(torch.exp(-cross_entropy(logits, y)), p[rows, y])
    assert torch.allclose(torch.exp(cross_entropy(logits, y, target)), p[rows, target])


def test_margin_is_positive_exactly_where_the_attack_has_won():
    logits, y, target = some()
    assert torch.equal(margin(logits, y) > 0, logits.argmax(1) != y)
    assert torch.equal(margin(logits, y, target) > 0, logits.argmax(1) == target)


def test_dlr_by_hand():
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0]])
    y, target = torch.tensor([0]), torch.tensor([1])
    assert dlr(logits, y).item() == pytest.approx(-(5 - 3) / (5 - 2))
    assert dlr(logits, y, target).item() == pytest.approx(-(5 - 1) / (5 - 0.5 * (2 + 1)))


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_dlr_ignores_scale_and_shift(scale, shift):
    logits, y, target = (t.double() if t.is_floating_point() else t for t in some())
    for goal in (None, target):
        assert torch.allclose(dlr(scale * logits + shift, y, goal), dlr(logits, y, goal), atol=1e-6)


@ALL
def test_one_value_per_image_whatever_its_neighbours(loss):
    logits, y, target = some()
    for goal in (None, target):
        whole = loss(logits, y, goal)
        alone = torch.cat(
            [loss(logits[i : i + 1], y[i : i + 1], None if goal is None else goal[i : i + 1]) for i in range(64)]
        )
        assert whole.shape == (64,) and torch.allclose(whole, alone)


@ALL
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_neither_overflow_nor_lose_the_result(loss, dtype):
    logits, y, target = some(scale=3.0)
    huge = (logits * 5000).to(dtype)  # float16 holds up to 65504; its exp overflows at 11
    value = loss(huge, y, target)
    assert value.dtype == torch.float32 and torch.isfinite(value).all()


def test_a_confident_model_has_no_cross_entropy_gradient_but_a_margin():
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    (flat,) = torch.autograd.grad(cross_entropy(logits, y).sum(), logits)
    (steep,) = torch.autograd.grad(margin(logits, y).sum(), logits)
    assert (flat == 0).all() and (steep != 0).any()
    assert F.softmax(logits, 1)[0, 0] == 1


@pytest.mark.parametrize("k, target", [(2, None), (3, 1)])
def test_dlr_needs_enough_classes(k, target):
    with pytest.raises(ValueError, match="Use margin"):
        dlr(torch.randn(1, k), torch.tensor([0]), None if target is None else torch.tensor([target]))


def test_public_names():
    assert losses.__all__ == ["cross_entropy", "margin", "dlr"]
