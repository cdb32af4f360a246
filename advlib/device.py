"""Where to compute, and how much at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["device", "in_batches"]

# Input values worked on at once when nobody says: on a CPU what its cache likes, about 40 signs of 48×48×3.
VALUES_AT_ONCE = {"cpu": 2**18, "mps": 2**23, "cuda": 2**25}
FEWEST = 4    # images at once, however large


def device() -> torch.device:
    """The best device here: ``cuda``, else Apple's ``mps``, else ``cpu``.

    >>> device().type in ("cuda", "mps", "cpu")
    True
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def in_batches(run: Callable[[Tensor], None], rows: Tensor, values: int, batch_size: int | None = None) -> None:
    """Call ``run`` on consecutive parts of ``rows``; a part that does not fit into memory is halved.

    values      numbers in one image, from which a batch size is chosen where ``batch_size`` is None.
    """
    if batch_size is None:
        batch_size = max(FEWEST, VALUES_AT_ONCE.get(rows.device.type, 2**18) // values)
    elif isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; expected a whole number ≥ 1, or None to choose one.")
    while len(rows):
        try:
            run(rows[:batch_size])
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = max(1, min(batch_size, len(rows)) // 2)
            if rows.device.type == "cuda":
                torch.cuda.empty_cache()
        else:
            rows = rows[batch_size:]
