"""The checks of the chapter on threat models: right answers pass, each wrong one gets the message meant for it."""

import pytest
import torch

from advlib import attacks, load_images, load_model
from advlib.exercises import check, specimens
from advlib.norms import Linf
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import verdict

CHAPTER = "01_threat_models"


# --- judging an attacker ----------------------------------------------------------------------------------


def size(x, x_adv):
    return (x_adv - x).abs().flatten(1).amax(1)


def box(x_adv):
    return (x_adv.flatten(1) >= 0).all(1) & (x_adv.flatten(1) <= 1).all(1)


def by_rows(x, x_adv, eps):
    return (size(x, x_adv) <= eps + 1e-6) & box(x_adv)


def by_loop(x, x_adv, eps):
    return [bool(((b - a).abs() <= eps + 1e-6).all() and b.min() >= 0 and b.max() <= 1) for a, b in zip(x, x_adv)]


@pytest.mark.parametrize("answer", [by_rows, by_loop])
def test_obeys_right(capsys, answer):
    assert verdict(capsys, check.obeys, answer).startswith(f"✓ {answer.__name__}: ")


def forbids(x, x_adv, eps):
    flat = x_adv.flatten(1)
    return ~((size(x, x_adv) > eps + 1e-6) | (flat.amin(1) < 0) | (flat.amax(1) > 1))


def in_place(x, x_adv, eps):
    x.sub_(x_adv)
    return x.abs().flatten(1).amax(1) <= eps + 1e-6


OBEYS_WRONG = {
    "no abs": (lambda x, a, e: ((a - x).flatten(1).amax(1) <= e + 1e-6) & box(a), "the absolute value is missing"),
    "no box": (lambda x, a, e: size(x, a) <= e + 1e-6, "the box [0, 1] is not checked"),
    "mean": (lambda x, a, e: ((a - x).abs().flatten(1).mean(1) <= e + 1e-6) & box(a), "the mean change"),
    "L2": (lambda x, a, e: ((a - x).flatten(1).norm(dim=1) <= e + 1e-6) & box(a), "another norm"),
    "L1": (lambda x, a, e: ((a - x).abs().flatten(1).sum(1) <= e + 1e-6) & box(a), "another norm"),
    "forbids": (forbids, "comparisons with NaN are False"),
    "strict": (lambda x, a, e: (size(x, a) < e - 1e-6) & box(a), "exactly eps fails"),
    "divided": (lambda x, a, e: (size(x, a) <= e / 255 + 1e-6) & box(a), "divided by 255"),
    "multiplied": (lambda x, a, e: (size(x, a) <= e * 255) & box(a), "multiplied by 255"),
    "generous": (lambda x, a, e: (size(x, a) <= 1.01 * e + 1e-3) & box(a), "too much is forgiven"),
    "turned round": (lambda x, a, e: ~by_rows(x, a, e), "turned round"),
    "one for all": (lambda x, a, e: bool((a - x).abs().max() <= e), "one verdict for all"),
    "one for all, spread": (lambda x, a, e: by_rows(x, a, e).all().expand(len(x)), "all pictures get the same"),
    "per number": (lambda x, a, e: (a - x).abs() <= e, "one for each number"),
    "floats": (lambda x, a, e: by_rows(x, a, e).float(), "expected True and False"),
    "always": (lambda x, a, e: torch.ones(len(x), dtype=torch.bool), "the verdict is True; it should be False"),
    "in place": (in_place, "the caller's x was changed"),
    "text": (lambda x, a, e: "yes", "got str"),
    "unwritten": (lambda x, a, e: ..., "not written yet"),
}


@pytest.mark.parametrize("name", OBEYS_WRONG)
def test_obeys_wrong(capsys, name):
    answer, message = OBEYS_WRONG[name]
    said = verdict(capsys, check.obeys, answer)
    assert said[0] in "✗○" and message in said, said


# --- counting ---------------------------------------------------------------------------------------------


def fair(before, after, y, target=None):
    right = before == y
    won = after != y if target is None else after == target
    return (right & won).sum().item() / max(right.sum().item(), 1)


def as_tensor(before, after, y, target=None):
    return torch.tensor(fair(before, after, y, target))


@pytest.mark.parametrize("answer", [fair, as_tensor])
def test_rate_right(capsys, answer):
    assert verdict(capsys, check.success_rate, answer).startswith(f"✓ {answer.__name__}: ")


def won(after, y, target):
    return after != y if target is None else after == target


def share(mask):
    return mask.double().mean().item()


RATE_WRONG = {
    "no target": (lambda b, a, y, t: fair(b, a, y), "the target plays no part"),
    "no before": (lambda b, a, y, t: share(won(a, y, t)), "before plays no part"),
    "all in the denominator": (lambda b, a, y, t: share((b == y) & won(a, y, t)), "divided by all pictures"),
    "half of it": (
        lambda b, a, y, t: won(a, y, t).sum().item() / max((b == y).sum().item(), 1),
        "only the denominator",
    ),
    "any change": (lambda b, a, y, t: share(b != a), "before was compared with after"),
    "withstood": (lambda b, a, y, t: 1 - fair(b, a, y, t), "were exchanged"),
    "per cent": (lambda b, a, y, t: 100 * fair(b, a, y, t), "per cent"),
    "a count": (lambda b, a, y, t: ((b == y) & won(a, y, t)).sum(), "the division is missing"),
    "zero division": (
        lambda b, a, y, t: ((b == y) & won(a, y, t)).sum().item() / (b == y).sum().item(),
        "divides by zero",
    ),
    "nan": (lambda b, a, y, t: won(a, y, t)[b == y].double().mean(), "the rate is NaN"),
    "per picture": (lambda b, a, y, t: (b == y) & won(a, y, t), "expected one number"),
    "something else": (lambda b, a, y, t: 0.123, "got 0.123"),
    "no argument": (lambda b, a, y: 0, "parameters are not those of the stub"),
}


@pytest.mark.parametrize("name", RATE_WRONG)
def test_rate_wrong(capsys, name):
    answer, message = RATE_WRONG[name]
    said = verdict(capsys, check.success_rate, answer)
    assert said.startswith("✗") and message in said, said


# --- few questions ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim():
    """A linear model, easy to mislead, and eight pictures with what it reads in them."""
    model = specimens.linear(1, 16, 4, seed=0)
    x = 0.45 + 0.1 * specimens.images(8, 1, 16, seed=0)  # of little contrast
    with torch.no_grad():
        return model, x, model(x).argmax(1)


def searches(ask, x, y, eps, questions):
    return attacks.square(ask, x, y, Linf(eps), queries=questions)


def asks_too_much(ask, x, y, eps, questions):
    for _ in range(questions):
        ask(x)
    return searches(ask, x, y, eps, questions)


BLACK_BOX_WRONG = {
    "gives up": (lambda ask, x, y, eps, q: x.clone(), "0 of 8 signs are misread"),
    "noise": (
        lambda ask, x, y, eps, q: (x + eps * torch.randn(x.shape).sign()).clamp(0, 1),
        "without keeping what helped",
    ),
    "too many questions": (asks_too_much, "300 are allowed"),
    "too far": (lambda ask, x, y, eps, q: searches(ask, x, y, 4 * eps, q), "but ε is 0.0627"),
    "no clip": (lambda ask, x, y, eps, q: x + 10 * eps, "an image lies in [0, 1]"),
    "a gradient": (lambda ask, x, y, eps, q: torch.autograd.grad(ask(x.clone().requires_grad_()).sum(), x)[0], "line"),
    "one sign only": (lambda ask, x, y, eps, q: x[:1], "expected that of x"),
    "unwritten": (lambda ask, x, y, eps, q: ..., "not written yet"),
}


def test_black_box_right(capsys, victim):
    said = verdict(capsys, check.black_box, searches, *victim)
    assert said.startswith("✓ searches: "), said


@pytest.mark.parametrize("name", BLACK_BOX_WRONG)
def test_black_box_wrong(capsys, victim, name):
    answer, message = BLACK_BOX_WRONG[name]
    said = verdict(capsys, check.black_box, answer, *victim)
    assert said[0] in "✗○" and message in said, said


# --- what the chapter prints ------------------------------------------------------------------------------


def test_printed_solutions_pass(capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    assert len(solutions(CHAPTER)) == len(checks(CHAPTER)) == 3
    signs = load_images("signs", "test", n=512)
    model = load_model("signs-cnn")
    with torch.no_grad():
        right = model(signs.x[:64]).argmax(1) == signs.y[:64]
    names = {
        "torch": torch,
        "attacks": attacks,
        "Linf": Linf,
        "check": check,
        "model": model,
        "x": signs.x[:64][right],
        "y": signs.y[:64][right],
    }
    for solution, cell in zip(solutions(CHAPTER), checks(CHAPTER), strict=True):
        exec(solution, names)
        exec(cell, names)
        assert capsys.readouterr().out.startswith("✓")
