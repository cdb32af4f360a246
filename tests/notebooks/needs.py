"""What a notebook needs beside the package, so that it is skipped, with the reason, where that is not on disk.

A notebook, or one of its cells, names its needs in its metadata: data sets, ImageNet models, files of ADVLIB_DATA.

    {"advlib": {"needs": ["mnist", "imagenet:squeezenet1_1", "models/mnist_lenet5_advtrained.pt"]}}
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
import torchvision

from advlib.data import real

SETS = ("mnist", "cifar10", "gtsrb")
IMAGENET = "imagenet:"


def needs(*metadata: Mapping) -> list[str]:
    """What a notebook's metadata and its cell's name."""
    return [need for one in metadata for need in one.get("advlib", {}).get("needs", [])]


@lru_cache
def missing(need: str) -> str:
    """Why ``need`` is not met here; empty where it is."""
    if need in SETS:
        if all(real.find_source(real.source(need, split)) for split in ("train", "test")):
            return ""
        return f"{need} is neither in ADVLIB_DATA ({real.data_folder() or 'not set'}) nor in {real.cache_folder()}"
    if need.startswith(IMAGENET):
        weights = torchvision.models.get_model_weights(need.removeprefix(IMAGENET)).IMAGENET1K_V1
        path = Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/", 1)[-1])
        return "" if path.is_file() else f"{path} is not there (TORCH_HOME)"
    folder = real.data_folder()
    return "" if folder and (folder / need).is_file() else f"ADVLIB_DATA ({folder or 'not set'}) has no {need}"
