"""Slips that any formula can suffer at its two ends: in what it is given, and in what it returns.

The frame tries them around the right function and around the known wrong ones, so that no exercise lists them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from advlib.exercises.mistake import Mistake
from advlib.exercises.properties import alike

Given = Callable[[tuple], tuple]
Returned = Callable[[Any, tuple], Any]

# --- what is given ----------------------------------------------------------------------------------------

_SYMBOLS = {"eps": "ε", "step": "the step", "size": "the step", "tau": "τ"}
_SCALED = [
    (lambda e: e / 255, "divided by 255", "it already is in pixel units, in which white is 1: use it as it is"),
    (lambda e: e * 255, "multiplied by 255", "it already is in pixel units, in which white is 1: use it as it is"),
    (lambda e: e / 2, "halved", "it is the size in one direction, not a width from end to end"),
    (lambda e: 2 * e, "doubled, to twice as much", "it is the whole size that is allowed: use it as it is"),
    (lambda e: e * e, "squared", "use it as it is"),
    (lambda e: e**0.5, "replaced by its root", "use it as it is"),
    (lambda e: -e, "taken with a minus", "check the sign in front of it"),
]  # fmt: skip
_WRITTEN = {8 / 255: "8/255", 0.01: "0.01", 0.03: "0.03", 0.1: "0.1", 0.3: "0.3", 1.0: "1", 1e-3: "0.001"}


def _names(function: Callable) -> list[str]:
    known = inspect.signature(function).parameters.items()
    return [name for name, one in known if one.kind == one.POSITIONAL_OR_KEYWORD]


def given(function: Callable) -> list[tuple[Given, Mistake]]:
    """What people make of the arguments, by the parameters' names: a size, a label, a target, images."""
    return list(_given(_names(function)))


def _given(names: list[str]) -> Iterator[tuple[Given, Mistake]]:

    def put(name: str, change: Callable[[dict], Any]) -> Given:
        return lambda args: tuple(
            change(dict(zip(names, args))) if own == name else arg for own, arg in zip(names, args)
        )  # fmt: skip

    for name in (name for name in names if name in _SYMBOLS):
        for scale, did, mend in _SCALED:
            seen = f"the result is the right one for {_SYMBOLS[name]} {did}"
            yield (
                put(name, lambda of, name=name, scale=scale: scale(of[name])),
                Mistake(seen, f"{name} was {did}", mend),
            )
        for number, text in _WRITTEN.items():
            seen, cause = (
                f"the result is that of {_SYMBOLS[name]} = {text}, whatever {name} is",
                "a number is written into the code",
            )
            yield put(name, lambda of, number=number: number), Mistake(seen, cause, f"use the argument {name}")
    for name in (name for name in names if name in ("y", "target")):
        for change, whose, cause in _labels(name, names):
            seen = f"the result is the right one for other labels: {whose}"
            yield put(name, change), Mistake(seen, cause, f"use the {name} that is passed")
    if "x" in names and "model" in names:
        yield (
            put("x", lambda of: of["x"] * 255),
            Mistake("the network was shown x times 255", "", "pixels lie in [0, 1]"),
        )


def _labels(name: str, names: list[str]) -> Iterator[tuple[Callable[[dict], Tensor], str, str]]:
    yield (
        lambda of: of[name][:1].expand_as(of[name]),
        "the first one for all",
        f"{name}[0] was used for the whole batch",
    )
    if "z" in names or {"model", "x"} <= {*names}:
        yield lambda of: torch.zeros_like(of[name]), "class 0 for all", "the first column or entry was taken"
        yield lambda of: of[name] + 1, "each one class too high", f"counted from 1, or {name} + 1 was taken"
        logits = lambda of: (of["z"] if "z" in of else of["model"](of["x"])).detach()
        cause = f"{name} plays no part, or was replaced by the prediction"
        yield lambda of: logits(of).argmax(1), "what the model reads", cause
        yield lambda of: logits(of).argmin(1), "the class of the smallest logit", "argmin instead of y"
    if name == "target":
        yield lambda of: of["y"], "the true ones", "y stands in the place of target"


# --- what is returned -------------------------------------------------------------------------------------


def _over(r: Tensor, size: Tensor) -> Tensor:
    """Nothing over nothing is nothing; what is NaN stays so: neither proves a division."""
    return torch.where(r.isnan(), r, torch.nan_to_num(r / size))


def _rows(r: Tensor, size: Callable[[Tensor], Tensor]) -> Tensor:
    return _over(r, size(r.flatten(1)).view(-1, *[1] * (r.ndim - 1)))


def _like(arg: Any, r: Tensor) -> bool:
    return isinstance(arg, Tensor) and arg.shape == r.shape


def _shaped(r: Tensor, args: tuple) -> Tensor:
    return next(arg for arg in args if _like(arg, r))


AS_IS = "return the values themselves"
OWN = "each image has a result of its own: keep the first axis"
RETURNED: list[tuple[Returned, str, str, str]] = [
    (lambda r, a: r.abs(), "no value is negative", "the absolute value was taken", AS_IS),
    (lambda r, a: -r.abs(), "no value is positive", "minus the absolute value was returned", AS_IS),
    (lambda r, a: r.sign(), "the result holds -1, 0 and 1 only", "the sign was taken", AS_IS),
    (lambda r, a: (r > 0).to(r), "the result holds 0 and 1 only: where the values are positive", "a comparison", AS_IS),
    (lambda r, a: r.clamp(0, 1), "values outside of [0, 1] were cut off", "clipped like an image", AS_IS),
    (lambda r, a: r.clamp(-1, 1), "values outside of [-1, 1] were cut off", "clipped", AS_IS),
    (lambda r, a: r.clamp_min(0), "values below 0 came out as 0", "the result was cut off at 0", AS_IS),
    (lambda r, a: r.clamp_max(0), "values above 0 came out as 0", "the result was cut off at 0", AS_IS),
    (lambda r, a: (1 + r).clamp_min(0), "1 was added, and what lies below 0 cut off", "this is a hinge loss", AS_IS),
    (lambda r, a: r.exp(), "this is the exponential of what is asked", "exp at the end, or a logarithm is missing",
     AS_IS),
    (lambda r, a: (-r).exp(), "this is exp(−r), r being what is asked",
     "a probability in place of −log p: log and minus are missing", AS_IS),
    (lambda r, a: 1 - (-r).exp(), "this is 1 − exp(−r), r being what is asked",
     "one minus a probability in place of −log p", AS_IS),
    (lambda r, a: -(-r).exp(), "this is −exp(−r), r being what is asked",
     "minus a probability: the logarithm is missing", AS_IS),
    (lambda r, a: r.log(), "this is the logarithm of what is asked", "log at the end", AS_IS),
    (lambda r, a: r**2, "this is the square of what is asked", "a root is missing, or a square too many", AS_IS),
    (lambda r, a: r**0.5, "this is the root of what is asked", "a root too many, or a square is missing", AS_IS),
    (lambda r, a: 1 - r, "this is 1 minus what is asked", "the share of the others, or a sign and a 1", AS_IS),
    (lambda r, a: 1 / r, "this is 1 over what is asked", "the fraction is upside down",
     "exchange numerator and denominator"),
    (lambda r, a: r.sigmoid(), "this is the sigmoid of what is asked", "sigmoid at the end", AS_IS),
    (lambda r, a: r.tanh(), "this is the tanh of what is asked", "tanh at the end", AS_IS),
    (lambda r, a: r.round(), "the values are rounded", "round at the end", AS_IS),
    (lambda r, a: (r * 255).round() / 255, "the result is rounded to the 256 levels of a file", "saved in 8 bit",
     AS_IS),
    (lambda r, a: (r * 255).floor() / 255, "the result is rounded down to the 256 levels of a file",
     "byte(), or floor()", AS_IS),
    (lambda r, a: _rows(r, lambda f: f.norm(dim=1, keepdim=True)), "every image's result has length 1",
     "divided by its length", AS_IS),
    (lambda r, a: _rows(r, lambda f: f.abs().amax(1)), "the largest entry of every image's result is 1",
     "divided by its largest entry", AS_IS),
    (lambda r, a: _rows(r, lambda f: f.abs().sum(1)), "the entries of every image's result add up to 1, without signs",
     "divided by the sum of absolute values", AS_IS),
    (lambda r, a: _over(r, r.norm()), "the batch's result has length 1 as a whole",
     "divided by its norm over the batch", AS_IS),
    (lambda r, a: _over(r, r.abs().max()), "the largest entry of the batch's result is 1",
     "divided by the largest entry of the batch", AS_IS),
    (lambda r, a: r + _shaped(r, a), "{x} was added to the result", "{x} + …, or {x} was not taken off", AS_IS),
    (lambda r, a: r - _shaped(r, a), "{x} was taken off the result", "… − {x}: this is the change, or what is left",
     AS_IS),
    (lambda r, a: _shaped(r, a) - r, "the result was taken off {x}",
     "{x} − …: this is what was cut off, or a step the other way", AS_IS),
    (lambda r, a: r * _shaped(r, a), "the result is multiplied by {x}", "{x} * …", AS_IS),
    (lambda r, a: _shaped(r, a).clone(), "{x} comes back as it was",
     "nothing is done to it, or a result is thrown away", "return what you computed"),
    (lambda r, a: torch.zeros_like(r), "every value is 0", "nothing is written into it, or everything cancels",
     "return what you computed"),
    (lambda r, a: r.abs().amax(1, keepdim=True).expand_as(r), "all channels hold the largest absolute value",
     "amax over dim=1", "every channel has a value of its own"),
    (lambda r, a: r.abs().amax(1, keepdim=True), "there is one channel, of the largest absolute values",
     "amax over dim=1", "every channel has a value of its own"),
    (lambda r, a: r.mean(1, keepdim=True).expand_as(r), "all channels hold their mean", "mean over dim=1",
     "every channel has a value of its own"),
    (lambda r, a: r.mean(0, keepdim=True).expand_as(r), "every image has the same result, the mean of all",
     "averaged over the batch", OWN),
    (lambda r, a: r.sum(0, keepdim=True).expand_as(r), "every image has the same result, the sum of all",
     "added up over the batch", OWN),
    (lambda r, a: r[:1].expand_as(r), "every image has the first one's result", "only the first is looked at", OWN),
    (lambda r, a: torch.cat([r[:1], 0 * r[1:]]), "only the first result is there, the others are 0",
     "one step of a loop, or [0]", OWN),
    (lambda r, a: torch.cat([0 * r[:1], r[1:]]), "the first result is 0", "the loop begins at 1", "range(len(x))"),
    (lambda r, a: torch.cat([r[:-1], 0 * r[:1]]), "the last result is 0", "the loop ends early", "range(len(x))"),
    (lambda r, a: torch.cat([r[:1], _shaped(r, a)[1:]]),
     "only the first image is right, the others came back as they were", "", OWN),
    (lambda r, a: r.mean(0), "there is one result for all images", "averaged over the batch", OWN),
    (lambda r, a: r.sum(0), "there is one result for all images", "added up over the batch", OWN),
    (lambda r, a: r.mean(), "there is one number for all", "a mean over the batch", OWN),
    (lambda r, a: r.sum(), "there is one number for all", "a sum over the batch", OWN),
    (lambda r, a: r.max(), "there is one number for all", "the maximum over the batch", OWN),
    (lambda r, a: r.min(), "there is one number for all", "the minimum over the batch", OWN),
    (lambda r, a: r[0], "this is the first image's result alone", "one [0] too many", OWN),
    (lambda r, a: r[:1], "this is the first image's result alone", "[:1]", OWN),
    (lambda r, a: r[:-1], "the last result is missing", "the loop ends early", "range(len(x))"),
    (lambda r, a: r.t(), "the result is transposed", "the images stand in columns", "a row per image"),
    (lambda r, a: r.flatten(1), "each image's result is one row", "it was not brought back to its shape",
     "view_as the argument"),
    (lambda r, a: r[:, None], "the result stands in a column", "keepdim=True, or [:, None]",
     "take off the second dimension at the end: [:, 0]"),
    (lambda r, a: r.squeeze(), "dimensions of size 1 are gone", "squeeze() takes off every dimension of size 1",
     "index the dimension that is too many: [:, 0]"),
    (lambda r, a: r.float(), "in float64 the result is float32",
     "a .float(), or a tensor made without the dtype of what is passed",
     "compute in the type of what is passed"),
    (lambda r, a: r.detach().tolist(), "the result holds plain numbers, which know no gradient",
     "it was not made a tensor, or .item(), float() or .tolist() took it out of one",
     "return a tensor, computed as one from beginning to end"),
    (lambda r, a: list(r), "the result is a list", "it was not made a tensor", "torch.stack them"),
    (lambda r, a: (r,), "the result is a tuple",
     "torch.autograd.grad returns one, and a comma behind a value makes one",
     "take its first entry, [0]"),
    (lambda r, a: r.detach(), "the values are right, but the result records no gradient",
     "the graph was cut, as by .item(), .detach(), .data, numpy, torch.no_grad or torch.tensor(…)",
     "compute with what is passed from beginning to end"),
]  # fmt: skip

_NAMED = {
    -1: ("every sign is flipped", "a minus too many, or two terms were exchanged"),
    2: ("it is twice too large", "a factor 2 too many, or something adds up twice, as backward() does"),
    0.5: ("it is half of what it should be", "a factor 1/2 too many"),
    255: ("it is 255 times too large", "multiplied by 255"),
    1 / 255: ("it is 255 times too small", "divided by 255"),
    100: ("it is 100 times too large", "this is in per cent"),
    1 / math.log(2): ("the logarithm has base 2", "log2"),
    1 / math.log(10): ("the logarithm has base 10", "log10"),
}


def _flat(outcome: Any) -> Tensor | None:
    """All numbers of an outcome."""
    if isinstance(outcome, tuple):
        parts = [_flat(part) for part in outcome]
        whole = [part.flatten() for part in parts if part is not None]
        return torch.cat(whole) if len(whole) == len(parts) else None
    return torch.as_tensor(outcome).detach().double() if isinstance(outcome, Tensor | float | int) else None


def multiple(cases: list, results: list, bases: list) -> Mistake | None:
    """The factor by which all results differ from the ``bases``, if there is one: a number, or a size in the cases."""
    factors, sizes = [], {"images": [], "values of an image": [], "entries of a row": []}  # type: ignore[var-annotated]
    for case, result, base in zip(cases, results, bases):
        if type(result) is not type(base) or getattr(result, "dtype", None) != getattr(base, "dtype", None):
            return None
        got, own = _flat(result), _flat(base)
        if got is None or own is None or got.shape != own.shape:
            return None
        ok = own.isfinite() & got.isfinite()
        if not ok.all():
            return None
        weight = (own * own).sum()
        factor = (got * own).sum() / weight if weight else torch.tensor(0.0)
        scaled = factor * own
        if not torch.allclose(got, scaled, rtol=1e-4, atol=float(1e-5 * scaled.abs().max()) if own.numel() else 0):
            return None
        if not weight:
            continue
        first = next((arg for arg in case.args if isinstance(arg, Tensor)), own)
        factors.append(float(factor))
        sizes["images"].append(len(first) if first.ndim else 1)
        sizes["values of an image"].append(first[0].numel() if first.ndim else 1)
        sizes["entries of a row"].append(first.shape[-1] if first.ndim else 1)
    same = lambda k: all(math.isclose(one, k[0], rel_tol=2e-3) for one in k)
    if not factors or 0 in factors or (same(factors) and math.isclose(factors[0], 1, rel_tol=2e-3)):
        return None
    if same(factors):
        for known, (seen, cause) in _NAMED.items():
            if math.isclose(factors[0], known, rel_tol=2e-3):
                return Mistake(seen, cause, "return what the formula gives")
        return Mistake(f"it is {factors[0]:.4g} times what it should be, on every case", "", "look for that factor")
    for words, counts in sizes.items():
        for power, number in ((1, f"the number of {words}"), (0.5, f"the root of the number of {words}")):
            for way, did in ((1, "divided"), (-1, "multiplied")):
                scaled = [factor * n ** (power * way) for factor, n in zip(factors, counts)]
                if same(scaled) and any(math.isclose(abs(scaled[0]), k, rel_tol=2e-3) for k in (1, 2)):
                    what = f"it is {did} by {number}" + (", and its sign is flipped" if scaled[0] < 0 else "")
                    return Mistake(what, "a mean for a sum, or a sum for a mean", "the formula has no such factor")
    return None


def value(outcome: Any) -> Any:
    """The values of an outcome that also holds a gradient."""
    return outcome[0] if isinstance(outcome, tuple) and outcome and isinstance(outcome[0], Tensor) else outcome


def returned(function: Callable, args: tuple, base: Any, seen: Any) -> list[tuple[Returned, Mistake]]:
    """The slips that make of a ``base`` what was ``seen``, on one case of a function."""
    found = []
    for change, *words in RETURNED:
        try:
            made = change(base, args)
        except Exception:  # a slip that this result cannot suffer
            continue
        if alike(made, seen) or alike(value(made), seen):
            shaped = (n for n, arg in zip(_names(function), args) if isinstance(base, Tensor) and _like(arg, base))
            own = next(shaped, "x")
            found.append((change, Mistake(*(text.replace("{x}", own) for text in words))))
    return found
