"""The checkers of the chapter on norms: right answers pass, every wrong one gets the message meant for it."""

import pytest
import torch

from advlib import evaluate, load_images, load_model
from advlib.exercises import check
from advlib.norms import L1, L2, Linf
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import verdict

CHAPTER = "04_norms"


@pytest.fixture(scope="module")
def scene():
    """The names that the chapter's check cells use."""
    signs, model = load_images("signs", "test", n=256), load_model("signs-cnn")
    one, label = signs.x[7:8], signs.y[7:8]
    return {
        "torch": torch,
        "check": check,
        "model": model,
        "one": one,
        "label": label,
        "others": signs.x[signs.y != label],
    }


@pytest.mark.parametrize("number", range(5))
def test_printed_solutions_pass(number, capsys, monkeypatch, scene):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    assert len(solutions(CHAPTER)) == len(checks(CHAPTER)) == 5
    names = dict(scene)
    exec(solutions(CHAPTER)[number], names)
    exec(checks(CHAPTER)[number], names)
    assert set(capsys.readouterr().out) >= {"✓"}


# --- by hand ------------------------------------------------------------------------------------------

RIGHT = {"L0": 2, "L1": 0.9, "L2": 0.5, "L∞": 0.4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"L0": 4}, "values were counted, not pixels"),
        ({"L0": 12}, "all the values were counted"),
        ({"L0": 0.9}, "the formula of L1"),
        ({"L1": 0.1}, "the signs were kept"),
        ({"L1": 0.075}, "a sum, not a mean"),
        ({"L2": 0.25}, "the root is missing"),
        ({"L2": 0.9}, "add the squares up first"),
        ({"L∞": 0.2}, "-0.4 is a change of 0.4".replace("-", "−")),
        ({"L∞": -0.4}, "a size is never negative"),
        ({"L∞": 0.7}, "a slip in adding up"),
        ({"L1": "a lot"}, "expected one finite number"),
        ({"L1": None}, "○ norms_by_hand: not written yet"),
        ({"extra": 1}, "the names of the four norms are gone"),
    ],
)
def test_by_hand_wrong(capsys, change, message):
    assert message in verdict(capsys, check.norms_by_hand, RIGHT | change)


def test_by_hand_right(capsys):
    assert verdict(capsys, check.norms_by_hand, RIGHT).startswith("✓")


# --- projections --------------------------------------------------------------------------------------


def per_image(values):
    return values[:, None, None, None]


def length(d):
    return per_image(d.flatten(1).norm(dim=1))


def total(d):
    return per_image(d.abs().flatten(1).sum(1))


def price(u, eps, pick=torch.amax, descending=True):
    u = u.flatten(1).sort(dim=1, descending=descending).values
    return per_image(pick((u.cumsum(1) - eps) / torch.arange(1, u.shape[1] + 1), dim=1))


def soft(d, by):
    return d.sign() * (d.abs() - by).clamp_min(0)


def in_place(d, eps):
    return d.clamp_(-eps, eps)


LINF_WRONG = {
    "upper side only": (lambda d, e: d.clamp(max=e), "changes below −ε"),
    "min of tensors": (lambda d, e: torch.minimum(d, torch.tensor(e)), "changes below −ε"),
    "clipped to [0, ε]": (lambda d, e: d.clamp(0, e), "negative changes are gone"),
    "abs": (lambda d, e: d.abs().clamp(max=e), "all changes have become positive"),
    "like an image": (lambda d, e: d.clamp(0, 1), "clipped like an image"),
    "eps ignored": (lambda d, e: d.clamp(-1, 1), "whatever ε is"),
    "a step": (lambda d, e: e * d.sign(), "a step, not a projection"),
    "a ray": (lambda d, e: d * (e / per_image(d.abs().flatten(1).amax(1))).clamp_max(1), "round ball only"),
    "half": (lambda d, e: d.clamp(-e / 2, e / 2), "taken for a width"),
    "own number": (lambda d, e: d.clamp(-0.3, 0.3), "a number written into the code"),
    "in place": (in_place, "an operation in place"),
    "flattened": (lambda d, e: d.clamp(-e, e).flatten(1), "a lost axis"),
    "nothing": (lambda d, e: d.clone(), "but ε is 0.3"),
    "shrinks all": (lambda d, e: 0.9 * d.clamp(-e, e), "has been changed"),
    "zeroes": (lambda d, e: d * (d.abs() <= e), "further away"),
}
L2_WRONG = {
    "batch norm": (lambda d, e: d * (e / d.norm()).clamp_max(1), "share one budget"),
    "largest of the batch": (lambda d, e: d * (e / length(d).max()).clamp_max(1), "decides for all"),
    "grows": (lambda d, e: d * e / length(d).clamp_min(1e-12), "made larger"),
    "no minimum, no clamp": (lambda d, e: d * e / length(d), "made larger"),
    "zero over zero": (lambda d, e: d / length(d) * length(d).clamp_max(e), "division by zero"),
    "squared": (lambda d, e: d * (e / length(d).square().clamp_min(1e-12)).clamp_max(1), "the root is missing"),
    "L1 size": (lambda d, e: d * (e / total(d).clamp_min(1e-12)).clamp_max(1), "in the L1 norm"),
    "clipped": (lambda d, e: d.clamp(-e, e), "projection onto the L∞ ball"),
    "per pixel": (lambda d, e: d * (e / d.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1), "over the colours"),
    "times eps": (lambda d, e: d * e, "the division by its size is missing"),
    "unit length": (lambda d, e: d / length(d).clamp_min(1e-12), "ε is missing"),
    "upside down": (lambda d, e: d * (length(d) / e).clamp_max(1), "upside down"),
    "not shaped": (lambda d, e: d * (e / d.flatten(1).norm(dim=1)).clamp_max(1), "must become (N, 1, 1, 1)"),
    "returns the size": (lambda d, e: d.flatten(1).norm(dim=1), "a size instead of a change"),
}
L1_WRONG = {
    "a ray": (lambda d, e: d * (e / total(d).clamp_min(1e-12)).clamp_max(1), "round ball only"),
    "a ray, always": (lambda d, e: d * e / total(d).clamp_min(1e-12), "round ball only"),
    "clipped": (lambda d, e: d.clamp(-e, e), "projection onto the L∞ ball"),
    "price eps": (lambda d, e: soft(d, e), "ε is taken for the price"),
    "no sign": (lambda d, e: (d.abs() - price(d.abs(), e).clamp_min(0)).clamp_min(0), "the sign is missing"),
    "δ, not |δ|": (lambda d, e: (d - price(d.abs(), e).clamp_min(0)).clamp_min(0), "not to |δ|"),
    "sorted without abs": (lambda d, e: soft(d, price(d, e).clamp_min(0)), "sorted without absolute values"),
    "no floor": (lambda d, e: d.sign() * (d.abs() - price(d.abs(), e).clamp_min(0)), "does not stop at zero"),
    "negative price": (lambda d, e: soft(d, price(d.abs(), e)), "a negative price was paid"),
    "batch": (lambda d, e: soft(d, price(d.abs().reshape(1, -1), e).clamp_min(0)), "share one budget"),
    "k = n": (lambda d, e: soft(d, ((total(d) - e) / d[0].numel()).clamp_min(0)), "(k = n)"),
    "k = n, no floor": (lambda d, e: soft(d, (total(d) - e) / d[0].numel()), "(k = n)"),
    "smallest": (lambda d, e: soft(d, price(d.abs(), e, torch.amin).clamp_min(0)), "the smallest λₖ"),
    "ascending": (lambda d, e: soft(d, price(d.abs(), e, descending=False).clamp_min(0)), "descending=True"),
    "L2": (lambda d, e: L2(e).project(d), "but ε is 6"),
}
STEEPEST_WRONG = {
    "no abs": (lambda g, e: at(g.flatten(1), e * g.sign(), g), "without absolute values"),
    "no sign": (lambda g, e: at(g.abs().flatten(1), e * torch.ones_like(g), g), "the sign is missing"),
    "downhill": (lambda g, e: -L1(e).steepest(g), "the sign is turned round"),
    "whole batch": (lambda g, e: e * g.sign() * (g.abs() == g.abs().max()), "over the whole batch"),
    "L∞": (lambda g, e: Linf(1).steepest(g) * e, "the step for an L∞ ball"),
    "L2": (lambda g, e: L2(e).steepest(g), "the step for an L2 ball"),
    "L1-normalised": (lambda g, e: e * g / total(g), "spread over all values"),
    "value, not sign": (lambda g, e: at(g.abs().flatten(1), e * g, g), "the value of g was taken"),
    "no eps": (lambda g, e: L1(1).steepest(g), "ε is missing"),
    "best pixel": (lambda g, e: e * g.sign() * best_pixel(g), "pixels were ranked"),
    "half of eps": (lambda g, e: L1(e / 2).steepest(g), "below the largest possible"),
    "too much": (lambda g, e: L1(3 * e).steepest(g), "but ε is 3"),
}


def at(score, value, like):
    place = score.argmax(1, keepdim=True)
    return torch.zeros_like(score).scatter(1, place, value.flatten(1).gather(1, place)).view_as(like)


def best_pixel(g):
    pixels = g.abs().sum(1, keepdim=True)
    return pixels == pixels.amax((2, 3), keepdim=True)


WRONG = [
    pytest.param(checker, answer, message, id=f"{checker.__name__}: {name}")
    for checker, table in (
        (check.project_linf, LINF_WRONG),
        (check.project_l2, L2_WRONG),
        (check.project_l1, L1_WRONG),
        (check.steepest_l1, STEEPEST_WRONG),
    )
    for name, (answer, message) in table.items()
]


@pytest.mark.parametrize(("checker", "answer", "message"), WRONG)
def test_wrong(capsys, checker, answer, message):
    said = verdict(capsys, checker, answer)
    assert said.startswith("✗") and message in said, said


@pytest.mark.parametrize(
    ("checker", "answer"),
    [
        (check.project_linf, lambda d, e: torch.maximum(torch.minimum(d, torch.tensor(e)), torch.tensor(-e))),
        (check.project_linf, lambda d, e: Linf(e).project(d)),
        (check.project_l2, lambda d, e: torch.where(length(d) > e, d * e / length(d).clamp_min(1e-12), d)),
        (check.project_l2, lambda d, e: d.renorm(2, 0, e)),
        (check.project_l1, lambda d, e: L1(e).project(d)),
        (check.steepest_l1, lambda g, e: e * g.sign() * (g.abs() == g.abs().amax((1, 2, 3), keepdim=True))),
    ],
)
def test_right_in_another_style(capsys, checker, answer):
    assert verdict(capsys, checker, answer).startswith("✓")


# --- far away, and the same -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one[0], "an axis is lost"),
        (lambda one: one * 1.5, "end with .clamp(0, 1)"),
        (lambda one: one * 0.9, "the change is too small"),
        (lambda one: 1 - one, "the pattern is gone"),
        (lambda one: torch.zeros_like(one), "the pattern is gone"),
        (lambda one: one * 0.02, "the network reads"),
        (lambda one: "dusk", "got str"),
    ],
)
def test_far_but_same_wrong(capsys, scene, change, message):
    one = scene["one"]
    said = verdict(capsys, check.far_but_same, change(one), scene["model"], one, scene["label"], scene["others"])
    assert said.startswith("✗") and message in said, said


def test_far_but_same_wants_the_right_reading(capsys, scene):
    one, model = scene["one"], scene["model"]
    assert evaluate.predict(model, 0.4 * one)[0] == scene["label"]
    said = verdict(capsys, check.far_but_same, 0.4 * one, model, one, (scene["label"] + 1) % 16, scene["others"])
    assert "the network reads another sign" in said
