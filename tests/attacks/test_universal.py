"""One perturbation for all images."""

import warnings

import pytest
import torch
from torch import nn

from advlib.attacks import GradientMaskingWarning
from advlib.attacks.universal import universal
from advlib.norms import L0, L1, L2, Linf

BALLS = [Linf(0.2), Linf(0.7), L2(1.0), L1(4), L0(5)]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(weight, bias=0.0) -> nn.Module:
    """Class 1 where ⟨w, x⟩ > bias, else class 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2))
    model[1].weight.data = torch.stack((torch.zeros(weight.numel()), weight.flatten()))
    model[1].bias.data = torch.tensor([bias, 0.0])
    return model


@pytest.fixture
def network():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    for seed, parameter in enumerate(model.parameters()):
        parameter.data = 0.5 * drawn(*parameter.shape, seed=seed)
    return model


@pytest.fixture
def x():
    return torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def labels(model, x):
    with torch.no_grad():
        return model(x).argmax(1)


def fooled(model, x, y, delta):
    return (labels(model, (x + delta).clamp(0, 1)) != y).float().mean()


@pytest.mark.parametrize("within", [Linf(0.2), L2(1.0)], ids=str)
def test_on_a_linear_model_it_is_the_steepest_step(within):
    weight, grey = drawn(1, 1, 4, 4, seed=7), torch.full((8, 1, 4, 4), 0.5)
    model = linear(weight, bias=float(0.5 * weight.sum()) + 1.0)
    delta = universal(model, grey, torch.zeros(8).long(), within, steps=50, batch_size=3)
    assert torch.allclose(delta, within.steepest(weight), atol=2e-3)


@pytest.mark.parametrize("within", BALLS, ids=str)
def test_it_is_in_the_ball_and_fools_more_than_noise(network, x, within):
    y = labels(network, x)
    delta = universal(network, x, y, within, steps=40, batch_size=10)
    noise = within.sample(torch.full_like(x[:1], 0.5), torch.Generator().manual_seed(0))
    assert delta.shape == (1, 1, 6, 6) and delta.dtype == x.dtype and not delta.requires_grad
    assert within.size(delta) <= within.eps + 1e-5 and delta.abs().max() <= 1
    assert fooled(network, x, y, delta) > 0.1 + fooled(network, x, y, noise)


def test_it_carries_over_to_images_it_has_not_seen(network, x):
    unseen = torch.rand(200, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y = labels(network, x)
    delta = universal(network, x, y, Linf(0.3), steps=40)
    assert fooled(network, unseen, labels(network, unseen), delta) > 0.5


def test_a_target_draws_all_images_to_one_class(network, x):
    y = labels(network, x)
    target = int(y.bincount(minlength=3).argmin())
    x, y = x[y != target], y[y != target]
    delta = universal(network, x, y, Linf(0.6), target=target, steps=60)
    assert (labels(network, (x + delta).clamp(0, 1)) == target).float().mean() > 0.9


def test_the_best_for_all_images_is_kept_not_the_last():
    """A model whose gradient points the wrong way: each step makes things worse, so the start is the answer."""

    class Lies(nn.Module):
        def forward(self, x):
            moved = (x - 0.5).abs().sum((1, 2, 3)) - 0.1
            return torch.stack((2 * moved.detach() - moved, torch.zeros_like(moved)), 1)

    x, y = torch.full((6, 1, 3, 3), 0.5), torch.zeros(6).long()
    x[:, 0, 0, 0] += 1e-3  # off the kink, so that there is a gradient
    assert fooled(Lies(), x, y, torch.full_like(x[:1], 0.3)) == 0
    assert fooled(Lies(), x, y, universal(Lies(), x, y, Linf(0.3), steps=20)) == 1


def test_the_seed_decides_and_neither_model_nor_images_nor_generator_change(network, x):
    y, before = labels(network, x), x.clone()
    network.train()
    state, weights = torch.get_rng_state(), [p.clone() for p in network.parameters()]
    one, two, other = (universal(network, x, y, Linf(0.2), steps=9, batch_size=7, seed=s) for s in (4, 4, 5))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(x, before) and network.training
    assert all(torch.equal(p, w) and p.grad is None and p.requires_grad for p, w in zip(network.parameters(), weights))


def test_it_runs_where_gradients_are_off_and_in_other_precisions(network, x):
    y = labels(network, x)
    with torch.no_grad():
        assert universal(network, x, y, Linf(0.2), steps=3).abs().max() > 0
    assert universal(network.double(), x.double(), y, Linf(0.2), steps=3).dtype == torch.float64
    half = universal(network.bfloat16(), x.bfloat16(), y, Linf(0.2), steps=3)
    assert half.dtype == torch.bfloat16 and half.float().abs().max() <= 0.2


def test_saturated_logits_do_not_stop_it(network, x):
    y = labels(network, x)
    loud = nn.Sequential(network, nn.Hardtanh(-1e9, 1e9))
    loud[0][-1].weight.data *= 1e4
    loud[0][-1].bias.data *= 1e4
    with pytest.warns(GradientMaskingWarning, match="margin loss was climbed"):
        delta = universal(loud, x, y, Linf(0.3), steps=40)
    assert fooled(loud, x, y, delta) > 0.3


def test_mistakes_are_named(network, x):
    y = labels(network, x)
    for arguments, error, words in [
        ((network, x, y, 0.2), TypeError, "Linf(0.2)"),
        ((network, x * 255, y, Linf(0.2)), ValueError, "divide by 255"),
        ((network, x, y.float(), Linf(0.2)), TypeError, "long"),
        ((network, x, y + 3, Linf(0.2)), ValueError, "labels and model"),
        ((nn.Sequential(network, nn.Softmax(1)), x, y, Linf(0.2)), ValueError, "softmax"),
    ]:
        with pytest.raises(error) as raised:
            universal(*arguments, steps=2)
        assert words in str(raised.value)
    with pytest.raises(ValueError, match="steps is 0"):
        universal(network, x, y, Linf(0.2), steps=0)
    with pytest.raises(ValueError, match="equals the label"):
        universal(network, x, y, Linf(0.2), target=y)
    network[0].weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="NaN logits"):
        universal(network, x, y, Linf(0.2), steps=2)


def test_on_a_published_network_it_fools_most_digits(lenet, mnist):
    model, (x, y) = lenet("clntrained"), mnist(300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        delta = universal(model, x[:150], y[:150], Linf(0.3), steps=20, batch_size=32)
    assert fooled(model, x[150:], y[150:], delta) > 0.5
