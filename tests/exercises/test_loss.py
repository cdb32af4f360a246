"""The checkers of the chapter on the loss: right answers pass, every wrong one gets its own message."""

import pytest
import torch
from torch.nn import functional as F

from advlib.exercises import check
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import fails_with, verdict

rows = torch.arange


# --- log-sum-exp ------------------------------------------------------------------------------------------


def lse(z):
    top = z.amax(1, keepdim=True)
    return (top + (z - top).exp().sum(1, keepdim=True).log())[:, 0]


def lse_of_a_shifted_sum(z):
    """Any number near the maximum will do."""
    near = z.max(1).values.round() + 2
    return near + (z - near[:, None]).exp().sum(1).log()


@pytest.mark.parametrize("answer", [lse, lse_of_a_shifted_sum, lambda z: torch.logsumexp(z, 1)])
def test_logsumexp_right(capsys, answer):
    assert verdict(capsys, check.logsumexp, answer).startswith("✓")


def subtracts_in_place(z):
    z -= z.max()
    return z.exp().sum(1).log()


LOGSUMEXP_WRONG = {
    "no maximum": (lambda z: z.exp().sum(1).log(), "the maximum was not subtracted"),
    "the batch's maximum": (
        lambda z: z.max() + (z - z.max()).exp().sum(1).log(),
        "the maximum of the whole batch was subtracted",
    ),
    "the minimum": (
        lambda z: z.amin(1) + (z - z.amin(1, keepdim=True)).exp().sum(1).log(),
        "the minimum or the mean was subtracted",
    ),
    "the mean": (
        lambda z: z.mean(1) + (z - z.mean(1, keepdim=True)).exp().sum(1).log(),
        "the minimum or the mean was subtracted",
    ),
    "wrong axis": (lambda z: lse(z.T), "runs over the images"),
    "not added again": (lambda z: lse(z) - z.amax(1), "the maximum was not added again"),
    "subtracted again": (lambda z: lse(z) - 2 * z.amax(1), "the maximum was subtracted twice"),
    "another's maximum added": (lambda z: lse(z) - z.amax(1) + z.max(), "z.max() instead of each row's maximum"),
    "maximum alone": (lambda z: z.amax(1), "the logarithm of the sum is missing"),
    "no logarithm": (lambda z: z.amax(1) + (z - z.amax(1, keepdim=True)).exp().sum(1), "log is missing"),
    "the sum": (lambda z: z.exp().sum(1), "this is the sum itself"),
    "mean": (
        lambda z: z.amax(1) + (z - z.amax(1, keepdim=True)).exp().mean(1).log(),
        "mean was taken instead of the sum",
    ),
    "log2": (lambda z: z.amax(1) + (z - z.amax(1, keepdim=True)).exp().sum(1).log2(), "base 2"),
    "log10": (lambda z: z.amax(1) + (z - z.amax(1, keepdim=True)).exp().sum(1).log10(), "base 10"),
    "log1p": (lambda z: z.amax(1) + (z - z.amax(1, keepdim=True)).exp().sum(1).log1p(), "log1p adds a 1"),
    "negative": (lambda z: -lse(z), "the sign is flipped"),
    "standardised": (
        lambda z: z.amax(1) + ((z - z.amax(1, keepdim=True)) / z.std(1, keepdim=True)).exp().sum(1).log(),
        "standardised",
    ),
    "keepdim": (lambda z: lse(z)[:, None], "keepdim=True"),
    "one number": (lambda z: lse(z).mean(), "no mean at the end"),
    "not summed": (lambda z: z, "the classes are the second dimension"),
    "in place": (subtracts_in_place, "the caller's z was changed"),
    "numbers": (lambda z: lse(z).tolist(), "expected a tensor with one number per image"),
    "a clamp against overflow": (lambda z: z.clamp(max=80).exp().sum(1).log(), "exponentiate only differences"),
    "not fitting": (lambda z: z - z.max(1).values, "two shapes do not fit"),
}


@pytest.mark.parametrize("name", LOGSUMEXP_WRONG)
def test_logsumexp_wrong(capsys, monkeypatch, name):
    fails_with(capsys, monkeypatch, check.logsumexp, *LOGSUMEXP_WRONG[name])


# --- cross-entropy ----------------------------------------------------------------------------------------


def ce(z, y):
    return F.cross_entropy(z, y, reduction="none")


@pytest.mark.parametrize(
    "answer", [ce, lambda z, y: lse(z) - z[rows(len(z)), y], lambda z, y: -z.log_softmax(1).gather(1, y[:, None])[:, 0]]
)
def test_cross_entropy_right(capsys, answer):
    assert verdict(capsys, check.cross_entropy, answer).startswith("✓")


CROSS_ENTROPY_WRONG = {
    "mean": (lambda z, y: F.cross_entropy(z, y), "no mean at the end"),
    "flipped": (lambda z, y: z[rows(len(z)), y] - lse(z), "the minus is missing"),
    "probability": (lambda z, y: (-ce(z, y)).exp(), "exp(−loss) instead of the loss"),
    "one minus it": (lambda z, y: 1 - (-ce(z, y)).exp(), "one minus the probability"),
    "nll of logits": (lambda z, y: F.nll_loss(z, y, reduction="none"), "nll_loss of bare logits"),
    "true logit": (lambda z, y: z[rows(len(z)), y], "this is the true logit"),
    "not subtracted": (lambda z, y: lse(z), "the true logit was not subtracted"),
    "added": (lambda z, y: lse(z) + z[rows(len(z)), y], "the true logit was added"),
    "softmax twice": (lambda z, y: ce(z.softmax(1), y), "softmax twice"),
    "the prediction's": (lambda z, y: ce(z, z.argmax(1)), "y was replaced by z.argmax(1)"),
    "maximum": (lambda z, y: z.amax(1) - z[rows(len(z)), y], "max instead of log-sum-exp"),
    "log2": (lambda z, y: ce(z, y) / torch.tensor(2.0).log(), "base 2"),
    "all classes": (lambda z, y: -z.log_softmax(1).sum(1), "the true class was not picked"),
    "without the true class": (
        lambda z, y: z.scatter(1, y[:, None], -torch.inf).logsumexp(1) - z[rows(len(z)), y],
        "missing from the sum",
    ),
    "over the images": (lambda z, y: -z.log_softmax(0)[rows(len(z)), y], "the softmax runs over the images"),
    "log of softmax": (lambda z, y: -z.softmax(1)[rows(len(z)), y].log(), "softmax first, log after"),
    "exp first": (
        lambda z, y: -(z.exp() / z.exp().sum(1, keepdim=True))[rows(len(z)), y].log(),
        "without subtracting the maximum",
    ),
    "naive log-sum-exp": (lambda z, y: z.exp().sum(1).log() - z[rows(len(z)), y], "log-sum-exp without subtracting"),
    "a tiny number": (lambda z, y: -(z.softmax(1)[rows(len(z)), y] + 1e-12).log(), "never gets larger than 27.6"),
    "clamped": (lambda z, y: -z.softmax(1)[rows(len(z)), y].clamp_min(1e-8).log(), "never gets larger than 18.4"),
    "all columns": (lambda z, y: lse(z)[:, None] - z[:, y], "takes all labels' columns"),
    "detached": (lambda z, y: ce(z.detach(), y), "the graph was cut"),
    "half detached": (lambda z, y: lse(z).detach() - z[rows(len(z)), y], "the gradient in z is not"),
    "own constant": (lambda z, y: ce(z, y) + 0.5, "another formula"),
}


@pytest.mark.parametrize("name", CROSS_ENTROPY_WRONG)
def test_cross_entropy_wrong(capsys, monkeypatch, name):
    fails_with(capsys, monkeypatch, check.cross_entropy, *CROSS_ENTROPY_WRONG[name])


# --- the margin loss --------------------------------------------------------------------------------------


def others(z, y, instead=-torch.inf):
    return z.scatter(1, y[:, None], instead)


def margin(z, y):
    return others(z, y).amax(1) - z[rows(len(z)), y]


def by_two_largest(z, y):
    top = z.topk(2, 1)
    best_other = torch.where(top.indices[:, 0] == y, top.values[:, 1], top.values[:, 0])
    return best_other - z.gather(1, y[:, None]).squeeze(1)


@pytest.mark.parametrize("answer", [margin, by_two_largest])
def test_margin_right(capsys, answer):
    assert verdict(capsys, check.margin_loss, answer).startswith("✓")


def overwrites(z, y):
    true = z[rows(len(z)), y].clone()
    z[rows(len(z)), y] = -torch.inf
    return z.amax(1) - true


MARGIN_WRONG = {
    "flipped": (lambda z, y: -margin(z, y), "the sign is flipped"),
    "true class in the maximum": (lambda z, y: z.amax(1) - z[rows(len(z)), y], "the true class takes part"),
    "largest minus second": (lambda z, y: z.topk(2, 1).values @ torch.tensor([1.0, -1.0]), "y plays no part"),
    "second minus largest": (lambda z, y: z.topk(2, 1).values @ torch.tensor([-1.0, 1.0]), "y plays no part"),
    "masked by 0": (lambda z, y: others(z, y, 0.0).amax(1) - z[rows(len(z)), y], "replaced by 0"),
    "probabilities": (lambda z, y: margin(z.softmax(1), y), "probabilities instead of logits"),
    "the prediction's": (lambda z, y: margin(z, z.argmax(1)), "or was replaced by z.argmax(1)"),
    "best wrong alone": (lambda z, y: others(z, y).amax(1), "best wrong logit alone"),
    "added": (lambda z, y: others(z, y).amax(1) + z[rows(len(z)), y], "the true logit was added"),
    "soft maximum": (lambda z, y: others(z, y).logsumexp(1) - z[rows(len(z)), y], "log-sum-exp instead of the maximum"),
    "mean": (lambda z, y: others(z, y, 0.0).sum(1) / (z.shape[1] - 1) - z[rows(len(z)), y], "mean instead of max"),
    "smallest": (lambda z, y: others(z, y, torch.inf).amin(1) - z[rows(len(z)), y], "min instead of max"),
    "cut off": (lambda z, y: margin(z, y).relu(), "the loss was cut off at 0"),
    "hinge": (lambda z, y: (1 + margin(z, y)).relu(), "the hinge loss"),
    "cross-entropy": (ce, "this is the cross-entropy"),
    "one number": (lambda z, y: margin(z, y).mean(), "no mean at the end"),
    "in place": (overwrites, "the caller's z was changed"),
    "detached": (lambda z, y: margin(z.detach(), y), "the graph was cut"),
}


@pytest.mark.parametrize("name", MARGIN_WRONG)
def test_margin_wrong(capsys, monkeypatch, name):
    fails_with(capsys, monkeypatch, check.margin_loss, *MARGIN_WRONG[name])


# --- the factor -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd():
    """Logits with margins from 1 to 100, and the factor that silences the half with the larger ones."""
    z = torch.zeros(100, 3)
    z[:, 0] = torch.arange(1.0, 101.0)
    y = torch.zeros(100, dtype=torch.long)
    for k in range(1, 10000):
        logits = (k / 1000 * z).requires_grad_()
        (grad,) = torch.autograd.grad(ce(logits, y).sum(), logits)
        if (grad == 0).all(1).float().mean() >= 0.5:
            return z, y, k / 1000
    raise AssertionError("no factor silences half of the rows")


def test_flat_factor_right(capsys, crowd):
    z, y, factor = crowd
    assert verdict(capsys, check.flat_factor, factor, z, y).startswith("✓")
    assert verdict(capsys, check.flat_factor, torch.tensor(1.03 * factor), z, y).startswith("✓")
    assert verdict(capsys, check.flat_factor, 0.97 * factor, z, y).startswith("✓")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: 0.8 * f, "the loss was looked at"),
        (lambda f: 0.01 * f, "it is too small"),
        (lambda f: 1.3 * f, "the search stopped early"),
        (lambda f: 30, "the search stopped early"),
        (lambda f: -f, "another network"),
        (lambda f: 0, "another network"),
        (lambda f: "half", "expected one finite number"),
        (lambda f: torch.ones(2), "expected one finite number"),
        (lambda f: None, "○ flat_factor: not written yet"),
    ],
)
def test_flat_factor_wrong(capsys, crowd, change, message):
    z, y, factor = crowd
    assert message in verdict(capsys, check.flat_factor, change(factor), z, y)


# --- what the chapter prints ------------------------------------------------------------------------------


def test_printed_solutions_pass(capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    generator = torch.Generator().manual_seed(0)
    names = {
        "torch": torch,
        "F": F,
        "check": check,
        "z": 20 * torch.randn(100, 16, generator=generator),
        "y": torch.randint(16, (100,), generator=generator),
    }
    assert len(solutions("02_loss")) == len(checks("02_loss")) == 4
    names["y"] = names["z"].argmax(1)  # read rightly, as most signs are
    for solution, checked in zip(solutions("02_loss"), checks("02_loss"), strict=True):
        exec(solution, names)
        exec(checked, names)
        assert capsys.readouterr().out.startswith("✓")
