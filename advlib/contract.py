"""The pixel-space contract, checked: every mistake gets an error that names it and its mend.

A classifier is an ``nn.Module`` that maps images in [0, 1] of shape (N, C, H, W) to logits (N, K). Labels are
class indices (N,). ε is in pixel units. All public functions check their input here, so that one mistake
reads the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor, nn

from advlib import checks, tensors
from advlib.checks import *  # noqa: F403 - settings are checked there
from advlib.checks import shown
from advlib.frozen import frozen
from advlib.norms import L0, Ball
from advlib.tensors import *  # noqa: F403 - and images, labels and other tensors there
from advlib.tensors import check_class, check_labels, check_tensor, dtype_of, kind_of

__all__ = [
    *checks.__all__,
    *tensors.__all__,
    "check_target",
    "check_ball",
    "check_one_eps",
    "check_model",
    "check_logits",
    "check_probabilities",
    "are_probabilities",
    "check_finite",
    "check_mask",
    "check_norm",
    "check_result",
    "frozen",
    "model_device",
]


@overload
def check_target(target: None, y: Tensor, classes: int | None = None) -> None: ...
@overload
def check_target(target: int | Tensor, y: Tensor, classes: int | None = None) -> Tensor: ...
def check_target(target, y, classes=None):
    """The target of a targeted attack as a tensor (N,) beside ``y``; None for an untargeted one.

    Raises
        TypeError, ValueError: not an int or (N,) integers, out of range, or equal to a label.
    """
    if target is None:
        return None
    if isinstance(target, int) and not isinstance(target, bool):
        if abs(target) > checks.MOST:
            check_class(target, "target")
        target = torch.full_like(y, target, dtype=torch.long)
    check_labels(target, len(y), classes, name="target")
    target = target.to(y.device).long()
    same = (target == y).nonzero().flatten().tolist()
    if same:
        raise ValueError(
            f"target equals the label of image {same[0]}"
            + (f" and {len(same) - 1} more" * (len(same) > 1))
            + "; a targeted attack moves an image to another class. Choose another target or leave "
            "those images out."
        )
    return target


def check_ball(within, x: Tensor | None = None) -> None:
    """``within`` is a norm ball such as ``Linf(8/255)``; else TypeError.

    With images ``x``, it also has one ε for all or as many as there are images; else ValueError.
    """
    if isinstance(within, Ball) and type(within) is not Ball:
        if x is not None:
            within.eps_for(x)
        return
    example = f"Linf({within:g})" if isinstance(within, (int, float)) else "Linf(8/255)"
    raise TypeError(
        f"within is a {kind_of(within)} ({within!r}); expected a norm ball. Say which norm is meant: "
        f"{example}, L2(0.5), L1(12) or L0(20)."
    )


def check_one_eps(within: Ball, what: str) -> None:
    """``within`` has one ε for all images, where ``what`` takes no other; else ValueError."""
    if isinstance(within.eps, Tensor):
        raise ValueError(
            f"{what} takes one ε for all images and got {len(within.eps)} of them; expected a number. Call it once for "
            f"each ε, on the images that share it: {type(within).__name__}({float(within.eps[0]):g})."
        )


def check_model(model) -> None:
    """``model`` is an ``nn.Module``; else TypeError."""
    if isinstance(model, nn.Module):
        if any(nn.parameter.is_lazy(one) for one in (*model.parameters(), *model.buffers())):
            raise ValueError(
                "the model has lazy layers that have seen no image yet, and so no weights; expected one that has. Call "
                "it once: model(x)."
            )
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ValueError(
                "the model is on the device meta, without weights; expected one on cpu, cuda or mps. Load its weights."
            )
        return
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(f"model is the class {model.__name__}; expected an instance of it: {model.__name__}().")
    raise TypeError(
        f"model is a {kind_of(model)}; expected a torch.nn.Module that maps images to logits. "
        "Put pre-processing and network together with nn.Sequential."
    )


def check_logits(logits, n: int, where: str = "") -> None:
    """What a model returned is logits (n, K), K ≥ 2, finite and no probabilities; ``where`` names the moment."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"the model returned a {kind_of(logits)}{where}; expected a tensor of logits (N, K). Wrap the "
            "model so that it returns the logits alone (for Hugging Face: its .logits)."
        )
    if logits.ndim != 2 or logits.shape[0] != n or logits.shape[1] < 2:
        raise ValueError(
            f"the model returned shape {tuple(logits.shape)} for {n} images{where}; expected logits "
            f"({n}, K) with K ≥ 2 classes. (One output per image? Make it two: stack(-z, z).)"
        )
    if not logits.is_floating_point():
        raise TypeError(
            f"the model returned dtype {dtype_of(logits)}{where}; expected floating-point logits. "
            "An argmax inside the model leaves nothing to attack: return what comes before it."
        )
    check_finite(logits, "logits", where)


def are_probabilities(logits: Tensor) -> bool:
    """Whether each row is in [0, 1] and sums to 1."""
    return bool(((logits >= 0) & (logits <= 1)).all()) and bool(((logits.float().sum(1) - 1).abs() < 1e-3).all())


def check_probabilities(logits: Tensor) -> None:
    """A model that ends in a softmax is refused: cross-entropy would apply it a second time."""
    if are_probabilities(logits):
        raise ValueError(
            "the model returned probabilities (each row is in [0, 1] and sums to 1); expected logits. "
            "Remove the softmax at its end: the loss applies its own."
        )


def check_finite(values: Tensor, what: str, where: str = "") -> None:
    """No NaN and no infinity among ``values``; else ValueError."""
    if not bool(torch.isfinite(values).all()):
        bad = "NaN" if bool(values.isnan().any()) else "infinite"
        raise ValueError(
            f"the model gave {bad} {what}{where}; expected finite values. Look for overflow in half "
            "precision, log(0), sqrt(0) or 0/0 inside the model."
        )


def check_mask(mask, x: Tensor) -> Tensor | None:
    """Which values of the images ``x`` may change, as booleans like x; None, as it came, for all of them.

    Raises
        TypeError, ValueError: no tensor of booleans or of 0 and 1, or none that can be broadcast to x.
    """
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask is a {kind_of(mask)}; expected a torch.Tensor of booleans. Use torch.as_tensor(mask).")
    check_tensor(mask, "mask")
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(
            f"mask has dtype {dtype_of(mask)} and values other than 0 and 1; expected True or 1 where a pixel may "
            "change, False or 0 where it may not. Choose a threshold: mask > 0.5."
        )
    if mask.ndim == 3 and len(mask) > 1:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, which may mean channels or images. Say which: mask[None] is one "
            "mask for all images, with its channels; mask[:, None] is one for each image."
        )
    if mask.ndim > 4 or any(mine not in (1, its) for mine, its in zip(mask.shape[::-1], x.shape[::-1])):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}; expected one that can be broadcast to x, {tuple(x.shape)}: such as "
            f"{tuple(x.shape[2:])} for all images alike or {(len(x), 1, *x.shape[2:])} for one mask each."
        )
    return (mask != 0).to(x.device).expand(x.shape)


def check_result(x_adv, x: Tensor, within: Ball, attack: Callable | None = None) -> None:
    """What an attack returned is images like x, inside the ball and the box but for rounding; else ValueError."""
    name = getattr(attack, "__name__", "the attack")
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape or not x_adv.is_floating_point():
        got = f"{x_adv.dtype} {tuple(x_adv.shape)}" if isinstance(x_adv, Tensor) else type(x_adv).__name__
        raise ValueError(f"{name} returned {got}; expected images like its own, {x.dtype} {tuple(x.shape)}.")
    low, high = (float(end) for end in x_adv.detach().aminmax())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"{name} returned pixels from {low:.4g} to {high:.4g}; expected [0, 1], or no such picture exists. Clip "
            "them: x_adv.clamp(0, 1)."
        )
    delta = x_adv.detach().to(x.device).double() - x.double()
    # Each pixel may have been rounded by half a step of its dtype below 1. Of a count of pixels nothing is forgiven.
    half_a_step = max(torch.finfo(one.dtype).eps for one in (x, x_adv)) / 4
    slack = 1e-6 + (0 if isinstance(within, L0) else half_a_step * within.size(torch.ones_like(delta[:1])).item())
    size, eps = within.size(delta), torch.as_tensor(within.eps_for(x)).double().to(delta.device)
    outside = (size > eps + slack).nonzero().flatten().tolist()
    if outside:
        raise ValueError(
            f"{name} left the ball on {len(outside)} of {len(x)} images: the first has {within.symbol} = "
            f"{size[outside[0]].item():.6g}, but {within} was asked for. It cannot be counted. (ε in other units, such "
            f"as 0 to 255 or normalised pixels?) Or project it: x + within.project(x_adv - x, x)."
        )


def check_norm(norm, known: tuple[type[Ball], ...], attack: str) -> None:
    """``norm`` is one of the ``known`` classes of balls; else TypeError or ValueError."""
    if norm not in known:
        names = " or ".join(kind.__name__ for kind in known)
        hint = f" Pass the class without ε: norm={type(norm).__name__}." if type(norm) in known else ""
        raise ValueError(
            f"norm is {shown(norm)}; {attack} makes one of these small: {names}; expected the class.{hint}"
        )


def model_device(model: nn.Module) -> torch.device:
    """Where the model's parameters (or buffers) are; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")
