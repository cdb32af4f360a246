"""Trained models by name: weights as safetensors, each beside a model card that says how they were made.

A card is a JSON file: name, net, input shape, classes, data, command, seed, figures measured, and the SHA-256 of the
weights, which is checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from advlib.contract import check_device, check_model, check_path, shown
from advlib.data.photos import fit_square
from advlib.files import replacing_together
from advlib.models import nets
from advlib.names import unknown

__all__ = ["load_model", "model_names", "read_card", "save_model"]

WEIGHTS = Path(__file__).parent / "weights"
IMAGENET = "imagenet:"


def model_names() -> tuple[str, ...]:
    """The models that come with the package.

    >>> "signs-cnn" in model_names()
    True
    """
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.json")))


def load_model(name: str | os.PathLike, device: str | torch.device | None = None) -> nn.Module:
    """A trained classifier in eval mode: pixels in [0, 1] in, logits out.

    `name` is one of `model_names()`; or "imagenet:" and a torchvision classifier, such as "imagenet:squeezenet1_1";
    or the path of a ``.safetensors`` file that `save_model` wrote. It is put on `device`, by default the CPU.

    The model carries ``.classes`` (their names) and ``.preprocess(photos)``, which brings photos (N, 3, H, W) of any
    size to the shape it takes; a model of ours also ``.card``.

    Raises `ValueError` for an unknown name, and for weights that are not the ones their card describes.

    >>> model = load_model("signs-cnn")
    >>> model(torch.rand(2, 3, 48, 48)).shape
    torch.Size([2, 16])
    """
    check_device(device)
    if isinstance(name, str) and name.startswith(IMAGENET):
        from advlib.models.imagenet import load_imagenet  # needs torchvision, a second's import

        return load_imagenet(name.removeprefix(IMAGENET), device)
    path = _weights_path(name)
    card = read_card(path)
    try:
        model = nets.NETS[card["net"]]()
        model.load_state_dict(safetensors.torch.load(_checked_bytes(path, card)))
    except (KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path} does not fit the network that its card names: {error}") from error
    model.classes = tuple(card["classes"])
    model.preprocess = partial(preprocess, channels=card["input"][0], size=card["input"][-1])
    model.card = card
    return model.eval().to(device or "cpu")


def read_card(name: str | os.PathLike) -> dict:
    """The model card of a model of ours, by name or by the path of its weights.

    Raises `TypeError`, `ValueError` for an unknown name, and a card that is missing or damaged.

    >>> read_card("signs-cnn")["command"]
    'advlib train signs-cnn'
    """
    path = _card_path(_weights_path(name))
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        missing = {"name", "net", "input", "classes", "sha256"} - set(card)
    except FileNotFoundError:
        raise ValueError(f"the model card {path} is missing; without it the weights cannot be checked") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"the model card {path} is damaged: {error}") from None
    if missing:
        raise ValueError(f"the model card {path} does not say: {', '.join(sorted(missing))}")
    return card


def save_model(model: nn.Module, card: dict, folder: str | os.PathLike) -> Path:
    """Write ``NAME.safetensors`` and its card ``NAME.json`` to `folder`, and return the path of the weights.

    `card` says at least name, net (a key of `nets.NETS`), input (C, H, W) and classes; the number of parameters and
    the hash are added. Both files are written before either is replaced.

    Raises `ValueError` for a card that says too little, or whose name is no plain file name.
    """
    check_model(model)
    check_path(folder, "folder")
    if not isinstance(card, dict):
        raise TypeError(f"card is {shown(card)}; expected a dictionary with name, net, input and classes.")
    missing = {"name", "net", "input", "classes"} - set(card)
    if missing:
        raise ValueError(f"the card does not say: {', '.join(sorted(missing))}; expected name, net, input and classes")
    name = card["name"]
    if not isinstance(name, str) or name.strip(". ") == "" or {"/", "\\", ":", "\0"} & set(name):
        raise ValueError(
            f"the card's name is {name!r}; expected a plain file name, such as 'my-model': no folder in it"
        )
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    data = safetensors.torch.save(weights)
    card = card | {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    path = Path(folder) / f"{name}.safetensors"
    with replacing_together(path, _card_path(path)) as (weights_file, card_file):
        weights_file.write_bytes(data)
        card_file.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _card_path(weights: Path) -> Path:
    return weights.with_suffix(".json")


def _weights_path(name: str | os.PathLike) -> Path:
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(
            f"a model is asked for by its name; expected one such as 'signs-cnn', got {type(name).__name__}"
        )
    if Path(name).suffix == ".safetensors":
        return Path(name)
    if str(name) not in model_names():
        known = (*model_names(), f"{IMAGENET}squeezenet1_1")
        raise ValueError(f"{unknown('model', str(name), known)} ('advlib models' lists them all.)")
    return WEIGHTS / f"{name}.safetensors"


def _checked_bytes(path: Path, card: dict) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the weights {path} cannot be read: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"] or card["name"] != path.stem:
        raise ValueError(
            f"the weights in {path} are not the ones that the card {card['name']!r} describes (SHA-256 {found[:12]}…, "
            f"expected {str(card['sha256'])[:12]}…): the file is broken or was swapped, or saving was cut short "
            f"between the two. Install advlib anew, or make it again: {card.get('command', 'advlib train')}"
        )
    return data


def preprocess(photos: Tensor, channels: int, size: int) -> Tensor:
    """Photos (N, 3, H, W) of any size as (N, channels, size, size): the middle square, grey for one channel."""
    photos = fit_square(photos, size)
    return photos.mean(1, keepdim=True) if channels == 1 else photos
