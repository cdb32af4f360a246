"""Interval bounds: exact where one layer is all there is, and never crossed."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from advlib.data import load_images
from advlib.defenses import crown_bounds, interval_bounds
from advlib.models import Normalize
from advlib.norms import L2, Linf
from tests.defenses.certificates.networks import NETWORKS, corners, images, made, mlp, reached, signs_small

ROUNDING = 1e-5
LAYERS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 3)),
    "without bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 3, bias=False)),
    "convolution": lambda: nn.Conv2d(2, 3, 2, padding=1),
    "grouped, strided, reflected": lambda: nn.Conv2d(2, 4, 2, stride=2, padding=1, groups=2, padding_mode="reflect"),
    "batch norm": lambda: nn.BatchNorm2d(2),
    "normalize": lambda: Normalize([0.1, 0.9], [0.3, 0.2]),
    "average": lambda: nn.AvgPool2d(2, padding=1),
    "adaptive average": lambda: nn.AdaptiveAvgPool2d(1),
    "maximum": lambda: nn.MaxPool2d(2, stride=1),
    "relu": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU()),
}


@pytest.mark.parametrize("name", LAYERS)
def test_of_one_layer_each_bound_is_reached_in_a_corner(name):
    layer, x, within = made(LAYERS[name]), images(2, size=2), Linf(0.3)
    lower, upper = interval_bounds(nn.Sequential(layer, nn.Flatten()), x, within)
    with torch.no_grad():
        at_corners = layer(corners(x, within).flatten(0, 1)).flatten(1).unflatten(0, (2, -1))
    torch.testing.assert_close(lower, at_corners.amin(1))
    torch.testing.assert_close(upper, at_corners.amax(1))


def test_bounds_of_silu_are_reached_on_either_side_of_its_valley_and_in_it():
    middle = torch.tensor([-3.0, -1.5, -1.2, 0.0, 0.4, 2.0]).view(6, 1, 1, 1)
    shifted = nn.Sequential(nn.Conv2d(1, 6, 1), nn.SiLU(inplace=True), nn.Flatten())
    shifted[0].weight.data, shifted[0].bias.data = torch.ones(6, 1, 1, 1), middle.flatten() - 0.5
    lower, upper = interval_bounds(shifted, torch.full((1, 1, 1, 1), 0.5), Linf(0.3))
    with torch.no_grad():
        on_the_way = nn.functional.silu(middle.flatten() + torch.linspace(-0.3, 0.3, 10_001)[:, None])
    torch.testing.assert_close(lower[0], on_the_way.amin(0))
    torch.testing.assert_close(upper[0], on_the_way.amax(0))


@pytest.mark.parametrize("eps", [0.02, 0.2])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_image_of_the_ball_crosses_them(name, eps):
    model, x, within = made(NETWORKS[name]), images(), Linf(eps)
    lower, upper = interval_bounds(model, x, within)
    logits = reached(model, x, within, classes=3)
    assert (logits >= lower[:, None] - ROUNDING).all() and (logits <= upper[:, None] + ROUNDING).all()


def test_no_image_crosses_them_on_a_trained_network_of_signs():
    model, signs, within = signs_small(), load_images("signs", "test", n=2), Linf(1 / 255)
    lower, upper = interval_bounds(model, signs.x, within)
    logits = reached(model, signs.x, within, classes=2, count=100)
    assert (logits >= lower[:, None] - 1e-3).all() and (logits <= upper[:, None] + 1e-3).all()


def test_a_layer_in_two_places_and_one_that_writes_over_its_input_count_as_often_as_they_stand():
    apart, bend = made(mlp), nn.ReLU(inplace=True)
    shared = nn.Sequential(apart[0], apart[1], bend, apart[3], bend, apart[5])
    x, within = images(), Linf(0.1)
    for bounds in (interval_bounds, crown_bounds):
        torch.testing.assert_close(bounds(shared, x, within), bounds(apart, x, within))


def test_a_ball_of_radius_zero_holds_the_logits_alone():
    model, x = made(NETWORKS["convolutional"]), images()
    for end in interval_bounds(model, x, Linf(0)):
        torch.testing.assert_close(end, model(x).detach())


def test_each_image_may_have_its_own_ball_and_batches_change_nothing():
    model, x = made(mlp), images(5)
    eps = torch.tensor([0.0, 0.01, 0.05, 0.1, 1])
    together = interval_bounds(model, x, Linf(eps))
    for i in range(5):
        alone = interval_bounds(model, x[i : i + 1], Linf(float(eps[i])))
        torch.testing.assert_close(torch.stack(together)[:, i], torch.stack(alone)[:, 0])
    torch.testing.assert_close(together, interval_bounds(model, x, Linf(eps), batch_size=2))


def test_the_pixel_box_is_part_of_the_ball():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.eye(2)
    lower, upper = interval_bounds(model, torch.tensor([0.05, 0.95]).view(1, 1, 1, 2), Linf(0.1))
    torch.testing.assert_close(lower, torch.tensor([[0, 0.85]]))
    torch.testing.assert_close(upper, torch.tensor([[0.15, 1]]))


def test_the_model_is_left_as_it_was():
    model = made(NETWORKS["convolutional"])
    model.train()
    model[2].eval()
    model[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = images().requires_grad_()
    lower, _ = interval_bounds(model, x, Linf(0.1))
    assert not lower.requires_grad and x.grad is None
    assert model.training and not model[2].training and model[1][1].training
    assert not model[3].weight.requires_grad and model[8].weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_float64_stays_float64():
    assert interval_bounds(made(mlp).double(), images().double(), Linf(0.1)).lower.dtype == torch.float64


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def hooked():
    layer = nn.Linear(72, 3)
    layer.register_forward_hook(lambda module, inputs, output: -output)
    return layer


BAD_LAYERS = {
    "an activation": (
        lambda: nn.Sequential(nn.Sigmoid(), nn.Flatten()),
        "^0 is a Sigmoid, .*Linear, Conv2d.*smoothing",
    ),
    "deep inside": (lambda: nn.Sequential(nn.Sequential(nn.ReLU(), nn.GELU())), "^0.1 is a GELU"),
    "a shortcut": (lambda: nn.Sequential(Residual(nn.ReLU())), "^0 is a Residual"),
    "a network of its own": (lambda: Residual(nn.ReLU()), "^the model is a Residual"),
    "a hook": (lambda: nn.Sequential(nn.Flatten(), hooked()), "^1 is a Linear with a hook"),
    "weights under another name": (lambda: parametrizations.weight_norm(nn.Linear(6, 3)), "is a ParametrizedLinear"),
    "statistics of the batch": (lambda: nn.BatchNorm2d(2, track_running_stats=False), "no running statistics"),
}


@pytest.mark.parametrize("name", BAD_LAYERS)
def test_layers_without_bounds_are_named(name):
    build, message = BAD_LAYERS[name]
    with pytest.raises(ValueError, match=message):
        interval_bounds(build(), images(), Linf(0.1))


@pytest.mark.parametrize(
    "change, error, message",
    [
        (dict(within=0.1), TypeError, "expected a norm ball"),
        (dict(within=L2(0.5)), ValueError, "L∞ only"),
        (dict(within=Linf(torch.tensor([0.1, 0.2]))), ValueError, "2 ε for 3 images"),
        (dict(x=images() * 255), ValueError, "divide by 255"),
        (dict(x=images().half()), TypeError, "half precision"),
        (dict(model="signs-cnn"), TypeError, "nn.Module"),
        (dict(model=nn.Sequential(nn.ReLU())), ValueError, r"expected logits \(3, K\)"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        interval_bounds(**{"model": made(mlp), "x": images(), "within": Linf(0.1)} | change)
