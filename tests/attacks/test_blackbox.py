"""Black boxes are asked no more than allowed, every question is counted, and what they give away is used well."""

import math

import pytest
import torch
from torch import nn

from advlib.attacks.blackbox import black_box
from advlib.attacks.hop_skip_jump import hop_skip_jump
from advlib.attacks.nes import nes
from advlib.attacks.square import square
from advlib.norms import L2, Linf
from tests.attacks.victims import Counting, batch, linear, network

ATTACKS = {
    "square Linf": lambda *a, **k: square(*a[:3], Linf(0.1), **k),
    "square L2": lambda *a, **k: square(*a[:3], L2(0.3), **k),
    "nes": lambda *a, **k: nes(*a[:3], Linf(0.1), samples=6, **k),
    "hop_skip_jump": lambda *a, **k: hop_skip_jump(*a[:3], probes=10, **k),
}
each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
each_score_attack = pytest.mark.parametrize("attack", list(ATTACKS.values())[:3], ids=list(ATTACKS)[:3])


@each_attack
@pytest.mark.parametrize("queries", [8, 9, 57, 130])
@pytest.mark.parametrize("hard", [True, False], ids=["stubborn", "fooled at times"])
def test_each_image_is_asked_about_as_often_as_reported_and_never_more_than_allowed(attack, queries, hard):
    x, model = batch(), network()
    y = model(x).argmax(1)
    victim = (lambda images: torch.tensor([[1.0, 0, 0, 0]]).repeat(len(images), 1)) if hard else model
    y = y * 0 if hard else y
    for i in range(len(x)):  # one by one, so that every question is about this image
        counting = Counting(victim, x[i : i + 1])
        _, reported = attack(counting, x[i : i + 1], y[i : i + 1], queries=queries, return_queries=True)
        assert counting.asked[0] == int(reported) <= queries


@each_score_attack
def test_counts_are_per_image_in_a_batch_too(attack):
    x, model = batch(n=8), network()
    counting = Counting(model, x)
    _, reported = attack(counting, x, model(x).argmax(1), queries=90, return_queries=True)
    assert [counting.asked[i] for i in range(8)] == reported.tolist()
    assert len(set(reported.tolist())) > 1  # some were fooled before others


@pytest.mark.parametrize(
    "name, least, bias",
    [("square Linf", 200, 9.0), ("square L2", 200, 9.0), ("nes", 197, 9.0), ("hop_skip_jump", 180, 3.0)],
)
def test_the_budget_is_used_where_it_helps(name, least, bias):
    """Less than a round of it may be left: queries not asked are strength thrown away."""
    weight = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    x, y, victim = batch(), torch.zeros(5, dtype=torch.long), linear(weight - weight.mean(), bias=bias)
    x_adv, used = ATTACKS[name](victim, x, y, queries=200, return_queries=True)
    assert bool((victim(x).argmax(1) == y).all()) and least <= int(used.min()) <= int(used.max()) <= 200


def test_the_counter_refuses_before_the_victim_is_asked():
    x, y = batch(), torch.zeros(5, dtype=torch.long)
    counting = Counting(network(), x)
    with black_box(counting, x, y, None, 3, None) as box:
        box.margins(x[[0, 0, 1]], torch.tensor([0, 0, 1]))
        with pytest.raises(RuntimeError, match="query 4 of at most 3"):
            box.margins(x[[0, 0, 1]], torch.tensor([0, 0, 1]))
    assert counting.asked == {0: 2, 1: 1}


@each_attack
def test_an_image_the_victim_gets_wrong_costs_one_query(attack):
    x = batch()
    victim = linear(torch.zeros(2, 6, 6).double(), bias=1.0)
    x_adv, asked = attack(victim, x, torch.ones(5, dtype=torch.long), queries=100, return_queries=True)
    assert asked.tolist() == [1] * 5
    if attack is ATTACKS["hop_skip_jump"]:
        assert torch.equal(x_adv, x)


@each_attack
def test_a_plain_callable_is_asked_without_gradients_and_may_write_into_what_it_sees(attack):
    x, model = batch(), network()
    y = model(x).argmax(1)

    def rude(images):
        assert not torch.is_grad_enabled() and bool(((images >= 0) & (images <= 1)).all())
        answer = model(images)
        images.zero_()
        return answer

    assert torch.equal(attack(rude, x, y, queries=100), attack(model, x, y, queries=100))


@each_attack
def test_neither_batches_nor_neighbours_change_an_image(attack):
    x, model = batch(), network()
    y = model(x).argmax(1)
    whole = attack(model, x, y, queries=120)
    assert torch.allclose(attack(model, x, y, queries=120, batch_size=3), whole, atol=1e-9)
    y[1:] = (y[1:] + 1) % 4  # the neighbours are wrong from the start and leave at once
    assert torch.allclose(attack(model, x, y, queries=120)[:1], whole[:1], atol=1e-9)


@each_score_attack
def test_probabilities_do_as_well_as_logits_from_a_callable(attack):
    x, model = batch(), network()
    y = model(x).argmax(1)
    by_probability = attack(lambda images: model(images).softmax(1), x, y, queries=100)
    assert torch.allclose(by_probability, attack(model, x, y, queries=100), atol=1e-9)
    with pytest.raises(ValueError, match="returned probabilities"):
        attack(nn.Sequential(model, nn.Softmax(1)), x, y, queries=100)


@each_attack
def test_nan_is_an_error_that_says_when(attack):
    x, model = batch(), network()
    y, answers = model(x).argmax(1), iter([0, 0, math.nan])
    with pytest.raises(ValueError, match="NaN logits at query"):
        attack(lambda images: model(images) + next(answers, math.nan), x, y, queries=100)


@each_score_attack
def test_targets_are_reached(attack):
    x, model = batch(n=12), network(classes=3)
    y = model(x).argmax(1)
    target = (y + 1) % 3
    x_adv = attack(model, x, y, queries=600, target=target)
    hit = model(x_adv).argmax(1) == target
    assert hit.sum() >= 1
    assert bool((model(x_adv).argmax(1)[~hit] != target[~hit]).all())


@pytest.mark.slow
def test_on_mnist_every_attack_does_its_work(lenet, mnist):
    model, (x, y) = lenet("clntrained"), mnist(12)
    right = lambda x_adv: int((model(x_adv).argmax(1) == y).sum())
    assert right(square(model, x, y, Linf(0.3), queries=300)) == 0
    assert right(nes(model, x, y, Linf(0.3), queries=500)) == 0
    x_adv = hop_skip_jump(model, x[:4], y[:4], queries=1000)
    assert bool((model(x_adv).argmax(1) != y[:4]).all())
    assert float(L2(1).size(x_adv - x[:4]).median()) < 3
