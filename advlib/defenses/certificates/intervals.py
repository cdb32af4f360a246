"""Interval bounds: push a whole box of images through the network, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from advlib import contract
from advlib.answers import answer
from advlib.device import in_batches, width
from advlib.models.nets import Normalize
from advlib.norms import Ball, Linf

__all__ = ["Bounds", "interval_bounds"]

# What bounds are known through: maps z → Wz + b, with weights of any sign; maps that are monotone in each entry; and
# SiLU, which falls to its one valley and rises from there.
WEIGHTED = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d)
SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d)
SUPPORTED = (*WEIGHTED, *POOLS, nn.ReLU, nn.SiLU, *SHAPES, Normalize)
VALLEY = -1.2784645427610738  # where z · sigmoid(z) is least: 1 + z · (1 − sigmoid(z)) = 0


class Bounds(NamedTuple):
    """Lower and upper ends, two tensors of one shape: of each entry, whatever the image of the ball."""

    lower: Tensor
    upper: Tensor


def interval_bounds(model: nn.Module, x: Tensor, within: Ball, *, batch_size: int | None = None) -> Bounds:
    """Bounds of the logits, each (N, K), over the L∞ ball around each image, cut to the pixel box.

    Gowal et al. (2018), Section 3: of Wz + b over the box with centre μ and radius r, the centre is Wμ + b and the
    radius |W| r; a monotone layer (ReLU, pooling) maps the ends. Every logit that the ball can reach is inside, up to
    rounding; most boxes are far too large, for each layer forgets how its entries move together.

    model       nn.Sequential, nested as you like, of Linear, Conv2d, BatchNorm, AvgPool2d, AdaptiveAvgPool2d,
                MaxPool2d, ReLU, SiLU, Flatten, Unflatten, Identity, Dropout and advlib's Normalize, in eval mode.
    within      ``Linf``, with one ε or one per image (N,).
    batch_size  images at once; None chooses.
    Shapes: x (N, C, H, W) in [0, 1].

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, half precision, another ball, and layers
        through which no bounds are known, by their names.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1], [1, -1]]))
    >>> interval_bounds(model, torch.full((1, 1, 1, 2), 0.5), Linf(0.1))
    Bounds(lower=tensor([[ 0.8000, -0.2000]]), upper=tensor([[1.2000, 0.2000]]))
    """
    layers = layers_of(model)
    check_box(x, within)
    check_fits(model, x)
    with contract.frozen(model), torch.no_grad():
        images = x.detach().to(contract.model_device(model))

        def run(rows: Tensor) -> tuple[Tensor, Tensor]:
            logits = through(layers, box(images[rows], within.rows(rows)))
            contract.check_logits(logits.lower, len(rows))
            return logits.lower, logits.upper

        found = in_batches(run, torch.arange(len(x), device=images.device), width(model, x[0]), batch_size)
    return Bounds(*(torch.cat(ends).to(x.device) for ends in zip(*found)))


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a model that is a sequence of them, in order; else ValueError names what is in the way."""
    contract.check_model(model)
    return list(_layers(model, "the model"))


def _layers(module: nn.Module, name: str) -> Iterator[nn.Module]:
    changed = "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not changed:
        for child, inner in zip(module._modules, module):  # named_children() would leave out a layer's second use
            yield from _layers(inner, child if name == "the model" else f"{name}.{child}")
    elif type(module) in SUPPORTED and not changed and getattr(module, "track_running_stats", True):
        yield module
    else:
        # A parametrised layer has a type of its own, and weights under other names.
        what = " with a hook, a forward of its own or no running statistics" if type(module) in SUPPORTED else ""
        known = ", ".join(kind.__name__ for kind in SUPPORTED)
        raise ValueError(
            f"{name} is a {type(module).__name__}{what}, through which no bounds are known; expected nn.Sequential "
            f"of these: {known}. Write the network as a sequence of them, or certify it by randomised smoothing."
        )


def check_box(x: Tensor, within: Ball) -> None:
    """Images and an L∞ ball around them, in a precision that bounds can be trusted in."""
    contract.check_images(x)
    contract.check_ball(within, x)
    if not isinstance(within, Linf):
        raise ValueError(f"within is {within}; bounds are known for L∞ only: Linf(8/255). In L2, smoothing certifies.")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"x has dtype {str(x.dtype)[6:]}; bounds need float32 or float64, half precision rounds too far."
        )


def check_fits(model: nn.Module, x: Tensor) -> None:
    """The model takes such images; else ValueError. One is tried."""
    with contract.frozen(model), torch.no_grad():
        answer(model, x[:1].detach().to(contract.model_device(model)))


def box(x: Tensor, within: Ball) -> Bounds:
    """All that is in the ball around each image and in the pixel box."""
    eps = within.factor(x)
    return Bounds((x - eps).clamp_min(0), (x + eps).clamp_max(1))


def through(layers: list[nn.Module], bounds: Bounds) -> Bounds:
    """What the layers, all in eval mode, make of a box. Differentiable in their weights."""
    for layer in layers:
        bounds = step(layer, bounds)
    return bounds


def step(layer: nn.Module, bounds: Bounds) -> Bounds:
    """What one layer makes of a box."""
    if isinstance(layer, nn.SiLU):
        ends = F.silu(bounds.lower), F.silu(bounds.upper)
        lowest = F.silu(
            bounds.lower.clamp_min(VALLEY).minimum(bounds.upper)
        )  # of the box, the point next to the valley
        return Bounds(lowest, torch.maximum(*ends))
    if not isinstance(layer, WEIGHTED):
        return Bounds(layer(bounds.lower), layer(bounds.upper))
    centre, radius = (bounds.upper + bounds.lower) / 2, (bounds.upper - bounds.lower) / 2
    centre, radius = layer(centre), functional_call(layer, _positive(layer), (radius,))
    return Bounds(centre - radius, centre + radius)


def _positive(layer: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers with which the layer computes |W| r: no sign, and nothing added."""
    tensors = dict([*layer.named_parameters(), *layer.named_buffers()])
    changed: dict[str, Callable[[Tensor], Tensor]] = {
        "weight": torch.abs,
        "bias": torch.zeros_like,
        "running_mean": torch.zeros_like,
    }
    return {name: changed[name](tensor) if name in changed else tensor for name, tensor in tensors.items()}


def differences(y: Tensor, classes: int, like: Tensor) -> Tensor:
    """The functions z ↦ z_y − z_j of the logits, (N, K, K): row j holds 1 at an image's y, −1 at j, and row y is 0."""
    contract.check_labels(y, len(y), classes)
    own = F.one_hot(y.to(like.device).long(), classes).to(like)
    return own[:, None] - torch.eye(classes).to(like)


def least(functions: Tensor, last: nn.Module, z: Bounds) -> Tensor:
    """Lower bounds (N, S) of linear functions (N, S, K) of the logits that the ``last`` layer makes of a box.

    Where that layer is linear, the functions take it in: ⟨c, Wz + b⟩ = ⟨Wᵀc, z⟩ + ⟨c, b⟩ forgets less than the bounds
    of each logit do (Gowal et al. 2018, Section 3).
    """
    constant = torch.zeros_like(functions[..., 0])
    if type(last) is nn.Linear:
        constant = constant if last.bias is None else functions @ last.bias
        functions = functions @ last.weight
    else:
        z = step(last, z)
    ends = functions.clamp_min(0) @ z.lower[..., None] + functions.clamp_max(0) @ z.upper[..., None]
    return constant + ends[..., 0]


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, with its gradients; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
