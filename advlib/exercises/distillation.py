"""The exercises of chapter 17, defensive distillation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib import losses
from advlib.evaluate import Share, predict
from advlib.exercises import properties, specimens, steps
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.exercises.loss import LIBRARY, SOFTMAX

# --- my_softmax(z, T) -------------------------------------------------------------------------------------


def at_temperature(
    z: Tensor,
    T: float,
    *,
    divide: Callable[[Tensor, float], Tensor] = lambda z, T: z / T,
    top: Callable[[Tensor], Tensor] = lambda u: u.amax(1, keepdim=True),
    total: Callable[[Tensor], Tensor] = lambda e: e.sum(1, keepdim=True),
    end: Callable[[Tensor, float], Tensor] = lambda p, T: p,
) -> Tensor:
    """exp(zᵢ / T) / Σⱼ exp(zⱼ / T) for each row."""
    u = divide(z, T)
    e = (u - top(u)).exp()
    return end(e / total(e), T)


def _logarithm(z: Tensor, T: float) -> Tensor:
    u = z / T - (z / T).amax(1, keepdim=True)
    return u - u.exp().sum(1, keepdim=True).log()


def _logits(n: int, k: int, seed: int, scale: float) -> Tensor:
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


def _softmax_cases() -> list[Case]:
    apart = _logits(4, 5, seed=3, scale=400) + torch.tensor([[2000.0], [-2000.0], [0.0], [700.0]])
    return [
        Case("4 images, 5 classes, T = 3", _logits(4, 5, seed=0, scale=4), 3.0),
        Case("6 images, 4 classes, T = 1", _logits(6, 4, seed=1, scale=2), 1.0),
        Case("1 image, 16 classes, T = 100", _logits(1, 16, seed=2, scale=300), 100.0),
        Case("T = 0.5, below 1", _logits(3, 3, seed=4, scale=1), 0.5),
        Case("logits around 2000 and -2000, T = 2", apart, 2.0),
        Case("float64, T = 20", _logits(3, 6, seed=5, scale=50).double(), 20.0),
    ]


def _cut_off(case: Case, result: Tensor, right: Tensor) -> None:
    """Classes of one row with the same probability, though one of them should have nearly all of it."""
    most, p = right.max(1)
    equal = (result == result.gather(1, p[:, None])).sum(1) > 1
    if (equal & (most > 0.99)).any():
        raise Mistake(
            f"on {case.name}, logits far apart get the same probability",
            mend="subtract each row's maximum before exp: that leaves the probabilities as they are",
        )


ROW = "each image has its own: dim=1, keepdim=True"
SOFTMAX_AT_WRONG = [
    Wrong({"divide": lambda z, T: z * T}, "a higher T makes the probabilities harder, not softer",
          "the logits were multiplied by T", "divide them: z / T"),
    Wrong({"divide": lambda z, T: z}, "T changes nothing", "T was not used, or it cancelled out",
          "divide the logits by T before exp"),
    Wrong({"divide": lambda z, T: z // T}, "logits that differ a little give the same probability",
          "divided by //, which rounds down", "z / T"),
    Wrong({"divide": lambda z, T: z / T**2}, "the probabilities are too soft", "divided by T twice", "z / T, once"),
    Wrong({"top": lambda u: torch.zeros_like(u[:, :1])}, "large logits give NaN: exp overflowed, or every term is 0",
          "the maximum was not subtracted", "subtract each row's maximum before exp"),
    Wrong({"top": lambda u: u.max().expand(len(u), 1)}, "rows far below the largest logit of the batch give NaN",
          "the maximum of the whole batch was subtracted", ROW),
    Wrong({"top": lambda u: u.amax(0, keepdim=True)}, "the rows are not those of a softmax",
          "each class's maximum over the batch was subtracted, dim=0", ROW),
    Wrong({"top": lambda u: u.amin(1, keepdim=True)}, "rows of widely spread logits give NaN",
          "the minimum was subtracted", "subtract the maximum: then no exponent is above 0"),
    Wrong({"top": lambda u: u.mean(1, keepdim=True)}, "rows with a logit far above the others give NaN",
          "the mean was subtracted", "subtract the maximum: then no exponent is above 0"),
    Wrong(lambda z, T: at_temperature(z, T, top=lambda u: z.amax(1, keepdim=True)),
          "large logits give NaN: exp overflowed, or all terms of a row are 0", "the maximum of z was taken off z / T",
          "divide by T first, then subtract the maximum of what is left"),
    Wrong({"total": lambda e: e.sum(0, keepdim=True)}, "each class adds up to 1 over the images",
          "the sum runs over the batch, dim=0", ROW),
    Wrong({"total": lambda e: e.sum()}, "the whole batch adds up to 1", "one sum for all images", ROW),
    Wrong({"total": lambda e: e.mean(1, keepdim=True)}, "each row adds up to the number of classes",
          "the mean was taken instead of the sum", "sum(1, keepdim=True)"),
    Wrong({"total": lambda e: torch.ones_like(e[:, :1])}, "the rows do not add up to 1",
          "the exponentials were not divided by their sum", "e / e.sum(1, keepdim=True)"),
    Wrong({"divide": lambda z, T: z, "end": lambda p, T: p / T}, "each row adds up to 1 / T",
          "the probabilities were divided by T", "divide the logits, before exp"),
    Wrong({"end": lambda p, T: p.log()}, "the results are negative", "these are the logarithms: log-softmax",
          "return the probabilities themselves"),
    Wrong(_logarithm, "the results are negative, and all finite",
          "these are the logarithms: log-softmax", "return the probabilities themselves"),
    Wrong({"end": lambda p, T: F.one_hot(p.argmax(1), p.shape[1]).to(p)}, "only 0 and 1: the hard label",
          "argmax was taken", "return all probabilities"),
    Wrong({"end": lambda p, T: p.amax(1, keepdim=True)}, "one number for each image", "the largest was taken",
          "return all probabilities, shape (N, K)"),
]  # fmt: skip

softmax_at = Formula(
    name="softmax_at",
    chapter=17,
    title="The softmax at a temperature",
    points=2,
    right=at_temperature,
    cases=_softmax_cases,
    by_hand=(*LIBRARY, "softmax", "special_softmax", "softmin", *SOFTMAX),
    properties=[_cut_off],
    verified="right at six temperatures, with logits around 2000 and -2000 side by side, and in float64",
    wrong=SOFTMAX_AT_WRONG,
)


# --- my_attack(model, x, y, eps) --------------------------------------------------------------------------


def odds(z: Tensor, y: Tensor) -> Tensor:
    return losses.log_odds(z, y).sum()


def _without(z: Tensor, y: Tensor, instead: float) -> Tensor:
    return (z.scatter(1, y[:, None], instead).logsumexp(1) - z.gather(1, y[:, None])[:, 0]).sum()


def _by_probability(z: Tensor, y: Tensor) -> Tensor:
    p = z.softmax(1).gather(1, y[:, None])[:, 0]
    return ((1 - p).log() - p.log()).sum()


def _all_labels(z: Tensor, y: Tensor) -> Tensor:
    return (z.scatter(1, y[:, None], -torch.inf).logsumexp(1)[:, None] - z[:, y]).sum()


MASK = "put -inf in place of the label's logit, z.scatter(1, y[:, None], -torch.inf), then logsumexp(1)"
ODDS_WRONG = [
    Wrong({"loss": steps.ce}, "where the model is sure, its images come back unchanged, or wrongly changed",
          "this is the cross-entropy: its probability of the label rounds to 1",
          "leave the label out of the sum: " + MASK),
    Wrong({"loss": lambda z, y: steps.ce(z.double(), y)},
          "where the model is very sure, its images come back unchanged",
          "this is the cross-entropy in float64, which rounds later", "leave the label out of the sum: " + MASK),
    Wrong({"loss": lambda z, y: steps.ce(z / 100, y)}, "the gradient is that of a softer model's loss",
          "the logits were divided by 100, whatever their size", MASK),
    Wrong({"loss": lambda z, y: losses.margin(z, y).sum()},
          "the gradient is that of the margin, the largest wrong logit minus the label's",
          "the maximum was taken instead of log-sum-exp", MASK),
    Wrong({"loss": lambda z, y: _without(z, y, 0.0)}, "a class whose logit is 0 pulls along, though there is none",
          "the label's logit was set to 0", "replace it by -torch.inf: exp(-inf) is 0, exp(0) is 1"),
    Wrong({"loss": _by_probability}, "where the model is sure, pixels become NaN",
          "1 − p was computed from a p that is rounded to 1", "work with logits from beginning to end: " + MASK),
    Wrong({"loss": lambda z, y: -z.gather(1, y[:, None]).sum()},
          "the gradient is that of the label's logit alone, −z_y", "the other logits play no part",
          "add log-sum-exp of the others"),
    Wrong({"loss": lambda z, y: z.scatter(1, y[:, None], -torch.inf).logsumexp(1).sum()},
          "the gradient is that of the wrong classes alone", "the label's logit was not subtracted", "subtract z_y"),
    Wrong({"loss": lambda z, y: losses.log_odds(z, z.argmax(1)).sum()},
          "the gradient is that of the class which the model predicts, not of y",
          "y was replaced by model(x).argmax(1)", "use the y that is passed"),
    Wrong({"loss": lambda z, y: losses.log_odds(z.softmax(1), y).sum()},
          "the gradient is that of log-odds of probabilities", "a softmax came first", "give it the logits, model(x)"),
    Wrong({"loss": _all_labels}, "every image is attacked with the labels of all images",
          "z[:, y] takes all labels' columns for every image", "one entry per row: z[torch.arange(len(z)), y]"),
    Wrong({"loss": lambda z, y: (z.index_fill(1, y, -torch.inf).logsumexp(1) - z.gather(1, y[:, None])[:, 0]).sum()},
          "the labels of all images were left out of every row", "[:, y] instead of one entry per row",
          "z[torch.arange(len(z)), y], or scatter(1, y[:, None], -torch.inf)"),
    Wrong({"loss": lambda z, y: losses.log_odds(z, y[:1].expand_as(y)).sum()},
          "every image is taken to have the first image's label", "y[0] was used for the whole batch",
          "use the whole y, shape (N,)"),
    steps.WAY, *steps.END, *steps.SIGN,
]  # fmt: skip


def _sure_cases() -> list[Case]:
    """Those of every step; and networks that are sure of the label, so that float32 rounds, and float64 as well."""
    sure = []
    for name, scale, seed in (("a network that is sure", 300, 8), ("a network that is very sure", 3e4, 9)):
        model, x = specimens.mlp(1, 9, 5, seed=seed, scale=scale), specimens.images(6, 1, 9, seed=seed)
        with torch.no_grad():
            sure.append(Case(name, model, x, model(x).argmax(1), 0.1))
    first, *rest = steps.cases((8 / 255, 0.1, 0.25, 0.03))
    return [first, *sure, *rest]


unrounded = Formula(
    name="unrounded",
    chapter=17,
    title="A step that does not round",
    points=3,
    right=lambda model, x, y, eps, **parts: steps.step(model, x, y, eps, **{"loss": odds, **parts}),
    cases=_sure_cases,
    same=properties.nearly,
    properties=[properties.inside_box, properties.which_images, properties.change],
    verified="the same images as the formula, on ten models, two of them so sure that cross-entropy stands still",
    wrong=ODDS_WRONG,
)


# --- a number to divide the logits by -----------------------------------------------------------------------

EPS, SLACK = 8 / 255, 0.04


def _left(model: nn.Module, x: Tensor, y: Tensor, loss: steps.Loss) -> Share:
    x_adv = steps.step(model, x, y, EPS, loss=loss)
    return Share(int((predict(model, x_adv)[0] == y).sum()), len(x))


def _divided(exercise: Explore, answer: Any, notes: list[str], model: nn.Module, x: Tensor, y: Tensor) -> str:
    """The naive attack on model(x) / c leaves as few images right as the one on the log-odds, or nearly so."""
    c = properties.number(answer, "the divisor")
    if c <= 0:
        raise Mistake(f"the logits were divided by {c:g}: that turns the model round", mend="a number above 0")
    cooled = lambda z, y: steps.ce(z / c, y)
    left, best = _left(model, x, y, cooled), _left(model, x, y, odds)
    if left <= best + SLACK:
        return f"divided by {c:g}, the naive step leaves {left:.0%} right; the log-odds leave {best:.0%}"
    with torch.no_grad():
        p = (model(x) / c).softmax(1).gather(1, y[:, None])
    rounded = (p == 1).float().mean().item()
    still = (steps.gradient(model, x, y, cooled) == 0).flatten(1).all(1).float().mean().item()
    seen = f"divided by {c:g}, the naive step leaves {left:.0%} right, the log-odds leave {best:.0%}"
    mend = "next to no probability rounds to 1 any more, but all classes pull alike by now: divide by less"
    if rounded > 0.05:
        mend = f"on {rounded:.0%} of the images the probability of y still rounds to 1: divide by more"
    elif still > 0.05:
        mend = f"on {still:.0%} of the images the gradient is exactly 0, for the logits are: divide by less"
    raise Mistake(seen, mend=mend)


def _sure() -> tuple[nn.Module, Tensor, Tensor]:
    """A network that is sure of 60 images."""
    model, x = specimens.mlp(3, 16, 4, seed=0, scale=1e4), specimens.images(60, 3, 16, seed=0)
    with torch.no_grad():
        return model, x, model(x).argmax(1)


DIVISOR_WRONG = [
    Wrong(lambda model, x, y: 1.0, "of y still rounds to 1: divide by more"),
    Wrong(lambda model, x, y: 0.01, "divided by 0.01, the naive step leaves 100% right"),
    Wrong(lambda model, x, y: -100.0, "that turns the model round"),
    Wrong(lambda model, x, y: 0, "the logits were divided by 0"),
    Wrong(lambda model, x, y: 1e45, "the gradient is exactly 0, for the logits are"),
    Wrong(lambda model, x, y: 1e6, "all classes pull alike by now: divide by less"),
    Wrong(lambda model, x, y: "T", "the divisor is 'T', expected one finite number"),
    Wrong(lambda model, x, y: [1, 10], "the divisor is a list of 2, expected one finite number"),
    Wrong(lambda model, x, y: float("inf"), "the divisor is inf, expected one finite number"),
]  # fmt: skip

divisor = Explore(
    name="divisor",
    chapter=17,
    title="Explore: cool it down again",
    points=3,
    measured=_divided,
    example=_sure,
    right=lambda model, x, y: 300,
    wrong=DIVISOR_WRONG,
)
