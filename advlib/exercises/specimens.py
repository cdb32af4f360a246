"""Small models and batches, built on the spot, on which the frame tries an answer.

They are chosen for the slips that people make: images that touch 0 and 1 and images that do not, labels that the model
does not predict, class 0, gradients of exactly zero, tiny and huge ones, batches of one, float64.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


def images(n: int, channels: int, size: int, seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Random images that often touch ``low`` and ``high``, as photographs touch 0 and 1, so that clipping matters."""
    drawn = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * (1.4 * drawn - 0.2).clamp(0, 1)


def labels(n: int, classes: int, seed: int) -> Tensor:
    """Random labels: mostly not what the model predicts, so that using the prediction instead is noticed."""
    return torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))


def linear(channels: int, size: int, classes: int, seed: int) -> nn.Module:
    """A linear classifier: FGSM is exact on it."""
    return _seeded(seed, lambda: nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes)))


def mlp(channels: int, size: int, classes: int, seed: int, scale: float = 1.0) -> nn.Module:
    """One hidden layer, smooth; ``scale`` stretches the logits, and with them the gradient's size."""

    def build() -> nn.Module:
        last = nn.Linear(32, classes)
        last.weight.data.mul_(scale)
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 32), nn.Tanh(), last)

    return _seeded(seed, build)


def conv(channels: int, classes: int, seed: int) -> nn.Module:
    """A small convolutional network that takes images of any size."""
    first, last = (lambda: nn.Conv2d(channels, 8, 3, padding=1)), (lambda: nn.Linear(128, classes))
    return _seeded(seed, lambda: nn.Sequential(first(), nn.Softplus(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), last()))


def silenced(channels: int, size: int, classes: int, seed: int) -> nn.Module:
    """A network whose gradient is exactly zero at an image of 0.1 everywhere: no ReLU is awake there."""
    model = linear(channels, size, 6, seed)
    model[1].weight.data.abs_()
    model[1].bias.data = -0.2 * model[1].weight.data.sum(1)
    return _seeded(seed, lambda: model.extend([nn.ReLU(), nn.Linear(6, classes)]))


def _seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


class Bump(nn.Module):
    """Reads class 1 where the images' mean lies above 0.3 by ``first`` to ``second``, or by more than ``third``."""

    def __init__(self, first: float, second: float, third: float):
        super().__init__()
        self.roots = (first, second, third)

    def forward(self, x: Tensor) -> Tensor:
        above = x.flatten(1).mean(1) - 0.3
        cubic = 1e3 * (above - self.roots[0]) * (above - self.roots[1]) * (above - self.roots[2])
        return torch.stack([torch.zeros_like(cubic), cubic], dim=1)


class _Behind(nn.Module):
    """A network behind another, so that what an answer holds is not what is counted."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


@contextlib.contextmanager
def counting(model: nn.Module) -> Iterator[tuple[nn.Module, Callable[[], int]]]:
    """A network like ``model``, and a function that tells how many images went through it or through ``model``.

    The count lives where an answer cannot reach it: in the closure of a hook.

    >>> with counting(linear(1, 4, 3, seed=0)) as (model, passes):
    ...     _ = model(torch.zeros(5, 1, 4, 4))
    ...     passes()
    5
    """
    total = 0

    def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
        nonlocal total
        total += len(args[0])

    handle = model.register_forward_hook(hook)
    try:
        yield _Behind(model).eval(), lambda: total
    finally:
        handle.remove()
