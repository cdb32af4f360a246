"""How each shipped model is made: values that ``advlib train NAME`` runs and its model card repeats."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The arguments of one training run. Epoch e sees `train_images` new images, made from seed + e."""

    net: str                    # a key of `nets.NETS`
    data: str                   # a name that `data.load_images` knows; its "train" split
    train_images: int           # per epoch
    epochs: int
    lr: float
    batch_size: int = 128
    weight_decay: float = 1e-3
    seed: int = 0               # of the weights, the order and the first epoch's images


RECIPES: dict[str, Recipe] = {
    "signs-cnn": Recipe(net="signs-cnn", data="signs", train_images=8_192, epochs=36, lr=4e-3),
    "signs-linear": Recipe(net="signs-linear", data="signs", train_images=8_192, epochs=8, lr=5e-4),
}
