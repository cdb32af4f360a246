"""The checks of the chapter on MNIST: right answers pass, each wrong one gets the message meant for it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib import attacks, load_images
from advlib.data.images import Images
from advlib.defenses.training import fit
from advlib.exercises import check
from advlib.models import nets
from advlib.norms import Linf
from tests.exercises.printed import checks, solutions
from tests.exercises.verdicts import verdict
from tests.notebooks.needs import missing

CHAPTER = "22_mnist"


# --- the gradient by hand ---------------------------------------------------------------------------------


def forward(weights, biases, x):
    hidden = []
    for weight, bias in zip(weights, biases):
        x = x @ weight.T + bias
        hidden.append(x)
        x = x.relu()
    return hidden


def by_hand(weights, biases, x, y, error=None, masked=lambda layer, layers: True, last=None):
    """The right answer, with places where a mistake can be put in."""
    *hidden, logits = forward(weights, biases, x)
    onehot = F.one_hot(y, logits.shape[1])
    g = logits.softmax(1) - onehot if error is None else error(logits, onehot)
    for i in range(len(hidden), 0, -1):
        g = g @ weights[i]
        if masked(i, len(hidden)):
            g = g * (hidden[i - 1] > 0)
    return g @ weights[0]


def by_autograd(weights, biases, x, y):
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(forward(weights, biases, x)[-1], y, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("answer", [by_hand, by_autograd])
def test_gradient_right(capsys, answer):
    assert verdict(capsys, check.relu_gradient, answer).startswith(f"✓ {answer.__name__}: ")


def one_hidden_layer_only(weights, biases, x, y):
    (w1, w2), (b1, b2) = weights, biases
    a = x @ w1.T + b1
    p = (a.relu() @ w2.T + b2).softmax(1)
    return ((p - F.one_hot(y, len(b2))) @ w2 * (a > 0)) @ w1


def in_place(weights, biases, x, y):
    g = by_hand(weights, biases, x, y)
    x.add_(g)
    return g


GRADIENT_WRONG = {
    "flipped": (lambda w, b, x, y: -by_hand(w, b, x, y), "its sign flipped"),
    "no mask": (lambda w, b, x, y: by_hand(w, b, x, y, masked=lambda i, n: False), "the mask of the ReLU is missing"),
    "no label": (lambda w, b, x, y: by_hand(w, b, x, y, error=lambda z, e: z.softmax(1)), "e_y was not subtracted"),
    "no softmax": (lambda w, b, x, y: by_hand(w, b, x, y, error=lambda z, e: z - e), "the softmax is missing"),
    "mean": (lambda w, b, x, y: by_hand(w, b, x, y) / len(x), "the mean of the losses was taken"),
    "sign": (lambda w, b, x, y: by_hand(w, b, x, y).sign(), "the sign was taken already"),
    "no biases": (lambda w, b, x, y: by_hand(w, [0 * v for v in b], x, y), "without its biases"),
    "ReLU at the end": (
        lambda w, b, x, y: by_hand(w, b, x, y, error=lambda z, e: (z.softmax(1) - e) * (z > 0)),
        "no ReLU",
    ),
    "prediction": (
        lambda w, b, x, y: by_hand(w, b, x, forward(w, b, x)[-1].argmax(1)),
        "y was replaced by the prediction",
    ),
    "last mask only": (lambda w, b, x, y: by_hand(w, b, x, y, masked=lambda i, n: i == n), "only the last hidden"),
    "first mask only": (lambda w, b, x, y: by_hand(w, b, x, y, masked=lambda i, n: i == 1), "only the first hidden"),
    "one depth only": (one_hidden_layer_only, "too many values to unpack"),
    "summed": (lambda w, b, x, y: by_hand(w, b, x, y).sum(0), "the gradients of all images were added up"),
    "stops early": (lambda w, b, x, y: forward(w, b, x)[-1].softmax(1) - F.one_hot(y, len(b[-1])), "at a hidden layer"),
    "a tuple": (lambda w, b, x, y: (by_hand(w, b, x, y),), "got tuple"),
    "other numbers": (lambda w, b, x, y: by_hand(w, b, x, y) + 0.1, "100% of the entries differ"),
    "in place": (in_place, "the caller's x was changed"),
    "unwritten": (lambda w, b, x, y: ..., "not written yet"),
}


@pytest.mark.parametrize("name", GRADIENT_WRONG)
def test_gradient_wrong(capsys, name):
    answer, message = GRADIENT_WRONG[name]
    said = verdict(capsys, check.relu_gradient, answer)
    assert said[0] in "✗○" and message in said, said


# --- the robust network -----------------------------------------------------------------------------------


class Template(nn.Module):
    """784–128–10 weights with an answer made to order: two classes, told apart by the mean of the image."""

    def __init__(self, scale=1.0, answer=lambda logits: logits):
        super().__init__()
        self.net, self.scale, self.answer = nets.mnist_mlp(), scale, answer

    def forward(self, x):
        m = self.scale * (x.mean((1, 2, 3)) - 0.5)[:, None]
        rest = m.new_full((1, 8), -100).expand(len(x), 8)
        return self.answer(torch.cat([-m, m, rest], 1) + 0 * self.net(x))


@pytest.fixture(scope="module")
def digits():
    """Dark and light images: two classes that an ε below 0.2 cannot exchange, and a larger one can."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    return 0.1 * torch.rand(40, 1, 28, 28, generator=generator) + 0.25 + 0.4 * y[:, None, None, None], y


def test_robust_right(capsys, digits):
    said = verdict(capsys, check.robust_mlp, Template(), *digits, 0.1, clean=0.9, robust=0.8)
    assert said.startswith("✓") and "100% under PGD" in said


@pytest.mark.parametrize(
    ("model", "eps", "message"),
    [
        (lambda: [1, 2], 0.1, "got list, expected the network"),
        (nets.mnist_cnn, 0.1, "another architecture"),
        (
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
            ),
            0.1,
            "has 3 linear layers",
        ),
        (lambda: Template(answer=lambda z: z.softmax(1)), 0.1, "breaks the contract"),
        (lambda: Template(answer=lambda z: z * torch.nan), 0.1, "breaks the contract"),
        (lambda: Template(scale=-1.0), 0.1, "too little training"),
        (Template, 0.3, "never saw an attacked image"),
        (lambda: None, 0.1, "not written yet"),
    ],
)
def test_robust_wrong(capsys, digits, model, eps, message):
    said = verdict(capsys, check.robust_mlp, model(), *digits, eps, clean=0.9, robust=0.8)
    assert message in said, said


def test_robust_tells_one_step_from_many(capsys, digits, monkeypatch):
    def said():
        return verdict(capsys, check.robust_mlp, Template(), *digits, 0.1, clean=0.9, robust=0.8)

    monkeypatch.setattr(attacks, "pgd", lambda model, x, y, within, **settings: 1 - x)
    assert "survive one step only" in said()
    few = torch.arange(40)[:, None, None, None] < 12
    monkeypatch.setattr(attacks, "pgd", lambda model, x, y, within, **settings: torch.where(few, 1 - x, x))
    monkeypatch.setattr(attacks, "fgsm", attacks.pgd)
    assert "too few images or epochs" in said()


# --- what the chapter prints ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(2))
def test_printed_solutions_pass(number, capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    assert len(solutions(CHAPTER)) == len(checks(CHAPTER)) == 2
    names = {"F": F, "check": check}
    if number == 1:
        names |= names_before_the_solution()
    exec(solutions(CHAPTER)[number], names)
    exec(checks(CHAPTER)[number], names)
    assert capsys.readouterr().out.startswith("✓")


def names_before_the_solution():
    """What the chapter made before its last exercise: digits, the trained network, the attack to train on."""
    if reason := missing("mnist"):
        pytest.skip(reason)
    data = {}
    for split in ("train", "test"):
        images = load_images("mnist", split)
        data[split] = Images(images.x.double(), images.y, images.classes)
    torch.manual_seed(0)
    model = nets.mnist_mlp().double()
    adam = {"lr": 0.01, "batch_size": 256, "weight_decay": 0}
    fit(model, data["train"], epochs=4, **adam)

    def three_steps(model, x, y):
        return attacks.pgd(model, x, y, Linf(0.1), steps=3, early_stop=False)

    return data | {
        "copy": copy,
        "fit": fit,
        "adam": adam,
        "model": model,
        "three_steps": three_steps,
        "x": data["test"].x[:1000],
        "y": data["test"].y[:1000],
    }
