"""ImageNet classifiers by name, through torchvision, brought to the pixel-space contract."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from advlib.data.fetch import MIRROR, Remote, fetch
from advlib.data.photos import into_box
from advlib.models.nets import Normalize
from advlib.names import unknown

# Where the publisher keeps the files that its own address hands out.
SECOND_SOURCE = "https://s3.amazonaws.com/pytorch/models/"


class Preprocess(nn.Module):
    """torchvision's own transforms up to the normalisation: photos (N, 3, H, W) → (N, 3, S, S), all in [0, 1].

    Differentiable, so that ``nn.Sequential(Preprocess(weights), model)`` can be attacked at a photo's own size.
    """

    def __init__(self, weights):
        super().__init__()
        preset = weights.transforms()
        self.size = preset.crop_size[0]
        self.transforms = type(preset)(
            crop_size=self.size,
            resize_size=preset.resize_size[0],
            interpolation=preset.interpolation,
            antialias=True,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        )

    def forward(self, photos: Tensor) -> Tensor:
        return into_box(self.transforms(photos))


class ImageNetClassifier(nn.Module):
    """Pixels in [0, 1] → normalisation → network → 1,000 logits; `classes` are the categories' names.

    ``model.preprocess(photos)`` brings photos of any size to the model's, and ``model.on_photos()`` is the same
    classifier with that step inside: its ε counts in the photo's own pixels.
    """

    def __init__(self, network: nn.Module, weights):
        super().__init__()
        preset = weights.transforms()
        self.preprocess = Preprocess(weights)
        self.normalize = Normalize(preset.mean, preset.std)
        self.network = network
        self.classes = tuple(weights.meta["categories"])

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.normalize(x))

    def on_photos(self) -> nn.Sequential:
        """Photos (N, 3, H, W) of any size in, logits out: the attack goes through the resizing."""
        model = nn.Sequential(self.preprocess, self)
        model.classes = self.classes
        return model.train(self.training)


@lru_cache
def architectures() -> tuple[str, ...]:
    """The names of torchvision's classifiers that come with ImageNet weights."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def load_imagenet(name: str, device: str | torch.device | None = None) -> ImageNetClassifier:
    """A torchvision classifier, such as "squeezenet1_1", "resnet18" or "mobilenet_v2", with its weights.

    "resnet50@IMAGENET1K_V2" asks for one of several sets of weights; without it, IMAGENET1K_V1 is taken, or
    torchvision's default where there is none. They come from torch's hub folder (environment variable TORCH_HOME)
    or are downloaded there, with their hash checked.

    Raises `ValueError` for an unknown name and `FileNotFoundError`, which says where it looked, if the weights are
    neither on disk nor to be downloaded.
    """
    weights = _weights(name)
    state = _fetch(weights, name)
    weights.get_state_dict = lambda *_, **__: state  # what torchvision would read again, and unpickle whatever it is
    try:
        network = torchvision.models.get_model(name.partition("@")[0], weights=weights)
    finally:
        vars(weights).pop("get_state_dict", None)
    return ImageNetClassifier(network, weights).eval().to(device or "cpu")


def _weights(name: str):
    architecture, _, version = name.partition("@")
    if architecture not in architectures():
        raise ValueError(unknown("ImageNet model", architecture, architectures()))
    offered = torchvision.models.get_model_weights(architecture)
    if version and version not in offered.__members__:
        raise ValueError(unknown(f"weights of {architecture}", version, offered.__members__))
    return offered[version] if version else getattr(offered, "IMAGENET1K_V1", offered.DEFAULT)


def _fetch(weights, name: str) -> dict[str, Tensor]:
    """The weights, from disk or the network; what is downloaded has its hash checked. No more than tensors is read."""
    file = weights.url.rsplit("/", 1)[-1]
    path = Path(torch.hub.get_dir(), "checkpoints", file)
    try:
        if not path.is_file():
            digest = re.search(r"-([a-f0-9]{8,})\.", file)
            fetch(Remote((weights.url, SECOND_SOURCE + file), digest[1] if digest else "", "sha256"), path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:  # no network, no permission, no space
        raise FileNotFoundError(
            f"the weights of {name!r} are not on disk and could not be fetched ({error}).\n"
            f"  Looked for: {path}.\n"
            "  To get them: call this once with a network, and they are kept there; or download "
            f"{weights.url} yourself.\n"
            "  To point to them: set the environment variable TORCH_HOME to the folder with hub/checkpoints in it, or "
            f"{MIRROR} to an address that serves {file}."
        ) from None
    except Exception as error:  # a file cut short, or a pickle that wants to run code
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the weights of {name!r} are damaged ({reason}). Delete {path} and call this again."
        ) from None
