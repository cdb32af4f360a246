"""The FGSM checkers: right answers in several styles pass, every wrong one gets the message meant for it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib.exercises import check, specimens
from tests.exercises.verdicts import verdict


def gradient(model, x, y, reduction="mean"):
    x = x.clone().detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction=reduction), x)[0]


# --- right answers -------------------------------------------------------------------------------


def with_autograd(model, x, y, eps):
    return (x + eps * gradient(model, x, y).sign()).clamp(0, 1)


def with_sum(model, x, y, eps):
    return (x + eps * gradient(model, x, y, "sum").sign()).clamp(0, 1)


def with_backward(model, x, y, eps):
    x = x.clone().detach().requires_grad_()
    F.cross_entropy(model(x), y).backward()
    return (x + eps * x.grad.sign()).clamp(0, 1)


def on_the_callers_x(model, x, y, eps):
    x.requires_grad = True
    loss = F.cross_entropy(model(x), y)
    return torch.clip(x + eps * torch.autograd.grad(loss, x)[0].sign(), 0, 1).detach()


def clipped_twice(model, x, y, eps):
    step = (eps * gradient(model, x, y).sign()).clamp(-eps, eps)
    return torch.max(torch.min(x + step, torch.ones_like(x)), torch.zeros_like(x))


@pytest.mark.parametrize("answer", [with_autograd, with_sum, with_backward, on_the_callers_x, clipped_twice])
def test_fgsm_right(capsys, answer):
    assert verdict(capsys, check.fgsm, answer).startswith(f"✓ {answer.__name__}: ")


def test_fgsm_notes_loose_ends_without_failing(capsys):
    said = verdict(capsys, check.fgsm, with_backward)
    assert "✓" in said and ".detach()" in said and ".grad of every parameter" in said
    assert "caller's x now records gradients" in verdict(capsys, check.fgsm, on_the_callers_x)
    assert "Note" not in verdict(capsys, check.fgsm, with_autograd)


def test_fgsm_notes_training_mode(capsys):
    def trains(model, x, y, eps):
        model.train()
        return with_autograd(model, x, y, eps)

    assert "training mode" in verdict(capsys, check.fgsm, trains)


# --- wrong answers: (what a learner wrote, a piece of the message meant for it) -----------------------------


def in_place(model, x, y, eps):
    return x.add_(eps * gradient(model, x, y).sign()).clamp_(0, 1)


def averaged_over_the_batch(model, x, y, eps):
    return (x + eps * gradient(model, x, y).mean(0).sign()).clamp(0, 1)


def ascends_the_prediction(model, x, y, eps):
    return with_autograd(model, x, model(x).argmax(1), eps)


def softmax_twice(model, x, y, eps):
    return with_autograd(nn.Sequential(model, nn.Softmax(1)), x, y, eps)


def nll_of_logits(model, x, y, eps):
    x = x.clone().detach().requires_grad_()
    return (x + eps * torch.autograd.grad(F.nll_loss(model(x), y), x)[0].sign()).clamp(0, 1)


def differentiates_parameters(model, x, y, eps):
    loss = F.cross_entropy(model(x), y)
    g = torch.autograd.grad(loss, list(model.parameters()))[0]
    return (x + eps * g.sign()).clamp(0, 1)


def x_without_gradient(model, x, y, eps):
    loss = F.cross_entropy(model(x), y)
    return x + eps * torch.autograd.grad(loss, x)[0].sign()


def forgets_backward(model, x, y, eps):
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y)
    return (x + eps * x.grad.sign()).clamp(0, 1)


def keeps_the_tuple(model, x, y, eps):
    x = x.clone().requires_grad_()
    g = torch.autograd.grad(F.cross_entropy(model(x), y), x)
    return (x + eps * g.sign()).clamp(0, 1)


def returns_two(model, x, y, eps):
    return with_autograd(model, x, y, eps), eps


def forgets_return(model, x, y, eps):
    x_adv = with_autograd(model, x, y, eps)  # noqa: F841


def one_shape_only(model, x, y, eps):
    return with_autograd(model, x, y, eps).view(-1, 3, 48, 48)


def flattens(model, x, y, eps):
    return with_autograd(model, x, y, eps).flatten(1)


def random_sign(model, x, y, eps):
    return (x + eps * torch.randn(x.shape).sign()).clamp(0, 1)


def first_image_only(model, x, y, eps):
    x_adv = x.clone()
    x_adv[:1] = with_autograd(model, x[:1], y[:1], eps)
    return x_adv


def per_image_loss(model, x, y, eps):
    x = x.clone().requires_grad_()
    return x + torch.autograd.grad(F.cross_entropy(model(x), y, reduction="none"), x)[0]


def two_steps(model, x, y, eps):
    return with_autograd(model, with_autograd(model, x, y, eps), y, eps)


g = gradient  # the table below reads better with the formula's letter


FGSM_WRONG = {
    "descends": (lambda m, x, y, e: (x - e * g(m, x, y).sign()).clamp(0, 1), "the sign is flipped"),
    "no sign": (lambda m, x, y, e: (x + e * g(m, x, y)).clamp(0, 1), "the sign is missing"),
    "no sign, no clip": (lambda m, x, y, e: x + e * g(m, x, y), "the sign is missing"),
    "no sign, summed loss": (lambda m, x, y, e: (x + e * gradient(m, x, y, "sum")).clamp(0, 1), "the sign is missing"),
    "no clip": (lambda m, x, y, e: x + e * g(m, x, y).sign(), "the result is not clipped"),
    "clips to [-1, 1]": (lambda m, x, y, e: (x + e * g(m, x, y).sign()).clamp(-1, 1), "clipped to [-1, 1]"),
    "clips the perturbation": (
        lambda m, x, y, e: x + (e * g(m, x, y).sign()).clamp(0, 1),
        "the perturbation was clipped, not the image",
    ),
    "clips both": (lambda m, x, y, e: (x + (e * g(m, x, y).sign()).clamp(0, 1)).clamp(0, 1), "as if it were an image"),
    "clamps by eps, not the box": (
        lambda m, x, y, e: x + (e * g(m, x, y).sign()).clamp(-e, e),
        "the result is not clipped",
    ),
    "eps in 0..255": (lambda m, x, y, e: with_autograd(m, x, y, e / 255), "ε was divided by 255"),
    "eps times 255": (lambda m, x, y, e: with_autograd(m, x, y, e * 255), "ε was multiplied by 255"),
    "half a step": (lambda m, x, y, e: with_autograd(m, x, y, e / 2), "width of the interval"),
    "eps written in": (lambda m, x, y, e: with_autograd(m, x, y, 8 / 255), "written into the code instead of eps"),
    "own eps, too large": (lambda m, x, y, e: with_autograd(m, x, y, 0.3), "but ε is 0.0314"),
    "two steps": (two_steps, "the L∞ size of a perturbation is 0.0627, but ε is 0.0314"),
    "perturbation only": (lambda m, x, y, e: e * g(m, x, y).sign(), "x was not added"),
    "perturbation, clipped": (lambda m, x, y, e: (e * g(m, x, y).sign()).clamp(0, 1), "clipped to [0, 1], not the"),
    "sign only": (lambda m, x, y, e: g(m, x, y).sign(), "ε and x are missing"),
    "returns x": (lambda m, x, y, e: x.clone(), "the result is x itself"),
    "L2 step": (lambda m, x, y, e: right_l2(m, x, y, e), "divided by its length"),
    "divided by the largest": (
        lambda m, x, y, e: (x + e * g(m, x, y) / g(m, x, y).abs().amax((1, 2, 3), keepdim=True)).clamp(0, 1),
        "divided by its largest entry",
    ),
    "in place": (in_place, "the caller's x was changed"),
    "averaged": (averaged_over_the_batch, "averaged or summed over the batch"),
    "the prediction's loss": (ascends_the_prediction, "y was replaced by model(x).argmax(1)"),
    "softmax twice": (softmax_twice, "softmax twice"),
    "nll of logits": (nll_of_logits, "without log_softmax"),
    "parameters": (differentiates_parameters, "line 4 of differentiates_parameters"),
    "no requires_grad": (x_without_gradient, "no gradient is recorded for x"),
    "no backward": (forgets_backward, "stays None until loss.backward()"),
    "a tuple": (keeps_the_tuple, "take its first entry, [0]"),
    "returns two": (returns_two, "got a tuple of 2"),
    "no return": (forgets_return, "the last line does not return the result"),
    "fixed shape": (one_shape_only, "a shape is written into your code"),
    "flattens": (flattens, "expected that of x, (5, 3, 48, 48)"),
    "random sign": (random_sign, "50% of the pixels differ from the formula"),
    "soft sign, downhill": (
        lambda m, x, y, e: (x - e * (1e4 * g(m, x, y)).clamp(-1, 1)).clamp(0, 1),
        "does not follow the gradient",
    ),
    "first image only": (first_image_only, "of the pixels differ from the formula"),
    "loss per image": (per_image_loss, "sum it before differentiating"),
    "returns numpy": (lambda m, x, y, e: with_autograd(m, x, y, e).numpy(), "got ndarray, expected a tensor"),
    "double precision": (lambda m, x, y, e: with_autograd(m, x, y, e).double(), "a conversion on the way"),
    "returns the loss": (lambda m, x, y, e: F.cross_entropy(m(x), y), "the loss is returned"),
    "not a number": (lambda m, x, y, e: x / x.sub(x), "NaN or infinity"),
    "no argument eps": (lambda m, x, y: x, "parameters are not those of the stub"),
}


@pytest.mark.parametrize("name", FGSM_WRONG)
def test_fgsm_wrong(capsys, name):
    answer, message = FGSM_WRONG[name]
    said = verdict(capsys, check.fgsm, answer)
    assert said.startswith("✗") and message in said, said


@pytest.mark.parametrize("name", FGSM_WRONG)
def test_fgsm_wrong_raises_when_grading(monkeypatch, name):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    with pytest.raises(AssertionError, match="^✗"):
        check.fgsm(FGSM_WRONG[name][0])


# --- the L2 step ------------------------------------------------------------------------------------


def right_l2(model, x, y, eps):
    g = gradient(model, x, y)
    norm = g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return (x + eps * g / (norm + 1e-12)).clamp(0, 1)


def normalised_by_torch(model, x, y, eps):
    g = F.normalize(gradient(model, x, y, "sum").flatten(1), dim=1).view_as(x)
    return (x + eps * g).clamp(0, 1)


@pytest.mark.parametrize("answer", [right_l2, normalised_by_torch])
def test_l2_right(capsys, answer):
    assert verdict(capsys, check.fgm_l2, answer).startswith("✓")


def norm(g):
    return g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


L2_WRONG = {
    "the L∞ step": (with_autograd, "the step for an L∞ ball"),
    "descends": (lambda m, x, y, e: (x - e * g(m, x, y) / norm(g(m, x, y))).clamp(0, 1), "the sign is flipped"),
    "no clip": (lambda m, x, y, e: x + e * g(m, x, y) / norm(g(m, x, y)), "the result is not clipped"),
    "norm of the batch": (lambda m, x, y, e: (x + e * g(m, x, y) / g(m, x, y).norm()).clamp(0, 1), "one budget"),
    "norm of the channels": (
        lambda m, x, y, e: (x + e * g(m, x, y) / g(m, x, y).norm(dim=1, keepdim=True)).clamp(0, 1),
        "over the colour channels only",
    ),
    "L1 norm": (
        lambda m, x, y, e: (x + e * g(m, x, y) / g(m, x, y).abs().sum((1, 2, 3), keepdim=True)).clamp(0, 1),
        "in the L1 norm",
    ),
    "no root": (lambda m, x, y, e: (x + e * g(m, x, y) / norm(g(m, x, y)) ** 2).clamp(0, 1), "the root is missing"),
    "not divided": (lambda m, x, y, e: (x + e * g(m, x, y)).clamp(0, 1), "not divided by its length"),
    "zero gradient": (lambda m, x, y, e: (x + e * g(m, x, y) / norm(g(m, x, y))).clamp(0, 1), "division by zero"),
    "norms not shaped": (
        lambda m, x, y, e: x + e * g(m, x, y) / g(m, x, y).flatten(1).norm(dim=1),
        "must become (N, 1, 1, 1)",
    ),
    "half a step": (lambda m, x, y, e: right_l2(m, x, y, e / 2), "width of the interval"),
    "perturbation only": (lambda m, x, y, e: e * g(m, x, y) / norm(g(m, x, y)), "x was not added"),
}


@pytest.mark.parametrize("name", L2_WRONG)
def test_l2_wrong(capsys, name):
    answer, message = L2_WRONG[name]
    said = verdict(capsys, check.fgm_l2, answer)
    assert said.startswith("✗") and message in said, said


# --- the smallest ε ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim():
    """A model, an image that it reads rightly, and the smallest ε in steps of 1/10000 that fools it."""
    model = specimens.mlp(1, 16, 4, seed=0)
    x = specimens.images(1, 1, 16, seed=0)
    y = model(x).argmax(1)
    for k in range(1, 10000):
        if model(with_autograd(model, x, y, k / 10000)).argmax(1) != y:
            return model, x, y, k / 10000


def test_smallest_eps_right(capsys, victim):
    model, x, y, eps = victim
    assert verdict(capsys, check.smallest_eps, eps, model, x, y).startswith("✓")
    assert verdict(capsys, check.smallest_eps, torch.tensor([eps + 0.0004]), model, x, y).startswith("✓")
    assert verdict(capsys, check.smallest_eps, (int(eps * 255) + 1) / 255, model, x, y, tolerance=1 / 255)[0] == "✓"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e - 0.002, "still gives the right label"),
        (lambda e: e + 0.01, "fools the model already"),
        (lambda e: e * 255, "divide it by 255"),
        (lambda e: 0, "no change fools nobody"),
        (lambda e: -e, "no change fools nobody"),
        (lambda e: "a little", "expected one finite number"),
        (lambda e: float("nan"), "expected one finite number"),
        (lambda e: torch.ones(3), "expected one finite number"),
        (lambda e: True, "expected one finite number"),
        (lambda e: None, "○ smallest_eps: not written yet"),
    ],
)
def test_smallest_eps_wrong(capsys, victim, change, message):
    model, x, y, eps = victim
    assert message in verdict(capsys, check.smallest_eps, change(eps), model, x, y)


def test_smallest_eps_needs_an_image_that_is_read_rightly(capsys, victim):
    model, x, y, eps = victim
    assert "misreads the clean image" in verdict(capsys, check.smallest_eps, eps, model, x, (y + 1) % 4)


# --- the fooling rate --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd():
    """A model, 100 images of which it reads some wrongly, ε, and the counts that the rates are made of."""
    model = specimens.mlp(1, 16, 4, seed=0)
    x = specimens.images(100, 1, 16, seed=1)
    with torch.no_grad():
        y = model(x).argmax(1)
    y[:30] = (y[:30] + 1) % 4
    eps = 0.02
    right, wrong = model(x).argmax(1) == y, model(with_autograd(model, x, y, eps)).argmax(1) != y
    return (model, x, y, eps), right, wrong


def test_fooling_rate(capsys, crowd):
    given, right, wrong = crowd
    both = (right & wrong).sum().item()
    true = both / right.sum().item()
    assert 0.2 < true < 0.8 and abs(true - 0.5) > 0.02  # else the wrong answers below could not be told apart
    cases = {
        true: "✓",
        round(true, 3): "✓",
        100 * true: "per cent",
        both: "or a count",
        1 - true: "exchanged",
        wrong.float().mean().item(): "without any attack",
        1 - wrong.float().mean().item(): "accuracy under attack",
        both / 100: "divided by all images",
        true + 0.3: "off by 0.3",
    }
    for answer, message in cases.items():
        assert message in verdict(capsys, check.fooling_rate, answer, *given), (answer, true)
