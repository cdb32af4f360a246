"""advlib: attack, harden and evaluate image classifiers, one pixel-space contract throughout.

A classifier is any ``nn.Module`` that maps images in [0, 1] of shape (N, C, H, W) to logits (N, K).
Normalisation lives inside the model, and ε is always in pixel units.
"""

from advlib.data import load_images
from advlib.device import device
from advlib.models import load_model
from advlib.norms import L0, L1, L2, Linf

__version__ = "0.1.0"
__all__ = ["L0", "L1", "L2", "Linf", "device", "load_images", "load_model"]
