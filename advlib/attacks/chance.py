"""What a model draws by chance, and how to try a pass that nobody notices."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from advlib.frozen import Buffers

__all__ = ["ByChance", "rewinder", "unnoticed"]

Stream = tuple[Callable[[], Any], Callable[[Any], Any]]  # how to read its state, and how to put it back


class ByChance(nn.Module):
    """A model that draws random numbers of its own in each pass. No pass is spent on trials: all are the attack's."""

    each_batch_alike = False  # whether every batch of an attack meets the draws that the first one met


@contextmanager
def unnoticed(model: nn.Module, device: torch.device) -> Iterator[Callable[[], bool]]:
    """Random streams and buffers are as they were afterwards. Gives a function that tells whether any has moved."""
    streams, buffers = _streams(model, device), Buffers(model)
    before = [read() for read, _ in streams]
    moved = lambda: [not _equal(read(), state) for (read, _), state in zip(streams, before)]
    try:
        yield lambda: any(moved()) or buffers.moved()
    finally:
        for (_, put_back), state, has_moved in zip(streams, before, moved()):
            if has_moved:
                put_back(state)
        buffers.restore()


def rewinder(model: nn.Module) -> Callable[[], None]:
    """A function that takes a ``ByChance`` model's draws back to where they are now, if its batches are to be alike.

    A batch that is tried again, in parts, because memory ran out is alike too.
    """
    if not (isinstance(model, ByChance) and model.each_batch_alike):
        return lambda: None
    streams = _own_streams(model)
    states = [read() for read, _ in streams]

    def rewind() -> None:
        for (_, put_back), state in zip(streams, states):
            put_back(state)

    return rewind


def _streams(model: nn.Module, device: torch.device) -> list[Stream]:
    """How to read, and how to put back, whatever a pass may draw from: the streams that all programs share, and the
    generators that the model's modules own."""
    streams: list[Stream] = [
        (torch.get_rng_state, torch.set_rng_state),
        (random.getstate, random.setstate),
        (np.random.get_state, np.random.set_state),
    ]
    if device.type == "cuda":
        read, put_back = torch.cuda.get_rng_state, torch.cuda.set_rng_state
        streams.append((partial(read, device), partial(put_back, device=device)))
    if device.type == "mps":
        streams.append((torch.mps.get_rng_state, torch.mps.set_rng_state))
    return streams + _own_streams(model)


def _own_streams(model: nn.Module) -> list[Stream]:
    streams: list[Stream] = []
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Generator):
                streams.append((value.get_state, value.set_state))
            if isinstance(value, random.Random):
                streams.append((value.getstate, value.setstate))
            if isinstance(value, np.random.Generator):
                bits = value.bit_generator
                streams.append((partial(getattr, bits, "state"), partial(setattr, bits, "state")))
    return streams


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else pickle.dumps(one) == pickle.dumps(other)
