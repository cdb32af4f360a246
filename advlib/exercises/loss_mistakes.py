"""What the best-known mistakes in log-sum-exp, cross-entropy and margin lead to.

An answer that gives these very numbers made that mistake.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from advlib import losses
from advlib.exercises.frame import Mistake, Suspects


def alike(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding, nan and infinity included."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4, equal_nan=True)


def of_logsumexp(z: Tensor) -> Suspects:
    right, top, bottom = z.logsumexp(1), z.max(1).values, z.min(1).values
    within = right - top  # log Σ exp(z − max)
    spread = z.std(1, keepdim=True)
    cases = [
        (
            z.exp().sum(1).log(),
            "exp overflowed to infinity, or underflowed to 0",
            "the maximum was not subtracted",
            "subtract each row's maximum first, and add it again outside",
        ),
        (
            z.max() + (z - z.max()).exp().sum(1).log(),
            "rows far below the largest logit of the batch give -inf",
            "the maximum of the whole batch was subtracted",
            "each image has a maximum of its own: z.max(1).values",
        ),
        (
            bottom + (z - bottom[:, None]).exp().sum(1).log(),
            "exp overflowed to infinity",
            "the minimum or the mean was subtracted",
            "subtract the maximum: then no exponent is above 0",
        ),
        (
            z.logsumexp(0),
            "the sum runs over the images, not over the classes",
            "dim=0 instead of dim=1",
            "the classes are the second dimension: sum(1)",
        ),
        (
            within,
            "the results are too small by each row's maximum",
            "the maximum was not added again",
            "return the maximum plus the log",
        ),
        (
            within - top,
            "the maximum was subtracted twice",
            "what is taken off inside comes back outside with a plus",
            "return the maximum plus the log",
        ),
        (
            z.max() + within,
            "the maximum of the whole batch was added",
            "z.max() instead of each row's maximum",
            "z.max(1).values",
        ),
        (top, "this is the largest logit alone", "the logarithm of the sum is missing", "add log Σ exp(z − max)"),
        (top + within.exp(), "the sum was added without its logarithm", "log is missing", "add .log() after the sum"),
        (right.exp(), "this is the sum itself", "log is missing", "take the logarithm of the sum"),
        (
            right - math.log(z.shape[1]),
            "the results are too small by log K",
            "the mean was taken instead of the sum",
            "sum(1) instead of mean(1)",
        ),
        (top + within / math.log(2), "the logarithm has base 2", "log2", "the natural logarithm: .log()"),
        (top + within / math.log(10), "the logarithm has base 10", "log10", "the natural logarithm: .log()"),
        (top + within.exp().log1p(), "one term too many is in the sum", "log1p adds a 1", "use .log()"),
        (-right, "the sign is flipped", "a minus in front", "return the maximum plus the log"),
        (
            ((z - top[:, None]) / spread).exp().sum(1).log() + top,
            "the logits were divided before exp",
            "standardised: only a constant may be subtracted",
            "subtract the maximum, nothing more",
        ),
    ]
    return _named(cases)


def of_cross_entropy(z: Tensor, y: Tensor) -> Suspects:
    right, p, true = losses.cross_entropy(z, y), z.softmax(1), _at(z, y)
    raw = z.exp() / z.exp().sum(1, keepdim=True)
    capped = []
    for tiny in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16, 1e-20):
        seen = f"the loss never gets larger than {-math.log(tiny):.1f}, however wrong the model is"
        mend = "neither is needed: log-sum-exp minus the true logit"
        capped += [
            (-(_at(p, y) + tiny).log(), seen, "a tiny number was added to p inside the logarithm", mend),
            (-_at(p, y).clamp_min(tiny).log(), seen, "p was clamped before the logarithm", mend),
        ]
    cases = [
        (
            -right,
            "the loss is negative: it falls as the model gets worse",
            "the minus is missing: this is log p",
            "return log-sum-exp minus the true logit, not the other way round",
        ),
        (
            (-right).exp(),
            "this is the probability of the true class",
            "exp(−loss) instead of the loss",
            "the loss is −log p",
        ),
        (1 - (-right).exp(), "this is one minus the probability", "the logarithm is missing", "the loss is −log p"),
        (-true, "this is minus the true logit", "log-sum-exp is missing: nll_loss of bare logits", "add log Σ exp z"),
        (true, "this is the true logit", "log-sum-exp is missing", "log-sum-exp minus the true logit"),
        (z.logsumexp(1), "this is the log-sum-exp alone", "the true logit was not subtracted", "subtract z_y"),
        (z.logsumexp(1) + true, "the true logit was added", "a sign", "subtract z_y"),
        (
            losses.cross_entropy(p, y),
            "all losses lie within a window of width 1",
            "softmax twice",
            "give the formula the logits, without a softmax before it",
        ),
        (
            losses.cross_entropy(z, z.argmax(1)),
            "this is the loss of the model's own answer",
            "y was replaced by z.argmax(1)",
            "use the y that is passed",
        ),
        (
            losses.margin(z, y),
            "this is the margin loss",
            "the largest wrong logit instead of log-sum-exp",
            "sum over all classes, the true one included",
        ),
        (
            z.max(1).values - true,
            "this is the largest logit minus the true one",
            "max instead of log-sum-exp",
            "log-sum-exp is a little more than the maximum: add log Σ exp(z − max)",
        ),
        (right / math.log(2), "the logarithm has base 2", "log2", "the natural logarithm: .log()"),
        (
            _without(z, y).logsumexp(1) - true,
            "the true class is missing from the sum",
            "the sum runs over the wrong classes only",
            "sum over all classes",
        ),
        (
            -F.log_softmax(z, 1).sum(1),
            "this adds up −log p over all classes",
            "the true class was not picked",
            "take the entry of class y in each row",
        ),
        (
            -_at(F.log_softmax(z, 0), y),
            "the softmax runs over the images",
            "dim=0 instead of dim=1",
            "the classes are the second dimension",
        ),
        (
            -_at(p, y).log(),
            "a probability rounded to 0, and its logarithm is infinite",
            "softmax first, log after",
            "log-sum-exp minus the true logit never takes the log of a probability",
        ),
        (
            -_at(raw, y).log(),
            "exp overflowed to infinity or underflowed to 0",
            "softmax without subtracting the maximum",
            "log-sum-exp, with the maximum taken off, minus the true logit",
        ),
        (
            z.exp().sum(1).log() - true,
            "exp overflowed to infinity or underflowed to 0",
            "log-sum-exp without subtracting the maximum",
            "use your function from exercise 1",
        ),
        *capped,
    ]
    return _named(cases)


def of_margin(z: Tensor, y: Tensor) -> Suspects:
    right, true, others = losses.margin(z, y), _at(z, y), _without(z, y)
    two = z.topk(2, 1).values
    zeroed = z.scatter(1, y[:, None], 0.0)
    cases = [
        (
            -right,
            "the sign is flipped: this is the margin",
            "true minus best wrong",
            "the loss is the best wrong logit minus the true one: positive where the model errs",
        ),
        (
            z.max(1).values - true,
            "the result is never negative: rightly read images all get 0",
            "the true class takes part in the maximum, or the loss was cut off at 0",
            "put -inf in place of the true logit, on a copy, before the maximum; no clamp after it",
        ),
        (
            two[:, 0] - two[:, 1],
            "this is the largest logit minus the second largest",
            "y plays no part",
            "the true logit is z_y, whether it is the largest or not",
        ),
        (
            two[:, 1] - two[:, 0],
            "the result is never positive: this is the second largest logit minus the largest",
            "y plays no part, or was replaced by z.argmax(1)",
            "the true logit is z_y, whether it is the largest or not",
        ),
        (
            zeroed.max(1).values - true,
            "where all wrong logits are negative, the best of them is taken for 0",
            "the true logit was replaced by 0, or multiplied by 0",
            "replace it by -torch.inf",
        ),
        (
            losses.margin(z.softmax(1), y),
            "the results lie between -1 and 1",
            "probabilities instead of logits",
            "leave the softmax out: it flattens the loss",
        ),
        (
            others.max(1).values,
            "this is the best wrong logit alone",
            "the true logit was not subtracted",
            "subtract z_y",
        ),
        (others.max(1).values + true, "the true logit was added", "a sign", "subtract z_y"),
        (
            others.logsumexp(1) - true,
            "the results are a little too large",
            "log-sum-exp instead of the maximum",
            "take the largest of the wrong logits",
        ),
        (
            (z.sum(1) - true) / (z.shape[1] - 1) - true,
            "this is the average wrong logit minus the true one",
            "mean instead of max",
            "take the largest of the wrong logits",
        ),
        (
            z.scatter(1, y[:, None], torch.inf).min(1).values - true,
            "this is the smallest wrong logit minus the true one",
            "min instead of max",
            "take the largest of the wrong logits",
        ),
        (
            (1 + right).clamp_min(0),
            "this is the hinge loss",
            "1 was added and the rest cut off at 0",
            "the best wrong logit minus the true one, nothing more",
        ),
        (
            losses.cross_entropy(z, y),
            "this is the cross-entropy",
            "log-sum-exp over all classes",
            "take the largest of the wrong logits",
        ),
    ]
    return _named(cases)


def _at(table: Tensor, y: Tensor) -> Tensor:
    """The entry of class y in each row."""
    return table.gather(1, y[:, None])[:, 0]


def _without(z: Tensor, y: Tensor) -> Tensor:
    """The logits with −∞ in place of the true one."""
    return z.scatter(1, y[:, None], -torch.inf)


def _named(cases: list[tuple]) -> Suspects:
    return [(wrong, Mistake(*words)) for wrong, *words in cases]
