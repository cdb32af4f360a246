"""``advlib attack``: photos in, adversarial photos out, and what the model reads in them."""

from __future__ import annotations

import glob
import inspect
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from advlib import attacks, plots
from advlib.cli import usable_device
from advlib.contract import check_count
from advlib.data.photos import load_photo, save_png, to_8bit, to_8bit_within
from advlib.data.signs import CLASSES
from advlib.evaluate import predict
from advlib.files import replacing
from advlib.models.zoo import load_model
from advlib.names import unknown
from advlib.norms import L0, L1, L2, Ball, Linf
from advlib.panels import in_255ths, percent

EXAMPLE_EPS = {"l2": "0.5", "l1": "12", "l0": "20"}


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    photo: str
    clean: str
    clean_probability: str
    adversarial: str
    adversarial_probability: str
    fooled: str
    size: str


def run(args: Namespace) -> int:
    within = ball(args.norm, args.eps)
    attack = chosen_attack(args.attack, args.steps)
    model = load_model(args.model, usable_device(args.device))
    classes = model.classes
    label, target = (class_index(name, classes) if name else None for name in (args.label, args.target))
    if label is not None and label == target:
        raise ValueError(f"--label and --target are both {classes[target]!r}; a targeted attack goes to another class")

    rows, failed = [], 0
    photos = list(expand(args.photos))
    for photo, stem in zip(tqdm(photos, unit="photo", disable=None, delay=2, leave=False), stems(photos)):
        try:
            rows.append(attack_photo(photo, Path(args.out, stem), model, attack, within, label, target))
        except (ValueError, RuntimeError, MemoryError) as error:  # a bad photo, or one too large for this machine
            failed += 1
            tqdm.write(f"advlib attack: {' '.join(str(error).split()) or 'out of memory'}", file=sys.stderr)
    if rows:
        print_table(rows, within.symbol)
    goal = f"read as {classes[target]}" if target is not None else "fooled"
    print(
        f"{args.attack}, {within}: {sum(row.fooled == 'yes' for row in rows)} of {len(rows)} {goal}"
        + (f"; {failed} of {len(photos)} photos could not be attacked" if failed else "")
    )
    if rows:
        print(f"pictures and adversarial images are in {args.out}")
    return 1 if failed else 0


def attack_photo(
    photo: str, stem: Path, model: nn.Module, attack: Callable, within: Ball, label: int | None, target: int | None
) -> Row:
    """Attack one photo, write ``stem-adversarial.png`` and ``stem-figure.png``, and judge the file that was written."""
    x, classifier = read(photo), model
    if hasattr(model, "on_photos"):
        classifier = model.on_photos()  # the photo keeps its size: the attack goes through the resizing
    else:
        x = model.preprocess(x)
    x = to_8bit(x)
    seen, seen_probability = reading(classifier, x)
    y = seen if label is None else label
    if y == target:
        raise ValueError(f"{photo}: is read as {model.classes[target]!r} already; choose another --target")

    x_adv = attack(classifier, x, torch.tensor([y]), within, target=target)
    if classifier is not model:
        x_adv = torch.where(in_view(model, x), x_adv, x)  # a random start leaves noise where no gradient reaches
    before_rounding, _ = reading(classifier, x_adv)
    x_adv = to_8bit_within(x_adv, x, within)
    file = stem.with_name(f"{stem.name}-adversarial.png")
    save_png(x_adv, file)
    x_adv = load_photo(file)
    save_figure(plots.triptych(x, x_adv, classifier, classes=model.classes), stem.with_name(f"{stem.name}-figure.png"))

    found, found_probability = reading(classifier, x_adv)
    wins = {True: "yes", False: "no"}
    fooled = wins[succeeds(found, y, target)]
    if fooled == "no" and succeeds(before_rounding, y, target):
        fooled = "no (lost in rounding to 8 bits)"
    return Row(
        photo,
        model.classes[seen],
        percent(seen_probability),
        model.classes[found],
        percent(found_probability),
        fooled,
        size(x_adv - x, within),
    )


def succeeds(found: int, y: int, target: int | None) -> bool:
    return found != y if target is None else found == target


def in_view(model: nn.Module, x: Tensor) -> Tensor:
    """Which pixels of a photo the model's resizing and cropping looks at."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model.preprocess(x).sum(), x)[0] != 0


def reading(model: nn.Module, x: Tensor) -> tuple[int, float]:
    """The class that the model sees in one image, and its probability."""
    label, probabilities = predict(model, x)
    return int(label), float(probabilities.max())


def read(photo: str) -> Tensor:
    """`load_photo`, with its remarks as lines on stderr."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        x = load_photo(photo)
    for remark in remarks:
        tqdm.write(f"note: {remark.message}", file=sys.stderr)
    return x


def save_figure(figure, path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(plots.png_of(figure))


def ball(norm: str, eps: float | None) -> Ball:
    """The norm ball that ``--norm`` and ``--eps`` describe.

    >>> str(ball("linf", None))
    'L∞ ≤ 8/255'
    """
    if eps is None and norm != "linf":
        raise ValueError(f"say how large the change may be, for example --norm {norm} --eps {EXAMPLE_EPS[norm]}")
    eps = 8 / 255 if eps is None else eps
    if norm == "linf" and eps > 1:
        raise ValueError(f"--eps is {eps:g}, but pixels are in [0, 1]; did you mean --eps {eps:g}/255?")
    if norm == "l0":
        if eps != int(eps):
            raise ValueError(f"--eps is {eps:g}, but l0 counts pixels: a whole number, such as --eps 20")
        return L0(int(eps))
    return {"linf": Linf, "l2": L2, "l1": L1}[norm](eps)


def chosen_attack(name: str, steps: int | None) -> Callable:
    """An attack of `advlib.attacks` that takes a norm ball, with its options."""
    known = {
        key: set(inspect.signature(getattr(attacks, key)).parameters)
        for key in attacks.__all__
        if inspect.isfunction(getattr(attacks, key))
    }
    known = {key: options for key, options in known.items() if {"within", "target"} <= options and key != "ascend"}
    if name not in known:
        raise ValueError(unknown("attack", name, known))
    if steps is not None and "steps" not in known[name]:
        raise ValueError(f"{name} takes no --steps; iterated attacks do, such as pgd")
    options = {}
    if steps is not None:
        check_count(steps, "--steps")
        options["steps"] = steps
    if "early_stop" in known[name]:
        options["early_stop"] = False  # go beyond the first success, so that rounding to 8 bits does not undo it
    return partial(getattr(attacks, name), **options)


def class_index(text: str, classes: Sequence[str]) -> int:
    """The class that a person names: by its number, its name, or for signs the short name.

    >>> class_index("guacamole", ["cat", "Guacamole"]), class_index("0", ["cat", "dog"])
    (1, 0)
    """
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    names = [name.lower() for name in classes]
    if [sign.label for sign in CLASSES] == list(classes):
        names += [sign.name for sign in CLASSES]
    found = [i % len(classes) for i, name in enumerate(names) if name == text.strip().lower()]
    if len(set(found)) > 1:
        raise ValueError(f"there are several classes {text!r}; give the number: {', '.join(map(str, found))}")
    if not found:
        raise ValueError(f"{unknown('class', text, classes)} (or its number, 0 to {len(classes) - 1})")
    return found[0]


def expand(photos: Iterable[str]) -> Iterable[str]:
    """Wildcards that the shell left alone, as Windows' shells do."""
    for photo in photos:
        matches = sorted(glob.glob(photo)) if not Path(photo).exists() else []
        yield from matches or [photo]


def stems(photos: Sequence[str]) -> Iterable[str]:
    """A name for each photo's results, its own where no other photo has it.

    >>> list(stems(["a/1.png", "b/1.png", "b/2.png"]))
    ['1', 'b-1', '2']
    """
    taken: set[str] = set()
    for photo in photos:
        path = Path(photo)
        plain, longer = path.stem, f"{path.parent.name}-{path.stem}"
        candidates = [plain, longer, *(f"{longer}-{k}" for k in range(2, len(photos) + 2))]
        stem = next(name for name in candidates if name.lower() not in taken)
        taken.add(stem.lower())
        yield stem


def size(delta: Tensor, within: Ball) -> str:
    """How large one perturbation is, in the norm of the ball.

    >>> size(torch.full((1, 3, 4, 4), -8 / 255), Linf(0.1))
    '8/255'
    """
    value = within.size(delta).item()
    return in_255ths(value) if isinstance(within, Linf) else f"{value:.3g}"


def print_table(rows: Sequence[Row], norm: str) -> None:
    """Columns as wide as their longest entry."""
    lines = [("photo", "clean", "", "adversarial", "", "fooled", f"{norm} size"), *(astuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
