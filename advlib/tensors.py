"""Tensors, checked: images, labels, what is like images, and generators. Each mistake gets an error that names it.

``advlib.contract`` offers these checks as well, beside those of balls and models.
"""

from __future__ import annotations

import torch
from torch import Tensor

from advlib.checks import MOST, shown

__all__ = [
    "check_change",
    "check_class",
    "check_device",
    "check_floats",
    "check_generator",
    "check_images",
    "check_labels",
    "check_logits_of",
    "check_tensor",
    "dtype_of",
    "kind_of",
]

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)  # with others torch hardly calculates


def check_tensor(values, name: str, like: str = "numbers") -> None:
    """``values`` is a plain tensor: strided, and with something in memory; else TypeError or ValueError."""
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} is a {kind_of(values)}; expected a torch.Tensor of {like}.")
    if values.is_nested or values.layout != torch.strided:
        what = "nested" if values.is_nested else str(values.layout).removeprefix("torch.")
        mend = "torch.stack(list(it))" if values.is_nested else f"{name}.to_dense()"
        raise TypeError(f"{name} is a {what} tensor; expected a plain one. Use {mend}.")
    if values.is_meta:
        raise ValueError(f"{name} is on the device meta, without values; expected a tensor on cpu, cuda or mps.")


def check_floats(values, name: str, like: str = "numbers") -> None:
    """``values`` is a plain tensor of floating-point numbers; else TypeError or ValueError."""
    check_tensor(values, name, like)
    if values.dtype not in FLOATS:
        raise TypeError(f"{name} has dtype {dtype_of(values)}; expected a floating-point type. Use {name}.float().")


def check_images(x, name: str = "x") -> None:
    """``x`` is a floating-point tensor (N, C, H, W) with N ≥ 1, finite, in [0, 1]; else TypeError or ValueError."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} is a {kind_of(x)}; expected a torch.Tensor of images (N, C, H, W) in [0, 1]. "
            "Convert it with torch.from_numpy or torchvision.transforms.functional.to_tensor."
        )
    check_tensor(x, name)
    if x.dtype not in FLOATS:
        mend = "Divide by 255: x.float() / 255." if x.dtype == torch.uint8 else "Convert it with x.float()."
        raise TypeError(f"{name} has dtype {dtype_of(x)}; expected a floating-point type with pixels in [0, 1]. {mend}")
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
            f"{name} is a {kind_of(y)}; expected a torch.Tensor of class indices (N,). Use torch.tensor({name})."
        )
    check_tensor(y, name)
    if y.ndim == 2 and y.shape[0] == n:
        raise ValueError(
            f"{name} has shape {tuple(y.shape)}, which looks one-hot; expected class indices of shape "
            f"({n},). Use {name}.argmax(dim=1)."
        )
    if y.dtype not in WHOLE:
        raise TypeError(f"{name} has dtype {dtype_of(y)}; expected integer class indices. Use {name}.long().")
    if y.shape != (n,):
        raise ValueError(f"{name} has shape {tuple(y.shape)}; expected ({n},): one label for each of the {n} images.")
    low, high = (int(v) for v in y.aminmax())
    if low < 0 or (classes is not None and high >= classes):
        known = "a class index ≥ 0" if classes is None else f"class indices from 0 to {classes - 1}"
        raise ValueError(
            f"{name} contains {low if low < 0 else high}; expected {known}, as many as the model has "
            "logits. Do labels and model belong to the same data set?"
        )


def check_class(value, name: str, classes: int | None = None) -> None:
    """``value`` is the index of one of so many classes; else TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a {kind_of(value)}, {shown(value)}; expected the index of a class, a whole number.")
    if not 0 <= value < (MOST if classes is None else classes):
        known = "a class index ≥ 0" if classes is None else f"one of the class indices from 0 to {classes - 1}"
        raise ValueError(f"{name} is {shown(value)}; expected {known}.")


def check_change(change, name: str, x=None, some: bool = False) -> None:
    """``change`` is a floating-point tensor (N, C, H, W) of any values, with ``some`` not empty, and ``x`` is like it.

    Called in each step of attacks, so that nothing is read but what kind of tensor it is."""
    for value, called in ((change, name), *([] if x is None else [(x, "x")])):
        check_floats(value, called, like="numbers (N, C, H, W)")
        if value.ndim != 4:
            raise ValueError(f"{called} has shape {tuple(value.shape)}; expected four dimensions (N, C, H, W).")
    if some and 0 in change.shape:
        raise ValueError(f"{name} has shape {tuple(change.shape)}: empty; expected at least one image, with pixels.")
    if x is not None and x.shape != change.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected that of {name}, {tuple(change.shape)}.")


def check_logits_of(logits, y, target=None) -> None:
    """Logits (N, K) with labels (N,), and perhaps targets, by kind and shape alone; else TypeError or ValueError."""
    check_floats(logits, "logits", like="logits (N, K)")
    if logits.ndim != 2 or logits.shape[1] < 2 or not len(logits):
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected (N, K) with N ≥ 1 and K ≥ 2 classes.")
    for value, name in ((y, "y"), (target, "target")):
        if name == "y" or value is not None:
            check_tensor(value, name, like="class indices (N,)")
            if value.dtype not in WHOLE:
                raise TypeError(f"{name} has dtype {dtype_of(value)}; expected class indices. Use {name}.long().")
            if value.shape != (len(logits),):
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}; expected ({len(logits)},), as many as logits."
                )


def check_generator(generator) -> None:
    """``generator`` is a torch.Generator on the CPU; else TypeError or ValueError. None would draw from everybody's."""
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator is a {kind_of(generator)}; expected a torch.Generator: torch.Generator().manual_seed(0)."
        )
    if generator.device.type != "cpu":
        raise ValueError(
            f"generator is on {generator.device}; expected one on the CPU, so that a seed means the same everywhere."
        )


def check_device(device) -> None:
    """``device`` names one that torch knows, or is None; else TypeError or ValueError."""
    if device is not None and not isinstance(device, (str, torch.device)):
        raise TypeError(f"device is a {kind_of(device)}; expected its name, such as 'cpu' or 'cuda'.")
    try:
        torch.device(device or "cpu")
    except RuntimeError:
        raise ValueError(f"device is {device!r}; expected the name of one: 'cpu', 'cuda', 'cuda:1' or 'mps'.") from None


def kind_of(value) -> str:
    """Of what type a value is, as people know it."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def dtype_of(tensor: Tensor) -> str:
    """The name of a dtype without torch in front."""
    return str(tensor.dtype).removeprefix("torch.")
