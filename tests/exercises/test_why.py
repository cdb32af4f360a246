"""The checkers of the chapter on why attacks exist: right answers pass, wrong ones get the message meant for them."""

import pytest
import torch
from torch import nn

from advlib import load_images, load_model
from advlib.defenses.training import fit
from advlib.exercises import check
from advlib.models import nets
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import verdict

# --- the worst margin of a linear model ----------------------------------------------------------------


def right_margin(w, b, x, y, eps):
    return y * (x @ w + b) - eps * w.abs().sum()


def by_the_worst_image(w, b, x, y, eps):
    return y * ((x - eps * y[:, None] * w.sign()) @ w + b)


def image_by_image(w, b, x, y, eps):
    return torch.stack([label * (row @ w + b) - eps * w.norm(1) for row, label in zip(x, y)])


@pytest.mark.parametrize("answer", [right_margin, by_the_worst_image, image_by_image])
def test_margin_right(capsys, answer):
    assert verdict(capsys, check.worst_margin, answer).startswith("✓")


def in_place(w, b, x, y, eps):
    x -= eps * y[:, None] * w.sign()
    return y * (x @ w + b)


MARGIN_WRONG = {
    "no attack": (lambda w, b, x, y, e: y * (x @ w + b), "margins without any attack"),
    "grows": (lambda w, b, x, y, e: y * (x @ w + b) + e * w.abs().sum(), "the sign is flipped"),
    "L2": (lambda w, b, x, y, e: y * (x @ w + b) - e * w.norm(), "the norm of an L2 ball"),
    "no abs": (lambda w, b, x, y, e: y * (x @ w + b) - e * w.sum(), "the absolute values are missing"),
    "largest": (lambda w, b, x, y, e: y * (x @ w + b) - e * w.abs().max(), "the answer for an L1 ball"),
    "mean": (lambda w, b, x, y, e: y * (x @ w + b) - e * w.abs().mean(), "n times too small"),
    "n": (lambda w, b, x, y, e: y * (x @ w + b) - e * len(w), "taken for ±1"),
    "no label": (lambda w, b, x, y, e: x @ w + b - e * w.abs().sum(), "the label is not used"),
    "label last": (lambda w, b, x, y, e: y * (x @ w + b - e * w.abs().sum()), "before multiplying by y"),
    "no bias": (lambda w, b, x, y, e: y * (x @ w) - e * w.abs().sum(), "the bias b is missing"),
    "scaled": (lambda w, b, x, y, e: (1 - e) * y * (x @ w + b), "ε scales the margin"),
    "one number": (lambda w, b, x, y, e: right_margin(w, b, x, y, e).sum(), "one margin per image"),
    "a list": (lambda w, b, x, y, e: right_margin(w, b, x, y, e).tolist(), "got list, expected a tensor"),
    "in place": (in_place, "the caller's x was changed"),
    "not a number": (lambda w, b, x, y, e: right_margin(w, b, x, y, e) * float("nan"), "NaN"),
    "other": (lambda w, b, x, y, e: right_margin(w, b, x, y, e) + 1, "off by up to 1"),
}


@pytest.mark.parametrize("name", MARGIN_WRONG)
def test_margin_wrong(capsys, name):
    answer, message = MARGIN_WRONG[name]
    said = verdict(capsys, check.worst_margin, answer)
    assert said.startswith("✗") and message in said, said


# --- worst case over noise -----------------------------------------------------------------------------


def right_ratio(g):
    return g.flatten(1).abs().sum(1) / g.flatten(1).norm(dim=1).clamp_min(1e-12)


def with_where(g):
    l1, l2 = g.abs().sum((1, 2, 3)), g.square().sum((1, 2, 3)).sqrt()
    return torch.where(l2 > 0, l1 / l2, 0)


@pytest.mark.parametrize("answer", [right_ratio, with_where])
def test_ratio_right(capsys, answer):
    assert verdict(capsys, check.noise_ratio, answer).startswith("✓")


def flat(g):
    return g.flatten(1)


RATIO_WRONG = {
    "upside down": (lambda g: flat(g).norm(dim=1) / flat(g).abs().sum(1), "upside down"),
    "no root": (lambda g: flat(g).abs().sum(1) / flat(g).square().sum(1), "the root is missing"),
    "no abs": (lambda g: flat(g).sum(1) / flat(g).norm(dim=1), "the absolute values are missing"),
    "abs too late": (lambda g: flat(g).sum(1).abs() / flat(g).norm(dim=1), "abs came after the sum"),
    "mean": (lambda g: flat(g).abs().mean(1) / flat(g).norm(dim=1), "a mean in place of the sum"),
    "over √n": (lambda g: right_ratio(g) / flat(g).shape[1] ** 0.5, "√n times too small"),
    "L∞": (lambda g: flat(g).abs().amax(1) / flat(g).norm(dim=1), "the L∞ norm was taken"),
    "worst alone": (lambda g: flat(g).abs().sum(1), "the random case is missing"),
    "whole batch": (lambda g: (g.abs().sum() / g.norm()).repeat(len(g)), "over the whole batch"),
    "one number": (lambda g: g.abs().sum() / g.norm(), "one ratio per image"),
    "zero by zero": (lambda g: flat(g).abs().sum(1) / flat(g).norm(dim=1), "division by zero"),
    "in place": (lambda g: g.abs_().flatten(1).sum(1), "the caller's grad was changed"),
    "other": (lambda g: right_ratio(g) + 2, "off by up to 2"),
}


@pytest.mark.parametrize("name", RATIO_WRONG)
def test_ratio_wrong(capsys, name):
    answer, message = RATIO_WRONG[name]
    said = verdict(capsys, check.noise_ratio, answer)
    assert said.startswith("✗") and message in said, said


# --- a sturdier network --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer, message",
    [
        ([], "trained in place"),
        (0.9, "got float, expected a network"),
        (nets.signs_small(), "it learnt too little"),
        (nn.Sequential(nets.signs_small(), nn.Softmax(1)), "the check cannot read this answer"),
        (nets.mnist_mlp(), "the check cannot read this answer"),
        (None, "○ sturdier: not written yet"),
    ],
)
def test_sturdier_wrong(capsys, answer, message):
    assert message in verdict(capsys, check.sturdier, answer)


@pytest.mark.parametrize("name", ["signs-overfit-a", "signs-decayed-a"])
def test_networks_of_the_chapter_are_not_sturdy_enough(capsys, name):
    assert "under ten steps at 2/255; 40% are needed" in verdict(capsys, check.sturdier, load_model(name))


# --- what the chapter prints ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(3))
def test_why_solutions_pass(number, capsys, monkeypatch):
    def small_network(images, epochs, decay=0.0, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = nets.signs_small()
        fit(network, images, epochs=epochs, lr=4e-3, weight_decay=decay, seed=seed, progress=False)
        return network

    monkeypatch.setenv("ADVLIB_GRADING", "1")
    names = {"torch": torch, "check": check, "load_images": load_images, "small_network": small_network}
    assert len(solutions("05_why")) == len(checks("05_why")) == 3
    exec(solutions("05_why")[number], names)
    exec(checks("05_why")[number], names)
    assert capsys.readouterr().out.startswith("✓")
