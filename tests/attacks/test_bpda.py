"""Through what has no gradient."""

import pytest
import torch
from torch import nn

from advlib.attacks import bpda, eot, pgd
from advlib.norms import Linf


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def batch():
    return torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def by_numpy(x):
    return torch.from_numpy((x.numpy() * 3).round() / 3)


@pytest.mark.parametrize("transform", [torch.round, by_numpy, lambda x: 1 - x**2])
def test_forwards_it_is_the_transformation_to_the_last_bit_and_backwards_the_identity(transform):
    network, x = model(), batch().requires_grad_()
    through = bpda(network, transform)
    seen = transform(x.detach()).requires_grad_()
    assert torch.equal(through(x), network(seen))
    (grad,) = torch.autograd.grad(through(x)[:, 0].sum(), x)
    (there,) = torch.autograd.grad(network(seen)[:, 0].sum(), seen)
    assert torch.equal(grad, there) and grad.abs().sum() > 0


def test_another_substitute_lends_its_gradient_and_its_shape():
    network, x = model(), torch.rand(4, 1, 8, 8, requires_grad=True)
    shrunk = lambda x: nn.functional.avg_pool2d(x, 2)
    through = bpda(network, lambda x: shrunk(x).round(), shrunk)
    assert torch.equal(through(x), network(shrunk(x).round()))
    (grad,) = torch.autograd.grad(through(x)[:, 0].sum(), x)
    assert torch.equal(grad[..., ::2, ::2], grad[..., 1::2, 1::2]) and grad.abs().sum() > 0


def test_an_attack_that_finds_nothing_to_follow_gets_through():
    network, x, within = model(), batch(), Linf(0.4)
    y = network(by_numpy(x)).argmax(1)
    x_adv = pgd(bpda(network, by_numpy), x, y, within, steps=40)
    assert (network(by_numpy(x_adv)).argmax(1) != y).float().mean() >= 0.5
    assert ((x_adv - x).abs() <= 0.4 + 1e-6).all()


def test_it_goes_with_the_expectation_over_transformations():
    network, x = model(), batch().requires_grad_()
    noisy = lambda x, generator: x + 0.1 * torch.randn(x.shape, generator=generator)
    logits = eot(bpda(network, torch.round), noisy, samples=3)(x)
    by_hand = network(noisy(x.repeat_interleave(3, 0), torch.Generator().manual_seed(0)).round())
    torch.testing.assert_close(logits, by_hand.unflatten(0, (4, 3)).mean(1))
    assert torch.autograd.grad(logits.sum(), x)[0].abs().sum() > 0


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: bpda("model", torch.round), TypeError, "nn.Module"),
        (lambda: bpda(model(), 75), TypeError, "transform is 75 of type int"),
        (lambda: bpda(model(), torch.round, "identity"), TypeError, "substitute is 'identity' of type str"),
        (lambda: bpda(model(), lambda x: x[..., 1:])(batch()), ValueError, r"\(4, 1, 4, 3\).*Pass a substitute"),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
