"""How each shipped model is made: values that ``advlib train NAME`` runs and its model card repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """The arguments of one training run. Epoch e sees `train_images` new images, made from seed + e; or where not
    `fresh`, set e mod `sets` of them, made from seed + e mod `sets`."""

    net: str  # a key of `nets.NETS`
    data: str  # a name that `data.load_images` knows; its "train" split
    train_images: int  # per epoch
    epochs: int
    lr: float
    batch_size: int = 128
    weight_decay: float = 1e-3
    seed: int = 0  # of the weights, the order and the first epoch's images
    fresh: bool = True
    sets: int = 1  # of images that are kept and used in turn, where they are not fresh
    start: str | None = None  # the shipped model whose weights training starts from
    average: float = 0.0  # decay of the mean of the weights; 0 for none
    amp: bool = False  # bfloat16 where that is safe
    defence: Defence | None = None  # none: ordinary training


@dataclass(frozen=True)
class Defence:
    """What training changes about the batch or the loss, against L∞ ≤ `eps` as a rule."""

    kind: str  # "climb" (FGSM from a random start, or PGD), "trades", "noise", "distilled" or "ibp"
    eps: float = 0.0
    steps: int = 1
    step: float = 1.25  # in units of eps
    ramp: float = 0.0  # share of the run over which ε grows to `eps`
    beta: float = 0.0  # of TRADES
    sigma: float = 0.0  # of the noise
    temperature: float = 1.0  # of distillation
    teacher: str = ""  # the shipped model that a student learns from


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

# Chapters 16 to 21: the robust model, and small ones that show what a way of training does. They see the same images.
SMALL = Recipe(
    "signs-small",
    "signs",
    train_images=8_192,
    epochs=8,
    lr=2e-3,
    seed=1_000,
    fresh=False,
    sets=6,
    start="signs-midfit-a",
)
DEFENDED = {
    "signs-robust": replace(
        SMALL,
        net="signs-large",
        epochs=150,
        lr=4e-3,
        sets=16,
        start=None,
        average=0.998,
        amp=True,
        defence=Defence("climb", eps=10 / 255, steps=2, step=0.75, ramp=0.25),
    ),
    "signs-fgsm-trained": replace(SMALL, defence=Defence("climb", eps=4 / 255, ramp=0.5)),
    "signs-trades": replace(SMALL, defence=Defence("trades", eps=4 / 255, steps=2, step=0.75, beta=3.0, ramp=0.5)),
    "signs-smooth": replace(SMALL, defence=Defence("noise", sigma=0.12)),
    "signs-distilled": replace(SMALL, defence=Defence("distilled", temperature=100.0, teacher="signs-cnn")),
}
# Chapter 18: members of an ensemble, as unlike as small networks can be.
MEMBERS = {
    name: replace(SMALL, net=name, epochs=16, lr=4e-3, start=None)
    for name in ("signs-wide", "signs-deep", "signs-patches")
}

RECIPES: dict[str, Recipe] = {
    "signs-cnn": Recipe(net="signs-cnn", data="signs", train_images=8_192, epochs=36, lr=4e-3),
    "signs-linear": Recipe(net="signs-linear", data="signs", train_images=8_192, epochs=8, lr=5e-4),
    **{
        f"{name}-{letter}": replace(recipe, seed=seed)
        for name, recipe in DEGREES_OF_FIT.items()
        for letter, seed in (("a", 0), ("b", 100), ("c", 200))
    },
    **DEFENDED,
    **MEMBERS,
    # Chapter 20's way of training, on real digits and for longer than a page has time for.
    "digits-ibp": Recipe(
        "mnist-small",
        "mnist",
        train_images=60_000,
        epochs=12,
        lr=2e-3,
        fresh=False,
        defence=Defence("ibp", eps=0.2, ramp=0.6),
    ),
}
