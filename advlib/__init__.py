"""advlib: attack, harden and evaluate image classifiers, one pixel-space contract throughout.

A classifier is any ``nn.Module`` that maps images in [0, 1] of shape (N, C, H, W) to logits (N, K).
Normalisation lives inside the model, and ε is always in pixel units.
"""

__version__ = "0.1.0"
