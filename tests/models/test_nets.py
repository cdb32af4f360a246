"""The networks: sizes, contracts, and what Normalize refuses."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from advlib.models import nets

SHAPES = {
    "signs-cnn": (3, 48, 48, 16),
    "signs-large": (3, 48, 48, 16),
    "signs-linear": (3, 48, 48, 16),
    "signs-small": (3, 48, 48, 16),
    "signs-wide": (3, 48, 48, 16),
    "signs-deep": (3, 48, 48, 16),
    "signs-patches": (3, 48, 48, 16),
    "mnist-mlp": (1, 28, 28, 10),
    "mnist-small": (1, 28, 28, 10),
    "mnist-cnn": (1, 28, 28, 10),
}


def test_every_net_is_known_here():
    assert set(nets.NETS) == set(SHAPES)


@pytest.mark.parametrize("name", nets.NETS)
def test_images_in_logits_out(name):
    *image, classes = SHAPES[name]
    net = nets.NETS[name]().eval()
    x = torch.rand(3, *image)
    logits = net(x)
    assert logits.shape == (3, classes)
    assert torch.allclose(net(x[1:2]), logits[1:2], atol=1e-5), "one image's logits depend on its batch"
    assert not torch.allclose(logits.softmax(1), logits), "probabilities instead of logits"


@pytest.mark.parametrize("name", nets.NETS)
def test_nets_are_plain_sequentials_of_plain_layers(name):
    net = nets.NETS[name]()
    plain = (nets.Normalize, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Linear)
    activations = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU)
    assert isinstance(net, nn.Sequential) and all(isinstance(layer, plain + activations) for layer in net)


def test_the_victim_is_small_and_cheap():
    net = nets.signs_cnn().eval()
    assert sum(p.numel() for p in net.parameters()) <= 400_000
    work = []
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(
                lambda layer, _, out: work.append(
                    layer.weight[0].numel() * out[0].numel() if out.ndim == 4 else layer.weight.numel()
                )
            )
    net(torch.rand(1, 3, 48, 48))
    assert sum(work) <= 16.5e6, "multiplications per image"


def test_a_net_can_have_another_number_of_classes():
    assert nets.signs_cnn(classes=5)(torch.rand(2, 3, 48, 48)).shape == (2, 5)
    assert nets.signs_linear(classes=5)(torch.rand(2, 3, 48, 48)).shape == (2, 5)


def test_normalize_is_its_formula_and_travels_with_the_model():
    x, mean, std = torch.rand(2, 3, 4, 4), [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    layer = nets.Normalize(mean, std)
    for c in range(3):
        assert torch.allclose(layer(x)[:, c], (x[:, c] - mean[c]) / std[c])
    assert set(layer.state_dict()) == {"mean", "std"} and not list(layer.parameters())
    assert layer.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    "mean, std, message",
    [
        ([0.5], [0.0], "positive|> 0"),
        ([0.5], [-1.0], "positive|> 0"),
        ([0.5, 0.5], [0.5], "one mean and one std"),
        (0.5, 0.5, "one mean and one std"),
        ([float("nan")], [1.0], "finite"),
    ],
)
def test_normalize_refuses_bad_statistics(mean, std, message):
    with pytest.raises(ValueError, match=message):
        nets.Normalize(mean, std)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (2, 4, 8, 8)])
def test_normalize_refuses_images_of_another_shape(shape):
    with pytest.raises(ValueError, match="expected \\(N, 3, H, W\\)"):
        nets.Normalize([0.5] * 3, [0.5] * 3)(torch.rand(shape))


@pytest.mark.parametrize("kind", ["clntrained", "advtrained"])
def test_advertorchs_weights_load(kind):
    path = Path(os.environ.get("ADVLIB_DATA", "/nowhere"), "models", f"mnist_lenet5_{kind}.pt")
    if not path.is_file():
        pytest.skip("advertorch's networks are not here: set ADVLIB_DATA")
    net = nets.mnist_cnn()
    assert not any(net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)))
