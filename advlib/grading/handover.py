"""Numbers, words and tensors as bytes, and back. Whoever reads them executes nothing: JSON and safetensors.

A value of any other kind is described in words instead: `Described`.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import struct
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

__all__ = ["LARGEST", "Described", "pack", "receive", "send", "unpack"]

# What of the course's own is handed over as its parts: its name, and where it is made.
KNOWN = {"Patch": "advlib.attacks.physical", "Derived": "advlib.exercises.derived"}
LARGEST = 64 * 2**20  # bytes of one message


class Described(Exception):
    """A value that cannot be handed over, in words."""


def pack(value: Any) -> bytes:
    """The value as bytes.

    Raises
        Described: it holds something that is no number, word, tensor, list, tuple or dictionary.

    >>> unpack(pack({"a": (1, 2.5, None), "b": torch.tensor([True])}))
    {'a': (1, 2.5, None), 'b': tensor([True])}
    """
    tensors: dict[str, Tensor] = {}
    words = json.dumps(_plain(value, tensors)).encode()
    return struct.pack(">Q", len(words)) + words + (safetensors.torch.save(tensors) if tensors else b"")


def unpack(data: bytes) -> Any:
    """The value of `pack`.

    Raises
        ValueError: these bytes are not from `pack`.
    """
    try:
        (length,) = struct.unpack(">Q", data[:8])
        tree = json.loads(data[8 : 8 + length])
        rest = data[8 + length :]
        return _built(tree, safetensors.torch.load(rest) if rest else {})
    except ValueError:
        raise
    except Exception as error:  # whatever a reader of broken bytes stumbles over
        raise ValueError(f"not readable: {type(error).__name__}") from None


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, str):
        return value
    if (type(value) is int and abs(value) < 10**300) or type(value) is float:
        return value
    if isinstance(value, Tensor) and value.layout == torch.strided:
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().clone().contiguous()
        return {"tensor": key}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_plain(one, tensors) for one in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _plain(one, tensors) for key, one in value.items()}}
    if KNOWN.get(type(value).__name__) == type(value).__module__:
        parts = value if isinstance(value, tuple) else [getattr(value, one.name) for one in dataclasses.fields(value)]
        return {type(value).__name__: [_plain(one, tensors) for one in parts]}
    raise Described(f"a {type(value).__name__}")


def _built(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _built(one, tensors) for key, one in content.items()}
    parts = [_built(one, tensors) for one in content]
    if kind in KNOWN:
        return getattr(importlib.import_module(KNOWN[kind]), kind)(*parts)
    return tuple(parts) if kind == "tuple" else parts


def send(stream: IO[bytes], data: bytes) -> None:
    """One message: its length, then its bytes."""
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """The next message of `send`; None where the stream has ended, or holds none."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack(">Q", head)
    if length > LARGEST + 2**20:
        return None
    data = stream.read(length)
    return data if len(data) == length else None
