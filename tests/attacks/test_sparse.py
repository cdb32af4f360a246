"""JSMA, one pixel and Sparse-RS: what their formulas say, within the budget of pixels and of queries."""

import pytest
import torch
from torch import nn

from advlib.attacks import GradientMaskingWarning
from advlib.attacks.one_pixel import one_pixel
from advlib.attacks.sparse import _divisor, _most_salient, jsma, sparse_rs
from advlib.losses import margin
from advlib.norms import L0, L2

SCORES_ONLY = {
    "one_pixel": lambda victim, x, y, **k: one_pixel(victim, x, y, 2, population=10, **{"queries": 60} | k),
    "sparse_rs": lambda victim, x, y, **k: sparse_rs(victim, x, y, L0(2), **{"queries": 60} | k),
}
each_black_box = pytest.mark.parametrize("attack", SCORES_ONLY.values(), ids=SCORES_ONLY.keys())


def network(classes=4, seed=0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(75, 32), nn.ReLU(), nn.Linear(32, classes))


def images(n=8):
    x = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    x[:, 0, 0], x[:, 1, 0] = 0, 1
    return x


class Counts:
    """A victim that is a plain callable, gives scores and no gradient, and counts what it is shown."""

    def __init__(self, model):
        self.model, self.asked = model, 0

    def __call__(self, shown):
        assert not torch.is_grad_enabled() and not shown.requires_grad
        self.asked += len(shown)
        return self.model(shown).detach()


# ------------------------------------------------------------------------------------------------- JSMA
def test_the_most_salient_pair_is_that_of_brute_force():
    generator = torch.Generator().manual_seed(0)
    alpha, beta = torch.rand(20, 9, generator=generator), torch.randn(20, 9, generator=generator)
    pairs = _most_salient(alpha, beta, torch.ones(20, 9, dtype=torch.bool), torch.zeros(20, dtype=torch.bool))
    for a, b, pair in zip(alpha, beta, pairs):
        total = lambda value, p, q: value[p] + value[q] if p != q else value[p]
        saliency = lambda p, q: -total(a, p, q) * total(b, p, q)  # positive where β < 0: here α > 0 always
        best = max(saliency(p, q) for p in range(9) for q in range(9))
        p, q = pair.tolist()
        assert saliency(p, q) == pytest.approx(best.item())


def test_with_one_pixel_left_a_single_one_is_chosen_and_changed_ones_never():
    alpha, beta = torch.tensor([[3.0, 2.0, 1.0]]), -torch.ones(1, 3)
    free = torch.tensor([[False, True, True]])
    assert _most_salient(alpha, beta, free, torch.tensor([True])).tolist() == [[1, 1]]
    assert sorted(_most_salient(alpha, beta, free, torch.tensor([False]))[0].tolist()) == [1, 2]


@pytest.mark.parametrize("classes", [2, 4, 13])
def test_jsma_reaches_its_target_among_any_number_of_classes(classes):
    model, x = network(classes), images()
    y = model(x).argmax(1)
    target = (y + 1) % classes
    x_adv = jsma(model, x, y, L0(25), target=target)
    assert (model(x_adv).argmax(1) == target).all()
    moved = (x_adv != x).any(1)
    assert moved.any(dim=(1, 2)).all() and not moved.all(dim=(1, 2)).all()


def test_jsma_sends_changed_values_to_an_end_and_leaves_the_others_exactly():
    model, x = network(), images()
    x_adv = jsma(model, x, model(x).argmax(1), L0(25))
    changed = x_adv != x
    assert changed.any() and ((x_adv == 0) | (x_adv == 1))[changed].all()


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_jsma_keeps_to_its_pixels_and_returns_its_best_iterate(k):
    model, x = network(), images()
    y = model(x).argmax(1)
    x_adv = jsma(model, x, y, L0(k), target=(y + 2) % 4)
    assert (L0(k).size(x_adv - x) <= k).all()
    assert (margin(model(x_adv), y, (y + 2) % 4) >= margin(model(x), y, (y + 2) % 4)).all()


def test_jsma_stops_at_the_first_success():
    model, x = network(), images()
    y = model(x).argmax(1)
    few, many = jsma(model, x, y, L0(12)), jsma(model, x, y, L0(25))
    won = model(few).argmax(1) != y
    assert won.any() and torch.equal(few[won], many[won])


def test_jsma_does_not_depend_on_batches():
    model, x = network().double(), images().double()
    y = model(x).argmax(1)
    assert torch.equal(jsma(model, x, y, L0(9), batch_size=3), jsma(model, x, y, L0(9)))


def test_jsma_without_gradients_says_so():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor([[2.0, 1.0, 0.0]]) + 0 * x.sum((1, 2, 3))[:, None]

    with pytest.warns(GradientMaskingWarning, match="exactly zero on 8 of 8 images"):
        assert torch.equal(jsma(Constant(), images(), torch.zeros(8).long(), L0(5)), images())


# --------------------------------------------------------------------------------------- scores alone
@each_black_box
@pytest.mark.parametrize("queries", [1, 7, 60])
def test_queries_are_counted_exactly_and_never_exceed_the_budget(attack, queries):
    model, x = network(), images()
    victim = Counts(model)
    y = model(x).argmax(1)
    x_adv, used = attack(victim, x, y, queries=queries, return_queries=True)
    assert int(used.sum()) == victim.asked and int(used.max()) <= queries
    assert (L0(2).size(x_adv - x) <= 2).all() and (x_adv >= 0).all() and (x_adv <= 1).all()
    if queries == 1:
        assert torch.equal(x_adv, x)  # spent on looking at the images as they are


@each_black_box
def test_an_image_that_is_wrong_already_costs_one_query(attack):
    model, x = network(), images()
    y = (model(x).argmax(1) + 1) % 4
    x_adv, used = attack(model, x, y, return_queries=True)
    assert torch.equal(x_adv, x) and (used == 1).all()


@each_black_box
def test_the_same_seed_gives_the_same_answer_whoever_the_neighbours_and_no_global_draw(attack):
    model, x = network().double(), images().double()
    y = model(x).argmax(1)
    before = torch.get_rng_state()
    whole = attack(model, x, y, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(attack(model, x, y, seed=3, batch_size=3), whole)
    assert torch.equal(attack(model, x[:4], y[:4], seed=3), whole[:4])
    assert not torch.equal(attack(model, x, y, seed=4), whole)


@each_black_box
def test_targets_are_aimed_at(attack):
    model, x = network(), images()
    y = model(x).argmax(1)
    target = (y + 1) % 4
    x_adv = attack(model, x, y, target=target, queries=100)
    assert (margin(model(x_adv), y, target) > margin(model(x), y, target)).sum() >= 6


def spotlight(images):
    """Fooled exactly where pixel (2, 3) is bright in red and dark in blue: one place, one colour."""
    lit = images[:, 0, 2, 3] - images[:, 2, 2, 3]
    return torch.stack([torch.full_like(lit, 0.5), lit], dim=1)


def test_one_pixel_finds_the_place_and_the_colour():
    x = torch.full((2, 3, 5, 5), 0.5)
    x_adv = one_pixel(spotlight, x, torch.zeros(2).long(), queries=3000)
    assert spotlight(x_adv).argmax(1).tolist() == [1, 1] and (L0(1).size(x_adv - x) == 1).all()


def test_one_pixel_with_more_pixels():
    brightest = lambda images: images.flatten(1).topk(2).values.sum(1)
    needs_two = lambda images: torch.stack([torch.full((len(images),), 1.5), brightest(images)], 1)
    x_adv = one_pixel(needs_two, torch.zeros(1, 1, 4, 4), torch.tensor([0]), pixels=2, queries=2000)
    assert needs_two(x_adv).argmax().item() == 1 and L0(2).size(x_adv).item() == 2


def test_sparse_rs_finds_the_place_and_the_colour():
    x = torch.full((2, 3, 5, 5), 0.5)
    x_adv = sparse_rs(spotlight, x, torch.zeros(2).long(), L0(2), queries=2000)
    assert spotlight(x_adv).argmax(1).tolist() == [1, 1] and (L0(2).size(x_adv - x) <= 2).all()


def test_sparse_rs_may_change_every_pixel():
    model, x = network(), images()
    y = model(x).argmax(1)
    x_adv = sparse_rs(model, x, y, L0(1000), queries=100)
    assert (model(x_adv).argmax(1) != y).any() and ((x_adv >= 0) & (x_adv <= 1)).all()


def test_sparse_rs_swaps_fewer_and_fewer_on_a_schedule_stretched_to_the_budget():
    """Croce et al. (2022): α is divided by 2 from the first step on, by 20 in the last fifth."""
    assert [_divisor(k, 10_000) for k in (0, 1, 50, 51, 201, 1001, 8000, 8001)] == [1, 2, 2, 4, 5, 8, 15, 20]
    assert _divisor(900, 1000) == 20 and _divisor(10, 1000) == 4


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda m, x, y: jsma(m, x, y, L2(1.0)), ValueError, r"jsma changes few .* got L2 ≤ 1; expected L0\(k\)"),
        (lambda m, x, y: sparse_rs(m, x, y, 20), TypeError, "within is a int"),
        (lambda m, x, y: sparse_rs(m, x, y, L0(2), alpha=0), ValueError, "alpha is 0; expected a share"),
        (lambda m, x, y: sparse_rs(m, x, y, L0(2), queries=0), ValueError, "queries is 0"),
        (lambda m, x, y: one_pixel(m, x, y, 0), ValueError, "pixels is 0"),
        (lambda m, x, y: one_pixel(m, x, y, population=4), ValueError, "population is 4; expected .* ≥ 5"),
        (lambda m, x, y: one_pixel("net", x, y), TypeError, "expected a callable"),
        (lambda m, x, y: jsma(m, x, y, L0(3), target=y), ValueError, "target equals the label"),
    ],
)
def test_bad_settings(call, error, message):
    with pytest.raises(error, match=message):
        call(network(), images(), torch.zeros(8).long())


@pytest.mark.thorough
def test_jsma_on_mnist(lenet, mnist):
    """Towards the next digit, 26 pixels on average over 100 images; other libraries' JSMA: 46 to 56."""
    model, (x, y) = lenet("clntrained"), mnist(50)
    x_adv = jsma(model, x, y, L0(160), target=(y + 1) % 10)
    assert (model(x_adv).argmax(1) == (y + 1) % 10).all() and L0(1).size(x_adv - x).mean() <= 46


@pytest.mark.thorough
def test_sparse_rs_on_mnist(lenet, mnist):
    model, (x, y) = lenet("clntrained"), mnist(10)
    x_adv = sparse_rs(model, x, y, L0(20), queries=200)
    assert (model(x_adv).argmax(1) != y).float().mean() >= 0.5 and (L0(20).size(x_adv - x) <= 20).all()
