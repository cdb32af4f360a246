"""A model left as it was: its mode, its parameters' ``requires_grad`` and its buffers, whatever is done meanwhile.

``advlib.contract`` offers ``frozen`` as well.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

__all__ = ["ALONE", "Buffers", "frozen"]

# One thread at a time. A lock for each model would not do: models share layers, and an attack also puts back the random
# streams that the whole process draws from.
ALONE = threading.RLock()


@contextmanager
def frozen(model: nn.Module):
    """The model in eval mode and without parameter gradients; afterwards it is as it was.

    Mode is kept for every sub-module, ``requires_grad`` for every parameter, and every buffer, with its content.
    Inside, gradients are recorded even where the caller switched them off with ``torch.no_grad``. Other threads wait.
    """
    with ALONE:
        modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
        wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        buffers = Buffers(model)
        try:
            _eval(model)
            for parameter, _ in wanted:
                _require_grad(parameter, False)
            with torch.inference_mode(False), torch.enable_grad():
                yield model
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, needed in wanted:
                _require_grad(parameter, needed)
            buffers.restore()


class Buffers:
    """What a model's buffers are and hold: to see whether a pass has changed them, and to put them back."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.tables = {module: dict(module._buffers) for module in model.modules()}
        parts = [_once(buffer.detach()) for buffer in model.buffers()]
        self.held = [(part, part.clone()) for part in parts]

    def moved(self) -> bool:
        """Whether any was written to, exchanged, added or removed."""
        exchanged = any(_exchanged(module, table) for module, table in self.tables.items())
        return exchanged or any(not torch.equal(part, value) for part, value in self.held)

    def restore(self) -> None:
        for module, table in self.tables.items():
            if _exchanged(module, table):
                for name in set(module._buffers) - set(table):
                    del module._buffers[name]
                module._buffers.update(table)
        with torch.no_grad():
            for part, value in self.held:
                with torch.inference_mode() if part.is_inference() else nullcontext():  # made there, written to there
                    part.copy_(value)


def _exchanged(module: nn.Module, table: dict[str, Tensor | None]) -> bool:
    now = dict(module._buffers)
    return now.keys() != table.keys() or any(now[name] is not buffer for name, buffer in table.items())


def _once(buffer: Tensor) -> Tensor:
    """The part of an expanded buffer that is in memory: each of its numbers once."""
    if buffer.layout != torch.strided or buffer.is_nested:
        return buffer
    return buffer[tuple(slice(1) if stride == 0 else slice(None) for stride in buffer.stride())]


def _eval(model: nn.Module) -> None:
    """Eval mode wherever there is one: what ``torch.jit.freeze`` or ``torch.export`` made has none to change."""
    try:
        model.eval()
    except (AttributeError, NotImplementedError):
        for module in model.modules():
            if hasattr(module, "training"):
                module.training = False


def _require_grad(parameter: nn.Parameter, needed: bool) -> None:
    if parameter.requires_grad != needed:
        with torch.inference_mode() if parameter.is_inference() else nullcontext():
            parameter.requires_grad_(needed)
