"""Black boxes are asked no more than allowed, every question is counted, and what they give away is used well."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advlib.attacks.queries import black_box, hop_skip_jump, substitute_labels
from advlib.attacks.queries_scores import nes, square
from advlib.norms import L0, L1, L2, Linf

ATTACKS = {
    "square Linf": lambda *a, **k: square(*a[:3], Linf(0.1), **k),
    "square L2": lambda *a, **k: square(*a[:3], L2(0.3), **k),
    "nes": lambda *a, **k: nes(*a[:3], Linf(0.1), samples=6, **k),
    "hop_skip_jump": lambda *a, **k: hop_skip_jump(*a[:3], probes=10, **k),
}
each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
each_score_attack = pytest.mark.parametrize("attack", list(ATTACKS.values())[:3], ids=list(ATTACKS)[:3])


def linear(weight, bias=0.0):
    """Scores of class 0 and 1 whose difference is ⟨weight, x⟩ + bias, as a plain function."""
    return lambda images: torch.stack([(images * weight).sum((1, 2, 3)) + bias, 0 * images[:, 0, 0, 0]], dim=1)


def network(classes=4, size=6):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(2 * size * size, 16), nn.ReLU(), nn.Linear(16, classes)).double()


def batch(n=5, size=6):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 2, size, size, generator=generator).double()


class Counting:
    """A victim that keeps its own books: which image of the set each question is nearest to."""

    def __init__(self, victim, x):
        self.victim, self.x, self.asked, self.shown = victim, x.flatten(1), Counter(), []

    def __call__(self, images):
        self.asked.update(torch.cdist(images.flatten(1), self.x).argmin(1).tolist())
        self.shown.append(images.clone())
        return self.victim(images)


# --------------------------------------------------------------------------------------------- counting queries
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


def test_hop_skip_jump_counts_a_batch():
    x, model = batch(n=8), network()
    counting = Counting(model, x)
    _, reported = hop_skip_jump(counting, x, model(x).argmax(1), queries=150, return_queries=True)
    assert sum(counting.asked.values()) == int(reported.sum()) and int(reported.max()) <= 150


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


# ------------------------------------------------------------------------------------------- the victim's manners
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


@pytest.mark.parametrize(
    "mistake, error, message",
    [
        (lambda x, y: square("model", x, y, Linf(0.1)), TypeError, "expected a callable"),
        (lambda x, y: square(nn.Flatten, x, y, Linf(0.1)), TypeError, "Pass an instance"),
        (lambda x, y: square(network(), x, y, L1(3)), ValueError, "defined for Linf and L2"),
        (lambda x, y: square(network(), x, y, L0(3)), ValueError, "defined for Linf and L2"),
        (lambda x, y: square(network(), x, y, 0.1), TypeError, "expected a norm ball"),
        (lambda x, y: square(network(), x, y, Linf(0.1), p=0), ValueError, "a share of the image"),
        (lambda x, y: square(network(), x, y, Linf(0.1), queries=0), ValueError, "queries is 0"),
        (lambda x, y: square(network(), x, y, Linf(0.1), start=1 - x), ValueError, "away from x"),
        (lambda x, y: square(network(), x, y, Linf(0.1), start=x[:2]), ValueError, "one for each image"),
        (lambda x, y: square(network(), x, y + 9, Linf(0.1)), ValueError, "class indices from 0 to 3"),
        (lambda x, y: nes(network(), x, y, Linf(0.1), samples=7), ValueError, "pairs"),
        (lambda x, y: nes(network(), x, y, Linf(0.1), queries=50), ValueError, "queries is 50"),
        (lambda x, y: nes(network(), x, y, Linf(0.1), sigma=0.0), ValueError, "sigma"),
        (lambda x, y: nes(lambda images: [1] * len(images), x, y, Linf(0.1)), TypeError, "expected a tensor of logits"),
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


# -------------------------------------------------------------------------------------------------------- square
def test_square_finds_the_exact_answer_on_a_linear_victim():
    """Only δ = −ε · sign(w), to the last pixel, is enough here."""
    weight = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    x = torch.full((3, 1, 5, 5), 0.5).double()
    best = 0.1 * weight.abs().sum()
    victim = linear(weight, bias=best - 1e-6 - 0.5 * weight.sum())
    x_adv = square(victim, x, torch.zeros(3, dtype=torch.long), Linf(0.1), queries=3000)
    assert torch.allclose(x_adv - x, (-0.1 * weight.sign()).expand_as(x))


def test_no_square_is_painted_over_with_itself():
    """On a victim that never reacts every question after the first must differ from the first."""
    x = torch.full((1, 1, 6, 6), 0.5)
    counting = Counting(lambda images: torch.tensor([[1.0, 0.0]]).repeat(len(images), 1), x)
    square(counting, x, torch.tensor([0]), Linf(0.1), queries=200)
    assert all(not torch.equal(shown, counting.shown[0]) for shown in counting.shown[1:])


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.7)], ids=str)
def test_square_takes_the_whole_ball(ball):
    x = torch.full((4, 3, 9, 9), 0.5)
    x_adv = square(linear(torch.zeros(3, 9, 9), bias=1.0), x, torch.zeros(4, dtype=torch.long), ball, queries=40)
    assert torch.allclose(ball.size(x_adv - x), torch.full((4,), ball.eps))


def test_square_in_l2_moves_energy_to_where_it_pays():
    """Only a quarter of the image matters; the start spreads the budget over all of it."""
    weight = torch.zeros(1, 12, 12).double()
    weight[0, :6, :6] = 1.0
    x = torch.full((4, 1, 12, 12), 0.5).double()
    victim, y = linear(weight, bias=-15.0), torch.zeros(4, dtype=torch.long)
    gain = lambda x_adv: ((x - x_adv) * weight).sum((1, 2, 3)) / weight.norm()  # at most ε, by Cauchy–Schwarz
    x_adv = square(victim, x, y, L2(0.45), queries=400)
    assert (victim(x_adv).argmax(1) == 0).all() and bool((gain(x_adv) > 0.45 * 0.45).all())
    assert (victim(square(victim, x, y, L2(1.2), queries=400)).argmax(1) == 1).all()


def test_square_improves_a_start():
    weight = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    x = torch.full((2, 1, 8, 8), 0.5).double()
    victim = linear(weight, bias=0.099 * weight.abs().sum() - 0.5 * weight.sum())
    start = x - 0.1 * weight.sign()
    start[0, 0, :3, :3] = 0.5  # the first image lacks a corner of the answer
    y = torch.zeros(2, dtype=torch.long)
    x_adv, used = square(victim, x, y, Linf(0.1), start=start, queries=400, return_queries=True)
    margin = lambda images: -victim(images)[:, 0]
    assert torch.equal(x_adv[1], start[1]) and int(used[1]) == 1
    assert margin(start)[0] < margin(x_adv)[0] and int(used[0]) > 1


@pytest.mark.slow
def test_square_gives_up_only_where_it_gets_nowhere(lenet, mnist):
    model, (x, y) = lenet("clntrained"), mnist(40)
    patient, asked = square(model, x, y, Linf(0.15), queries=400, return_queries=True)
    hasty, fewer = square(model, x, y, Linf(0.15), queries=400, give_up=True, return_queries=True)
    fell, given_up = asked < 400, fewer < asked
    assert torch.equal(hasty[~given_up], patient[~given_up]) and (fewer[given_up] >= 32).all()
    assert (fell & ~given_up).sum() > 0.75 * fell.sum() > 10
    assert fewer[~fell].float().mean() < 300


@settings(max_examples=25, deadline=None)
@given(
    ball=st.sampled_from([Linf(0.2), Linf(0.0), L2(0.5), L2(0.0)]),
    n=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    queries=st.integers(1, 30),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
)
def test_square_on_any_shape_stays_in_the_ball_and_the_box(ball, n, channels, height, width, queries, dtype):
    x = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(n)).to(dtype)
    x_adv = square(
        lambda images: images.flatten(1)[:, [0, -1]].float(), x, torch.zeros(n, dtype=torch.long), ball, queries=queries
    )
    assert x_adv.dtype == dtype and bool(((x_adv >= 0) & (x_adv <= 1)).all())
    assert bool((ball.size(x_adv.double() - x.double()) <= ball.eps + 1e-6).all())


# ----------------------------------------------------------------------------------------------------------- NES
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


@each_score_attack
def test_targets_are_reached(attack):
    x, model = batch(n=12), network(classes=3)
    y = model(x).argmax(1)
    target = (y + 1) % 3
    x_adv = attack(model, x, y, queries=600, target=target)
    hit = model(x_adv).argmax(1) == target
    assert hit.sum() >= 1
    assert bool((model(x_adv).argmax(1)[~hit] != target[~hit]).all())


# ------------------------------------------------------------------------------------------------- hop_skip_jump
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


def test_labels_of_a_victim_cost_one_query_each():
    x, model = batch(n=7), network()
    counting = Counting(model, x)
    assert torch.equal(substitute_labels(counting, x), model(x).argmax(1))
    assert [counting.asked[i] for i in range(7)] == [1] * 7
    assert torch.equal(substitute_labels(lambda images: model(images).argmax(1), x, batch_size=2), model(x).argmax(1))


# ---------------------------------------------------------------------------------------------------- real networks
@pytest.mark.slow
def test_on_mnist_every_attack_does_its_work(lenet, mnist):
    model, (x, y) = lenet("clntrained"), mnist(12)
    right = lambda x_adv: int((model(x_adv).argmax(1) == y).sum())
    assert right(square(model, x, y, Linf(0.3), queries=300)) == 0
    assert right(nes(model, x, y, Linf(0.3), queries=500)) == 0
    x_adv = hop_skip_jump(model, x[:4], y[:4], queries=1000)
    assert bool((model(x_adv).argmax(1) != y[:4]).all())
    assert float(L2(1).size(x_adv - x[:4]).median()) < 3
