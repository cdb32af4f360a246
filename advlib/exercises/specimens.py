"""Small models and batches, built on the spot, on which checkers try an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Specimen:
    """A model, a batch for it and a budget. ``name`` says in words what it is."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    eps: float

    def __iter__(self) -> Iterator:
        """The arguments of an attack: ``attack(*specimen)``."""
        return iter((self.model, self.x, self.y, self.eps))


def images(n: int, channels: int, size: int, seed: int) -> Tensor:
    """Random images in [0, 1] that often touch 0 and 1, as photographs do, so that clipping matters."""
    generator = torch.Generator().manual_seed(seed)
    return (1.4 * torch.rand(n, channels, size, size, generator=generator) - 0.2).clamp(0, 1)


def linear(channels: int, size: int, classes: int, seed: int) -> nn.Module:
    """A linear classifier: FGSM is exact on it."""
    return _seeded(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes)))


def mlp(channels: int, size: int, classes: int, seed: int) -> nn.Module:
    """One hidden layer, smooth, so that no gradient is exactly zero."""
    inputs = channels * size * size
    return _seeded(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.Tanh(), nn.Linear(32, classes)))


def conv(channels: int, classes: int, seed: int) -> nn.Module:
    """A small convolutional network that takes images of any size."""
    return _seeded(
        seed,
        lambda: nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.Softplus(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, classes),
        ),
    )


def _seeded(seed: int, build) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def labels(n: int, classes: int, seed: int) -> Tensor:
    """Random labels: mostly not what the model predicts, so that using the prediction instead is noticed."""
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
