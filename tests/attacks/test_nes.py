"""NES: the gradient that it estimates, and what following it is worth."""

import pytest
import torch

from advlib.attacks.nes import nes
from advlib.norms import L2, Linf
from tests.attacks.victims import batch, linear, network


def test_nes_estimates_the_gradient():
    weight = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    x = torch.full((3, 2, 5, 5), 0.5).double()
    victim = linear(weight, bias=100.0)
    delta = nes(victim, x, torch.zeros(3, dtype=torch.long), L2(0.1), samples=1000, queries=1002) - x
    cosine = torch.cosine_similarity(delta.flatten(1), -weight.flatten()[None])
    assert bool((cosine > 0.9).all())  # √(n / (n + d)) is 0.97 for 500 pairs in 50 dimensions


def test_nes_fools_a_network_where_chance_does_not():
    x, model = batch(n=20), network()
    y = model(x).argmax(1)
    by_chance = x + Linf(0.1).sample(x, torch.Generator().manual_seed(0))
    by_nes = nes(model, x, y, Linf(0.1), queries=600, samples=20)
    assert (model(by_nes).argmax(1) != y).sum() > 3 * (model(by_chance).argmax(1) != y).sum() + 5


@pytest.mark.parametrize(
    "mistake, error, message",
    [
        (lambda x, y: nes(network(), x, y, Linf(0.1), samples=7), ValueError, "pairs"),
        (lambda x, y: nes(network(), x, y, Linf(0.1), queries=50), ValueError, "queries is 50"),
        (lambda x, y: nes(network(), x, y, Linf(0.1), sigma=0.0), ValueError, "sigma"),
        (lambda x, y: nes(lambda images: [1] * len(images), x, y, Linf(0.1)), TypeError, "expected a tensor of logits"),
    ],
)
def test_mistakes_are_named(mistake, error, message):
    x = batch()
    with pytest.raises(error, match=message):
        mistake(x, network()(x).argmax(1))
