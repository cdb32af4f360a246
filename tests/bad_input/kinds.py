"""What kinds of parameters there are, and which values each forbids."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from inspect import Parameter

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from advlib.data import Images
from advlib.norms import L0, L2, Ball, Linf
from tests.bad_input.good import IMAGES, X, Y

NAN, INF = math.nan, math.inf
HUGE = 10**400  # a whole number that no float holds
GREY = "a grey image for a coloured one"


class Returns(nn.Module):
    """A model that gives back whatever ``make`` makes of proper logits."""

    def __init__(self, make):
        super().__init__()
        self.net, self.make = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), make

    def forward(self, x):
        return self.make(self.net(x))


def with_pixel(x, value):
    x = x.clone()
    x[(0,) * x.ndim] = value
    return x


# ---------------------------------------------------------------------------------------- settings
NOT_A_NUMBER = {"text": "3", "a list": [3], "complex": 3j, "a bool": True, "a function": abs, "two numbers": X[0, 0, 0]}


def whole(least=1, most=None):
    beyond = {} if most is None else {"too large": most + 1}
    return lambda _: NOT_A_NUMBER | {
        "a float": 2.5, "a whole float": 3.0, "NaN": NAN, "infinite": INF, "too small": least - 1, "negative": -3,
        "huge": HUGE, **beyond,
    }  # fmt: skip


def number(least=0.0, most=INF, positive=False):
    beyond = {} if most == INF else {"too large": most * 1.01 + 0.01, "far too large": most + 1000}
    below = {} if least == -INF else {"too small": least - 0.01, "far too small": least - 1000}
    at = {"the least": least} if positive else {}
    return lambda _: NOT_A_NUMBER | beyond | below | at | {
        "NaN": NAN, "infinite": INF, "minus infinity": -INF, "huge": HUGE, "a fraction": Fraction(1, 3),
    }  # fmt: skip


def fast(_):
    return flag(_) | {name: value for name, value in word(_).items() if name != "a bool"}


def one_of(forbidden):
    """Where several are right as well, one for each image."""
    return lambda good: {name: value for name, value in forbidden(good).items() if name != "two numbers"}


def also(forbidden, more):
    return lambda good: forbidden(good) | more


def share(positive=False):
    return number(0.0, 1.0, positive)


def flag(_):
    return {"text": "false", "0": 0, "1": 1, "a float": 0.5, "a list": [], "a tensor": torch.tensor([True, False])}


def word(_):
    return {"another word": "no-such-word", "empty": "", "a number": 3, "a list": ["best"], "a bool": True}


def team(_):
    """A name that a folder cannot have, or that means another one."""
    return text(_) | {"empty": "", "a path": "../ada", "a folder": "a/b", "of Windows": "a\\b", "hidden": ".ada",
                      "a null byte": "a\0b", "a line": "a\nb", "long": "a" * 100, "of the house": "PGD"}  # fmt: skip


def text(_):
    return {"a number": 3, "a list": ["a"], "bytes": b"a", "a tensor": X}


def texts(_):
    return {"a number": 3, "numbers": [1, 2, 3], "a tensor": Y, "a function": abs}


def function(_):
    return {"text": "cross_entropy", "a number": 3, "a list": [abs], "a tensor": X}


def loss(_):
    return function(_) | {
        "a mean": F.cross_entropy,
        "one value per logit": lambda logits, y, target=None: logits,
        "no tensor": lambda logits, y, target=None: 1.0,
        "NaN": lambda logits, y, target=None: logits.sum(1) * NAN,
    }


def mean_loss(_):
    return function(_) | {
        "one value per image": lambda logits, y: logits.sum(1),
        "no tensor": lambda logits, y: 1.0,
        "NaN": lambda logits, y: logits.mean() * NAN,
    }


def path(_):
    return {"a number": 3, "a list": ["a"], "empty": "", "a null byte": "a\0b"}


def pair(_):
    return {"a number": 3.0, "text": "ab", "one": (1.0,), "three": (1.0, 1.0, 1.0), "NaN": (NAN, 1.0), "texts": "ab",
            "in the wrong order": (1.5, 0.5), "a zero": (0.0, 1.0), "negative": (-1.0, 1.0), "infinite": (0.5, INF),
            "of no numbers": (None, None)}  # fmt: skip


def place(_):
    """A pair in any order: a centre may be outside of the picture."""
    return {name: value for name, value in pair(_).items() if name not in ("in the wrong order", "a zero", "negative")}


def size(_):
    return {"a number": 3.0, "text": "ab", "one": (4,), "three": (4, 4, 4), "floats": (4.5, 4.5), "a zero": (0, 4),
            "negative": (-4, 4), "NaN": (NAN, 4)}  # fmt: skip


def where(_):
    return {"a number": 3, "text": "no-such-device", "a list": ["cpu"]}


def generator(_):
    return {"a seed": 0, "text": "seed", "a class": torch.Generator}


# --------------------------------------------------------------------------------------- tensors
def tensor_like(good):
    """What no tensor of numbers may be, whatever it means."""
    return {
        "an array": good.numpy(),
        "a list": good.tolist(),
        "text": "x",
        "a number": 0.5,
        "sparse": good.to_sparse(),
        "without values": good.to("meta"),
    }


def pictures(good):
    return tensor_like(good) | {
        "8-bit integers": (good * 255).byte(),
        "integers": good.long(),
        "booleans": good > 0.5,
        "complex": good.to(torch.complex64),
        "8-bit floats": good.to(torch.float8_e5m2),
        "nested": torch.nested.nested_tensor([good[0]]),
        "without a batch": good[0],
        "of five dimensions": good[None],
        "empty": good[:0],
        "without pixels": good[..., :0],
        "a NaN pixel": with_pixel(good, NAN),
        "an infinite pixel": with_pixel(good, INF),
        "pixels up to 255": good * 255,
        "a pixel over 1": with_pixel(good, 1.01),
        "a pixel under 0": with_pixel(good, -0.01),
    }


def delta(good):
    """A perturbation, or a gradient: like images, but of any values."""
    kept = ("an array", "a list", "text", "a number", "sparse", "without values", "integers", "booleans", "complex",
            "without a batch", "of five dimensions")  # fmt: skip
    return {name: value for name, value in pictures(good).items() if name in kept}


def delta_of_some(good):
    return delta(good) | {"empty": good[:0], "without pixels": good[..., :0]}


def floats(good):
    """A tensor of numbers of any shape."""
    kept = ("integers", "booleans", "complex")
    return tensor_like(good) | {name: value for name, value in pictures(good).items() if name in kept}


def shown_batch(good):
    """Images to show, of which one may come without a batch."""
    return {name: value for name, value in pictures(good).items() if name != "without a batch"} | {
        "without a channel": good[0, 0],
        "two channels": good[:, :2],
    }


def for_model(good):
    """Images that go into a model besides: it must be able to take them."""
    return pictures(good) | {
        "of another size": good[..., :-1],
        "channels last": good.permute(0, 2, 3, 1),
        GREY: good[:, :1],
    }


def labels(good):
    return tensor_like(good) | {
        "floats": good.float(),
        "booleans": good > 0,
        "complex": good.to(torch.complex64),
        "unsigned of 16 bits": good.to(torch.uint16),
        "one-hot": F.one_hot(good, 3),
        "too few": good[:-1],
        "a single one": good[0],
        "empty": good[:0],
        "negative": good - 5,
    }


def labels_of_classes(good):
    return labels(good) | {"no class": good + 3}


def target(_):
    return {
        "the label": int(Y[0]),
        "no class": 9,
        "negative": -1,
        "huge": HUGE,
        "a float": 1.0,
        "a bool": True,
        "text": "stop",
        "a list": [2, 2],
        "float targets": torch.full((len(Y),), 2.0),
        "too many": torch.full((len(Y) + 1,), 2),
        "unsigned of 16 bits": torch.full((len(Y),), 2).to(torch.uint16),
        "without values": torch.full((len(Y),), 2, device="meta"),
    }


def class_index(_):
    return {"no class": 9, "negative": -1, "huge": HUGE, "a float": 1.0, "a bool": True, "text": "stop", "a tensor": Y}


def margins(_):
    return {
        "a list": [-1.0] * len(X),
        "text": "x",
        "a number": -1.0,
        "NaN": torch.full((len(X),), NAN),
        "too many": torch.ones(len(X) + 1),
        "whole numbers": torch.ones(len(X), dtype=torch.int64),
        "complex": torch.full((len(X),), 0.5j),
        "sparse": torch.ones(len(X)).to_sparse(),
        "without values": torch.ones(len(X), device="meta"),
    }


def mask(_):
    return {
        "a list": [True],
        "text": "x",
        "shades": torch.full((4, 4), 0.5),
        "NaN": torch.full((4, 4), NAN),
        "of another size": torch.ones(3, 2),
        "too many": torch.ones(len(X) + 1, 1, 4, 4),
        "of five dimensions": torch.ones(1, 1, 1, 4, 4),
        "sparse": torch.ones(4, 4).to_sparse(),
        "without values": torch.ones(4, 4, device="meta"),
        "complex": torch.full((4, 4), 0.5j),
    }


def boolean_mask(_):
    return {n: v for n, v in mask(_).items() if n not in ("NaN",)} | {"an array": np.ones(X.shape, bool)}


def shape_of_patch(good):
    return {"a list": [True], "text": "x", "shades": good / 2, "of another size": good[..., :1],
            "of one row": good[0, 0], "empty": good[:, :0], "without values": good.to("meta"),
            "sparse": good.to_sparse(), "none of it": 0 * good}  # fmt: skip


def rows_of(_):
    return {"a list": [0], "a number": 0, "text": "x", "floats": torch.tensor([0.0]), "complex": torch.tensor([1j]),
            "without values": Y.to("meta")}  # fmt: skip


def logits(good):
    return tensor_like(good) | {
        "integers": good.long(),
        "complex": good.to(torch.complex64),
        "one row": good[0],
        "one class": good[:, :1],
        "empty": good[:0],
    }


def picture_of_one(good):
    """One image (C, h, w) without a batch."""
    kept = ("8-bit integers", "integers", "booleans", "complex", "a NaN pixel", "an infinite pixel",
            "pixels up to 255", "a pixel over 1", "a pixel under 0", "without pixels")  # fmt: skip
    one = {name: value[0] for name, value in pictures(good[None]).items() if name in kept}
    return one | tensor_like(good) | {"a batch": good[None]}


def shown_image(good):
    """What may be shown: a tensor, an array or a picture, bytes as well."""
    values = (good, good.numpy().transpose(1, 2, 0))
    kept = ("a NaN pixel", "an infinite pixel", "pixels up to 255", "without pixels", "complex")
    return {name: value for name, value in picture_of_one(good).items() if name in kept} | {
        "text": "x", "a number": 0.5, "two channels": good[:2], "a batch": good[None], "sparse": good.to_sparse(),
        "without values": good.to("meta"), "an array of NaN": values[1] * NAN, "an array of texts": np.array([["a"]]),
        "a function": abs, "a dictionary": {}, "an uneven list": [[0.5], [0.5, 0.5]],
    }  # fmt: skip


def several(_):
    return {"a number": 3, "empty": [], "a function": abs}


def images_to_show(good):
    return several(good) | {"of another kind": [3, 4], "no images": good[:0]}


def captions(good):
    return several(good) | {"too few": [0], "no class": [0, 9], "a NaN": [0, NAN]}


def rows_of_panels(good):
    return several(good) | {"panels": good[0], "of another kind": [[3]], "empty rows": [[]]}


def frames(good):
    return several(good) | {"one": good[:1], "without alt": ["<img>", "<img>"], "of another kind": [3, 4]}


def readouts(_):
    return {"a number": 3, "too few": ["0"], "twice": ["0", "0"]}


def answers(good):
    return several(good) | {"one": {"a": "b"}, "a silent one": {"a": "", "b": "x"}, "numbers": {"a": 1, "b": 2}}


def right_answer(_):
    return {"another": "c", "a number": 3, "none of them": [], "a list": ["c"]}


def pieces(_):
    """What comes as *pictures."""
    return {"a number": (3,), "a tensor": (X,), "None": (None,)}


def words(good):
    return text(good) | {"empty": "", "blank": "  "}


def seeds(_):
    return {"a number": 3, "text": "0", "empty": [], "texts": ["0"], "twice": [1, 1], "negative": [-1], "huge": [HUGE],
            "a float": [0.5]}  # fmt: skip


def counts(_):
    return {"a number": 3, "text": "12", "empty": [], "texts": ["1"], "negative": [-1], "too many": [1, 3],
            "huge": [HUGE], "floats": [0.5]}  # fmt: skip


def budgets(_):
    """The ε of several norms."""
    return {"a number": 0.1, "text": "Linf", "a list": [0.1], "empty": {}, "a ball": Linf(0.1),
            "by name": {"Linf": (0.1,)}, "one ε": {Linf: 0.1}, "none": {Linf: ()},
            "falling": {Linf: (0.2, 0.1)}, "twice": {Linf: (0.1, 0.1)},
            "negative": {Linf: (-0.1,)}, "zero": {Linf: (0.0,)}, "a NaN": {Linf: (NAN,)}, "texts": {Linf: ("0.1",)},
            "half a pixel": {L0: (2.5,)}, "of 8 bits": {Linf: (8,)}, "no norm": {Ball: (0.1,)}}  # fmt: skip


def methods(_):
    return {"a number": 3, "text": "crown", "another one": ("no-such-word",), "numbers": (3,)}


def images_for_model(good):
    """Images for a model, or parts of more: a list of images is one."""
    grey = Images(good.x[:, :1], good.y, good.classes)
    return {what: value for what, value in images_value(good).items() if what != "a list"} | {
        GREY: grey, "of a class that it lacks": Images(good.x, good.y + 1, (*good.classes, "d")),
        "parts of another kind": [3], "no parts": [], "parts without labels": [X]}  # fmt: skip


def sign_labels(_):
    return {"a number": 0, "text": "stop", "texts": ["stop"], "floats": [0.5], "booleans": [True], "no class": [16],
            "negative": [-1], "huge": [HUGE], "two rows": [[0]]}  # fmt: skip


def per_channel(_):
    return {"a number": 0.5, "text": "0.5", "texts": ["a"] * 3, "two": [0.5, 0.5], "NaN": [NAN] * 3,
            "infinite": [INF] * 3, "empty": []}  # fmt: skip


def card(good):
    return {"text": "one", "empty": {}, "a list": [1], "a folder for a name": good | {"name": "../one"},
            "a number for a name": good | {"name": 3}}  # fmt: skip


def line(good):
    """One line: a curve, or its columns."""
    return {what: one["one"] for what, one in lines({"one": good}).items() if what.startswith("a line, ")}


def lines(good):
    curve = next(iter(good.values()))
    odd = {
        "percent": ([0, 1], [95.0, 20.0]), "negative": ([0, 1], [-0.5, 0.2]), "NaN": ([0, 1], [NAN, 0.2]),
        "an infinite ε": ([0, INF], [0.9, 0.2]), "of unequal lengths": ([0, 1], [0.5]), "empty": ([], []),
        "texts": (["a"], ["b"]), "a number": 3, "three columns": ([0], [0], [0]), "text": "ab",
    }  # fmt: skip
    return (
        several(good)
        | {"a curve": curve, "text": "x", "a list": [curve], "a number for a name": {3: curve}}
        | {f"a line, {name}": {"one": value} for name, value in odd.items()}
    )


# ---------------------------------------------------------------------------- balls, models, values
def ball(_):
    return {
        "a number": 0.1,
        "text": "linf",
        "a class": Linf,
        "no norm": Ball(0.1),
        "an ε too many": Linf(torch.full((len(X) + 1,), 0.1)),
    }


def one_ball(_):
    return ball(_) | {"an ε for each image": Linf(torch.full((len(X),), 0.1))}


def norm(_):
    return {"a ball": L2(1), "text": "L2", "no norm": Ball, "a function": abs, "a number": 2}


def epsilon(_):
    shapes = {"empty": torch.ones(0), "square": torch.ones(2, 2) / 2, "one number": torch.tensor(0.5)}
    values = {"a NaN": torch.tensor([NAN]), "negative": torch.tensor([-0.1]), "infinite": torch.tensor([INF])}
    three = X[:, 0, 0, 0]
    kinds = {"of booleans": three > 0, "complex": 1j * three, "without values": three.to("meta"),
             "sparse": three.to_sparse()}  # fmt: skip
    tensors = {f"a tensor, {name}": value for name, value in (shapes | values | kinds).items()}
    return tensors | {
        "text": "0.1", "a list": [0.1], "complex": 1j, "a bool": True, "NaN": NAN, "infinite": INF, "negative": -0.1,
        "huge": HUGE, "a fraction": Fraction(8, 255), "a ball": Linf(0.1),
    }  # fmt: skip


def epsilons(_):
    return {"a number": 0.1, "text": "0.1", "empty": [], "a NaN": [NAN], "negative": [-0.1], "texts": ["0.1"],
            "huge": [HUGE], "a fraction": [Fraction(8, 255)]}  # fmt: skip


def no_module(_):
    return {"a function": lambda x: x, "a class": nn.Linear, "text": "signs-cnn", "a number": 3, "a list": [1]}


def model(_):
    return no_module(_) | {
        "without values": nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).to("meta"),
        "probabilities": Returns(lambda z: z.softmax(1)),
        "a tuple": Returns(lambda z: (z, z)),
        "a dictionary": Returns(lambda z: {"logits": z}),
        "one output": Returns(lambda z: z[:, :1]),
        "labels": Returns(lambda z: z.argmax(1, keepdim=True).expand(-1, 3)),
        "the wrong batch": Returns(lambda z: z.repeat(2, 1)),
        "NaN": Returns(lambda z: z * NAN),
    }


def kept_model(_):
    """One that is not asked yet: what it answers is looked at when it is."""
    return no_module(_) | {"without values": nn.Linear(2, 2).to("meta")}


def models(_):
    return no_module(_) | {"empty": [], "of classes": [nn.Linear]}


def victim(_):
    return {
        "a class": nn.Linear,
        "text": "signs-cnn",
        "a number": 3,
        "a list": [1],
        "a tuple": lambda x: (x, x),
        "NaN": lambda x: torch.full((len(x), 3), NAN),
        "the wrong batch": lambda x: torch.eye(3)[:1],
        "one output": lambda x: torch.ones(len(x), 1),
    }


def images_value(_):
    return {"tensors": (X, Y), "a tensor": X, "text": "signs", "empty": IMAGES[:0], "a list": [IMAGES], "a number": 3}


def value_of(*kinds):
    """A value of one class: none of the things that people pass instead."""
    wrong = {"text": "x", "a number": 3, "a list": [1], "a tensor": X}
    return lambda _: {name: value for name, value in wrong.items() if not isinstance(value, kinds)}


def nothing(_):
    """What only goes into a message may be anything."""
    return {}


def wrap_none(forbidden: Callable, parameter: Parameter) -> Callable:
    """``None`` is forbidden as well, where neither the annotation nor the default says otherwise."""
    if forbidden is nothing or parameter.default is None or "None" in str(parameter.annotation):
        return forbidden
    return lambda good: {"None": None} | forbidden(good)
