"""The checks of the chapter on targeted attacks: right answers pass, each wrong one gets the message meant for it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib import attacks, evaluate, load_images, load_model
from advlib.exercises import check, specimens
from advlib.norms import Linf
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import verdict

CHAPTER = "08_targeted"


def grad(model, x, label, reduction="sum"):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), label, reduction=reduction), x)[0]


def refuse(y, target):
    if (target == y).any():
        raise ValueError("a target is the label")


# --- one step ---------------------------------------------------------------------------------------------


def right(model, x, y, target, eps):
    refuse(y, target)
    return (x - eps * grad(model, x, target).sign()).clamp(0, 1)


def up_the_negative(model, x, y, target, eps):
    """The same step, said the other way round: climb minus the loss, averaged."""
    assert not (target == y).any()
    return (x + eps * (-grad(model, x, target, "mean")).sign()).clamp(0, 1)


def with_advlib(model, x, y, target, eps):
    return attacks.fgsm(model, x, y, Linf(eps), target=target)


@pytest.mark.parametrize("answer", [right, with_advlib])
def test_step_right(capsys, answer):
    assert verdict(capsys, check.targeted_fgsm, answer).startswith(f"✓ {answer.__name__}: ")


def steps_by(change):
    """A wrong answer that refuses the label as it should, and then steps by ``change``."""

    def answer(model, x, y, target, eps):
        refuse(y, target)
        return change(model, x, y, target, eps)

    return answer


def in_place(model, x, y, target, eps):
    return x.sub_(eps * grad(model, x, target).sign()).clamp_(0, 1)


STEP_WRONG = {
    "not flipped": (lambda m, x, y, t, e: (x + e * grad(m, x, t).sign()).clamp(0, 1), "the sign was not flipped"),
    "untargeted": (lambda m, x, y, t, e: (x + e * grad(m, x, y).sign()).clamp(0, 1), "the target plays no part"),
    "flipped, true label": (
        lambda m, x, y, t, e: (x - e * grad(m, x, y).sign()).clamp(0, 1),
        "the loss is still that of y",
    ),
    "both in one gradient": (
        lambda m, x, y, t, e: (x - e * (grad(m, x, t) - grad(m, x, y)).sign()).clamp(0, 1),
        "both losses are used",
    ),
    "both steps": (
        lambda m, x, y, t, e: (x - e * grad(m, x, t).sign() + e * grad(m, x, y).sign()).clamp(0, 1),
        "both losses are used",
    ),
    "no clip": (lambda m, x, y, t, e: x - e * grad(m, x, t).sign(), "the result is not clipped"),
    "no sign": (lambda m, x, y, t, e: (x - e * grad(m, x, t)).clamp(0, 1), "the sign is missing"),
    "no sign, averaged": (lambda m, x, y, t, e: (x - e * grad(m, x, t, "mean")).clamp(0, 1), "the sign is missing"),
    "one target for all": (
        lambda m, x, y, t, e: (x - e * grad(m, x, t[:1].expand_as(t)).sign()).clamp(0, 1),
        "first image's target",
    ),
    "softmax twice": (
        lambda m, x, y, t, e: (x - e * grad(nn.Sequential(m, nn.Softmax(1)), x, t).sign()).clamp(0, 1),
        "softmax twice",
    ),
    "returns x": (lambda m, x, y, t, e: x.clone(), "the result is x itself"),
    "perturbation only": (lambda m, x, y, t, e: (-e * grad(m, x, t).sign()).clamp(0, 1), "x was not added"),
    "half of eps": (lambda m, x, y, t, e: right(m, x, y, t, e / 2), "but ε is"),
    "twice eps": (lambda m, x, y, t, e: right(m, x, y, t, 2 * e), "but ε is"),
    "random": (lambda m, x, y, t, e: (x - e * torch.randn(x.shape).sign()).clamp(0, 1), "differ from the formula"),
    "in place": (in_place, "the caller's x was changed"),
    "target as a number": (lambda m, x, y, t, e: right(m, x, y, int(t), e), "line"),
    "unwritten": (lambda m, x, y, t, e: ..., "not written yet"),
}


@pytest.mark.parametrize("name", STEP_WRONG)
def test_step_wrong(capsys, name):
    answer, message = STEP_WRONG[name]
    said = verdict(capsys, check.targeted_fgsm, steps_by(answer))
    assert said[0] in "✗○" and message in said, said


def test_step_must_refuse_the_label(capsys):
    def lets_through(model, x, y, target, eps):
        return (x - eps * grad(model, x, target).sign()).clamp(0, 1)

    assert "equal to the true label went through" in verdict(capsys, check.targeted_fgsm, lets_through)
    said = verdict(capsys, check.targeted_fgsm, up_the_negative)
    assert "raised AssertionError" in said and "ValueError" in said


# --- many steps -------------------------------------------------------------------------------------------


def walk(model, x, y, target, eps, steps, step, *, label=None, sign=-1, gradient_at=None, ball=True):
    adv = x
    for _ in range(steps):
        at = adv if gradient_at is None else gradient_at
        adv = (adv + sign * step * grad(model, at, target if label is None else label).sign()).clamp(0, 1)
        adv = x + (adv - x).clamp(-eps, eps) if ball else adv
    return adv


def clipped_by_bounds(model, x, y, target, eps, steps, step):
    low, high = (x - eps).clamp_min(0), (x + eps).clamp_max(1)
    adv = x.clone()
    for _ in range(steps):
        adv = torch.max(torch.min(adv - step * grad(model, adv, target).sign(), high), low)
    return adv


@pytest.mark.parametrize("answer", [walk, clipped_by_bounds])
def test_walk_right(capsys, answer):
    assert verdict(capsys, check.targeted_bim, answer).startswith(f"✓ {answer.__name__}: ")


def ball_that_walks(model, x, y, target, eps, steps, step):
    for _ in range(steps):
        x = walk(model, x, y, target, eps, 1, step)
    return x


def projects_at_the_end(model, x, y, target, eps, steps, step):
    adv = walk(model, x, y, target, eps, steps, step, ball=False)
    return x + (adv - x).clamp(-eps, eps)


def forgets_the_box(model, x, y, target, eps, steps, step):
    adv = x
    for _ in range(steps):
        adv = x + (adv - step * grad(model, adv, target).sign() - x).clamp(-eps, eps)
    return adv


WALK_WRONG = {
    "not flipped": (lambda *a: walk(*a, sign=1), "the sign is not flipped"),
    "untargeted": (lambda *a: walk(*a, label=a[2], sign=1), "these are untargeted steps"),
    "true label": (lambda *a: walk(*a, label=a[2]), "the loss is still that of y"),
    "one gradient": (lambda *a: walk(*a, gradient_at=a[1]), "computed once, at x"),
    "no ball": (lambda *a: walk(*a, ball=False), "but not to the ball"),
    "ball that walks": (ball_that_walks, "grows with every step"),
    "projected at the end": (projects_at_the_end, "stands behind the loop"),
    "no box": (forgets_the_box, "not clipped"),
    "eps for step": (lambda m, x, y, t, e, n, a: walk(m, x, y, t, e, n, e), "eps was used in place of step"),
    "own step": (lambda m, x, y, t, e, n, a: walk(m, x, y, t, e, n, e / n), "step was not used"),
    "one step short": (lambda m, x, y, t, e, n, a: walk(m, x, y, t, e, n - 1, a), "one step"),
    "one step more": (lambda m, x, y, t, e, n, a: walk(m, x, y, t, e, n + 1, a), "one step too many"),
    "twice the ball": (lambda m, x, y, t, e, n, a: walk(m, x, y, t, 2 * e, n, a), "the L∞ size"),
    "parameters": (lambda m, x, y, t, e, n: x, "parameters are not those of the stub"),
}


@pytest.mark.parametrize("name", WALK_WRONG)
def test_walk_wrong(capsys, name):
    answer, message = WALK_WRONG[name]
    said = verdict(capsys, check.targeted_bim, answer)
    assert said.startswith("✗") and message in said, said


# --- every wish -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wishes():
    """A linear model, its image, and pictures of it that are read as each of four classes, with the ε they need."""
    model = specimens.linear(1, 8, 4, seed=0)
    x = specimens.images(1, 1, 8, seed=0)
    y = model(x).argmax(1)
    targets = torch.tensor([t for t in range(4) if t != y])
    made = x.repeat(4, 1, 1, 1)
    made[targets] = attacks.pgd(model, made[targets], y.repeat(3), Linf(0.4), target=targets, steps=100)
    return made, model, x, y, 0.4


def test_wishes_right(capsys, wishes):
    assert verdict(capsys, check.every_target, *wishes).startswith("✓ every_target: all 3 wishes came true")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, x, y: x.repeat(4, 1, 1, 1), "no picture is read as its class"),
        (lambda z, x, y: torch.where(torch.arange(4).view(-1, 1, 1, 1) == (y + 1) % 4, x, z), "2 of 3 wishes"),
        (lambda z, x, y: x + 1.5 * (z - x), "but ε is 0.4000"),
        (lambda z, x, y: x + 4 * (z - x), "but an image lies in [0, 1]"),
        (lambda z, x, y: z[:3], "expected that of x, (4, 1, 8, 8)"),
        (lambda z, x, y: z[torch.arange(4) != y], "expected that of x, (4, 1, 8, 8)"),
        (lambda z, x, y: z.roll(1, 0), "is not the clean image"),
        (lambda z, x, y: z / 0, "NaN or infinity"),
        (lambda z, x, y: [z], "got a list of 1"),
        (lambda z, x, y: None, "not written yet"),
    ],
)
def test_wishes_wrong(capsys, wishes, change, message):
    made, model, x, y, eps = wishes
    answer = change(made, x, y)
    if isinstance(answer, torch.Tensor) and message == "but ε is 0.4000":
        answer = answer.clamp(0, 1)
    assert message in verdict(capsys, check.every_target, answer, model, x, y, eps)


# --- what the chapter prints ------------------------------------------------------------------------------


def test_printed_solutions_pass(capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    assert len(solutions(CHAPTER)) == len(checks(CHAPTER)) == 3
    signs = load_images("signs", "test", n=104)
    names = {
        "torch": torch,
        "F": F,
        "attacks": attacks,
        "evaluate": evaluate,
        "Linf": Linf,
        "check": check,
        "model": load_model("signs-cnn"),
        "one": signs.x[103:],
        "label": signs.y[103:],
        "budget": 10 / 255,
    }
    for solution, cell in zip(solutions(CHAPTER), checks(CHAPTER), strict=True):
        exec(solution, names)
        exec(cell, names)
        assert capsys.readouterr().out.startswith("✓")
