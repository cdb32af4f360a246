"""advlib: attack, harden and evaluate image classifiers, one pixel-space contract throughout.

A classifier is any ``nn.Module`` that maps images in [0, 1] of shape (N, C, H, W) to logits (N, K).
Normalisation lives inside the model, and ε is always in pixel units.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from advlib.device import device

if TYPE_CHECKING:
    from advlib.data import load_images
    from advlib.models import load_model
    from advlib.norms import L0, L1, L2, Linf

__version__ = "0.1.0"
__all__ = ["L0", "L1", "L2", "Linf", "device", "load_images", "load_model"]

_ROOMS = dict.fromkeys(("L0", "L1", "L2", "Linf"), "norms") | {"load_images": "data", "load_model": "models"}


def __getattr__(name: str):
    """Import a name, or a room such as ``advlib.attacks``, when it is first asked for.

    torch takes seconds to import, which ``advlib --help`` need not wait for.
    """
    if name in _ROOMS:
        return getattr(import_module(f"advlib.{_ROOMS[name]}"), name)
    if not name.startswith("_") and find_spec(f"advlib.{name}"):
        return import_module(f"advlib.{name}")
    raise AttributeError(f"module 'advlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
