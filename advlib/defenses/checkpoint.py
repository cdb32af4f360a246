"""Where a training run stands, kept in a file: written whole, and read only by a run with the same settings.

Of several processes the first reads and writes, for all of them."""

from __future__ import annotations

import os
import pickle
import types
from functools import partial
from pathlib import Path

import torch

from advlib import distributed
from advlib.files import replacing

__all__ = ["Checkpoint", "described"]

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class Checkpoint:
    """The state of a run at the end of its last whole epoch, or of a new one where ``path`` does not exist yet.

    path        the file; None keeps nothing
    settings    what decides the weights, as plain values by name

    Raises
        ValueError: the file is of a run with other settings, or no checkpoint.
    """

    def __init__(self, path: str | os.PathLike | None, settings: dict):
        self.path, self.settings = None if path is None else Path(path), settings
        self.state = distributed.only_first(self._read)

    @property
    def history(self) -> list:
        """The figures of the epochs that are done."""
        return self.state.get("history", [])

    def restore(self, **parts) -> None:
        """Bring each part, such as ``model=model``, to where the run was; nothing for a new run."""
        for name, part in parts.items():
            if self.state and part is not None:
                try:
                    part.load_state_dict(self.state[name])
                except (KeyError, RuntimeError, ValueError) as error:
                    raise ValueError(f"{self.path} does not fit the {name} of this run: {error}") from error

    def restore_chance(self) -> None:
        """Set torch's generators to where they were."""
        if self.state:
            here = distributed.rank()
            torch.set_rng_state(self.state["chance"][here])
            if torch.cuda.is_available() and self.state["chance_cuda"][here]:
                torch.cuda.set_rng_state_all(self.state["chance_cuda"][here])

    def write(self, history: list, **parts) -> None:
        """Keep history, generators and the state of each part."""
        if self.path is None:
            return
        chance = distributed.everyone(torch.get_rng_state())
        chance_cuda = distributed.everyone(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])
        distributed.only_first(lambda: self._write(history, parts, chance=chance, chance_cuda=chance_cuda))

    def _write(self, history: list, parts: dict, **chance: list) -> None:
        state = {"settings": self.settings, "history": [tuple(epoch) for epoch in history]}
        state |= chance | {name: part.state_dict() for name, part in parts.items() if part is not None}
        assert self.path is not None
        with replacing(self.path) as temporary:
            torch.save(state, temporary)

    def _read(self) -> dict:
        path = self.path
        if path is None or not path.exists():
            return {}
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            before = state["settings"]
        except (KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path} is no checkpoint of a training run: {error}. Remove it, or name another file."
            ) from error
        differ = [
            f"{name}={self.settings.get(name)!r} here, {before.get(name)!r} there"
            for name in self.settings | before
            if self.settings.get(name) != before.get(name)
        ]
        if differ:
            raise ValueError(
                f"{path} is of a run with other settings: {'; '.join(differ)}. Go on with those, or name another "
                "file to begin anew."
            )
        return state


def described(thing: object) -> str | None:
    """What tells one `perturb` or loss from another: a value's own text, a function's name.

    >>> described(partial(torch.nn.functional.cross_entropy, label_smoothing=0.1))
    'torch.nn.functional.cross_entropy(label_smoothing=0.1)'
    """
    if thing is None:
        return None
    if isinstance(thing, partial):
        given = [repr(value) for value in thing.args] + [f"{key}={value!r}" for key, value in thing.keywords.items()]
        return f"{described(thing.func)}({', '.join(given)})"
    if type(thing).__repr__ is not object.__repr__ and not isinstance(thing, FUNCTIONS):
        return repr(thing)
    named = thing if isinstance(thing, FUNCTIONS) else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
