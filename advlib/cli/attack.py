"""``advlib attack``: photos in, adversarial photos out, and what the model reads in them."""

from __future__ import annotations

import glob
import inspect
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from advlib import attacks, plots
from advlib.cli import cautions, own_model, printable
from advlib.cli.results import ADVERSARIAL, FIGURE, Row, print_table, save, save_figure, stems
from advlib.contract import check_count
from advlib.data.photos import MOST_DECODED, load_photo, picture, to_8bit, to_8bit_within
from advlib.data.signs import CLASSES
from advlib.evaluate import predict
from advlib.names import unknown
from advlib.norms import L0, L1, L2, Ball, Linf, readable
from advlib.panels import percent
from advlib.progress import progress

EXAMPLE_EPS = {"l2": "0.5", "l1": "12", "l0": "20"}
NOT_OF_ONE_PHOTO = {"ascend", "universal"}  # the engine of the others; and what returns one δ for many images
MOST_ATTACKED = 8_000_000  # pixels of a photo; an attack holds about ten such tensors, a gigabyte
MISREAD = "misread before"


def run(args: Namespace) -> int:
    within = ball(args.norm, args.eps)
    attack = chosen_attack(args.attack, args.steps)
    model = own_model.chosen(args)
    classes = model.classes
    label, target = (class_index(name, classes) if name else None for name in (args.label, args.target))
    if label is not None and label == target:
        raise ValueError(f"--label and --target are both {classes[target]!r}; a targeted attack goes to another class")

    photos = list(expand(args.photos))
    one = OnePhoto(args.model, model, attack, within, label, target, args.largest or MOST_DECODED)
    rows, failed, status = [], 0, 0
    try:
        for photo, stem in zip(progress(photos, unit="photo"), stems(photos, args.out)):
            try:
                rows.append(one.attacked(photo, Path(args.out, stem)))
            except (
                ValueError,
                TypeError,
                RuntimeError,
                MemoryError,
            ) as error:  # a bad photo, or too large for this machine
                failed, status = failed + 1, 1
                say(f"advlib attack: {' '.join(str(error).split()) or 'out of memory'}")
    except KeyboardInterrupt:
        status = 130
        say(f"stopped after {len(rows) + failed} of {len(photos)} photos")
    except OSError as error:  # nothing more can be written, but what is done is done
        status = 2
        say(f"advlib attack: {error}")
    report(args, rows, failed, within, f"read as {classes[target]}" if target is not None else "fooled")
    for footnote in one.footnotes() if rows else ():
        print(printable(footnote))
    return status


def report(args: Namespace, rows: list[Row], failed: int, within: Ball, goal: str) -> None:
    misread = sum(row.fooled == MISREAD for row in rows)
    if rows:
        print_table(rows, within.symbol)
    print(
        printable(f"{args.attack}, {within}: {sum(row.fooled == 'yes' for row in rows)} of {len(rows)} {goal}")
        + (f"; {misread} misread before any attack" if misread else "")
        + (f"; {failed} of {len(rows) + failed} photos could not be attacked" if failed else "")
    )
    if len(rows) > misread:
        print(printable(f"pictures and adversarial images are in {args.out}"))


@dataclass
class OnePhoto:
    """How each photo is attacked, and what was noticed on the way."""

    name: str
    model: nn.Module
    attack: Callable
    within: Ball
    label: int | None
    target: int | None
    largest: int
    doubts: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    warned: str | None = None

    def attacked(self, photo: str, stem: Path) -> Row:
        """Attack one photo, write ``stem-adversarial.png`` and ``stem-figure.png``; judge the file that was written."""
        model, classes, target = self.model, self.model.classes, self.target
        x, classifier = read(photo, self.largest), model
        if hasattr(model, "on_photos"):
            classifier = model.on_photos()  # the photo keeps its size: the attack goes through the resizing
        else:
            x = self.fitted(x, photo)
        x = to_8bit(x)
        seen, probability = reading(classifier, x)
        self.beware(photo, x, seen, probability)
        y = seen if self.label is None else self.label
        clean = (photo, classes[seen], percent(probability))
        if seen == target:
            raise ValueError(f"{photo}: is read as {classes[target]!r} already; choose another --target")
        if target is None and seen != y:
            return Row(*clean, "–", "", MISREAD, "–")

        x_adv = self.attack(classifier, x, torch.tensor([y]), self.within, target=target)
        if classifier is not model:
            x_adv = torch.where(in_view(model, x), x_adv, x)  # a random start leaves noise where no gradient reaches
        before_rounding, _ = reading(classifier, x_adv)
        x_adv = to_8bit_within(x_adv, x, self.within)
        file = stem.with_name(f"{stem.name}{ADVERSARIAL}")
        save(picture(x_adv), file)
        x_adv = load_photo(file)[:, : x.shape[1]]  # a grey picture comes back in three equal channels
        figure = plots.triptych(x, x_adv, classifier, classes=classes)
        save_figure(plots.png_of(figure), stem.with_name(f"{stem.name}{FIGURE}"))

        found, found_probability = reading(classifier, x_adv)
        fooled = "yes" if succeeds(found, y, target) else "no"
        if fooled == "no" and succeeds(before_rounding, y, target):
            fooled = "no (lost in rounding to 8 bits)"
        return Row(*clean, classes[found], percent(found_probability), fooled, size(x_adv - x, self.within))

    def fitted(self, x: Tensor, photo: str) -> Tensor:
        """The photo at the size that the model takes."""
        small = self.model.preprocess(x)
        if small.shape[2:] != x.shape[2:]:
            self.resized.append(
                f"{photo} has {x.shape[3]}×{x.shape[2]} pixels; {self.name} reads, and the results are, "
                f"{small.shape[3]}×{small.shape[2]}."
            )
        return small

    def beware(self, photo: str, x: Tensor, seen: int, probability: float) -> None:
        """Note what should make the person doubt a clean reading; a mistake in a model of their own shows in it."""
        label = self.model.classes[seen]
        if doubt := cautions.doubt(self.name, photo, label, probability):
            self.doubts.append(doubt)
        if own_model.is_own(self.name):
            say(f"{photo}: read as {label} ({percent(probability)}) before any attack")
            if not self.warned and (warned := cautions.normalisation(self.model, x)):
                self.warned = warned
                say(f"warning: {warned}")

    def footnotes(self) -> Iterable[str]:
        """What belongs below the table."""
        if only_signs := cautions.only_signs(self.name, self.model.classes):
            yield only_signs
        others = len(self.resized) - 1
        yield from (one + (f" So with {others} more." if others else "") for one in self.resized[:1])
        yield from self.doubts


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


def read(photo: str, largest: int) -> Tensor:
    """`load_photo`, with its remarks as lines on stderr."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        x = load_photo(photo, most_pixels=MOST_ATTACKED, most_decoded=largest)
    for remark in remarks:
        say(f"note: {remark.message}")
    return x


def say(*lines: str) -> None:
    """Print on stderr, past the progress bar."""
    for line in lines:
        tqdm.write(printable(line), file=sys.stderr)


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


def offered_attacks() -> dict[str, set[str]]:
    """The attacks of `advlib.attacks` that change one photo within a norm ball, with the options that each takes."""
    functions = {name: getattr(attacks, name) for name in attacks.__all__ if name not in NOT_OF_ONE_PHOTO}
    options = {
        name: set(inspect.signature(function).parameters)
        for name, function in functions.items()
        if inspect.isfunction(function)
    }
    return {name: options for name, options in options.items() if {"within", "target"} <= options}


def chosen_attack(name: str, steps: int | None) -> Callable:
    """The attack of ``--attack``, with its options."""
    known = offered_attacks()
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


def size(delta: Tensor, within: Ball) -> str:
    """How large one perturbation is, in the norm of the ball.

    >>> size(torch.full((1, 3, 4, 4), -8 / 255), Linf(0.1))
    '8/255'
    """
    value = within.size(delta).item()
    return readable(value, digits=3) if isinstance(within, Linf) else f"{value:.3g}"
