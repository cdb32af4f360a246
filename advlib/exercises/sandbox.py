"""Around a whole check: what an answer changed behind its back is put right and noted.

Random numbers, the notebook's models and tensors, and the functions of PyTorch that a verdict rests on.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.exercises.mistake import Mistake

PRINTED = 2000  # characters that an answer may print in one check

# What a verdict rests on. A notebook that replaced any of it would be judged by its own replacement.
_RELIED_ON = {
    "torch": torch,
    "torch.Tensor": Tensor,
    "torch.nn.functional": F,
    "torch.autograd": torch.autograd,
    "torch.nn.Module": nn.Module,
}
_AS_IMPORTED = {name: dict(vars(owner)) for name, owner in _RELIED_ON.items()}


def _replaced() -> list[str]:
    """Names that are no longer what they were when the course's package was imported; they are put back."""
    found = []
    for room, owner in _RELIED_ON.items():
        now, then = vars(owner), _AS_IMPORTED[room]
        changed = [
            name
            for name, value in then.items()
            if inspect.isroutine(value) and now.get(name) is not value and not _torchs_own(now.get(name))
        ]
        # A method set on Tensor itself hides the one that it inherits.
        added = [name for name in now if name not in then and owner is Tensor and hasattr(torch._C.TensorBase, name)]
        for name in changed:
            setattr(owner, name, then[name])
        for name in added:
            delattr(owner, name)
        found += [f"{room}.{name}" for name in (*changed, *added) if not name.startswith("__")]
    return found


def _torchs_own(value: Any) -> bool:
    """PyTorch wraps functions of its own when parts of it are imported late."""
    return str(getattr(value, "__module__", "")).startswith("torch")


@contextlib.contextmanager
def sandbox(answer: Any, given: tuple, notes: list[str]) -> Iterator[None]:
    """Run a check with random numbers of its own; afterwards all is as it was, and ``notes`` say what was not."""
    _honest()
    kept = _Kept(answer, given)
    numbers = (random.getstate(), np.random.get_state())
    quiet = contextlib.redirect_stdout(_Brief(sys.stdout))
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad(), quiet:
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])
        notes += kept.put_back()
        _honest()


class _Brief(io.TextIOBase):
    """Passes on the first characters that are printed, and drops the rest."""

    def __init__(self, to: Any):
        self.to, self.left = to, PRINTED

    def write(self, text: str) -> int:
        if self.left > 0:
            self.to.write(text[: self.left])
            if len(text) > self.left:
                self.to.write("\n… (the answer prints more; the check leaves that out)\n")
        self.left -= len(text)
        return len(text)


def _honest() -> None:
    if found := _replaced():
        raise Mistake(
            f"{', '.join(found)} was replaced by something else, and the check relies on it; it is PyTorch's own again",
            mend="give your function a name of its own, and run the check again",
        )


class _Kept:
    """The settings, models and tensors that a check finds, to be found again after it."""

    def __init__(self, answer: Any, given: tuple):
        names = getattr(answer, "__globals__", {})
        known = {name: value for name, value in names.items() if isinstance(value, Tensor | nn.Module)}
        known |= {f"argument {i + 2} of the check": v for i, v in enumerate(given) if isinstance(v, Tensor | nn.Module)}
        self.names = names
        self.models = {name: (m, _state(m)) for name, m in known.items() if isinstance(m, nn.Module)}
        self.tensors = {name: (t, t.detach().clone()) for name, t in known.items() if type(t) is Tensor and _plain(t)}

    def put_back(self) -> list[str]:
        """Undo what the answer did to them; a line for each."""
        notes = []
        for name, (tensor, value) in self.tensors.items():
            if not torch.equal(tensor.detach(), value) and not tensor.isnan().any():
                tensor.data.copy_(value)
                notes.append(f"the answer changed the notebook's {name}; it is as before again")
        for name, (model, state) in self.models.items():
            if _differs(_state(model), state):
                _restore(model, state)
                notes.append(f"the answer changed the notebook's {name}; it is as before again")
        for name, (value, _) in {**self.models, **self.tensors}.items():
            if name in self.names or name.startswith("argument"):
                continue
            self.names[name] = value
            notes.append(f"the answer deleted the notebook's {name}; it is back")
        return notes


def _plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.numel() <= 2**26


def _state(model: nn.Module) -> tuple[list, list, list]:
    """Modes, wishes for gradients, and copies of all values."""
    values = [*model.parameters(), *model.buffers()]
    return (
        [module.training for module in model.modules()],
        [value.requires_grad for value in values],
        [value.detach().clone() for value in values],
    )


def _differs(now: tuple[list, list, list], then: tuple[list, list, list]) -> bool:
    same = [a.shape == b.shape and torch.equal(a, b) for a, b in zip(now[2], then[2])]
    return now[:2] != then[:2] or len(now[2]) != len(then[2]) or not all(same)


def _restore(model: nn.Module, state: tuple[list, list, list]) -> None:
    for module, mode in zip(model.modules(), state[0]):
        module.training = mode
    for value, wanted, content in zip([*model.parameters(), *model.buffers()], state[1], state[2]):
        value.data.copy_(content)
        value.requires_grad_(wanted)
