"""The pixel-space contract, checked: every mistake gets an error that names it and its mend.

A classifier is an ``nn.Module`` that maps images in [0, 1] of shape (N, C, H, W) to logits (N, K). Labels are
class indices (N,). ε is in pixel units. All public functions check their input here, so that one mistake
reads the same everywhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import overload

import torch
from torch import Tensor, nn

from advlib.norms import Ball

__all__ = [
    "check_images",
    "check_labels",
    "check_target",
    "check_ball",
    "check_model",
    "check_logits",
    "check_probabilities",
    "are_probabilities",
    "check_finite",
    "check_count",
    "check_step",
    "frozen",
    "model_device",
]


def check_images(x, name: str = "x") -> None:
    """``x`` is a floating-point tensor (N, C, H, W) with N ≥ 1, finite, in [0, 1]; else TypeError or ValueError."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} is a {_kind(x)}; expected a torch.Tensor of images (N, C, H, W) in [0, 1]. "
            "Convert it with torch.from_numpy or torchvision.transforms.functional.to_tensor."
        )
    if not x.is_floating_point():
        mend = "Divide by 255: x.float() / 255." if x.dtype == torch.uint8 else "Convert it with x.float()."
        raise TypeError(f"{name} has dtype {_dtype(x)}; expected a floating-point type with pixels in [0, 1]. {mend}")
    if x.ndim != 4:
        mend = {
            3: f"Add the batch dimension: {name}.unsqueeze(0) (for one image), or {name}.unsqueeze(1) "
            "(for a stack of grey images).",
            2: f"Add batch and channel: {name}[None, None].",
        }.get(x.ndim, "Reshape it.")
        raise ValueError(f"{name} has shape {tuple(x.shape)}; expected four dimensions (N, C, H, W). {mend}")
    if 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: an empty batch. Pass at least one image.")
    low, high = x.detach().aminmax()
    if not (torch.isfinite(low) and torch.isfinite(high)):
        raise ValueError(
            f"{name} contains NaN or infinite pixels; expected finite values in [0, 1]. "
            "Look at what made the images: a division by zero is the usual cause."
        )
    if low < 0 or high > 1:
        if high > 2 and low >= 0:
            mend = "These look like 8-bit values: divide by 255."
        else:
            mend = (
                "These look normalised: pass plain pixels and put the normalisation inside the model, "
                "nn.Sequential(advlib.models.Normalize(mean, std), model)."
            )
        raise ValueError(f"{name} has pixels from {low:.3g} to {high:.3g}; expected [0, 1]. {mend}")


def check_labels(y, n: int, classes: int | None = None, name: str = "y") -> None:
    """``y`` is an integer tensor (n,) with values in [0, classes); else TypeError or ValueError."""
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{name} is a {_kind(y)}; expected a torch.Tensor of class indices (N,). Use torch.tensor({name})."
        )
    if y.ndim == 2 and y.shape[0] == n:
        raise ValueError(
            f"{name} has shape {tuple(y.shape)}, which looks one-hot; expected class indices of shape "
            f"({n},). Use {name}.argmax(dim=1)."
        )
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {_dtype(y)}; expected integer class indices. Use {name}.long().")
    if y.shape != (n,):
        raise ValueError(f"{name} has shape {tuple(y.shape)}; expected ({n},): one label for each of the {n} images.")
    low, high = (int(v) for v in y.aminmax())
    if low < 0 or (classes is not None and high >= classes):
        known = "a class index ≥ 0" if classes is None else f"class indices from 0 to {classes - 1}"
        raise ValueError(
            f"{name} contains {low if low < 0 else high}; expected {known}, as many as the model has "
            "logits. Do labels and model belong to the same data set?"
        )


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


def check_ball(within) -> None:
    """``within`` is a norm ball such as ``Linf(8/255)``; else TypeError."""
    if isinstance(within, Ball) and type(within) is not Ball:
        return
    example = f"Linf({within:g})" if isinstance(within, (int, float)) else "Linf(8/255)"
    raise TypeError(
        f"within is a {_kind(within)} ({within!r}); expected a norm ball. Say which norm is meant: "
        f"{example}, L2(0.5), L1(12) or L0(20)."
    )


def check_model(model) -> None:
    """``model`` is an ``nn.Module``; else TypeError."""
    if isinstance(model, nn.Module):
        return
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(f"model is the class {model.__name__}; expected an instance of it: {model.__name__}().")
    raise TypeError(
        f"model is a {_kind(model)}; expected a torch.nn.Module that maps images to logits. "
        "Put pre-processing and network together with nn.Sequential."
    )


def check_logits(logits, n: int, where: str = "") -> None:
    """What a model returned is logits (n, K), K ≥ 2, finite and no probabilities; ``where`` names the moment."""
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"the model returned a {_kind(logits)}{where}; expected a tensor of logits (N, K). Wrap the "
            "model so that it returns the logits alone (for Hugging Face: its .logits)."
        )
    if logits.ndim != 2 or logits.shape[0] != n or logits.shape[1] < 2:
        raise ValueError(
            f"the model returned shape {tuple(logits.shape)} for {n} images{where}; expected logits "
            f"({n}, K) with K ≥ 2 classes. (One output per image? Make it two: stack(-z, z).)"
        )
    if not logits.is_floating_point():
        raise TypeError(
            f"the model returned dtype {_dtype(logits)}{where}; expected floating-point logits. "
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


def check_count(value, name: str, least: int = 1) -> None:
    """``value`` is a whole number ≥ ``least``; else TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r} of type {type(value).__name__}; expected a whole number.")
    if value < least:
        raise ValueError(f"{name} is {value}; expected a whole number ≥ {least}.")


def check_step(step) -> None:
    """``step`` is a finite number > 0; else TypeError or ValueError."""
    if isinstance(step, bool) or not isinstance(step, (int, float)):
        raise TypeError(f"step is {step!r} of type {type(step).__name__}; expected a number in the units of ε.")
    if not 0 < step < float("inf"):
        raise ValueError(f"step is {step}; expected a finite number > 0. For the other direction use target.")


@contextmanager
def frozen(model: nn.Module):
    """The model in eval mode and without parameter gradients; afterwards it is as it was.

    Mode is kept for every sub-module, ``requires_grad`` for every parameter, and every buffer's content. Inside,
    gradients are recorded even where the caller switched them off with ``torch.no_grad``.
    """
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    kept = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad():
            yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, needed in wanted:
            parameter.requires_grad_(needed)
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def model_device(model: nn.Module) -> torch.device:
    """Where the model's parameters (or buffers) are; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _kind(value) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
