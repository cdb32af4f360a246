"""The checkers of the chapter on gradients: right answers pass, every wrong one gets its own message."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib import evaluate, losses
from advlib.exercises import check, specimens
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import fails_with, verdict

rows = torch.arange


# --- the input gradient -----------------------------------------------------------------------------------


def gradient(model, x, y, loss=losses.cross_entropy):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(model(x), y).sum(), x)[0]


def image_by_image(model, x, y):
    return torch.cat([gradient(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])


def by_grad_outputs(model, x, y):
    x = x.detach().clone().requires_grad_(True)
    loss = F.cross_entropy(model(x), y, reduction="none")
    return torch.autograd.grad(loss, x, grad_outputs=torch.ones_like(loss))[0].detach()


@pytest.mark.parametrize("answer", [gradient, image_by_image, by_grad_outputs])
def test_input_gradient_right(capsys, answer):
    assert verdict(capsys, check.input_gradient, answer).startswith("✓")


def with_backward(model, x, y):
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y, reduction="sum").backward()
    return x.grad


def on_the_callers_x(model, x, y):
    x.requires_grad_()
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]


def trains(model, x, y):
    model.train()
    return gradient(model.eval(), x, y) if len(x) == 1 else gradient(model.train(), x, y)


def freezes(model, x, y):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return gradient(model, x, y)


def steps_in_the_weights(model, x, y):
    result = gradient(model, x, y)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1e-3
    return result


def of_the_weights(model, x, y):
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), list(model.parameters()))


def not_recorded(model, x, y):
    return torch.autograd.grad(losses.cross_entropy(model(x), y).sum(), x)[0]


def not_summed(model, x, y):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(losses.cross_entropy(model(x), y), x)[0]


g = gradient

INPUT_WRONG = {
    "mean": (lambda m, x, y: g(m, x, y) / len(x), "divided by the number of images"),
    "mean by torch": (lambda m, x, y: g(m, x, y, F.cross_entropy), "divided by the number of images"),
    "downhill": (lambda m, x, y: -g(m, x, y), "this points downhill"),
    "sign": (lambda m, x, y: g(m, x, y).sign(), "the sign was taken already"),
    "absolute": (lambda m, x, y: g(m, x, y).abs(), "no entry is negative"),
    "length 1": (
        lambda m, x, y: g(m, x, y) / g(m, x, y).flatten(1).norm(dim=1)[:, None, None, None],
        "divided by its length",
    ),
    "largest 1": (
        lambda m, x, y: g(m, x, y) / g(m, x, y).abs().amax((1, 2, 3), keepdim=True),
        "divided by its largest entry",
    ),
    "averaged": (lambda m, x, y: g(m, x, y).mean(0, keepdim=True).expand_as(x), "averaged over the batch"),
    "summed": (lambda m, x, y: g(m, x, y).sum(0, keepdim=True).expand_as(x), "added up over the batch"),
    "one for all": (lambda m, x, y: g(m, x, y).sum(0), "one gradient for 6 images"),
    "moved image": (lambda m, x, y: x + g(m, x, y), "moved along its gradient"),
    "the prediction's": (lambda m, x, y: g(m, x, m(x).argmax(1)), "y was replaced by the prediction"),
    "softmax twice": (lambda m, x, y: g(nn.Sequential(m, nn.Softmax(1)), x, y), "softmax twice"),
    "margin": (lambda m, x, y: g(m, x, y, losses.margin), "gradient of the margin loss"),
    "nll": (lambda m, x, y: g(m, x, y, lambda z, y: F.nll_loss(z, y, reduction="sum")), "nll_loss of bare logits"),
    "probability": (
        lambda m, x, y: g(m, x, y, lambda z, y: z.softmax(1)[rows(len(y)), y]),
        "gradient of the probability",
    ),
    "half": (lambda m, x, y: g(m, x, y) / 2.5, "the result is off by 60%"),
    "backward": (with_backward, ".grad of the model's weights was filled"),
    "caller's x": (on_the_callers_x, "requires_grad was switched on for x itself"),
    "in place": (lambda m, x, y: x.copy_(g(m, x, y)), "the caller's x was changed"),
    "training mode": (trains, "left in training mode"),
    "frozen for good": (freezes, "no longer record gradients"),
    "weights moved": (steps_in_the_weights, "weights or statistics changed"),
    "of the weights": (of_the_weights, "got a tuple"),
    "not recorded": (not_recorded, "no gradient is recorded for x"),
    "not summed": (not_summed, "sum it before differentiating"),
    "a tuple": (lambda m, x, y: (g(m, x, y),), "got a tuple of 1"),
    "flat": (lambda m, x, y: g(m, x, y).flatten(1), "expected that of x"),
}


@pytest.mark.parametrize("name", INPUT_WRONG)
def test_input_gradient_wrong(capsys, monkeypatch, name):
    fails_with(capsys, monkeypatch, check.input_gradient, *INPUT_WRONG[name])


# --- back-propagation by hand -----------------------------------------------------------------------------


def hand(
    weights, biases, x, y, *, error=lambda z, t: z.softmax(1) - t, slope1=lambda u: 1 - u**2, slope2=lambda u: 1 - u**2
):
    """The right answer, with parts to exchange."""
    (w1, w2, w3), (b1, b2, b3) = weights, biases
    u1 = torch.tanh(x @ w1.T + b1)
    u2 = torch.tanh(u1 @ w2.T + b2)
    z = u2 @ w3.T + b3
    e = error(z, F.one_hot(y, z.shape[1]).float())
    return ((e @ w3 * slope2(u2)) @ w2 * slope1(u1)) @ w1


def by_autograd(weights, biases, x, y):
    x = x.clone().requires_grad_()
    (w1, w2, w3), (b1, b2, b3) = weights, biases
    z = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    return torch.autograd.grad(F.cross_entropy(z, y, reduction="sum"), x)[0]


@pytest.mark.parametrize("answer", [hand, by_autograd])
def test_backprop_right(capsys, answer):
    assert verdict(capsys, check.backprop, answer).startswith("✓")


def hand_with(**parts):
    return lambda weights, biases, x, y: hand(weights, biases, x, y, **parts)


def both(slope):
    return hand_with(slope1=slope, slope2=slope)


BACKPROP_WRONG = {
    "flipped": (hand_with(error=lambda z, t: t - z.softmax(1)), "e_y − p instead of p − e_y"),
    "no label": (hand_with(error=lambda z, t: z.softmax(1)), "e_y was not subtracted"),
    "no softmax": (hand_with(error=lambda z, t: z - t), "the softmax is missing"),
    "the prediction's": (
        hand_with(error=lambda z, t: z.softmax(1) - F.one_hot(z.argmax(1), z.shape[1])),
        "replaced by the prediction",
    ),
    "mean": (lambda w, b, x, y: hand(w, b, x, y) / len(x), "divided by the number of images"),
    "no tanh": (both(torch.ones_like), "the factors 1 − u² are missing"),
    "no first tanh": (hand_with(slope1=torch.ones_like), "the factor 1 − u₁² is missing"),
    "no second tanh": (hand_with(slope2=torch.ones_like), "the factor 1 − u₂² is missing"),
    "slope at a": (both(lambda u: 1 - torch.atanh(u) ** 2), "1 − a² instead of 1 − u²"),
    "no square": (both(lambda u: 1 - u), "the square is missing"),
    "sigmoid": (both(lambda u: u * (1 - u)), "the slope of the sigmoid"),
    "ReLU": (both(lambda u: (u > 0).float()), "the slope of a ReLU"),
    "u itself": (both(lambda u: u), "u itself was multiplied"),
    "no biases": (lambda w, b, x, y: hand(w, [0.0] * 3, x, y), "a network without biases"),
    "signs": (lambda w, b, x, y: hand(w, b, x, y).sign(), "the sign was taken already"),
    "added up": (lambda w, b, x, y: hand(w, b, x, y).sum(0), "the gradients of all images were added up"),
    "hidden layer": (lambda w, b, x, y: x @ w[0].T, "at a hidden layer"),
    "not transposed": (lambda w, b, x, y: hand([v.T for v in w], b, x, y), "shapes cannot be multiplied"),
    "two values": (lambda w, b, x, y: (hand(w, b, x, y), w[0]), "got tuple, expected a tensor"),
    "in place": (lambda w, b, x, y: x.copy_(hand(w, b, x, y)), "an operation in place"),
    "factor": (lambda w, b, x, y: 1.5 * hand(w, b, x, y), "the result is off by 50%"),
}


@pytest.mark.parametrize("name", BACKPROP_WRONG)
def test_backprop_wrong(capsys, monkeypatch, name):
    fails_with(capsys, monkeypatch, check.backprop, *BACKPROP_WRONG[name])


# --- finite differences -----------------------------------------------------------------------------------


def nudges(x, tau):
    return tau * torch.eye(len(x), dtype=x.dtype)


def central(f, x, tau):
    return torch.stack([(f(x + n) - f(x - n)) / (2 * tau) for n in nudges(x, tau)])


def entry_by_entry(f, x, tau):
    slopes = torch.zeros_like(x)
    for i in range(len(x)):
        moved = x.clone()
        moved[i] += tau
        above = f(moved)
        moved[i] -= 2 * tau
        slopes[i] = (above - f(moved)) / (2 * tau)
    return slopes


@pytest.mark.parametrize("answer", [central, entry_by_entry])
def test_finite_differences_right(capsys, answer):
    assert verdict(capsys, check.finite_differences, answer).startswith("✓")


def not_put_back(f, x, tau):
    slopes = torch.zeros_like(x)
    for i in range(len(x)):
        before = f(x)
        x[i] += tau
        slopes[i] = (f(x) - before) / tau
    return slopes


def autograd(f, x, tau):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x), x)[0]


DIFFERENCES_WRONG = {
    "divided by τ": (lambda f, x, tau: 2 * central(f, x, tau), "divide by 2 * tau"),
    "divided by 4τ": (lambda f, x, tau: central(f, x, tau) / 2, "divided by 4τ"),
    "flipped": (lambda f, x, tau: -central(f, x, tau), "the sign is flipped"),
    "not divided": (lambda f, x, tau: 2 * tau * central(f, x, tau), "the division is missing"),
    "no brackets": (lambda f, x, tau: tau * tau * central(f, x, tau), "brackets: / (2 * tau)"),
    "one side": (
        lambda f, x, tau: torch.stack([(f(x + n) - f(x)) / tau for n in nudges(x, tau)]),
        "one-sided differences",
    ),
    "the other side": (
        lambda f, x, tau: torch.stack([(f(x) - f(x - n)) / tau for n in nudges(x, tau)]),
        "one-sided differences",
    ),
    "one side by 2h": (
        lambda f, x, tau: torch.stack([(f(x + n) - f(x)) / (2 * tau) for n in nudges(x, tau)]),
        "but divided by 2τ",
    ),
    "2h to one side": (
        lambda f, x, tau: torch.stack([(f(x + 2 * n) - f(x)) / (2 * tau) for n in nudges(x, tau)]),
        "both points lie on one side",
    ),
    "autograd": (autograd, "this is the exact gradient"),
    "first entry": (lambda f, x, tau: central(f, x, tau)[:1].expand_as(x), "the same entry was moved each time"),
    "all at once": (lambda f, x, tau: (f(x + tau) - f(x - tau)) / (2 * tau), "all entries were moved at once"),
    "a list": (lambda f, x, tau: central(f, x, tau).tolist(), "torch.stack them"),
    "not put back": (not_put_back, "x was changed"),
    "own tau": (lambda f, x, tau: central(f, x, 1.0), "the result is off by"),
}


@pytest.mark.parametrize("name", DIFFERENCES_WRONG)
def test_finite_differences_wrong(capsys, monkeypatch, name):
    fails_with(capsys, monkeypatch, check.finite_differences, *DIFFERENCES_WRONG[name])


# --- the silent network -----------------------------------------------------------------------------------

EPS = 0.1


class Steep(nn.Module):
    """A network of specimens.mlp with tanh(s · a) in place of tanh(a)."""

    def __init__(self, net, s):
        super().__init__()
        self.net, self.s = net, s

    def forward(self, x):
        flatten, first, tanh, last = self.net
        return last(tanh(self.s * first(flatten(x))))


@pytest.fixture(scope="module")
def silent():
    """A plain network, the same one without gradients, and images that the steep one reads rightly."""
    net = specimens.mlp(1, 8, 4, seed=0)
    steep = Steep(net, 1000)
    x = specimens.images(60, 1, 8, seed=0)
    return net, steep, x, evaluate.predict(steep, x)[0]


def stepped(net, x, y, eps):
    return (x + eps * gradient(net, x, y, losses.margin).sign()).clamp(0, 1)


def test_silent_network_right(capsys, silent):
    net, steep, x, y = silent
    assert verdict(capsys, check.silent_network, stepped(net, x, y, EPS), steep, x, y, eps=EPS).startswith("✓")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net, steep, x, y: x, "100% of the pictures did not change at all"),
        (lambda net, steep, x, y: stepped(steep, x, y, EPS), "their gradient is exactly zero in the steep network"),
        (lambda net, steep, x, y: stepped(net, x, y, 2 * EPS), "but ε is 0.1000"),
        (lambda net, steep, x, y: stepped(net, x, y, EPS / 50), "less than half of what is allowed"),
        (lambda net, steep, x, y: (2 * x - stepped(net, x, y, EPS)).clamp(0, 1), "let every value move"),
        (lambda net, steep, x, y: x + EPS * gradient(net, x, y, losses.margin).sign(), "the result is not clipped"),
        (lambda net, steep, x, y: stepped(net, x, y, EPS)[:5], "expected that of x"),
        (lambda net, steep, x, y: [stepped(net, x, y, EPS)], "got a list of 1"),
        (lambda net, steep, x, y: None, "○ silent_network: not written yet"),
    ],
)
def test_silent_network_wrong(capsys, silent, change, message):
    net, steep, x, y = silent
    said = verdict(capsys, check.silent_network, change(*silent), steep, x, y, eps=EPS)
    assert message in said and not said.startswith("✓"), said


# --- what the chapter prints ------------------------------------------------------------------------------


def test_printed_solutions_pass(capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    net = specimens.mlp(3, 48, 16, seed=0)
    x = specimens.images(40, 3, 48, seed=0)
    names = {
        "torch": torch,
        "F": F,
        "check": check,
        "losses": losses,
        "evaluate": evaluate,
        "Steep": Steep,
        "net": net,
        "x_net": x,
        "y_net": evaluate.predict(Steep(net, 300), x)[0],
        "input_gradient": gradient,
        "my_cross_entropy": losses.cross_entropy,
    }
    assert len(solutions("03_gradients")) == len(checks("03_gradients")) == 4
    for solution, checked in zip(solutions("03_gradients"), checks("03_gradients"), strict=True):
        exec(solution, names)
        exec(checked, names)
        assert capsys.readouterr().out.startswith("✓")
