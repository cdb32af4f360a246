"""HopSkipJump: the shortest way on a linear victim, by labels alone, whatever the budget."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advlib.attacks.hop_skip_jump import hop_skip_jump
from advlib.norms import L1, L2, Linf
from tests.attacks.victims import Counting, batch, linear, network


def test_hop_skip_jump_counts_a_batch():
    x, model = batch(n=8), network()
    counting = Counting(model, x)
    _, reported = hop_skip_jump(counting, x, model(x).argmax(1), queries=150, return_queries=True)
    assert sum(counting.asked.values()) == int(reported.sum()) and int(reported.max()) <= 150


@pytest.mark.parametrize("norm, slack", [(L2, 1.06), (Linf, 1.25)], ids=["L2", "Linf"])
def test_hop_skip_jump_comes_close_to_the_shortest_way_on_a_linear_victim(norm, slack):
    weight = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    x = 0.4 + 0.2 * torch.rand(4, 1, 5, 5, generator=torch.Generator().manual_seed(1)).double()
    victim = linear(weight, bias=0.7 - 0.5 * weight.sum())
    difference = victim(x)[:, 0]
    y = torch.zeros(4, dtype=torch.long)
    assert bool((difference > 0).all())
    shortest = difference / (weight.norm() if norm is L2 else weight.abs().sum())
    x_adv = hop_skip_jump(victim, x, y, norm=norm, queries=3000)
    found = norm(1).size(x_adv - x)
    assert (victim(x_adv).argmax(1) == 1).all()
    assert bool((found >= shortest * (1 - 1e-6)).all()) and bool((found <= slack * shortest).all())


def test_hop_skip_jump_uses_labels_alone():
    x, model = batch(), network()
    y = model(x).argmax(1)
    by_scores = hop_skip_jump(model, x, y, queries=300)
    assert torch.equal(hop_skip_jump(lambda images: model(images).argmax(1), x, y, queries=300), by_scores)
    assert torch.equal(hop_skip_jump(lambda images: 1000 * model(images) - 7, x, y, queries=300), by_scores)


def test_hop_skip_jump_reaches_targets_from_a_start():
    x, model = batch(n=30), network()
    labels = model(x).argmax(1)
    y, other = labels[:1].expand(4), x[labels != labels[0]][:4]
    x, target = x[labels == labels[0]][:4], model(other).argmax(1)
    y, other, target = y[: len(x)], other[: len(x)], target[: len(x)]
    x_adv = hop_skip_jump(model, x, y, target=target, start=other, queries=800)
    assert torch.equal(model(x_adv).argmax(1), target)
    assert bool((L2(1).size(x_adv - x) < 0.6 * L2(1).size(other - x)).all())


def test_hop_skip_jump_gives_back_what_it_cannot_fool():
    x = batch()
    x_adv, asked = hop_skip_jump(
        linear(torch.zeros(2, 6, 6).double(), bias=1.0), x, torch.zeros(5, dtype=torch.long), return_queries=True
    )
    assert torch.equal(x_adv, x) and int(asked.max()) < 60


@settings(max_examples=25, deadline=None)
@given(norm=st.sampled_from([L2, Linf]), queries=st.integers(1, 120), probes=st.integers(1, 30), size=st.integers(1, 6))
def test_hop_skip_jump_with_any_budget_gives_pictures(norm, queries, probes, size):
    x, model = batch(n=3, size=size), network(size=size)
    y = model(x).argmax(1)
    x_adv, asked = hop_skip_jump(model, x, y, norm=norm, queries=queries, probes=probes, return_queries=True)
    assert int(asked.max()) <= queries and bool(((x_adv >= 0) & (x_adv <= 1)).all())
    changed = (x_adv != x).flatten(1).any(1)
    assert bool((model(x_adv).argmax(1) != y)[changed].all())


@pytest.mark.parametrize(
    "mistake, error, message",
    [
        (lambda x, y: hop_skip_jump(network(), x, y, norm=L2(0.5)), ValueError, "without ε"),
        (lambda x, y: hop_skip_jump(network(), x, y, norm=L1), ValueError, "L2 or Linf"),
        (lambda x, y: hop_skip_jump(network(), x, y, target=(y + 1) % 4), ValueError, "got no start"),
        (lambda x, y: hop_skip_jump(network(), x, y, start=x), ValueError, "does not fool"),
        (lambda x, y: hop_skip_jump(lambda images: images.mean((1, 2, 3)), x, y), TypeError, "integer class indices"),
        (lambda x, y: hop_skip_jump(network(), x, y, probes=0), ValueError, "probes is 0"),
    ],
)
def test_mistakes_are_named(mistake, error, message):
    x = batch()
    with pytest.raises(error, match=message):
        mistake(x, network()(x).argmax(1))
