"""The ImageNet checkers: printed solutions pass, every wrong answer gets the message meant for it."""

import ast

import nbformat
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib import Linf, attacks
from advlib.data.photos import to_8bit, to_8bit_within, to_jpeg
from advlib.exercises import check
from advlib.models import load_model
from tests.exercises.printed import CHAPTERS, checks, solutions
from tests.exercises.verdicts import verdict
from tests.notebooks.needs import missing

CHAPTER = "23_imagenet"


def functions(*names):
    """Functions that the chapter defines on the page."""
    notebook = nbformat.read(CHAPTERS / f"{CHAPTER}.ipynb", as_version=4)
    scope = {"torch": torch, "F": F, "to_jpeg": to_jpeg}
    for cell in notebook.cells:
        if cell.cell_type == "code" and any(f"def {name}(" in cell.source for name in names):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef) and node.name in names:
                    exec(ast.unparse(node), scope)
    return scope


# --- what the chapter prints as solutions ----------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_printed_solutions_pass(number, capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    assert len(solutions(CHAPTER)) == len(checks(CHAPTER)) == 3
    names = {"check": check}
    exec(solutions(CHAPTER)[number], names)
    exec(checks(CHAPTER)[number], names)
    assert capsys.readouterr().out.startswith("✓")


def test_the_printed_survivor_survives(capsys, monkeypatch):
    if reason := missing("imagenet:squeezenet1_1"):
        pytest.skip(reason)
    data = pytest.importorskip("skimage.data")
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    model = load_model("imagenet:squeezenet1_1")
    x = to_8bit(model.preprocess(torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None] / 255))
    names = functions("resized", "handled") | {
        "check": check,
        "attacks": attacks,
        "Linf": Linf,
        "to_8bit_within": to_8bit_within,
        "model": model,
        "x": x,
        "y": model(x).argmax(1),
    }
    exec(solutions(CHAPTER)[2], names)
    exec(checks(CHAPTER)[2], names)
    assert capsys.readouterr().out.startswith("✓")


# --- into a file -----------------------------------------------------------------------------------------


def right(x_adv, x, eps):
    most = int(eps * 255 + 1e-3)
    return (x + ((x_adv - x) * 255).round().clamp(-most, most) / 255).clamp(0, 1)


def by_levels(x_adv, x, eps):
    levels, own = (x_adv * 255).round(), (x * 255).round()
    most = int(eps * 255 + 1e-3)
    return torch.max(torch.min(levels, own + most), own - most).clamp(0, 255) / 255


@pytest.mark.parametrize("answer", [right, by_levels])
def test_to_file_right(capsys, answer):
    assert verdict(capsys, check.to_file, answer).startswith("✓")


def in_place(x_adv, x, eps):
    return x_adv.mul_(255).round_().div_(255)


TO_FILE_WRONG = {
    "plain rounding": (lambda a, x, e: (a * 255).round() / 255, "rounding to the nearest level steps out of the ball"),
    "nothing rounded": (lambda a, x, e: a, "nothing is rounded"),
    "cut off": (
        lambda a, x, e: (
            x
            + ((a * 255 + 1e-3).floor() / 255 - x).mul(255).round().clamp(-int(e * 255 + 1e-3), int(e * 255 + 1e-3))
            / 255
        ),
        "could be nearer to x_adv",
    ),
    "cut off by byte": (lambda a, x, e: (a * 255).byte() / 255, "out of the ball|cut off"),
    "towards zero": (lambda a, x, e: x + ((a - x) * 255).trunc() / 255, "cut off towards zero"),
    "bytes": (lambda a, x, e: (right(a, x, e) * 255).round().byte(), "divide by 255"),
    "levels as floats": (lambda a, x, e: (right(a, x, e) * 255).round(), "the levels 0 to 255 are returned"),
    "256 steps": (lambda a, x, e: (a * 256).round() / 256, "multiples of 1/256"),
    "clipped after rounding": (
        lambda a, x, e: x + ((a * 255).round() / 255 - x).clamp(-e, e),
        "clipped to the ball after rounding",
    ),
    "x itself": (lambda a, x, e: x.clone(), "the result is x itself"),
    "in place": (in_place, "the caller's x_adv was changed"),
    "perturbation": (lambda a, x, e: right(a, x, e) - x, "levels, but ε is|could be nearer"),
    "half the ball": (lambda a, x, e: right(a, x, e / 2), "more was taken off than the ball asks for"),
    "two results": (lambda a, x, e: (a, x), "got a tuple of 2"),
    "no return": (lambda a, x, e: print(end=""), "returns None"),
}


@pytest.mark.parametrize("name", TO_FILE_WRONG)
def test_to_file_wrong(capsys, name):
    answer, message = TO_FILE_WRONG[name]
    said = verdict(capsys, check.to_file, answer)
    assert said.startswith("✗") and any(part in said for part in message.split("|")), said


# --- straight through ------------------------------------------------------------------------------------


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(context, x, f):
        return f(x)

    @staticmethod
    def backward(context, grad):
        return grad, None


@pytest.mark.parametrize(
    "answer",
    [
        lambda f, x: x + (f(x.detach()) - x).detach(),
        lambda f, x: f(x.detach()) + (x - x.detach()),
        lambda f, x: Straight.apply(x, lambda z: f(z.detach())),
    ],
    ids=["correction", "zero added", "own function"],
)
def test_straight_through_right(capsys, answer):
    assert verdict(capsys, check.straight_through, answer).startswith("✓")


def changes_x(f, x):
    x.data.mul_(0.5)
    return x + (f(x.detach()) - x).detach()


STRAIGHT_WRONG = {
    "f alone": (lambda f, x: f(x.detach()), "records no gradient"),
    "f on the graph": (lambda f, x: f(x), "the gradient is zero"),
    "f forgotten": (lambda f, x: x * 1, "f is not applied"),
    "nothing detached": (lambda f, x: x + f(x) - x, "the gradient is zero"),
    "all detached": (lambda f, x: (x + f(x.detach()) - x).detach(), "records no gradient"),
    "x cancels": (lambda f, x: x + f(x.detach()) - x, "the gradient is zero"),
    "twice x": (lambda f, x: 2 * x + (f(x.detach()) - 2 * x).detach(), "2 times what it should be"),
    "f's own gradient": (lambda f, x: f(x) + x - x.detach(), "f's own gradient is in it"),
    "f wants NumPy": (lambda f, x: x + (f(x) - x).detach(), "detach() a tensor that records gradients"),
    "value doubled": (lambda f, x: x + f(x.detach()).detach(), "something is added to f(x)"),
    "x changed": (changes_x, "x was changed"),
    "arguments swapped": (lambda x, f: x + (f(x) - x).detach(), "not callable"),
    "flattened": (lambda f, x: (x + (f(x.detach()) - x).detach()).flatten(1), "expected that of x"),
}


@pytest.mark.parametrize("name", STRAIGHT_WRONG)
def test_straight_through_wrong(capsys, name):
    answer, message = STRAIGHT_WRONG[name]
    said = verdict(capsys, check.straight_through, answer)
    assert said.startswith("✗") and message in said, said


# --- a picture that survives -----------------------------------------------------------------------------


class Brightness(nn.Module):
    """Two classes, dark and bright; and a third that looks at the finest detail there is: neighbours' difference."""

    def forward(self, x):
        detail = (x[..., ::2] - x[..., 1::2]).mean((1, 2, 3))
        mean = x.mean((1, 2, 3))
        return torch.stack((0.5 - mean, mean - 0.5, 3 * detail - 0.03), 1) * 100


@pytest.fixture
def dark():
    """A dark photo: half a level makes it bright, and a level between neighbours makes it detailed."""
    return torch.full((1, 3, 28, 28), 127 / 255)


def with_detail(x, levels):
    change = torch.zeros_like(x)
    change[..., ::2], change[..., 1::2] = levels / 255, -levels / 255
    return x + change


def test_survivor_right(capsys, dark):
    assert verdict(capsys, check.survivor, dark + 4 / 255, Brightness(), dark, 1).startswith("✓")


SURVIVOR_WRONG = {
    "too far": (lambda x: x + 8 / 255, 1, "a pixel changed by 8.0 levels"),
    "out of the box": (lambda x: x + 4, 1, "not clipped"),
    "not the target": (lambda x: x, 1, "not read as the target even in a lossless file"),
    "read so already": (lambda x: x, 0, "read as the target already"),
    "lost in a JPEG": (lambda x: with_detail(x, 4), 2, "it survives"),
    "another shape": (lambda x: x[0], 1, "expected that of x"),
    "no tensor": (lambda x: x.numpy(), 1, "got ndarray"),
    "unwritten": (lambda x: None, 1, "○ survivor: not written yet"),
}


@pytest.mark.parametrize("name", SURVIVOR_WRONG)
def test_survivor_wrong(capsys, dark, name):
    answer, target, message = SURVIVOR_WRONG[name]
    said = verdict(capsys, check.survivor, answer(dark), Brightness(), dark, target)
    assert said[0] in "✗○" and message in said, said


def test_survivor_without_a_target(capsys, dark):
    assert "my_target" in verdict(capsys, check.survivor, dark + 4 / 255, Brightness(), dark, None)
