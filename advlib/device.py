"""Where to compute, how much at once, and how precisely.

torch is imported by the functions: to import this, as ``import advlib`` does, costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from advlib.checks import MOST, shown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["at_least_float32", "at_once", "described", "device", "in_batches", "out_of_memory", "width"]

# Numbers in a network's widest layer, over all images worked on at once, when nobody says. On a CPU, 16 MB: with
# more, each layer is fetched from memory again, and an image costs a seventh more.
VALUES_AT_ONCE = {"cpu": 2**22, "mps": 2**26, "cuda": 2**28}
FEWEST = 8  # images at once, however large: fewer do not share the cost of reading the weights
COPIES = 10  # of an image that an attack holds at a time: iterates, gradients, masks


def device() -> torch.device:
    """The best device here: ``cuda``, else Apple's ``mps``, else ``cpu``.

    >>> device().type in ("cuda", "mps", "cpu")
    True
    """
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def described() -> str:
    """What there is to compute on, by name, and how to use it: what a notebook says once it has installed the package.

    >>> described().startswith(("GPU: ", "No GPU"))
    True
    """
    import torch

    kind = device().type
    if kind == "cpu":
        return "No GPU here, and none is needed."
    name = torch.cuda.get_device_name() if kind == "cuda" else "Apple's, by way of Metal"
    return f"GPU: {name}. To use it, put networks and images there: .to(advlib.device())"


def width(model: Callable, image: Tensor) -> int:
    """About how many numbers there are where a pass over one ``image`` (C, H, W) is widest.

    That is behind the first convolution as a rule, or else in what an attack keeps of the image itself.

    >>> import torch
    >>> from torch import nn
    >>> width(nn.Conv2d(1, 32, 3), torch.rand(1, 28, 28)), width(nn.Flatten(), torch.rand(1, 28, 28))
    (25088, 7840)
    """
    from torch import nn

    growth = [
        conv.out_channels / (conv.in_channels * math.prod(conv.stride))
        for conv in (model.modules() if isinstance(model, nn.Module) else ())
        if isinstance(conv, nn.Conv2d)
    ]
    return round(image.numel() * max([COPIES, *growth[:1]]))


def at_once(values: int, where: torch.device) -> int:
    """How many images of ``values`` numbers each pay in one batch: with more, a CPU's cache overflows."""
    return VALUES_AT_ONCE.get(where.type, VALUES_AT_ONCE["cpu"]) // values


def in_batches(run: Callable[[Tensor], Any], rows: Tensor, values: int, batch_size: int | None = None) -> list:
    """What ``run`` gives for consecutive parts of ``rows``, in order; a part that does not fit into memory is halved.

    Where processes share (``distributed.sharing``), each runs some of the parts and all get what all found, which has
    to be tensors or tuples of them.

    values      numbers held for one row (``width``), from which a batch size is chosen where ``batch_size`` is None:
                parts of equal size, as large as pays.
    """
    import torch

    from advlib import distributed

    if batch_size is None:
        most = max(FEWEST, at_once(values, rows.device))
        batch_size = math.ceil(len(rows) / math.ceil(len(rows) / most)) if len(rows) else most
    elif isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= MOST:
        raise ValueError(f"batch_size is {shown(batch_size)}; expected a whole number ≥ 1, or None to choose one.")
    size = batch_size

    def halving(part: Tensor) -> list:
        nonlocal size
        found = []
        while len(part):
            try:
                found.append(run(part[:size]))
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not out_of_memory(error):
                    raise
                size = max(1, min(size, len(part)) // 2)
                if part.device.type == "cuda":
                    torch.cuda.empty_cache()
            else:
                part = part[size:]
        return found

    parts = rows.split(batch_size) if len(rows) else ()
    return [one for found in distributed.each(halving, parts, rows.device) for one in found]


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out. Only on CUDA does torch have an exception of its own for it."""
    import torch

    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(said in str(error) for said in words)


def at_least_float32(numbers: Tensor) -> Tensor:
    """The same in float32, or as it is in float64: half precision overflows in exp and rounds margins away."""
    import torch

    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))
