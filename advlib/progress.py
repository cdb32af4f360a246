"""Progress bars on whatever takes longer than about two seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from tqdm.auto import tqdm

__all__ = ["Bar", "progress", "switched_off"]

DELAY = 2.0  # seconds


class Bar:
    """tqdm's bar, made when it is due: in a notebook tqdm builds its widgets at once, for a thousand short loops."""

    def __init__(self, iterable: Iterable | None, **settings: Any):
        self.iterable = iterable
        total = len(iterable) if isinstance(iterable, Sized) else None
        self.settings = {"total": total, "leave": False} | settings
        self.done = 0
        self.due = time.monotonic() + DELAY
        self.bar: tqdm | None = None

    def update(self, n: int = 1) -> None:
        """Count ``n`` more."""
        self.done += n
        if self.bar is not None:
            self.bar.update(n)
        elif time.monotonic() >= self.due and not switched_off():
            self.bar = tqdm(initial=self.done, **self.settings)

    def expect(self, total: int) -> None:
        """More or fewer than was thought."""
        self.settings["total"] = total
        if self.bar is not None:
            self.bar.total = total
            self.bar.refresh()

    def __iter__(self) -> Iterator:
        with self:
            for one in () if self.iterable is None else self.iterable:
                yield one
                self.update()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()


def progress(iterable: Iterable | None = None, **settings: Any) -> Bar:
    """A bar over ``iterable``, or over ``total`` that `Bar.update` counts; gone at the end. ``settings`` are tqdm's.

    ``TQDM_DISABLE=1`` keeps it away. tqdm reads that variable by itself on a terminal, but not in a notebook.

    >>> list(progress(range(3)))
    [0, 1, 2]
    """
    return Bar(iterable, **settings)


def switched_off() -> bool:
    """Whether ``TQDM_DISABLE`` keeps all bars away, or another of several processes shows them."""
    return os.environ.get("TQDM_DISABLE", "0").lower() not in ("", "0", "false") or _is_not_the_first()


def _is_not_the_first() -> bool:
    if "torch.distributed" not in sys.modules:  # not imported for a bar's sake
        return False
    from advlib import distributed

    return distributed.rank() > 0
