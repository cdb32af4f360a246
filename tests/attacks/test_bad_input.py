"""Every mistake gets the message meant for it, from every attack: what came, what was expected, what to do."""

import pytest
import torch
from torch import nn

from advlib import attacks, evaluate, losses
from advlib.attacks.ascent import ascend
from advlib.attacks.facts import ALL, LABELS
from advlib.norms import L2, Ball, Linf
from tests.attacks.calls import calls

X = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 3])


def linear(classes=5, features=108):
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))


class Returns(nn.Module):
    """A model that gives back whatever ``make`` makes of proper logits."""

    def __init__(self, make):
        super().__init__()
        self.net, self.make = linear(), make

    def forward(self, x):
        return self.make(self.net(x))


def nan_at_call(k):
    calls = []
    return lambda z: (calls.append(1), z * float("nan") if len(calls) == k else z)[1]


def with_pixel(value):
    x = X.clone()
    x[1, 2, 3, 4] = value
    return x


BAD = {
    # the images
    "a numpy array": (dict(x=X.numpy()), TypeError, "x is a numpy.ndarray.*torch.from_numpy"),
    "a list": (dict(x=[[0.5]]), TypeError, "x is a list; expected a torch.Tensor"),
    "None": (dict(x=None), TypeError, "x is a NoneType"),
    "8-bit integers": (dict(x=(X * 255).byte()), TypeError, "uint8.*Divide by 255"),
    "other integers": (dict(x=(X * 255).long()), TypeError, "int64; expected a floating-point type"),
    "one image without a batch": (dict(x=X[0], y=Y[:1]), ValueError, r"\(3, 6, 6\).*unsqueeze\(0\)"),
    "one grey image": (dict(x=X[0, 0], y=Y[:1]), ValueError, r"\(6, 6\).*x\[None, None\]"),
    "flat vectors in five dimensions": (dict(x=X[None]), ValueError, "expected four dimensions"),
    "an empty batch": (dict(x=X[:0], y=Y[:0]), ValueError, "empty batch"),
    "no pixels": (dict(x=X[..., :0]), ValueError, "empty batch"),
    "a NaN pixel": (dict(x=with_pixel(float("nan"))), ValueError, "NaN or infinite pixels"),
    "an infinite pixel": (dict(x=with_pixel(float("inf"))), ValueError, "NaN or infinite pixels"),
    "pixels up to 255": (dict(x=255 * X), ValueError, "8-bit values: divide by 255"),
    "normalised pixels": (dict(x=(X - 0.5) / 0.25), ValueError, "normalised.*inside the model"),
    "a pixel a little over 1": (dict(x=with_pixel(1.01)), ValueError, r"to 1.01; expected \[0, 1\]"),
    "a pixel a little under 0": (dict(x=with_pixel(-0.01)), ValueError, r"from -0.01"),
    # the labels
    "labels as a list": (dict(y=[0, 1, 2, 3]), TypeError, r"y is a list.*torch.tensor\(y\)"),
    "float labels": (dict(y=Y.float()), TypeError, r"float32.*y.long\(\)"),
    "boolean labels": (dict(y=Y > 1), TypeError, "bool"),
    "one-hot labels": (dict(y=nn.functional.one_hot(Y, 5)), ValueError, "one-hot.*argmax"),
    "one-hot float labels": (dict(y=nn.functional.one_hot(Y, 5).float()), ValueError, "one-hot.*argmax"),
    "too few labels": (dict(y=Y[:3]), ValueError, r"\(3,\); expected \(4,\)"),
    "a single label": (dict(y=torch.tensor(1)), ValueError, r"\(\); expected \(4,\)"),
    "a label too large": (dict(y=Y + 2), ValueError, "y contains 5; expected class indices from 0 to 4"),
    "a negative label": (dict(y=Y - 1), ValueError, "y contains -1"),
    # the target
    "a target that is the label": (dict(target=2), ValueError, "target equals the label of image 2"),
    "targets that are the labels": (dict(target=Y), ValueError, "image 0 and 3 more"),
    "a target too large": (dict(target=9), ValueError, "target contains 9"),
    "a negative target": (dict(target=-1), ValueError, "target contains -1"),
    "a float target": (dict(target=1.0), TypeError, "target is a float"),
    "a target by name": (dict(target="stop"), TypeError, "target is a str"),
    "float targets": (dict(target=(Y + 1.0) % 5), TypeError, "float32"),
    "too many targets": (dict(target=torch.tensor([4, 4, 4, 4, 4])), ValueError, r"\(5,\); expected \(4,\)"),
    "True as a target": (dict(target=True), TypeError, "target is a bool"),
    # the ball
    "a bare number": (dict(within=0.03), TypeError, r"Say which norm is meant: Linf\(0.03\)"),
    "a string": (dict(within="linf"), TypeError, "expected a norm ball"),
    "a class of balls": (dict(within=Linf), TypeError, "expected a norm ball"),
    "a ball of no norm": (dict(within=Ball(0.1)), TypeError, "expected a norm ball"),
    # the mask
    "a list for a mask": (dict(mask=[True]), TypeError, r"mask is a list.*torch.as_tensor\(mask\)"),
    "shades in a mask": (dict(mask=torch.full((2, 2), 0.5)), ValueError, "mask > 0.5"),
    "a mask of another size": (dict(mask=torch.ones(3, 2)), ValueError, r"\(3, 2\).*broadcast to x, \(4, 3, 6, 6\)"),
    "too few masks": (dict(mask=torch.ones(3, 1, 6, 6)), ValueError, r"such as \(6, 6\).*or \(4, 1, 6, 6\) for one"),
    "a mask of five dimensions": (dict(mask=torch.ones(1, 4, 3, 6, 6)), ValueError, "broadcast"),
    "channels or images": (dict(mask=torch.ones(4, 6, 6)), ValueError, r"mask\[:, None\] is one for each image"),
    # the model
    "a function": (dict(model=lambda x: x), TypeError, "expected a torch.nn.Module"),
    "a class of models": (dict(model=nn.Linear), TypeError, r"class Linear.*Linear\(\)"),
    "None for a model": (dict(model=None), TypeError, "model is a NoneType"),
    "probabilities": (dict(model=Returns(lambda z: z.softmax(1))), ValueError, "probabilities.*Remove the softmax"),
    "a tuple": (dict(model=Returns(lambda z: (z, z))), TypeError, "returned a tuple"),
    "a dictionary": (dict(model=Returns(lambda z: {"logits": z})), TypeError, "returned a dict"),
    "one output": (dict(model=Returns(lambda z: z[:, :1])), ValueError, r"K ≥ 2"),
    "one flat output": (dict(model=Returns(lambda z: z[:, 0])), ValueError, r"\(4,\) for 4 images"),
    "labels instead of logits": (
        dict(model=Returns(lambda z: z.argmax(1, keepdim=True).expand(4, 5))),
        TypeError,
        "int64.*argmax inside the model",
    ),
    "the wrong batch": (dict(model=Returns(lambda z: z[:2])), ValueError, r"\(2, 5\) for 4 images"),
    "NaN logits": (dict(model=Returns(lambda z: z * float("nan"))), ValueError, "gave NaN logits"),
    "infinite logits": (dict(model=Returns(lambda z: z / 0)), ValueError, "gave (NaN|infinite) logits"),
    "a NaN gradient": (dict(model=Returns(lambda z: z + (z * 0).sqrt())), ValueError, "NaN input gradients at step 1"),
    "a detached model": (dict(model=Returns(lambda z: z.detach())), ValueError, "do not depend differentiably"),
    # the size of a batch
    "a batch size of zero": (dict(batch_size=0), ValueError, "batch_size is 0"),
    "half a batch": (dict(batch_size=2.5), ValueError, "batch_size is 2.5"),
}


# What an attack must take, and be, for a mistake to be one: a black box may be a function, a walk may have no target.
APPLIES = {
    "within": lambda call: "within" in call.takes,
    "target": lambda call: "target" in call.takes,
    "mask": lambda call: "mask" in call.takes,
    "model": lambda call: "model" in call.takes,
}


def mistakes():
    """Every attack with every mistake that can be made with it."""
    for call in calls():
        for name, (change, error, message) in BAD.items():
            if all(APPLIES.get(argument, lambda call: True)(call) for argument in change):
                yield pytest.param(call, change, error, message, id=f"{call} {name}")


@pytest.mark.parametrize("attack, change, error, message", list(mistakes()))
def test_every_mistake_is_named(attack, change, error, message):
    given = dict(model=linear(), x=X, y=Y, within=attack.balls[0])
    if isinstance(change.get("model"), Returns):  # on images that it reads right: nobody attacks the others
        given["y"] = change["model"].net(X).argmax(1)
    given |= change
    model, x, y, within = (given.pop(name) for name in ("model", "x", "y", "within"))
    if attack.fact.knows == LABELS and "target" in given:
        given["start"] = X  # which a targeted walk needs besides
    with pytest.raises(error, match=f"(?s){message}"):
        attack(model, x, y, within, **given)


IN_ANY_BALL = [call for call in calls() if call.fact.norms == ALL and "within" in call.takes]


@pytest.mark.parametrize("attack", IN_ANY_BALL, ids=str)
def test_an_epsilon_for_each_image_or_one_for_all(attack):
    with pytest.raises(ValueError, match="got 2 ε for 4 images"):
        attack(linear(), X, Y, Linf(torch.tensor([0.1, 0.2])))


@pytest.mark.parametrize(
    "attack, change, error, message",
    [
        (attacks.bim, dict(steps=0), ValueError, "steps is 0"),
        (attacks.pgd, dict(steps=2.0), TypeError, "steps is 2.0"),
        (attacks.mifgsm, dict(steps=True), TypeError, "steps is True"),
        (attacks.pgd, dict(restarts=0), ValueError, "restarts is 0"),
        (attacks.bim, dict(step=-0.1), ValueError, "For the other direction use target"),
        (attacks.pgd, dict(step=float("nan")), ValueError, "step is nan"),
        (attacks.bim, dict(step="small"), TypeError, "step is 'small'"),
        (attacks.pgd, dict(keep="first"), ValueError, '"best" or "last"'),
        (attacks.apgd, dict(loss=losses.dlr), ValueError, "needs at least 3"),
    ],
)
def test_wrong_settings_are_named(attack, change, error, message):
    with pytest.raises(error, match=message):
        attack(linear(classes=2 if "loss" in change else 5), X[:2], Y[:2], Linf(0.1), **change)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_a_model_that_breaks_on_the_way_is_caught_at_its_step(k):
    moment = f"at step {k}" if k <= 5 else "after the last step"
    with pytest.raises(ValueError, match=f"NaN logits {moment}"):
        ascend(Returns(nan_at_call(k)), X, Y, Linf(0.01), steps=5, early_stop=False)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: evaluate.predict(linear(), 255 * X), ValueError, "divide by 255"),
        (lambda: evaluate.predict(Returns(lambda z: z.softmax(1)), X), ValueError, "Remove the softmax"),
        (lambda: evaluate.accuracy(linear(), X, Y + 5), ValueError, "expected class indices from 0 to 4"),
        (lambda: evaluate.accuracy(linear(), X, Y.float()), TypeError, r"y.long\(\)"),
        (lambda: evaluate.report(linear(), X, Y, X[:2]), ValueError, "expected the same images"),
        (lambda: evaluate.report(linear(), X, Y, X + 1), ValueError, "x_adv has pixels"),
        (lambda: evaluate.report(linear(), X, Y, X, target=0), ValueError, "target equals the label of image 0"),
        (lambda: evaluate.curve(linear(), X, Y, attacks.fgsm, []), ValueError, "eps is empty"),
        (lambda: evaluate.curve(linear(), X, Y, attacks.fgsm, [8]), ValueError, r"Did you mean Linf\(8/255\)"),
        (lambda: evaluate.curve(linear(), X, Y, attacks.fgsm, [-1], norm=L2), ValueError, "≥ 0"),
        (
            lambda: evaluate.curve(linear(), X, Y, attacks.fgsm, [0.1], norm=lambda eps: Linf(torch.full((4,), eps))),
            ValueError,
            "curve takes one ε for all images and got 4",
        ),
        (lambda: evaluate.interval(3, 2), ValueError, "at most n"),
        (lambda: evaluate.interval(0, 0), ValueError, "n is 0"),
    ],
)
def test_evaluation_names_mistakes_too(call, error, message):
    with pytest.raises(error, match=message):
        call()
