"""Linear relaxation: sound, never looser than intervals, exact where nothing bends, and near the truth elsewhere."""

import pytest
import torch
from torch import nn

from advlib.data import load_images
from advlib.defenses import crown_bounds, interval_bounds, margin_bounds
from advlib.norms import Linf
from tests.defenses.certificates.networks import (
    NETWORKS,
    corners,
    images,
    inside,
    made,
    mlp,
    reached,
    signs_small,
    stripes,
    trained,
)

ROUNDING = 1e-5
METHODS = ("crown", "interval")


def deep_and_straight():
    """Four affine layers, of which intervals forget how they move together."""
    return nn.Sequential(nn.Conv2d(2, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 6), nn.Linear(6, 3))


def test_without_a_bend_they_are_reached_in_a_corner_and_intervals_are_not():
    model, x, within = made(deep_and_straight), images(2, size=2), Linf(0.2)
    at_corners = model(corners(x, within).flatten(0, 1)).detach().unflatten(0, (2, -1))
    lower, upper = crown_bounds(model, x, within)
    torch.testing.assert_close(lower, at_corners.amin(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(upper, at_corners.amax(1), atol=1e-5, rtol=1e-5)
    assert (interval_bounds(model, x, within).upper > upper + 0.01).all()
    y = torch.tensor([0, 2])
    margins = at_corners.gather(2, y.view(2, 1, 1).expand(2, at_corners.shape[1], 1)) - at_corners
    torch.testing.assert_close(margin_bounds(model, x, y, within), margins.amin(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("intermediate", METHODS)
@pytest.mark.parametrize("eps", [0.02, 0.2])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_image_of_the_ball_crosses_them(name, eps, intermediate):
    model, x, within, y = made(NETWORKS[name]), images(), Linf(eps), torch.tensor([0, 1, 2])
    logits = reached(model, x, within, classes=3)
    lower, upper = crown_bounds(model, x, within, intermediate=intermediate)
    assert (logits >= lower[:, None] - ROUNDING).all() and (logits <= upper[:, None] + ROUNDING).all()
    margins = torch.stack([logits[i, :, y[i], None] - logits[i] for i in range(3)])
    for method in METHODS:
        assert (margins >= margin_bounds(model, x, y, within, method=method)[:, None] - ROUNDING).all()


@pytest.mark.parametrize("eps", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("name", [*NETWORKS, "trained"])
def test_they_are_never_looser_than_intervals_and_mostly_tighter(name, eps):
    model, x = (trained(), stripes(n=8, seed=5).x) if name == "trained" else (made(NETWORKS[name]), images())
    within, y = Linf(eps), torch.arange(len(x)) % 2
    boxes = interval_bounds(model, x, within)
    tight, quick = (crown_bounds(model, x, within, intermediate=kind) for kind in METHODS)
    for bounds in (tight, quick):
        assert (bounds.lower >= boxes.lower - ROUNDING).all() and (bounds.upper <= boxes.upper + ROUNDING).all()
    if eps < 0.4:
        assert (tight.upper - tight.lower).mean() < 0.9 * (boxes.upper - boxes.lower).mean()
        assert (tight.upper - tight.lower).mean() <= (quick.upper - quick.lower).mean() + ROUNDING
    if name == "mlp" and eps == 0.1:  # many signs are open in its second layer, and few by the tighter bounds
        assert (tight.upper - tight.lower).mean() < 0.9 * (quick.upper - quick.lower).mean()
    difference = margin_bounds(model, x, y, within)
    assert (difference >= margin_bounds(model, x, y, within, method="interval") - ROUNDING).all()
    apart = tight.lower.gather(1, y[:, None]) - tight.upper
    others = torch.arange(apart.shape[1]) != y[:, None]
    assert (difference >= apart - ROUNDING)[others].all()
    if name in NETWORKS:  # of the two logits that were trained against each other, one is the other's negative
        assert (difference > apart + 1e-4)[others].any()


def test_on_a_trained_network_of_signs_they_are_tighter_than_intervals():
    model, signs, within = signs_small(), load_images("signs", "test", n=1), Linf(0.1 / 255)
    boxes = interval_bounds(model, signs.x, within)
    tight = crown_bounds(model, signs.x, within, intermediate="interval")
    assert (tight.lower >= boxes.lower - 1e-3).all() and (tight.upper <= boxes.upper + 1e-3).all()
    assert (tight.upper - tight.lower).mean() < 0.7 * (boxes.upper - boxes.lower).mean()
    logits = reached(model, signs.x, within, classes=2, count=100)
    assert (logits >= tight.lower[:, None] - 1e-3).all() and (logits <= tight.upper[:, None] + 1e-3).all()


def bent(pixels, hidden, seed):
    return made(lambda: nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2)), seed)


@pytest.mark.parametrize("seed", range(6))
def test_on_two_pixels_they_are_near_the_truth_on_a_fine_grid(seed):
    model, within = bent(2, 6, seed), Linf(0.3)
    x = torch.tensor([0.5, 0.4]).view(1, 1, 1, 2)
    steps = torch.linspace(-0.3, 0.3, 301)
    grid = x + torch.cartesian_prod(steps, steps).view(-1, 1, 1, 2)
    z = model(grid.clamp(0, 1)).detach()
    (lower, upper), boxes = crown_bounds(model, x, within), interval_bounds(model, x, within)
    least, most = z.amin(0), z.amax(0)
    assert (lower[0] <= least + ROUNDING).all() and (upper[0] >= most - ROUNDING).all()
    loose = lambda ends: ((ends[1][0] - ends[0][0]) - (most - least)).sum()
    assert loose((lower, upper)) < 0.75 * loose(boxes) + 1e-3


def test_where_no_sign_is_open_they_are_exact():
    model, x, within = bent(4, 8, 0), images(1, 1, 2), Linf(0.05)
    before = interval_bounds(model[:2], x, within)
    with torch.no_grad():  # move the biases until no ReLU can change sides: half of them always on, half always off
        on = torch.arange(8) % 2 == 0
        model[1].bias += torch.where(on, 0.1 - before.lower[0].clamp_max(0), -0.1 - before.upper[0].clamp_min(0))
    z = model(corners(x, within)[0]).detach()
    lower, upper = crown_bounds(model, x, within)
    torch.testing.assert_close(lower[0], z.amin(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(upper[0], z.amax(0), atol=1e-5, rtol=1e-5)


def test_the_lines_of_one_relu_by_hand():
    """relu(3x − 1) for x in [0, 1]: z in [−1, 2], below z itself (2 > 1), above ⅔ (z + 1) = 2x."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3, bias=False))
    model[1].weight.data, model[1].bias.data = torch.tensor([[3.0], [1]]), torch.tensor([-1.0, 0])
    model[3].weight.data = torch.tensor([[1.0, 0], [1, -2], [1, -3]])  # the ReLU; less 2x; less 3x
    lower, upper = crown_bounds(model, torch.full((1, 1, 1, 1), 0.5), Linf(0.5))
    # Below: max(−1, 0 by intervals), min of 3x − 1 − 2x at 0, −1. Above: 2, 2x − 2x, 2x − 3x at 0.
    torch.testing.assert_close(lower, torch.tensor([[0.0, -1, -1]]))
    torch.testing.assert_close(upper, torch.tensor([[2.0, 0, 0]]))
    torch.testing.assert_close(interval_bounds(model, torch.full((1, 1, 1, 1), 0.5), Linf(0.5)).upper,
                               torch.tensor([[2.0, 2, 2]]))  # fmt: skip


@pytest.mark.parametrize("settings", [dict(kernel_size=2), dict(kernel_size=3, stride=1, padding=1)])
def test_pooling_that_one_entry_wins_for_certain_is_exact(settings):
    pool = nn.Sequential(nn.MaxPool2d(**settings), nn.Flatten())
    model = nn.Sequential(pool, made(lambda: nn.Linear(pool(torch.zeros(1, 1, 4, 4)).shape[1], 2)))
    x = torch.randperm(16, generator=torch.Generator().manual_seed(0)).view(1, 1, 4, 4) / 20 + 0.1
    lower, upper = crown_bounds(model, x, Linf(0.02))
    z = model(inside(x, Linf(0.02), 20000)[0]).detach()
    gradient = torch.autograd.functional.jacobian(lambda x: model(x)[0], x)
    torch.testing.assert_close(upper[0] - lower[0], 0.04 * gradient.abs().flatten(1).sum(1), atol=1e-5, rtol=1e-5)
    assert (z >= lower - ROUNDING).all() and (z <= upper + ROUNDING).all()


@pytest.mark.parametrize("layer", [nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(2, ceil_mode=True), nn.SiLU()], ids=str)
def test_what_is_not_relaxed_is_refused_and_intervals_are_named(layer):
    model = nn.Sequential(layer, nn.Flatten())
    with pytest.raises(ValueError, match='interval_bounds.*method="interval"'):
        crown_bounds(model, images(), Linf(0.1))
    assert interval_bounds(model, images(), Linf(0.1)).lower.shape[0] == 3


def test_each_image_may_have_its_own_ball_and_batches_change_nothing():
    model, x = made(mlp), images(4)
    eps = torch.tensor([0.0, 0.02, 0.1, 1])
    together = crown_bounds(model, x, Linf(eps))
    torch.testing.assert_close(together, crown_bounds(model, x, Linf(eps), batch_size=3))
    for i in range(4):
        alone = crown_bounds(model, x[i : i + 1], Linf(float(eps[i])))
        torch.testing.assert_close(torch.stack(together)[:, i], torch.stack(alone)[:, 0])
    torch.testing.assert_close(together.lower[0], model(x[:1])[0].detach(), atol=1e-5, rtol=1e-5)


def test_the_model_is_left_as_it_was():
    model = made(NETWORKS["convolutional"])
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        lower, _ = crown_bounds(model, images().requires_grad_(), Linf(0.05))
    assert not lower.requires_grad and model.training and model[1][1].training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(intermediate="exact"), ValueError, 'expected "crown" or "interval"'),
        (dict(within=0.1), TypeError, "expected a norm ball"),
        (dict(x=images() - 1), ValueError, "pixels from -1"),
        (dict(model=nn.Sequential(nn.Flatten(), nn.Tanh())), ValueError, "^1 is a Tanh"),
        (dict(model=nn.Sequential(nn.ReLU())), ValueError, r"expected logits \(3, K\)"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        crown_bounds(**{"model": made(mlp), "x": images(), "within": Linf(0.1)} | change)
