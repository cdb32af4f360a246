"""In the isolated process: one task, done with a submission's code, and its result written to one pipe.

Two tasks: ``attack`` runs an attack on a model and gives back its images; ``read`` gives back a model's logits for
images. Neither knows of scores, and ``read`` of no labels: who is right is counted outside.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import linecache
import os
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from advlib import attacks, norms
from advlib.device import out_of_memory
from advlib.models import nets
from advlib.suspect import differentiable
from advlib.tournament.lock import limit, lock

__all__ = ["HOUSE_ATTACKS", "run", "warm"]

QUERIES = 500  # of the random searches, for each image; twice as many where there is no gradient at all


def _by_gradient(attack: Callable) -> Callable:
    """``attack`` where there is a gradient to follow; else it leaves the images as they are."""
    return lambda model, x, y, within: attack(model, x, y, within) if differentiable(model, x) else x


def _worst_case(model: nn.Module, x: Tensor, y: Tensor, within: norms.Ball) -> Tensor:
    if differentiable(model, x):
        return attacks.worst_case(model, x, y, within, queries=QUERIES)
    if isinstance(within, norms.L1):  # for which there is no search
        return x
    search: Callable = attacks.sparse_rs if isinstance(within, norms.L0) else attacks.square
    return search(model, x, y, within, queries=2 * QUERIES)


# The attacks that always play, by name; their code is the package's own, and no defence is too odd for them.
HOUSE_ATTACKS: dict[str, Callable] = {
    "fgsm": _by_gradient(attacks.fgsm),
    "pgd": _by_gradient(attacks.pgd),
    "worst_case": _worst_case,
}
BATCH = 50  # images that a model reads at once


# What is imported before the lock where a submission's text has this word: some packages write a file when they are
# imported, and others take seconds, which are then spent once for all.
WARMED = {
    "defenses": "advlib.defenses",
    "evaluate": "advlib.evaluate",
    "matplotlib": "matplotlib.figure",
    "optim": "torch._dynamo",  # as the first optimizer does
    "plots": "advlib.plots",
    "scipy": "scipy.stats",
    "skimage": "skimage",
    "sklearn": "sklearn",
    "torchvision": "torchvision.transforms.v2",
}


class TooManyPasses(BaseException):
    """Not an `Exception`: an attack that swallows all of those ends, too."""


class Failed(Exception):
    """The submission failed: the outcome in a word, the reason in a sentence."""


def warm(job: dict) -> None:
    """Import the packages that a submission's code speaks of; none of its code is run."""
    code = (job.get("attack") or "") + (job.get("net") or "")
    for word, module in WARMED.items():
        if word in code:
            with contextlib.suppress(ImportError):  # not installed: the submission will say so
                importlib.import_module(module)


def run(job: dict, pipe: int) -> None:
    """Do ``job`` and write a line of JSON to ``pipe``, with tensors in safetensors behind it. Never returns."""

    def tell(outcome: str, reason: str, **more) -> None:
        _write(pipe, json.dumps({"outcome": outcome, "reason": reason, **more}).encode() + b"\n")

    try:
        _seed(job["seed"])
        given = safetensors.torch.load_file(job["input"])
        weights = safetensors.torch.load_file(job["weights"])
        limit(job["seconds"], job["memory"])
        # Compiled before the lock: Python opens the file of what is no Python, to show the line.
        net, attack = (_compiled(job.get(name), f"{name}.py") for name in ("net", "attack"))
        lock(tell)
        model = _load(job["architecture"], net, weights)
        result, passes = _attack(job, attack, model, given) if job["task"] == "attack" else _read(model, given)
        tell("", "", passes=passes)
        _write(pipe, safetensors.torch.save(result))
    except Failed as failed:
        tell(*failed.args)
    except TooManyPasses:
        tell("passes", f"it took more than {job['passes']:,} passes of the model for each image")
    except MemoryError:
        tell("memory", f"it asked for more than {job['memory']:,} MB of memory")
    except Exception as error:
        where = _where(error)
        if out_of_memory(RuntimeError(where)):  # by its words, which are read once and with care
            tell("memory", f"it asked for more than {job['memory']:,} MB of memory")
        else:
            tell("crashed", f"it failed: {where}")
    except BaseException as error:  # SystemExit, KeyboardInterrupt, and whatever else ends a program
        tell("exit", f"it ended the program with {type(error).__name__}")
    os._exit(0)


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _where(error: BaseException) -> str:
    """The error in one line, with the last line of the submission's own code in which it was."""
    trace, line = error.__traceback__, ""
    while trace:
        name = trace.tb_frame.f_code.co_filename
        line = f" (line {trace.tb_lineno} of {name})" if name in ("attack.py", "net.py") else line
        trace = trace.tb_next
    try:
        words = " ".join(str(error).split())[:500]
    except BaseException:  # an error's own words are the submission's code
        words = "it cannot say why"
    return f"{type(error).__name__}: {words}{line}"


def _compiled(source: str | None, name: str) -> types.CodeType | None:
    """A submission's file. Its lines are known to tracebacks and warnings, which open no file for them."""
    if not source:
        return None
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return compile(source, name, "exec", dont_inherit=True)


def _module(code: types.CodeType) -> types.ModuleType:
    """What a submission's file defines."""
    name = code.co_filename.removesuffix(".py")
    module = types.ModuleType(name)
    sys.modules[name] = module  # a dataclass in it looks itself up there
    exec(code, vars(module))
    return module


def _load(architecture: str, code: types.CodeType | None, weights: dict[str, Tensor]) -> nn.Module:
    if not code:
        model = nets.NETS[architecture]()
    else:
        before = _library()
        make = getattr(_module(code), architecture.rpartition(":")[2], None)
        if not callable(make):
            raise Failed("crashed", f"{architecture} is no function: net.py has none of that name")
        model = make()
        if changed := _replaced(before):
            raise Failed("tampered", f"it replaced {', '.join(sorted(changed)[:3])}, on which attacks rely")
        if not isinstance(model, nn.Module):
            raise Failed("crashed", f"{architecture} returned a {type(model).__name__}; expected a torch.nn.Module")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise Failed("crashed", f"model.safetensors does not fit {architecture}: {reason}") from None
    return model.eval().requires_grad_(False)


def _library() -> dict[str, Any]:
    """The functions of torch and of this package that an attack may rely on, by name."""
    rooms: dict[str, Any] = {name: one for name, one in sys.modules.items() if name.split(".")[0] == "advlib"}
    rooms |= {"torch": torch, "torch.autograd": torch.autograd, "torch.nn.functional": nn.functional}
    rooms |= {"torch.Tensor": Tensor, "torch.nn.Module": nn.Module}
    return {
        f"{room}.{name}": one
        for room, owner in rooms.items()
        for name, one in (list(vars(owner).items()) if owner else ())
        if callable(one)
    }


def _replaced(before: dict[str, Any]) -> list[str]:
    """What is no longer as it was. A method set on Tensor itself hides the one that it inherits."""

    def kept(name: str, now: Any) -> bool:
        if name not in before:
            return not name.startswith("torch.Tensor.")
        then = before[name]
        wrapped = str(getattr(now, "__module__", "")).startswith("torch")  # as torch does itself with some, when used
        return now is then or (wrapped and getattr(now, "__name__", 0) == getattr(then, "__name__", 1))

    return [name for name, now in _library().items() if not kept(name, now)]


class _Tally:
    """How many images went through the model, forwards or backwards; the same one for all copies of the model."""

    def __init__(self, most: float):
        self.count, self.most = 0, most

    def add(self, n: int) -> None:
        self.count += n
        if self.count > self.most:
            raise TooManyPasses

    def __deepcopy__(self, memo: dict) -> _Tally:
        return self


class _Counted:
    """The forward pass of ``model``, counted. A hook would do, but `attacks.fast` leaves hooked models alone."""

    def __init__(self, model: nn.Module, tally: _Tally):
        self.model, self.tally = model, tally

    def __call__(self, x: Tensor, *more, **named):
        self.tally.add(len(x))
        logits = type(self.model).forward(self.model, x, *more, **named)
        if isinstance(logits, Tensor) and logits.requires_grad:
            logits.register_hook(lambda gradient: self.tally.add(len(gradient)))
        return logits


def _attack(
    job: dict, code: types.CodeType | None, model: nn.Module, given: dict[str, Tensor]
) -> tuple[dict[str, Tensor], int]:
    x, y = given["x"], given["y"]
    tally = _Tally((job["passes"] or float("inf")) * len(x))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    if "forward" not in vars(model):
        vars(model)["forward"] = _Counted(model, tally)
    attack = HOUSE_ATTACKS[job["house"]] if job["house"] else code and getattr(_module(code), "attack", None)
    if not callable(attack):
        raise Failed("crashed", "attack.py defines no function attack(model, x, y, within)")
    x_adv = attack(model, x.clone(), y.clone(), getattr(norms, job["norm"])(job["eps"]))
    if tally.count > tally.most:
        raise TooManyPasses
    now = model.state_dict()
    if now.keys() != state.keys() or any(not torch.equal(now[name], value) for name, value in state.items()):
        raise Failed("changed", "it changed the model: its weights or buffers were others after the attack")
    if not isinstance(x_adv, Tensor):
        raise Failed("shape", f"it returned a {type(x_adv).__name__}; expected a tensor of images like x")
    if x_adv.shape != x.shape or not x_adv.is_floating_point():
        kind = f"{str(x_adv.dtype).removeprefix('torch.')} {tuple(x_adv.shape)}"
        raise Failed("shape", f"it returned {kind}; expected images like its own, float32 {tuple(x.shape)}")
    return {"x_adv": x_adv.detach().to("cpu", torch.float32).contiguous().clone()}, tally.count


def _read(model: nn.Module, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    parts = []
    with torch.no_grad():
        for batch in given["x"].split(BATCH):
            logits = model(batch.clone())
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(batch):
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise Failed("shape", f"the model returned {got} for {len(batch)} images; expected logits (N, classes)")
            parts.append(logits.detach().to("cpu", torch.float32).clone())
    return {"logits": torch.cat(parts).contiguous()}, len(given["x"])
