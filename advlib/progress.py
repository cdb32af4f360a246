"""Progress bars on whatever takes longer than about two seconds."""

from __future__ import annotations

import os
import sys

from tqdm.auto import tqdm

__all__ = ["progress", "switched_off"]


def progress(iterable=None, **settings) -> tqdm:
    """tqdm's bar, shown after two seconds and gone at the end; ``TQDM_DISABLE=1`` keeps it away.

    tqdm reads that variable by itself on a terminal, but not in a notebook.

    >>> list(progress(range(3)))
    [0, 1, 2]
    """
    return tqdm(iterable, **{"delay": 2, "leave": False, "disable": switched_off()} | settings)


def switched_off() -> bool:
    """Whether ``TQDM_DISABLE`` keeps all bars away, or another of several processes shows them."""
    return os.environ.get("TQDM_DISABLE", "0").lower() not in ("", "0", "false") or _is_not_the_first()


def _is_not_the_first() -> bool:
    if "torch.distributed" not in sys.modules:  # not imported for a bar's sake
        return False
    from advlib import distributed

    return distributed.rank() > 0
