"""The exercises of chapter 2, the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from advlib import losses
from advlib.exercises import properties
from advlib.exercises.frame import Case, Formula, Mistake, Number, Wrong

# The parts of a formula.
Map = Callable[[Tensor], Tensor]
Join = Callable[[Tensor, Tensor], Tensor]


def same(z: Tensor) -> Tensor:
    return z


def _drawn(n: int, k: int, seed: int, scale: float = 3.0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Logits and labels, most of which are not those of the largest logit."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(k, (n,), generator=generator)
    return shift + scale * torch.randn(n, k, generator=generator), y


def _batches() -> list[Case]:
    """Logits and labels: ordinary ones first, then those on which only a careful answer survives."""
    far, y = _drawn(6, 5, seed=4, scale=100)
    far += torch.tensor([1000.0, -1000.0, 0.0, 500.0, -500.0, 0.0])[:, None]
    tied = torch.tensor([[2.0, 2, -1, 0], [-3, 1, 1, 1], [0, 0, 0, 0], [100, 0, 0, 0]])
    deep, of_deep = _drawn(5, 4, seed=5, shift=-2e6)
    deep[1, of_deep[1]] += 3e6
    return [
        Case("a batch of 7 images, 5 classes", *_drawn(7, 5, seed=0)),
        Case("a batch of 6 images, 6 classes", *_drawn(6, 6, seed=1)),
        Case("a batch of 1 image, 20 classes", *_drawn(1, 20, seed=2)),
        Case("negative logits", *_drawn(5, 4, seed=3, shift=-9)),
        Case("logits from about -1000 to 1000", far, y),
        Case("ties", tied, torch.tensor([0, 1, 3, 0])),
        Case(
            "margins from -8 to -50",
            torch.stack([torch.zeros(85), torch.linspace(8, 50, 85)], 1),
            torch.zeros(85).long(),
        ),
        Case("logits around minus two million, in float64", deep.double(), of_deep),
    ]


def _with_slopes() -> list[Case]:
    """The same, and some with logits that record gradients."""
    cases = _batches()
    smooth = [(case.name, *case.args) for case in cases if case.name != "ties"]
    return [*cases, *(Case(f"{name}, with gradients", z.clone().requires_grad_(), y) for name, z, y in smooth)]


def _value_and_slope(args: tuple, result: Any) -> Any:
    """The values, and where the logits record gradients, that of their sum; without it where none is recorded."""
    z = args[0]
    if not z.requires_grad or not isinstance(result, Tensor):
        return result
    if not result.requires_grad:
        return (result,)
    (slope,) = torch.autograd.grad(result.sum(), z, allow_unused=True)
    return result.detach(), torch.zeros_like(z) if slope is None else slope


def _same(a: Any, b: Any) -> bool:
    """`alike`; of slopes, a thousandth is forgiven: logits of a thousand leave no more of them in float32."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) == 2:
        return properties.alike(a[0], b[0]) and torch.allclose(a[1], b[1], atol=1e-3, equal_nan=True)
    return properties.alike(a, b)


LOST = "compute with the tensor z from beginning to end: no .item(), .detach(), .data, numpy or no_grad"


def _shape(case: Case, result: Any, right: Tensor) -> None:
    """One number for each image."""
    if isinstance(result, Tensor) and result.shape != right.shape:
        n, k = case.args[0].shape
        shape, expected = tuple(result.shape), f"expected one number for each image, ({n},)"
        mends = {
            (): "leave out the mean or sum over the batch"
            if n > 1
            else "squeeze() takes off every dimension of size 1",
            (n, 1): "keepdim=True and [:, None] make columns: take off the second dimension at the end, [:, 0]",
            (n, n): "(N, 1) combined with (N,) gives (N, N)" + ", and so does z[:, y]" * (len(case.args) > 1),
            (n, k): "the classes are the second dimension: sum over them, or pick one for each image",
            (k,): "the classes are the second dimension: dim=1",
        }
        raise Mistake(f"on {case.name}, the result has shape {shape}, {expected}", mend=mends.get(shape, ""))
    properties.like(case, result, right)


def _slope(case: Case, outcome: Any, right: Any) -> None:
    """What is wrong with a result, and where its values are right, with its gradient."""
    values, true = (pair[0] if isinstance(pair, tuple) else pair for pair in (outcome, right))
    _shape(case, values, true)
    if isinstance(right, tuple) and properties.alike(values, true):
        bad = int((~outcome[-1].isfinite()).sum())
        seen = "the gradient in z is not" + f": {bad} of its entries are NaN or infinite" * bool(bad)
        seen = seen if len(outcome) == 2 else "the result records no gradient"
        raise Mistake(f"on {case.name}, the values are right, but {seen}", mend=LOST)


def _at(z: Tensor, y: Tensor) -> Tensor:
    """The entry of class y in each row."""
    return z.gather(1, y[:, None])[:, 0]


COLUMN = "z[torch.arange(len(z)), y], or z.gather(1, y[:, None])[:, 0]"
OF_Y = [
    Wrong({"pick": lambda z, y: z[0, y]}, "all images get the true logit from the first one's row",
          "z[0] was used for the whole batch", COLUMN),
    Wrong({"pick": lambda z, y: z.gather(1, y)}, "gather wants an index of two dimensions", "y has one", COLUMN,
          raises=True),
    Wrong({"pick": lambda z, y: _at(z, y).detach()}, "the values are right, but no gradient comes from the true logit",
          "it was detached", LOST),
    Wrong({"pick": lambda z, y: z[y]}, "z[y] takes rows, the images numbered y",
          "there is no index for the row", COLUMN),
    Wrong({"logits": lambda z: z.sub_(z.amax(1, keepdim=True))}, "the caller's z was changed",
          "an operation in place, such as z -= …, z[…] = … or scatter_", "work on a copy: z.clone()"),
    Wrong({"end": lambda found: torch.tensor(found.tolist())},
          "the result records no gradient, and is float32 whatever z is", "torch.tensor(…) was made of numbers", LOST),
    Wrong({"logits": torch.Tensor.detach}, "the values are right, but the result records no gradient",
          "the graph was cut, as by .item(), .detach(), .data, numpy, torch.no_grad or torch.tensor(…)", LOST),
]  # fmt: skip


# --- my_logsumexp(z) --------------------------------------------------------------------------------------


def lse(
    z: Tensor, *, top: Map = lambda z: z.amax(1, keepdim=True), total: Map = lambda e: e.sum(1, keepdim=True),
    log: Map = torch.log, back: Join = torch.add, end: Map = same,
) -> Tensor:  # fmt: skip
    """M + log Σⱼ exp(zⱼ − M) for each row, with M its maximum."""
    m = top(z)
    return end(back(m, log(total((z - m).exp())))[:, 0])


def _log_p(z: Tensor) -> Tensor:
    z = z - z.amax(1, keepdim=True)
    return z - z.exp().sum(1, keepdim=True).log()


def _no_second_dimension(z):
    top = z.amax(1)
    return top + (z - top).exp().sum(1).log()


def _values_and_indices(z):
    top = z.max(1)
    return top + (z - top[:, None]).exp().sum(1).log()


def _divided(z):
    top = z.amax(1, keepdim=True)
    return (top + ((z - top) / z.std(1, keepdim=True)).exp().sum(1, keepdim=True).log())[:, 0]


ROWS, TOP = "each image has a maximum of its own: z.max(1).values", "subtract the maximum: then no exponent is above 0"
LOGSUMEXP_WRONG = [
    Wrong({"top": lambda z: torch.zeros_like(z[:, :1])}, "exp overflowed to infinity, or underflowed to 0",
          "the maximum was not subtracted, or its exp multiplied in again inside the logarithm",
          "subtract each row's maximum first, and add it again outside"),
    Wrong({"top": lambda z: z.max().expand(len(z), 1)}, "rows far below the largest logit of the batch give -inf",
          "the maximum of the whole batch was subtracted", ROWS),
    Wrong({"top": lambda z: z.amin(1, keepdim=True)}, "exp overflowed to infinity", "the minimum was subtracted", TOP),
    Wrong({"top": lambda z: z.mean(1, keepdim=True)}, "exp overflowed to infinity", "the mean was subtracted", TOP),
    Wrong({"top": lambda z: z.abs().amax(1, keepdim=True)}, "exp underflowed to 0 where all logits are negative",
          "the largest absolute value was subtracted", TOP),
    Wrong({"top": lambda z: z[:, :1]}, "exp overflowed to infinity", "the first logit was subtracted", TOP),
    Wrong({"top": lambda z: z.amax(0)[None].expand_as(z)}, "each class's largest logit over the images was subtracted",
          "max over dim 0", ROWS),
    Wrong(_no_second_dimension, "the maxima, shape (N,), do not fit under the logits, shape (N, K)",
          "the second dimension is missing", "top[:, None], or keepdim=True"),
    Wrong(_values_and_indices, "z.max(1) is a pair of two tensors, values and indices", ".values is missing",
          "z.max(1).values, or z.amax(1)", raises=True),
    Wrong({"top": lambda z: z[:1].amax().expand(len(z), 1)}, "rows far from the first one's largest logit overflow",
          "the maximum of the first row was subtracted from all", ROWS),
    Wrong(lambda z: lse(z.T), "the sum runs over the images, not over the classes", "dim=0 instead of dim=1",
          "the classes are the second dimension: sum(1)"),
    Wrong({"total": lambda e: e.mean(1, keepdim=True)}, "the results are too small by log K",
          "the mean was taken instead of the sum", "sum(1) instead of mean(1)"),
    Wrong({"total": lambda e: e[:, :16].sum(1, keepdim=True)}, "only the first 16 classes are in the sum",
          "a number of classes is written into the code", "sum(1)"),
    Wrong({"total": lambda e: e.sum(1, keepdim=True) - 1}, "one term is missing from the sum",
          "the largest logit was left out", "sum over all classes"),
    Wrong({"log": lambda s: s}, "the sum was added without its logarithm", "log is missing",
          "add .log() after the sum"),
    Wrong({"log": torch.log2}, "the logarithm has base 2", "log2", "the natural logarithm: .log()"),
    Wrong({"log": torch.log10}, "the logarithm has base 10", "log10", "the natural logarithm: .log()"),
    Wrong({"log": torch.log1p}, "one term too many is in the sum", "log1p adds a 1", "use .log()"),
    Wrong({"back": lambda m, found: found}, "the results are too small by each row's maximum",
          "the maximum was not added again", "return the maximum plus the log"),
    Wrong({"back": lambda m, found: found - m}, "the maximum was subtracted twice",
          "what is taken off inside comes back outside with a plus", "return the maximum plus the log"),
    Wrong({"back": lambda m, found: m - found}, "the logarithm was subtracted from the maximum", "a sign",
          "return the maximum plus the log"),
    Wrong({"back": lambda m, found: m * found}, "the maximum was multiplied",
          "a factor outside exp is a summand outside log", "return the maximum plus the log"),
    Wrong({"back": lambda m, found: m.max() + found}, "the maximum of the whole batch was added",
          "z.max() instead of each row's maximum", "z.max(1).values"),
    Wrong({"back": lambda m, found: m}, "this is the largest logit alone", "the logarithm of the sum is missing",
          "add log Σ exp(z − max)"),
    Wrong(_divided, "the logits were divided before exp", "standardised: only a constant may be subtracted",
          "subtract the maximum, nothing more"),
    Wrong(lambda z: z.double().exp().sum(1).log().to(z), "logits beyond ±700 or so give infinities",
          "float64 in place of subtracting the maximum: it only moves the edge, from 88 to 709", TOP),
    *(Wrong(lambda z, most=most: z.clamp(max=most).exp().sum(1).log(), f"logits above {most} count as {most}",
            "clamped against overflow", "subtract each row's maximum, and add it again")
      for most in (50, 80, 88, 100)),
    *(Wrong(lambda z, tiny=tiny: (z.exp().sum(1) + tiny).log(),
            f"results never fall below {math.log(tiny):.1f}, and large ones are infinite",
            "a number was added to the sum instead of subtracting the maximum",
            "subtract each row's maximum, and add it again")
      for tiny in (1e-6, 1e-8, 1e-9, 1e-10, 1e-12, 1e-20)),
    *(Wrong({"total": total}, *words) for total, *words in [
        (lambda e: e[:, 1:].sum(1, keepdim=True), "class 0 is missing from the sum", "the loop begins at 1", "sum(1)"),
        (lambda e: e[:, :-1].sum(1, keepdim=True), "the last class is missing from the sum", "the loop ends early",
         "sum(1)"),
        (lambda e: e.square().sum(1, keepdim=True), "the squares of exp are in the sum", "a square too many", "sum(1)"),
    ]),
    *(Wrong({"total": lambda e, tiny=tiny: e.sum(1, keepdim=True) + tiny}, "each result is a little too large",
            f"{tiny:g} was added to the sum", "it is at least 1 here, and needs no help")
      for tiny in (0.1, 1e-2, 1e-3)),
    Wrong(lambda z: z.amax(1) + (z - z.amax(1, keepdim=True)).exp().log().sum(1),
          "the logarithms were added up: log and sum are exchanged", "exp(…).log().sum(1)",
          "first the sum, then its logarithm"),
    Wrong(_log_p, "these are the logarithms of probabilities, one for each class",
          "this is log-softmax: z was not left out", "return the maximum plus the log, for each row"),
    Wrong(lambda z: lse(z) - z.sum(1), "the sum of the logits was taken off", "the minus of a softmax", TOP),
    Wrong(lambda z: z.amax(1) + (z + z.amax(1, keepdim=True)).exp().sum(1).log(), "the maximum was added inside",
          "+ instead of − inside exp", TOP),
    *(Wrong(lambda z, most=most: z.clamp(-most, most).exp().sum(1).log(), f"logits beyond ±{most} count as ±{most}",
            "clamped against overflow", "subtract each row's maximum, and add it again") for most in (20, 50, 80, 88,
            100)),
    *(Wrong(lambda z, log=log: log(z.exp().sum(1)), f"the logarithm has base {base}, and exp overflowed",
            f"log{base}, and no maximum was subtracted", TOP) for base, log in ((2, torch.log2), (10, torch.log10))),
]  # fmt: skip

LIBRARY = ("logsumexp", "special_logsumexp", "logcumsumexp", "logaddexp", "logaddexp2")
SOFTMAX = ("log_softmax", "special_log_softmax")
CE = ("cross_entropy", "cross_entropy_loss", "nll_loss", "nll_loss_nd")
logsumexp = Formula(
    name="logsumexp",
    chapter=2,
    title="The log-sum-exp",
    points=2,
    right=lse,
    cases=lambda: [Case(case.name, case.args[0]) for case in _batches()],
    kind=_shape,
    by_hand=(*LIBRARY, *SOFTMAX, *CE),
    verified="right on eight batches, with logits from -1000 to 1000 side by side",
    wrong=LOGSUMEXP_WRONG,
)


# --- my_cross_entropy(z, y) -------------------------------------------------------------------------------


def ce(
    z: Tensor, y: Tensor, *, logits: Map = same, label: Join = lambda z, y: y, soft: Map = lse, pick: Join = _at,
    minus: Join = torch.sub, end: Map = same,
) -> Tensor:  # fmt: skip
    """log Σⱼ exp zⱼ − z_y for each row."""
    z, y = logits(z), label(z, y)
    return end(minus(soft(z), pick(z, y)))


def _without(z: Tensor, y: Tensor, instead: float = -torch.inf) -> Tensor:
    return z.scatter(1, y[:, None], instead)


def _naive(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(1, keepdim=True)


def _binary(z, y):
    p, true = z.softmax(1), F.one_hot(y, z.shape[1])
    return -(true * p.log() + (1 - true) * (1 - p).log()).sum(1)


CAPS = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16, 1e-20)
NEITHER = "neither is needed: log-sum-exp minus the true logit"
CROSS_ENTROPY_WRONG = [
    *OF_Y,
    Wrong({"minus": lambda soft, true: true - soft}, "the loss is negative: it falls as the model gets worse",
          "the minus is missing: this is log p", "log-sum-exp minus the true logit, not the other way round"),
    Wrong({"minus": torch.add}, "the true logit was added", "a sign", "subtract z_y"),
    Wrong({"minus": lambda soft, true: soft}, "this is the log-sum-exp alone", "the true logit was not subtracted",
          "subtract z_y"),
    Wrong({"minus": lambda soft, true: true}, "this is the true logit", "log-sum-exp is missing",
          "log-sum-exp minus the true logit"),
    Wrong({"minus": lambda soft, true: -true}, "this is minus the true logit",
          "log-sum-exp is missing, as in nll_loss of bare logits", "add log Σ exp z"),
    *(Wrong(lambda z, y, axis=axis: (lse(z) - z[:, y]).mean(axis),
            f"each value is the mean of a {line} of an (N, N) table",
            "z[:, y] takes all labels' columns for every image", COLUMN) for axis, line in ((1, "row"), (0, "column"))),
    Wrong({"logits": lambda z: z.softmax(1)}, "all losses lie within a window of width 1", "softmax twice",
          "give the formula the logits, without a softmax before it"),
    Wrong({"soft": lambda z: z.amax(1)}, "this is the largest logit minus the true one", "max instead of log-sum-exp",
          "log-sum-exp is a little more than the maximum: add log Σ exp(z − max)"),
    Wrong({"soft": lambda z: lse(z, back=lambda m, found: found)}, "the results are too small by each row's maximum",
          "the maximum was not added again, or the true logit was picked before it was subtracted",
          "log-sum-exp is the maximum plus the log"),
    Wrong({"soft": lambda z: z.exp().sum(1).log()}, "exp overflowed to infinity or underflowed to 0",
          "log-sum-exp without subtracting the maximum", "use your function from exercise 1"),
    Wrong({"soft": lambda z: z.max() + (z - z.max()).exp().sum(1).log()},
          "rows far below the largest logit of the batch give -inf", "the maximum of the whole batch was subtracted",
          ROWS),
    Wrong({"soft": lambda z: lse(z).detach()},
          "the values are right, but the gradient is −1 at the true class and 0 elsewhere", "log-sum-exp was detached",
          LOST),
    Wrong(lambda z, y: lse(_without(z, y)) - _at(z, y), "the true class is missing from the sum",
          "the sum runs over the wrong classes only", "sum over all classes"),
    Wrong(lambda z, y: _without(z, y).amax(1) - _at(z, y), "this is the margin loss",
          "the largest wrong logit instead of log-sum-exp", "sum over all classes, the true one included"),
    Wrong(lambda z, y: -_log_p(z).sum(1), "this adds up −log p over all classes", "the true class was not picked",
          "take the entry of class y in each row"),
    Wrong(lambda z, y: -_log_p(z), "this is −log p of every class", "the true class was not picked",
          "take the entry of class y in each row"),
    Wrong(lambda z, y: ce(z, y) / z.shape[1], "the losses were divided by the number of classes",
          "a mean over the classes, all but one of which are 0", "sum over the classes, or pick class y"),
    Wrong(lambda z, y: -_at(_log_p(z.T).T, y), "the softmax runs over the images", "dim=0 instead of dim=1",
          "the classes are the second dimension"),
    Wrong(lambda z, y: -_at(z.softmax(1), y).log(), "a probability rounded to 0, and its logarithm is infinite",
          "softmax first, log after", "log-sum-exp minus the true logit never takes the log of a probability"),
    Wrong(lambda z, y: -_at(_naive(z), y).log(), "exp overflowed to infinity or underflowed to 0",
          "softmax without subtracting the maximum", "log-sum-exp, with the maximum taken off, minus the true logit"),
    Wrong(_binary, "the wrong classes add −log(1 − p) each", "this is the binary cross-entropy of every class",
          "only the true class counts: −log p_y"),
    Wrong(lambda z, y: (-(z.softmax(1).log() * F.one_hot(y, z.shape[1]))).sum(1), "0 · log 0 is NaN",
          "all logarithms of probabilities are taken, those that rounded to 0 among them",
          "log-sum-exp minus the true logit"),
    *(Wrong(lambda z, y, tiny=tiny: -(_at(z.softmax(1), y) + tiny).log(),
            f"the loss never gets larger than {-math.log(tiny):.1f}, however wrong the model is",
            "a tiny number was added to p inside the logarithm", NEITHER)
      for tiny in CAPS),
    *(Wrong(lambda z, y, tiny=tiny: -_at(z.softmax(1), y).clamp_min(tiny).log(),
            f"the loss never gets larger than {-math.log(tiny):.1f}, however wrong the model is",
            "p was clamped before the logarithm", NEITHER)
      for tiny in CAPS),
    *(Wrong({"pick": pick}, *words, COLUMN) for pick, *words in [
        (lambda z, y: z.amax(1), "the largest logit was subtracted", "the prediction's logit instead of y's"),
        (lambda z, y: z[:, 0], "the logit of class 0 was subtracted", "z[:, 0] instead of y's column"),
        (lambda z, y: z[:, y[0]], "the logits of the first image's class were subtracted", "z[:, y[0]]"),
        (lambda z, y: y.to(z), "the number of the class was subtracted", "y itself instead of z at y"),
        (lambda z, y: z.mean(1), "the mean logit was subtracted: this is the mean of −log p over the classes",
         "the true class was not picked"),
        (lambda z, y: z.sum(1), "the sum of the logits was subtracted", "the true class was not picked"),
        (lambda z, y: z.softmax(1).gather(1, y[:, None])[:, 0], "the probability of y was subtracted, not its logit",
         "a softmax too many"),
    ]),
    *(Wrong({"soft": soft}, *words) for soft, *words in [
        (lambda z: lse(z.softmax(1)), "log-sum-exp was taken of probabilities", "a softmax too many",
         "give it the logits"),
        (lambda z: lse(z, log=same), "the sum was added without its logarithm", "log is missing",
         "add .log() after the sum"),
        (lambda z: lse(z, log=torch.log2), "the logarithm has base 2", "log2", "the natural logarithm: .log()"),
        (lambda z: lse(z, total=lambda e: e.mean(1, keepdim=True)), "the losses are too small by log K",
         "the mean was taken instead of the sum", "sum(1) instead of mean(1)"),
        (lambda z: lse(z.T).mean().expand(len(z)), "the sum runs over the images", "dim=0 instead of dim=1", "dim=1"),
    ]),
    *(Wrong(lambda z, y, log=log: -log(_at(z.softmax(1), y)),
           f"the logarithm has base {base}, and is infinite for p = 0",
            f"softmax first, then log{base}", "log-sum-exp minus the true logit, with the natural logarithm")
      for base, log in ((2, torch.log2), (10, torch.log10))),
    Wrong(lambda z, y: (z.softmax(1) - F.one_hot(y, z.shape[1])).square().sum(1),
          "this is a squared error of probabilities",
          "another loss", "−log p_y"),
    Wrong(lambda z, y: F.binary_cross_entropy_with_logits(z, F.one_hot(y, z.shape[1]).to(z), reduction="none").sum(1),
          "this is the binary cross-entropy of every logit", "a sigmoid for each class instead of one softmax",
          "−log p_y"),
    Wrong(lambda z, y: -(F.one_hot(y, z.shape[1]) * z).sum(1) / lse(z), "the true logit is divided by log-sum-exp",
          "a quotient outside of the logarithm becomes a difference", "subtract"),
    *(Wrong({"end": lambda loss, most=most: loss.clamp_max(most)}, f"the loss never gets larger than {most}", "clamped",
           NEITHER)
      for most in (10, 20, 50, 100)),
    *(Wrong(lambda z, y, most=most: ce(z.clamp(-most, most), y), f"logits beyond ±{most} count as ±{most}",
            "clamped against overflow", NEITHER) for most in (20, 50, 80, 100)),
]  # fmt: skip

cross_entropy = Formula(
    name="cross_entropy",
    chapter=2,
    title="Cross-entropy from logits",
    points=2,
    right=ce,
    cases=_with_slopes,
    outcome=_value_and_slope,
    same=_same,
    kind=_slope,
    by_hand=CE,
    verified="right on eight batches, with logits from -1000 to 1000; its gradient is p - e_y",
    wrong=CROSS_ENTROPY_WRONG,
)


# --- my_log_odds(z, y) ------------------------------------------------------------------------------------


def odds(
    z: Tensor, y: Tensor, *, logits: Map = same, label: Join = lambda z, y: y, others: Join = _without, soft: Map = lse,
    pick: Join = _at, minus: Join = torch.sub, end: Map = same,
) -> Tensor:  # fmt: skip
    """log Σ_{i≠y} exp zᵢ − z_y for each row."""
    z, y = logits(z), label(z, y)
    return end(minus(soft(others(z, y)), pick(z, y)))


def _overwrites_before(z, y):
    rows = torch.arange(len(z))
    others = z
    others[rows, y] = -torch.inf
    return lse(others) - z[rows, y]


def _top_of_all(z, y):
    top = z.amax(1, keepdim=True)
    return top[:, 0] + _without(z - top, y).exp().sum(1).log() - _at(z, y)


def _of_probabilities(z, y, tiny=0.0):
    p = _at(z.softmax(1), y)
    return ((1 - p).clamp_min(tiny) / p.clamp_min(tiny)).log()


def _up_to_sure() -> list[Case]:
    """Those of the losses, and margins at which p_y rounds to 1."""
    sure = torch.tensor([0.0, 0.0, -1.0]) + torch.linspace(8, 50, 85)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    y, name = torch.zeros(85).long(), "margins from 8 to 50"
    first, *others = _with_slopes()
    # Early, for `_rounded`: before exp overflows in other cases.
    return [first, Case(name, sure, y), *others, Case(f"{name}, with gradients", sure.clone().requires_grad_(), y)]


def _rounded(case: Case, outcome: Any, right: Any) -> None:
    """Whether the margins are right until p_y rounds to 1, and infinite from there on."""
    if case.name == "margins from 8 to 50" and isinstance(outcome, Tensor) and outcome.shape == right.shape:
        finite = outcome.isfinite()
        if not finite[right < -20].any() and torch.allclose(outcome[finite], right[finite], atol=0.7):
            raise Mistake(*ROUNDS)
    _slope(case, outcome, right)


DIRECTLY, TRUE = (
    "the log-sum-exp of the wrong logits, minus the true logit",
    "the true logit is z_y, whether it is the largest or not",
)
ROUNDS = (
    "where the model is sure, the result is infinite",
    "p_y rounds to 1, so that 1 − p_y, or exp(loss) − 1, is 0",
    DIRECTLY,
)
COPY = "work on a copy: others = z.clone()"
LOG_ODDS_WRONG = [
    *OF_Y,
    Wrong({"minus": lambda soft, true: true - soft}, "the sign is flipped: these are the log-odds of being right",
          "true minus wrong", "the wrong classes' log-sum-exp minus the true logit: it grows as the model gets worse"),
    Wrong({"minus": torch.add}, "the true logit was added", "a sign", "subtract z_y"),
    Wrong({"minus": lambda soft, true: soft}, "this is the log-sum-exp of the wrong logits alone",
          "the true logit was not subtracted", "subtract z_y"),
    Wrong(ce, "this is the cross-entropy: never negative, and flat where the model is sure",
          "the true class takes part in the sum", "put -inf in place of the true logit, on a copy, before the sum"),
    Wrong({"soft": lambda others: others.amax(1)}, "this is the margin loss", "the largest wrong logit alone",
          "all wrong logits count: log-sum-exp instead of the maximum"),
    *(Wrong({"others": lambda z, y, low=low: _without(z, y, low)},
            f"the true class adds exp({low:g}) to the sum", f"the true logit was replaced by {low:g}"
            + " or multiplied by 0" * (low == 0), "replace it by -torch.inf, of which exp makes 0")
      for low in (0.0, -1.0, -10.0, -100.0, -1e3, -1e4, -1e5, -1e6)),
    *(Wrong({"others": lambda z, y, off=off: z.scatter_add(1, y[:, None], torch.full_like(z[:, :1], -off))},
            f"a true logit that lies more than {off:g} above the others still takes part in the sum",
            f"{off:g} was taken off the true logit", "replace it by -torch.inf")
      for off in (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)),
    Wrong({"others": lambda z, y: z.masked_fill(z == _at(z, y)[:, None], -torch.inf)},
          "a wrong logit that equals the true one is left out", "the true class was found by its value",
          "find it by its number, y"),
    Wrong({"others": lambda z, y: z.index_fill(1, y, -torch.inf)}, "all labels of the batch are left out of each row",
          "[:, y] instead of [torch.arange(len(z)), y]", "leave out column y of each row"),
    Wrong({"others": lambda z, y: _without(z, z.argmax(1))}, "the sum leaves out the largest logit, not the true one",
          "z.argmax(1) stands in the place of y", "leave out column y of each row"),
    Wrong({"others": lambda z, y: z[:, 1:]}, "class 0 is taken for the true class of every image",
          "the columns from 1 on were taken for the wrong ones", "leave out column y of each row"),
    Wrong({"soft": lambda others: others.exp().sum(1).log()}, "exp overflowed to infinity or underflowed to 0",
          "log-sum-exp without subtracting the maximum", "use your function from exercise 1"),
    Wrong({"soft": lambda others: lse(others, back=lambda m, found: found)},
          "the results are too small by the largest wrong logit", "the maximum was not added again",
          "log-sum-exp is the maximum plus the log"),
    Wrong(lambda z, y: odds(z, y) - math.log(z.shape[1] - 1), "the results are too small by log(K − 1)",
          "the mean of the exponentials instead of their sum", "sum over the wrong classes"),
    Wrong({"soft": lambda others: lse(others).logsumexp(0).expand(len(others))},
          "all images get the log-sum-exp of the batch", "the sum was taken over the whole batch",
          "sum(1): one for each image"),
    Wrong({"label": lambda z, y: z.argmax(1)}, "the results are those of the model's own answer",
          "y plays no part, or was replaced by z.argmax(1)", TRUE),
    Wrong({"logits": lambda z: z.softmax(1)}, "the results lie in a window of width 2",
          "probabilities instead of logits", "leave the softmax out: the formula takes logits"),
    Wrong(_of_probabilities, *ROUNDS),
    Wrong(lambda z, y: (1 - (-ce(z, y)).exp()).log() + ce(z, y), "where the loss rounds to 0, the result is infinite",
          "log(1 − exp(−loss)) + loss", DIRECTLY),
    *(Wrong(lambda z, y, tiny=tiny: _of_probabilities(z, y, tiny),
            f"the result never leaves {math.log(tiny):.1f} to {-math.log(tiny):.1f}",
            "probabilities were clamped before the logarithm", DIRECTLY)
      for tiny in CAPS),
    Wrong({"end": torch.exp}, "these are the odds themselves", "exp too many, or log is missing",
          "leave the logarithm: log Σ − z_y"),
    Wrong({"end": torch.sigmoid}, "this is the probability of being wrong", "a sigmoid after the log-odds",
          "return the log-odds themselves"),
    Wrong({"end": lambda u: u.clamp_min(0)}, "the result is never negative", "the log-odds were cut off at 0",
          "no clamp: a rightly read image has negative log-odds"),
    Wrong({"end": lambda u: u / math.log(2)}, "the logarithm has base 2", "log2", "the natural logarithm: .log()"),
    Wrong({"end": lambda u: u / math.log(10)}, "the logarithm has base 10", "log10", "the natural logarithm: .log()"),
    Wrong({"pick": lambda z, y: torch.full_like(z[:, 0], -torch.inf)}, "every result is infinite",
          "z_y was read after -inf was written in its place", "read z_y first, or from the z that nobody wrote into"),
    Wrong(_top_of_all, "where the wrong logits lie far below the true one, the result is -inf",
          "the maximum of all classes was subtracted, so that the wrong ones underflow",
          "subtract the largest wrong logit"),
    Wrong(_overwrites_before, "the caller's z was changed, and the true logit is read after that",
          "others = z makes no copy", COPY),
    Wrong({"soft": lambda others: lse(others).detach()},
          "the values are right, but the wrong logits have no gradient", "log-sum-exp was detached", LOST),
]  # fmt: skip

log_odds = Formula(
    name="log_odds",
    chapter=2,
    title="The log-odds of being wrong",
    points=2,
    right=odds,
    cases=_up_to_sure,
    outcome=_value_and_slope,
    same=_same,
    kind=_rounded,
    verified="right on nine batches, with logits from -1000 to 1000; its slope at the true class is -1, however sure",
    wrong=LOG_ODDS_WRONG,
)


# --- the factor at which half of the images, or another share of them, lose their gradient -----------------


def _slopes(scale: float, z: Tensor, y: Tensor, reduction: str = "sum") -> Tensor:
    logits = (scale * z.detach()).requires_grad_()
    return torch.autograd.grad(F.cross_entropy(logits, y, reduction=reduction), logits)[0]


def _silent(scale: float, z: Tensor, y: Tensor) -> float:
    return (_slopes(scale, z, y) == 0).all(1).float().mean().item()


def _first(found: Callable[[float, Tensor, Tensor], float], least: float | None = None) -> Callable[..., float]:
    """The smallest factor at which what is found reaches ``share``, or ``least``, to a thousandth: it only rises."""

    def search(z: Tensor, y: Tensor, share: float = 0.5) -> float:
        low, high = 1e-3, 1e4
        while high > 1.001 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if found(middle, z, y) >= (least or share) else (middle, high)
        return high

    return search


def _no_loss(scale: float, z: Tensor, y: Tensor) -> float:
    return (losses.cross_entropy(scale * z, y) == 0).float().mean().item()


def _silent_in_mean(scale: float, z: Tensor, y: Tensor) -> float:
    return (_slopes(scale, z, y, "mean") == 0).all(1).float().mean().item()


def _no_factor(factor: float, right: float, z: Tensor, y: Tensor, share: float = 0.5) -> None:
    if factor <= 0:
        raise Mistake(f"times {factor:g}, the logits are those of another network", mend="try factors above 0")
    seen = f"times {factor:.4g}, {_silent(factor, z, y):.0%} of the images have no gradient left"
    # What may have been counted instead: all of which the share is reached just there.
    reached = []
    for counted, words, mend in COUNTED:
        if (there := counted(factor, z, y)) >= share > counted(0.9 * factor, z, y):
            seen += f"; {there:.0%} {words}"
            reached.append(mend)
    if not reached:
        seen += f", and {share:.0%} of them are asked"
    raise Mistake(seen, mend=reached[0] if reached else f"try {'smaller' if factor > right else 'larger'} factors")


def _small(tiny: float) -> Callable[[float, Tensor, Tensor], float]:
    return lambda scale, z, y: (_slopes(scale, z, y).abs() < tiny).all(1).float().mean().item()


SUM = "reduction='sum' leaves each image its own gradient"
ALL_ENTRIES = "count the images for which all entries of the gradient are exactly 0"
COUNTED = [
    (_no_loss, "have a loss of 0 and no slope at the true class, which comes earlier", ALL_ENTRIES),
    *((_small(10.0**-k), f"have one below 1e-{k} in every entry", ALL_ENTRIES) for k in (6, 8, 10, 12)),
    (
        lambda s, z, y: (_slopes(s, z, y) ** 2 == 0).all(1).float().mean().item(),
        "have one whose squares round to 0, which comes earlier",
        ALL_ENTRIES,
    ),
    (
        lambda s, z, y: _silent(s, z.softmax(1), y),
        "have none if probabilities are multiplied by it",
        "multiply the logits z, not z.softmax(1)",
    ),
    (lambda s, z, y: (_slopes(s, z, y) == 0).float().mean().item(), "of all entries are 0", ALL_ENTRIES),
    (_silent_in_mean, "have none in the mean of the losses, which is N times flatter", SUM),
    (lambda s, z, y: _silent(s, z.double(), y), "have none in float64", "stay in float32"),
]
FLAT_FACTOR_WRONG = [
    Wrong(_first(_no_loss),
          "there so many losses round to 0, but the slopes at the wrong classes are left",
          "the loss was looked at, or the slope at the true class alone, or any() for all()", ALL_ENTRIES),
    Wrong(_first(_silent_in_mean), "there the gradient of the batch's mean is 0, which is N times smaller",
          "reduction='mean'", SUM),
    Wrong(_first(_silent, least=1.0), "there all of the images have lost their gradient",
          "all instead of a share, or one gradient of all images together", "the smallest factor with the share asked"),
    Wrong(_first(lambda s, z, y: _silent(s, z.double(), y)), "there so many of them are silent in float64",
          "computed in double precision", "stay in float32"),
    Wrong(_first(lambda s, z, y: (_slopes(s, z, y).norm(dim=1) < 1e-8).float().mean().item()),
          "there so many gradients are shorter than 1e-8, but not 0",
          "nearly zero was counted as zero, as allclose does", "ask for == 0"),
    Wrong(lambda *given, **share: 1 / _first(_silent)(*given, **share), "it is one over the answer",
          "the logits were divided by it", "multiply z by the factor"),
    Wrong(lambda *given, **share: 2.0 ** math.ceil(1e-9 + math.log2(1.06 * _first(_silent)(*given, **share))),
          "it is a power of 2, and a smaller factor does", "doubling is too long a step",
          "search on between this power of 2 and the one before"),
]  # fmt: skip


def _crowd() -> tuple[Tensor, Tensor]:
    """200 rows, most of them read rightly, by margins of all sizes."""
    z, y = _drawn(200, 6, seed=6, scale=2.0)
    z[:, 1] += torch.linspace(0, 40, 200)
    y[:] = 1
    return z, y


flat_factor = Number(
    name="flat_factor",
    chapter=2,
    title="Explore: half of the signs go silent",
    points=3,
    label="the factor",
    right=_first(_silent),
    near=0,
    share=0.05,
    properties=[_no_factor],
    example=_crowd,
    verified="times {0:.3g}, the share asked of the images has no gradient left; with 5 % less, fewer",
    wrong=FLAT_FACTOR_WRONG,
)
