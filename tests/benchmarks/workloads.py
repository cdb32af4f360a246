"""What is attacked: three networks of different shape for time, and trained ones for strength."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from advlib.data import load_images
from advlib.device import device
from advlib.models import load_model, nets
from advlib.norms import readable


@dataclass(frozen=True)
class Workload:
    """A model, images it is asked about, and the ε of the attack. ``name`` stands in the tables."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    eps: float

    @property
    def attacked(self) -> str:
        return f"{self.name}, ε = {readable(self.eps)}"


def for_time(share: float = 1.0) -> list[Workload]:
    """Random weights cost as much as trained ones; ``share`` of the images makes a quick look."""
    count = lambda n: max(2, int(n * share))
    published = lenet("clntrained", count(256), 0.3)
    return [
        published or _random("MNIST CNN (random)", nets.mnist_cnn, (count(256), 1, 28, 28), 0.3),
        _random("ResNet-18, 32²", partial(resnet18, num_classes=10), (count(64), 3, 32, 32), 8 / 255),
        _random("ResNet-18, 224²", resnet18, (count(8), 3, 224, 224), 8 / 255),
    ]


def for_strength(n: int) -> list[Workload]:
    """The course's own network, and advertorch's two where ``ADVLIB_DATA`` has them."""
    published = [lenet("advtrained", n, 0.3), lenet("clntrained", n, 0.1), lenet("clntrained", n, 0.3)]
    return [signs("signs-cnn", n, 4 / 255), signs("signs-cnn", n, 8 / 255), *filter(None, published)]


def for_the_worst(n: int) -> list[Workload]:
    """Networks that resist, each at an ε that leaves some images standing: ours, and advertorch's where they are."""
    ours = [signs("signs-robust", n, 8 / 255), signs("signs-trades", n, 8 / 255), signs("signs-cnn", n, 2 / 255)]
    return [*ours, *filter(None, [lenet("advtrained", n, 0.3), lenet("clntrained", n, 0.1)])]


def lenet(weights: str, n: int, eps: float) -> Workload | None:
    """advertorch's MNIST network and the first ``n`` test images; None without the files."""
    folder = Path(os.environ.get("ADVLIB_DATA", ""))
    path = folder / "models" / f"mnist_lenet5_{weights}.pt"
    if not path.is_file() or not (folder / "MNIST").is_dir():
        return None
    model = nets.mnist_cnn()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    images = load_images("mnist", "test", n=n)
    return _ready(f"MNIST CNN ({weights})", model, images.x, images.y, eps)


def signs(name: str, n: int, eps: float) -> Workload:
    """A network of the zoo that reads signs, and ``n`` of them."""
    images = load_images("signs", "test", n=n)
    return _ready(name, load_model(name), images.x, images.y, eps)


def _random(name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], eps: float) -> Workload:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = make().eval(), torch.rand(shape)
    with torch.no_grad():
        y = model(x).argmax(1)
    return _ready(name, model, x, y, eps)


def _ready(name: str, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Workload:
    where = device()
    return Workload(name, model.eval().to(where), x.to(where), y.to(where), eps)
