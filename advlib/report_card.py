"""The report card of a model: what it reads, what attacks of every kind leave of that, what is proved, what was run.

In words (``print``), as a page (``page``) and as a picture (``figure``).
"""

from __future__ import annotations

import base64
import html
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchvision.transforms import functional as tf

from advlib import __version__, answers, contract
from advlib.attacks.minimal import fmn
from advlib.attacks.sparse import sparse_rs
from advlib.attacks.square import square
from advlib.attacks.worst import worst_case
from advlib.data.images import Images, check_some
from advlib.defenses.certificates import certified
from advlib.intervals import Share
from advlib.norms import L0, L1, L2, Ball, Linf, readable
from advlib.plots import Picture, png_of, style
from advlib.progress import progress
from advlib.sanity import SanityChecks, sanity_checks
from advlib.suspect import differentiable

__all__ = ["ReportCard", "report_card"]

# Budgets from hardly visible to plain, for 8-bit photographs and, where there is one channel, for scanned digits.
COLOUR: dict[type[Ball], tuple[float, ...]] = {
    Linf: (2 / 255, 4 / 255, 8 / 255),
    L2: (0.5, 1.0, 2.0),
    L1: (5.0, 10.0, 20.0),
    L0: (5, 10, 20),
}
GREY: dict[type[Ball], tuple[float, ...]] = {
    Linf: (0.1, 0.2, 0.3),
    L2: (1.0, 2.0, 3.0),
    L1: (5, 10, 20),
    L0: (5, 10, 20),
}
NOISE_SEED = 1
# What the weather does, no adversary: it says how much of a loss under attack is an adversary's.
CORRUPTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "noise, σ = 0.05": lambda x: x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(NOISE_SEED)),
    "blur, σ = 1 pixel": lambda x: tf.gaussian_blur(x, [5, 5], [1.0, 1.0]),
    "half as bright": lambda x: tf.adjust_brightness(x, 0.5),
    "half the contrast": lambda x: tf.adjust_contrast(x, 0.5) if x.shape[1] == 3 else 0.25 + x / 2,
    "turned by 10°": lambda x: tf.rotate(x, 10, interpolation=tf.InterpolationMode.BILINEAR),
}


@dataclass(frozen=True)
class ReportCard:
    """What was measured of one model on n images. Shares know their 95 % intervals."""

    name: str
    n: int
    clean: Share
    worst: dict[str, dict[float, Share]]  # by norm and ε: upper bounds of robust accuracy
    proved: dict[str, Share]  # by method, at the smallest ε of L∞: lower bounds of it
    not_proved: str  # why there is no proof, where there is none
    smallest: dict[str, tuple[float, ...]]  # by norm: the smallest change found, sorted; ∞ where none was found
    sanity: SanityChecks
    corruptions: dict[str, Share]
    cost: dict[str, str]
    run: tuple[str, ...]  # exactly what was run

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """The card as sections of (what, figure)."""
        worst = [
            (f"{norm} ≤ {readable(eps)}", str(share)) for norm, row in self.worst.items() for eps, share in row.items()
        ]
        proved = [
            (f"by {how}, L∞ ≤ {readable(next(iter(self.worst['L∞'])))}", str(share))
            for how, share in self.proved.items()
        ]
        smallest = [(norm, _quartiles(sizes)) for norm, sizes in self.smallest.items()]
        signs = [(check.name, f"{check.evidence}. {check.meaning}") for check in self.sanity.flagged]
        return [
            ("Right", [("clean", str(self.clean))]),
            ("Right under the worst case found (robust accuracy is at most this)", worst),
            ("Proved (robust accuracy is at least this)", proved or [("nothing", self.not_proved)]),
            ("Smallest change found that fools (the true one is at most this)", smallest),
            ("Signs of gradient masking", signs or [("none", self.sanity.verdict)]),
            (
                "Right under what weather and cameras do",
                [(name, str(share)) for name, share in self.corruptions.items()],
            ),
            ("Cost", list(self.cost.items())),
            ("Run", [(str(i), line) for i, line in enumerate(self.run, 1)]),
        ]

    def __str__(self) -> str:
        lines = [f"Report card of {self.name}, {self.n} images"]
        for title, rows in self.sections():
            lines += ["", title, *(f"  {what:<22}{figure}" for what, figure in rows)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">'
        rows = "".join(
            f'<tr><th colspan="2" scope="rowgroup" style="text-align:left">{html.escape(title)}</th></tr>'
            + "".join(
                f"<tr>{cell}{html.escape(what)}</td>{cell}{html.escape(figure)}</td></tr>" for what, figure in part
            )
            for title, part in self.sections()
        )
        return f"<table><caption>Report card of {html.escape(self.name)}, {self.n} images</caption>{rows}</table>"

    def page(self) -> str:
        """The card with its picture as one HTML page that needs nothing else."""
        picture = base64.b64encode(png_of(self.figure())).decode()
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(self.name)}: report card</title>'
            "<style>body{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
            "th{padding-top:1rem}td{padding:.1rem 1rem .1rem 0;vertical-align:top}</style>"
            f'<img src="data:image/png;base64,{picture}" alt="{html.escape(self.alt)}">{self._repr_html_()}</html>'
        )

    @property
    def alt(self) -> str:
        """The picture in words."""
        ends = (f"{norm}: {self.clean:.0%} to {list(row.values())[-1]:.0%}" for norm, row in self.worst.items())
        return f"Accuracy of {self.name} from no change to the largest, by norm: {'; '.join(ends)}."

    @style()
    def figure(self) -> Figure:
        """Accuracy against ε in each norm, with intervals, and what is proved."""
        figure = Picture(figsize=(3 * len(self.worst), 3.2), layout="constrained")
        for ax, (norm, row) in zip(
            figure.subplots(1, len(self.worst), sharey=True, squeeze=False)[0], self.worst.items()
        ):
            eps, shares = [0.0, *row], [self.clean, *row.values()]
            ax.plot(eps, shares, marker="o", label="worst case found")
            ax.fill_between(eps, [one.low for one in shares], [one.high for one in shares], alpha=0.2)
            if norm == "L∞":
                for how, share in self.proved.items():
                    ax.plot([eps[1]], [share], "^", color="#009E73", label=f"proved, {how}")
            ax.set(xlabel=f"ε, {norm}", ylim=(0, 1), xticks=eps, xticklabels=[readable(e) for e in eps])
        figure.axes[0].set_ylabel("right")
        figure.axes[0].legend(loc="upper right", fontsize=9)
        return figure


def report_card(
    model: nn.Module,
    images: Images,
    *,
    name: str = "the model",
    eps: Mapping[type[Ball], Sequence[float]] | None = None,
    proofs: Sequence[str] = ("interval",),
    queries: int = 500,
    seed: int = 0,
    batch_size: int | None = None,
) -> ReportCard:
    """Measure a model: clean, under the worst case in four norms, proved, masked, corrupted, and at what cost.

    An image that falls in a small ball falls in a larger one, and one for which nothing was found in the largest ball
    is not attacked in smaller ones: the balls are tried from both ends, and an image only where it is open. A model
    without any gradient is attacked by questions alone, and not in L1, for which there is no such search.

    images    with labels, x (N, C, H, W) in [0, 1]; at least 20 must be right.
    eps       for each norm the ε, rising; None for those of 8-bit photographs or, for one channel, of digits.
    proofs    methods of ``defenses.certified``. "crown" proves more, in seconds for each image of a network of
              convolutions.
    queries   questions of the random searches per image and ball. seed: of all chance.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.
    """
    contract.check_model(model)
    check_some(images)
    budgets = eps or (GREY if images.x.shape[1] == 1 else COLOUR)
    blind = not differentiable(model, images.x)
    if blind:
        budgets = {norm: sizes for norm, sizes in budgets.items() if norm is not L1}
    is_right = partial(answers.right, model, batch_size=batch_size)
    began = time.process_time()
    right = is_right(images.x, images.y)
    seconds = time.process_time() - began
    share = lambda hit: Share(int(hit.sum()), len(hit))

    def attacked(within: Ball, rows: Tensor) -> Tensor:
        x, y = images.x[rows], images.y[rows]
        attack: Callable = (sparse_rs if isinstance(within, L0) else square) if blind else worst_case
        return is_right(attack(model, x, y, within, queries=queries, seed=seed, batch_size=batch_size), y)

    worst = {
        norm(1).symbol: {e: share(stand) for e, stand in zip(sizes, _standing(attacked, norm, sizes, right))}
        for norm, sizes in progress(list(budgets.items()), unit="norm")
    }
    first = next(iter(budgets[Linf])) if Linf in budgets else None
    proved, why = _proved(model, images, first, proofs, batch_size) if first else ({}, "no ε in L∞ was asked for")
    return ReportCard(
        name=name,
        n=len(images),
        clean=share(right),
        worst=worst,
        proved={how: share(sure) for how, sure in proved.items()},
        not_proved=why,
        smallest={
            norm(1).symbol: _smallest(model, images, right, norm, batch_size)
            for norm in budgets
            if norm in (Linf, L2) and not blind
        },
        sanity=sanity_checks(
            model,
            images.x,
            images.y,
            next(norm(sizes[-1]) for norm, sizes in budgets.items()),
            queries=queries,
            seed=seed,
            batch_size=batch_size,
        ),
        corruptions={
            what: share(is_right(change(images.x).clamp(0, 1), images.y)) for what, change in CORRUPTIONS.items()
        },
        cost={
            "parameters": f"{sum(one.numel() for one in model.parameters()):,}",
            "one image": f"{1000 * seconds / len(images):.2f} ms of processor time on this machine",
        },
        run=(
            f"attacks.{'square, sparse_rs' if blind else 'worst_case'}(queries={queries}, seed={seed}) for each ball",
            "no attack for the smallest change, without a gradient" if blind else "attacks.fmn for the smallest change",
            "evaluate.sanity_checks in the largest ball of the first norm",
            f"advlib {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
            f"{contract.model_device(model).type}",
        ),
    )


def _standing(attacked: Callable, norm: type[Ball], sizes: Sequence[float], right: Tensor) -> list[Tensor]:
    """For each ε which images stand, from as few attacks as will do: the largest ball first, then the smallest, ….

    Who falls at ε falls at every larger one, who stands at ε at every smaller one.
    """
    stand = [right.clone() for _ in sizes]
    open_at = [right.clone() for _ in sizes]
    for k in sorted(range(len(sizes)), key=lambda k: (k != len(sizes) - 1, k)):
        rows = open_at[k].nonzero().flatten()
        if len(rows):
            still = attacked(norm(sizes[k]), rows)
            for i in range(len(sizes)):
                known = rows[still] if i <= k else rows[:0]
                fallen = rows[~still] if i >= k else rows[:0]
                stand[i][fallen] = False
                open_at[i][known] = open_at[i][fallen] = False
    return stand


def _proved(
    model: nn.Module, images: Images, eps: float, methods: Sequence[str], batch_size: int | None
) -> tuple[dict[str, Tensor], str]:
    try:
        within = Linf(eps)
        return {
            how: certified(model, images.x, images.y, within, method=how, batch_size=batch_size).cpu()
            for how in methods
        }, "no method was asked for"
    except (TypeError, ValueError) as error:  # a model that no method can look into
        return {}, str(error)


def _smallest(model: nn.Module, images: Images, right: Tensor, norm: type[Ball], batch_size) -> tuple[float, ...]:
    rows = right.nonzero().flatten()
    if not len(rows):
        return ()
    x, y = images.x[rows], images.y[rows]
    adv = fmn(model, x, y, norm=norm, batch_size=batch_size)
    size = norm(1).size((adv - x).double())
    size[answers.right(model, adv, y, batch_size=batch_size).to(size.device)] = torch.inf
    return tuple(size.sort().values.tolist())


def _quartiles(sizes: Sequence[float]) -> str:
    if not sizes:
        return "no image is right"
    at = lambda share: readable(sizes[min(int(share * len(sizes)), len(sizes) - 1)], digits=3)
    return f"median {at(0.5)}, middle half {at(0.25)} to {at(0.75)}, of {len(sizes)} images that are right"
