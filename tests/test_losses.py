"""Losses against their formulas, their scale laws, and in half precision."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from advlib import load_images, load_model, losses
from advlib.losses import cross_entropy, dlr, log_odds, margin

ALL = pytest.mark.parametrize("loss", [cross_entropy, log_odds, margin, dlr], ids=lambda f: f.__name__)


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


def test_log_odds_order_and_direct_as_cross_entropy_does():
    logits, y, target = some()
    logits = logits.double().requires_grad_()
    for goal in (None, target):
        u, loss = log_odds(logits, y, goal), cross_entropy(logits, y, goal)
        assert torch.equal(u.argsort(), loss.argsort())
        du, dl = (torch.autograd.grad(value.sum(), logits, retain_graph=True)[0] for value in (u, loss))
        # ∇ℓ = σ(u) ∇u; targeted, u of the target is turned round.
        factor = torch.sigmoid(u if goal is None else -u)[:, None]
        assert torch.allclose(dl, factor * du)


def test_log_odds_keep_the_direction_that_float32_takes_from_cross_entropy():
    signs, model = load_images("signs", "test", n=128), load_model("signs-cnn")

    def signs_of(loss, dtype, scale=1.0):
        x = signs.x.to(dtype).requires_grad_()
        (grad,) = torch.autograd.grad(loss(scale * model.to(dtype)(x), signs.y).sum(), x)
        return grad.sign().double()

    for scale in (1.0, 1000.0):
        same = signs_of(log_odds, torch.float32, scale) == signs_of(log_odds, torch.float64, scale)
        assert same.double().mean() > 0.9999
    with torch.no_grad():  # float64 rounds as well, only later: there cross-entropy is exact where p_y is not yet 1
        exact = log_odds(model.double()(signs.x.double()), signs.y) > -25
    direction = signs_of(log_odds, torch.float32)
    assert (direction == signs_of(cross_entropy, torch.float64))[exact].double().mean() > 0.9999
    assert (direction == signs_of(cross_entropy, torch.float32)).double().mean() < 0.9


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
    assert losses.__all__ == ["cross_entropy", "log_odds", "margin", "dlr"]
