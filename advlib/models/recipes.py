"""How each shipped model is made: values that ``advlib train NAME`` runs and its model card repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """The arguments of one training run. Epoch e sees `train_images` new images, made from seed + e; or where not
    `fresh`, the same ones again, made from the seed."""

    net: str  # a key of `nets.NETS`
    data: str  # a name that `data.load_images` knows; its "train" split
    train_images: int  # per epoch
    epochs: int
    lr: float
    batch_size: int = 128
    weight_decay: float = 1e-3
    seed: int = 0  # of the weights, the order and the first epoch's images
    fresh: bool = True


# Chapter 5: ways to the same accuracy on new images, about 90 %, and overfit's own way with decay added (curbed); three
# networks each. Midfit is not on the page: it is where small networks start from.
DEGREES_OF_FIT = {
    "signs-underfit": Recipe("signs-small", "signs", train_images=4_096, epochs=6, lr=4e-3, weight_decay=0),
    "signs-midfit": Recipe("signs-small", "signs", train_images=4_096, epochs=8, lr=4e-3, weight_decay=0, fresh=False),
    "signs-overfit": Recipe(
        "signs-small", "signs", train_images=2_560, epochs=25, lr=4e-3, weight_decay=0, fresh=False
    ),
    "signs-decayed": Recipe(
        "signs-small", "signs", train_images=1_024, epochs=40, lr=4e-3, weight_decay=3, fresh=False
    ),
    "signs-curbed": Recipe("signs-small", "signs", train_images=2_560, epochs=25, lr=4e-3, weight_decay=3, fresh=False),
}

RECIPES: dict[str, Recipe] = {
    "signs-cnn": Recipe(net="signs-cnn", data="signs", train_images=8_192, epochs=36, lr=4e-3),
    "signs-linear": Recipe(net="signs-linear", data="signs", train_images=8_192, epochs=8, lr=5e-4),
    **{
        f"{name}-{letter}": replace(recipe, seed=seed)
        for name, recipe in DEGREES_OF_FIT.items()
        for letter, seed in (("a", 0), ("b", 100), ("c", 200))
    },
}
