"""The checkers of the chapter on BIM and PGD: right answers pass, each wrong one gets its own message."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib import Linf, attacks, load_images, load_model
from advlib.exercises import check
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import verdict

CHAPTER = "07_bim"


@pytest.fixture(scope="module")
def scene():
    """The names that the chapter's check cells use."""
    signs = load_images("signs", "test", n=192)
    return {
        "torch": torch,
        "F": F,
        "attacks": attacks,
        "check": check,
        "model": load_model("signs-cnn"),
        "x": signs.x,
        "y": signs.y,
        "within": Linf(4 / 255),
    }


@pytest.mark.parametrize("number", range(3))
def test_printed_solutions_pass(number, capsys, monkeypatch, scene):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    assert len(solutions(CHAPTER)) == len(checks(CHAPTER)) == 3
    names = dict(scene)
    exec(solutions(CHAPTER)[number], names)
    exec(checks(CHAPTER)[number], names)
    assert capsys.readouterr().out.startswith("✓")


# --- BIM ----------------------------------------------------------------------------------------------


def gradient(model, x, y, reduction="sum"):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction=reduction), x)[0]


def loop(model, x, y, eps, step, steps, move=None, back=None, at_end=lambda z: z):
    move = move or (lambda z: step * gradient(model, z, y).sign())
    back = back or (lambda z: torch.clamp(z, x - eps, x + eps).clamp(0, 1))
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = back(x_adv + move(x_adv))
    return at_end(x_adv)


def box(z):
    return z.clamp(0, 1)


def by_delta(model, x, y, eps, step, steps):
    delta = torch.zeros_like(x)
    for _ in range(steps):
        delta = (delta + step * gradient(model, x + delta, y, "mean").sign()).clamp(-eps, eps)
        delta = (x + delta).clamp(0, 1) - x
    return x + delta


def box_before_ball(model, x, y, eps, step, steps):
    return loop(model, x, y, eps, step, steps, back=lambda z: torch.clamp(box(z), x - eps, x + eps))


@pytest.mark.parametrize("answer", [loop, by_delta, box_before_ball])
def test_bim_right(capsys, answer):
    assert verdict(capsys, check.bim, answer).startswith("✓")


def gradient_once(m, x, y, e, s, k):
    direction = gradient(m, x, y).sign()
    return loop(m, x, y, e, s, k, move=lambda z: s * direction)


def around_the_last(m, x, y, e, s, k):
    x_adv = x.clone()
    for _ in range(k):
        new = x_adv + s * gradient(m, x_adv, y).sign()
        x_adv = torch.clamp(new, x_adv - e, x_adv + e).clamp(0, 1)
    return x_adv


def returns_inside_the_loop(m, x, y, e, s, k):
    for _ in range(k):
        return loop(m, x, y, e, s, 1)


def trains(m, x, y, e, s, k):
    m.train()
    return loop(m, x, y, e, s, k)


def in_place(m, x, y, e, s, k):
    for _ in range(k):
        x += s * gradient(m, x, y).sign()
    return x


def softmax_twice(m, x, y, e, s, k):
    return loop(nn.Sequential(m, nn.Softmax(1)), x, y, e, s, k)


def on_the_prediction(m, x, y, e, s, k):
    return loop(m, x, m(x).argmax(1), e, s, k)


BIM_WRONG = {
    "gradient at the clean image": (gradient_once, "always that at the clean image"),
    "not projected": (lambda m, x, y, e, s, k: loop(m, x, y, e, s, k, back=box), "the projection is missing"),
    "around the last iterate": (around_the_last, "around the last iterate instead of the clean image"),
    "neither ball nor box": (lambda m, x, y, e, s, k: loop(m, x, y, e, s, k, back=lambda z: z), "accumulates beyond ε"),
    "ball at the end": (
        lambda *a: loop(*a, back=box, at_end=lambda z: torch.clamp(z, a[1] - a[3], a[1] + a[3]).clamp(0, 1)),
        "projected only once, after the last step",
    ),
    "all at the end": (
        lambda *a: loop(*a, back=lambda z: z, at_end=lambda z: torch.clamp(z, a[1] - a[3], a[1] + a[3]).clamp(0, 1)),
        "clipped only once",
    ),
    "no box": (lambda *a: loop(*a, back=lambda z: torch.clamp(z, a[1] - a[3], a[1] + a[3])), "the box is not"),
    "box at the end": (
        lambda *a: loop(*a, back=lambda z: torch.clamp(z, a[1] - a[3], a[1] + a[3]), at_end=box),
        "clipped to the box only at the end",
    ),
    "no sign": (
        lambda m, x, y, e, s, k: loop(m, x, y, e, s, k, move=lambda z: s * gradient(m, z, y)),
        "sign is missing",
    ),
    "downhill": (
        lambda m, x, y, e, s, k: loop(m, x, y, e, s, k, move=lambda z: -s * gradient(m, z, y).sign()),
        "every step is downhill",
    ),
    "step of eps": (lambda m, x, y, e, s, k: loop(m, x, y, e, e, k), "ε was used as the step size"),
    "eps / steps": (lambda m, x, y, e, s, k: loop(m, x, y, e, e / k, k), "the argument `step` is not used"),
    "returns inside the loop": (returns_inside_the_loop, "a return inside the loop"),
    "one step short": (lambda m, x, y, e, s, k: loop(m, x, y, e, s, k - 1), "one step is missing"),
    "one step more": (lambda m, x, y, e, s, k: loop(m, x, y, e, s, k + 1), "one step too many"),
    "averaged": (
        lambda m, x, y, e, s, k: loop(m, x, y, e, s, k, move=lambda z: s * gradient(m, z, y).mean(0, True).sign()),
        "averaged over the batch",
    ),
    "own eps": (lambda m, x, y, e, s, k: loop(m, x, y, 0.5, s, k), "accumulates beyond ε"),
    "training mode": (trains, "left in training mode"),
    "in place": (in_place, "the caller's x was changed"),
    "softmax twice": (softmax_twice, "softmax twice"),
    "prediction": (on_the_prediction, "y was replaced"),
    "delta only": (lambda *a: loop(*a) - a[1], "x was not added"),
    "x": (lambda *a: a[1].clone(), "x itself"),
    "half of eps": (lambda m, x, y, e, s, k: loop(m, x, y, e / 2, s, k), "differ from the formula"),
    "no argument steps": (lambda m, x, y, e, s: x, "parameters are not those of the stub"),
}


@pytest.mark.parametrize("name", BIM_WRONG)
def test_bim_wrong(capsys, name):
    answer, message = BIM_WRONG[name]
    said = verdict(capsys, check.bim, answer)
    assert said.startswith("✗") and message in said, said


# --- restarts -------------------------------------------------------------------------------------------


def loss(model, x, y):
    return F.cross_entropy(model(x), y, reduction="none")


def keeping(better, start=None):
    """A loop over seeds that replaces images where ``better(new, old)`` says so."""

    def answer(attack, model, x, y, restarts):
        best = attack(model, x, y, 0)
        for seed in range(1, restarts):
            x_adv = attack(model, x, y, seed)
            swap = better(loss(model, x_adv, y), loss(model, best, y))
            best = torch.where(swap.view(-1, 1, 1, 1), x_adv, best)
        return best.detach()

    return answer


def stacked(attack, model, x, y, restarts):
    runs = torch.stack([attack(model, x, y, seed) for seed in range(restarts)])
    losses = torch.stack([loss(model, run, y) for run in runs])
    return runs[losses.argmax(0), torch.arange(len(x))].detach()


def same_seed(attack, model, x, y, restarts):
    return [attack(model, x, y, 0) for _ in range(restarts)][-1]


def stale_loss(attack, model, x, y, restarts):
    best, first = attack(model, x, y, 0), None
    first = loss(model, best, y)
    for seed in range(1, restarts):
        x_adv = attack(model, x, y, seed)
        best = torch.where((loss(model, x_adv, y) > first).view(-1, 1, 1, 1), x_adv, best)
    return best.detach()


def mean_of_all(attack, model, x, y, restarts):
    return torch.stack([attack(model, x, y, seed) for seed in range(restarts)]).mean(0)


def best_batch(attack, model, x, y, restarts):
    return max((attack(model, x, y, seed) for seed in range(restarts)), key=lambda z: loss(model, z, y).mean())


def returns_x(attack, model, x, y, restarts):
    for seed in range(restarts):
        attack(model, x, y, seed)
    return x.clone()


@pytest.mark.parametrize("answer", [keeping(torch.gt), keeping(torch.ge), stacked])
def test_restarts_right(capsys, answer):
    assert verdict(capsys, check.restarts, answer).startswith("✓")


RESTARTS_WRONG = {
    "worst": (keeping(torch.lt), "each image's worst restart was kept"),
    "last": (keeping(lambda new, old: torch.ones_like(new).bool()), "the last restart was kept"),
    "first": (keeping(lambda new, old: torch.zeros_like(new).bool()), "the first restart was kept"),
    "best batch": (best_batch, "one restart was kept for the whole batch"),
    "mean": (mean_of_all, "the restarts were averaged"),
    "x": (returns_x, "never written back"),
    "same seed": (same_seed, "every restart used the same seed, 0"),
    "one run": (lambda a, m, x, y, r: a(m, x, y, 0), "the attack was called 1 times for restarts=4"),
    "seeds from 1": (
        lambda a, m, x, y, r: stacked(lambda m, x, y, s: a(m, x, y, s + 1), m, x, y, r),
        "the seeds were [1, 2, 3, 4]",
    ),
    "best_loss never updated": (stale_loss, "a lower loss than the best"),
}


@pytest.mark.parametrize("name", RESTARTS_WRONG)
def test_restarts_wrong(capsys, name):
    answer, message = RESTARTS_WRONG[name]
    said = verdict(capsys, check.restarts, answer)
    assert said.startswith("✗") and message in said, said


# --- cheap and good -------------------------------------------------------------------------------------

CHEAP_WRONG = {
    "one step": (attacks.fgsm, "80% are asked"),
    "forty steps, never stopping": (lambda *a: attacks.pgd(*a, steps=8, early_stop=False), "at most 5 are allowed"),
    "outside the ball": (lambda m, x, y, w: attacks.fgsm(m, x, y, Linf(16 / 255)), "but ε is 0.0157"),
    "no model": (lambda m, x, y, w: x.clone(), "no image went through the model"),
    "unwritten": (None, "not written yet"),
}


@pytest.mark.parametrize("name", CHEAP_WRONG)
def test_cheap_wrong(capsys, scene, name):
    answer, message = CHEAP_WRONG[name]
    assert message in verdict(capsys, check.cheap_attack, answer, *(scene[k] for k in ("model", "x", "y", "within")))
