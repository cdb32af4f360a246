"""``advlib train``: run a recipe, measure what came out, and write weights and model card."""

from __future__ import annotations

import os
import platform
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import torch
import torchvision
from torch import nn

from advlib import __version__, answers, distributed
from advlib.attacks import fgsm, pgd, worst_case
from advlib.cli.values import usable_device
from advlib.data import Images, load_images
from advlib.defenses.adversarial import Climb, Divergence, Noise, Trades
from advlib.defenses.certificates import IBP, certified
from advlib.defenses.distillation import Taught, heat
from advlib.defenses.training import Scheduled, fit
from advlib.evaluate import accuracy
from advlib.intervals import Share
from advlib.models.nets import NETS
from advlib.models.recipes import RECIPES, Defence, Recipe
from advlib.models.zoo import load_model, save_model
from advlib.names import unknown
from advlib.norms import Linf

TEST_IMAGES = 4_096
ATTACKED_IMAGES = 1_024
CERTIFIED_IMAGES = 1_000
ATTACKS = {
    "FGSM, L∞ ≤ 2/255": partial(fgsm, within=Linf(2 / 255)),
    "FGSM, L∞ ≤ 8/255": partial(fgsm, within=Linf(8 / 255)),
    "PGD of 40 steps, L∞ ≤ 2/255": partial(pgd, within=Linf(2 / 255), steps=40),
    "PGD of 40 steps, L∞ ≤ 8/255": partial(pgd, within=Linf(8 / 255), steps=40),
}


def run(args: Namespace) -> int:
    if args.name not in RECIPES:
        raise ValueError(unknown("recipe", args.name, RECIPES))
    distributed.only_first(partial(try_writing, args.out))
    recipe = RECIPES[args.name]
    model = train(recipe, usable_device(args.device), args.checkpoint)
    test = load_images(recipe.data, "test", TEST_IMAGES, recipe.seed)
    with distributed.sharing(x=test.x):
        figures = measure(model, recipe.data, test, recipe.defence)
    card = {
        "name": args.name,
        "net": recipe.net,
        "input": list(test.x.shape[1:]),
        "classes": list(test.classes),
        "data": f"{recipe.data}: {recipe.epochs} epochs of {which_images(recipe)}",
        "command": f"advlib train {args.name}",
        "seed": recipe.seed,
        "recipe": asdict(recipe),
        "made_with": made_with(model),
        "measured": figures,
    }
    path = distributed.only_first(partial(save_model, model, card, args.out))
    print_measured(card["measured"])
    print(f"written: {path} and {path.with_suffix('.json').name}")
    return 0


def train(recipe: Recipe, where: str | torch.device, checkpoint: str | None = None) -> nn.Module:
    """The network of a recipe, trained: the same weights for the same seed on one machine."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = (load_model(recipe.start) if recipe.start else NETS[recipe.net]()).to(where)
    if recipe.defence and recipe.defence.kind == "distilled":
        heat(model, recipe.defence.temperature)
    fit(
        model,
        training_images(recipe),
        epochs=recipe.epochs,
        lr=recipe.lr,
        batch_size=recipe.batch_size,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        average=recipe.average,
        amp=recipe.amp,
        checkpoint=checkpoint,
        **changes(recipe.defence, where),
    )
    return model


def training_images(recipe: Recipe) -> Images | Callable[[int], Images]:
    """What the recipe trains on: one set of images, or a function that gives each epoch its own.

    Sets that are kept are stored as ``channels_last``, in which a CPU trains convolutions in two thirds of the time.
    """

    def draw(epoch: int) -> Images:
        return load_images(recipe.data, "train", recipe.train_images, recipe.seed + epoch)

    @cache
    def kept(which: int) -> Images:
        images = draw(which)
        return Images(images.x.contiguous(memory_format=torch.channels_last), images.y, images.classes)

    if recipe.fresh:
        return draw
    return draw(0) if recipe.sets == 1 else lambda epoch: kept(epoch % recipe.sets)


def which_images(recipe: Recipe) -> str:
    n = recipe.train_images
    if recipe.fresh:
        return f"{n:,} images"
    return f"the same {n:,} images" if recipe.sets == 1 else f"{n:,} of {recipe.sets * n:,} images"


def changes(defence: Defence | None, where: str | torch.device) -> dict:
    """The arguments of `fit` that make a defence of ordinary training."""
    if defence is None:
        return {}
    if defence.kind == "noise":
        return {"perturb": Noise(defence.sigma)}
    if defence.kind == "distilled":
        teacher = heat(load_model(defence.teacher, where), defence.temperature)
        return {"objective": Taught(teacher, defence.temperature)}
    if defence.kind == "ibp":
        whole = IBP(Linf(defence.eps))
        return {"objective": Scheduled(partial(whole.at, ramp=defence.ramp)) if defence.ramp else whole}
    kind = {"climb": Climb, "trades": Divergence}[defence.kind]

    def at(t: float) -> Climb:
        eps = defence.eps * min(1.0, t / defence.ramp) if defence.ramp else defence.eps
        return kind(Linf(eps), defence.steps, defence.step)

    perturb = Scheduled(at) if defence.ramp else at(0)
    return {"perturb": perturb} | ({"objective": Trades(defence.beta)} if defence.kind == "trades" else {})


def measure(model: nn.Module, data: str, test: Images, defence: Defence | None = None) -> list[dict]:
    """What a model card reports: accuracy on fresh images, under attack, and for signs on real photos.

    Of a model that was trained to be certified: what is proved, and what the worst case leaves, at ε and half of it.
    """
    figures = [figure(model, f"{data}, test split", test)]
    if defence and defence.kind == "ibp":
        some = test[:CERTIFIED_IMAGES]
        return figures + [one for part in (0.5, 1) for one in sandwich(model, data, some, Linf(part * defence.eps))]
    attacked = test[:ATTACKED_IMAGES]
    for name, attack in ATTACKS.items():
        x_adv = attack(model, attacked.x, attacked.y)
        figures.append(figure(model, f"{data}, test split", Images(x_adv, attacked.y, test.classes), attack=name))
    if data == "signs":
        for split in ("test", "sample"):
            try:
                figures.append(
                    figure(model, f"real photos: gtsrb-signs, {split} split", load_images("gtsrb-signs", split))
                )
            except FileNotFoundError as error:
                print(f"not measured on real photos, {split} split: {error}")
    return figures


def sandwich(model: nn.Module, data: str, images: Images, within: Linf) -> list[dict]:
    """Robust accuracy from both sides, each with its interval. What is proved to stand need not be attacked."""
    right = answers.right(model, images.x, images.y)
    proved = certified(model, images.x, images.y, within, method="interval")
    rows = (right & ~proved).nonzero().flatten()
    stand = right.clone()
    if len(rows):
        x_adv = worst_case(model, images.x[rows], images.y[rows], within)
        stand[rows] = answers.right(model, x_adv, images.y[rows])
    found = []
    for kind, how, standing in (("proof", "interval bounds", proved), ("attack", "worst_case", stand)):
        share = Share(int(standing.sum()), len(images))
        found.append(
            {"on": f"{data}, test split", "images": len(images), "attack": None}
            | {kind: f"{how}, {within}", "accuracy": float(share)}
            | {"interval": [round(share.low, 4), round(share.high, 4)]}
        )
    return found


def figure(model: nn.Module, name: str, images: Images, attack: str | None = None) -> dict:
    return {
        "on": name,
        "images": len(images),
        "attack": attack,
        "accuracy": round(accuracy(model, images.x, images.y), 4),
    }


def made_with(model: nn.Module) -> dict:
    where = next(model.parameters()).device.type
    return {
        "advlib": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "device": where,
    } | ({"processes": distributed.world()} if distributed.world() > 1 else {})


def print_measured(figures: list[dict]) -> None:
    for one in figures:
        how = f", under {one['attack']}" if one["attack"] else f", proved by {one['proof']}" if "proof" in one else ""
        print(f"  {one['accuracy']:6.1%}  {one['on']}, {one['images']:,} images{how}")


def try_writing(folder: str | os.PathLike) -> None:
    """Make `folder` where it is missing and write to it, so that hours of work do not end at a closed door; OSError."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=Path(folder)) as file:
            file.write(b"?")
    except OSError as error:
        raise OSError(f"cannot write to {folder} ({error.strerror}); choose another folder with --out") from None
