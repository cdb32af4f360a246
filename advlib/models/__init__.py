"""What is attacked, as networks: the course's own, trained and shipped, and torchvision's ImageNet classifiers."""

from advlib.models.nets import Normalize
from advlib.models.zoo import load_model, model_names, save_model

__all__ = ["Normalize", "load_model", "model_names", "save_model"]
