"""The networks of the course: pixels in [0, 1] in, logits out, and small enough to attack on a laptop.

Each is a function that makes a fresh, untrained network; `NETS` lists them by name. Those for signs can be made for
another number of classes, at least 2; else TypeError or ValueError.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import nn

from advlib.checks import check_count


class Normalize(nn.Module):
    """(x − mean) / std per channel, inside the model, so that ε always means pixels.

    x: (N, C, H, W). Raises ValueError if `std` is not positive or the channels do not fit.

    >>> Normalize([0.5], [0.25])(torch.ones(1, 1, 2, 2)).unique()
    tensor([2.])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float] | torch.Tensor, std: Sequence[float] | torch.Tensor):
        super().__init__()
        try:
            mean, std = (torch.as_tensor(given, dtype=torch.float32) for given in (mean, std))
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"Normalize got mean={mean!r}, std={std!r}; expected two lists of numbers.") from error
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError(
                "Normalize expected one mean and one std per channel, got shapes "
                f"{tuple(mean.shape)} and {tuple(std.shape)}: pass two lists of one length."
            )
        if not (torch.isfinite(mean).all() and torch.isfinite(std).all() and (std > 0).all()):
            raise ValueError(
                f"Normalize expected finite means and positive stds, got mean={mean.tolist()}, std={std.tolist()}."
            )
        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 4 or x.shape[1] != len(self.mean):
            raise ValueError(
                f"the network got images of shape {tuple(x.shape)}, expected (N, "
                f"{len(self.mean)}, H, W): add a batch dimension with x[None], or check the "
                "channels."
            )
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


def signs_cnn(classes: int = 16) -> nn.Sequential:
    """The course's victim: four convolutions for road signs, (N, 3, 48, 48) to (N, classes).

    >>> signs_cnn()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    return _four_convolutions(classes, (24, 32, 64, 128), nn.ReLU)


def signs_large(classes: int = 16) -> nn.Sequential:
    """`signs_cnn` with about twice the channels and a smooth activation, (N, 3, 48, 48) to (N, classes).

    Robustness takes room: trained on attacks, `signs_cnn` is as weak on the signs it saw as on new ones. A smooth
    activation helps such training (Xie et al., "Smooth Adversarial Training", 2020).

    >>> signs_large()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    return _four_convolutions(classes, (64, 64, 128, 256), nn.SiLU)


def _four_convolutions(classes: int, channels: tuple[int, ...], activation: type[nn.Module]) -> nn.Sequential:
    check_count(classes, "classes", least=2)
    first, second, third, last = channels
    return nn.Sequential(
        Normalize([0.38, 0.33, 0.34], [0.28, 0.26, 0.27]),
        *_block(3, first, 5, stride=2, activation=activation),  # 24 × 24
        *_block(first, second, 3, activation=activation),
        nn.MaxPool2d(2),  # 12 × 12
        *_block(second, third, 3, activation=activation),
        nn.MaxPool2d(2),  # 6 × 6
        *_block(third, last, 3, activation=activation),
        nn.MaxPool2d(2),  # 3 × 3
        nn.Flatten(),
        nn.Linear(last * 9, 128),
        activation(),
        nn.Linear(128, classes),
    )


def signs_small(classes: int = 16) -> nn.Sequential:
    """A tenth of `signs_cnn`, (N, 3, 48, 48) to (N, classes): trains in seconds, to compare many ways of training.

    >>> signs_small()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    check_count(classes, "classes", least=2)
    return nn.Sequential(
        Normalize([0.38, 0.33, 0.34], [0.28, 0.26, 0.27]),
        *_block(3, 16, 5, stride=2),
        nn.MaxPool2d(2),  # 12 × 12
        *_block(16, 32, 3),
        nn.MaxPool2d(2),  # 6 × 6
        *_block(32, 48, 3),
        nn.MaxPool2d(2),  # 3 × 3
        nn.Flatten(),
        nn.Linear(48 * 9, classes),
    )


def signs_wide(classes: int = 16) -> nn.Sequential:
    """Few layers with many channels and large kernels, and a smooth activation: (N, 3, 48, 48) to (N, classes).

    >>> signs_wide()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    check_count(classes, "classes", least=2)
    return nn.Sequential(
        Normalize([0.38, 0.33, 0.34], [0.28, 0.26, 0.27]),
        *_block(3, 48, 7, stride=3, activation=nn.SiLU),  # 16 × 16
        *_block(48, 64, 5, stride=2, activation=nn.SiLU),  # 8 × 8
        *_block(64, 96, 3, activation=nn.SiLU),
        nn.AvgPool2d(2),  # 4 × 4
        nn.Flatten(),
        nn.Linear(96 * 16, classes),
    )


def signs_deep(classes: int = 16) -> nn.Sequential:
    """Many narrow layers of small kernels without pooling, (N, 3, 48, 48) to (N, classes).

    >>> signs_deep()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    check_count(classes, "classes", least=2)
    return nn.Sequential(
        Normalize([0.38, 0.33, 0.34], [0.28, 0.26, 0.27]),
        *_block(3, 16, 3, stride=2),  # 24 × 24
        *_block(16, 16, 3),
        *_block(16, 32, 3, stride=2),  # 12 × 12
        *_block(32, 32, 3),
        *_block(32, 64, 3, stride=2),  # 6 × 6
        *_block(64, 64, 3),
        *_block(64, 96, 3, stride=2),  # 3 × 3
        *_block(96, 96, 3),
        nn.Flatten(),
        nn.Linear(96 * 9, classes),
    )


def signs_patches(classes: int = 16) -> nn.Sequential:
    """Patches of 4 × 4 pixels, then a fully connected view of what they hold: (N, 3, 48, 48) to (N, classes).

    No kernels overlap before the second layer; leaky activations.

    >>> signs_patches()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    check_count(classes, "classes", least=2)
    return nn.Sequential(
        Normalize([0.38, 0.33, 0.34], [0.28, 0.26, 0.27]),
        nn.Conv2d(3, 48, 4, stride=4, bias=False),  # 12 × 12
        nn.BatchNorm2d(48),
        nn.LeakyReLU(0.1),
        *_block(48, 48, 5, activation=nn.ELU),
        *_block(48, 64, 3, stride=2, activation=nn.ELU),  # 6 × 6
        *_block(64, 64, 3, activation=nn.ELU),
        nn.Flatten(),
        nn.Linear(64 * 36, 96),
        nn.ELU(),
        nn.Linear(96, classes),
    )


def _block(
    inputs: int, outputs: int, size: int, stride: int = 1, activation: Callable[[], nn.Module] = nn.ReLU
) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs), activation()]


def signs_linear(classes: int = 16) -> nn.Sequential:
    """One matrix from pixels to logits, (N, 3, 48, 48) to (N, classes): the model FGSM is exact for.

    >>> signs_linear()(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    check_count(classes, "classes", least=2)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, classes))


def mnist_mlp() -> nn.Sequential:
    """784 → 128 → 10 with a ReLU, (N, 1, 28, 28) to (N, 10): the network of many a first tutorial.

    >>> mnist_mlp()(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def mnist_small() -> nn.Sequential:
    """Two strided convolutions and two linear layers, (N, 1, 28, 28) to (N, 10): small enough to be certified.

    The layers are those of Wong & Kolter (2018), "Provable defenses against adversarial examples via the convex outer
    adversarial polytope", for MNIST.

    >>> mnist_small()(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),  # 14 × 14
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),  # 7 × 7
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def mnist_cnn() -> nn.Sequential:
    """Two convolutions and two linear layers, (N, 1, 28, 28) to (N, 10).

    The layout and the keys of its state_dict are those of advertorch's LeNet5, so that its weights load.

    >>> mnist_cnn()(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 32, 3, padding=1),
            relu1=nn.ReLU(),
            maxpool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            relu2=nn.ReLU(),
            maxpool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            linear1=nn.Linear(7 * 7 * 64, 200),
            relu3=nn.ReLU(),
            linear2=nn.Linear(200, 10),
        )
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "signs-cnn": signs_cnn,
    "signs-large": signs_large,
    "signs-small": signs_small,
    "signs-wide": signs_wide,
    "signs-deep": signs_deep,
    "signs-patches": signs_patches,
    "signs-linear": signs_linear,
    "mnist-mlp": mnist_mlp,
    "mnist-small": mnist_small,
    "mnist-cnn": mnist_cnn,
}
