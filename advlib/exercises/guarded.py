"""Run what a learner wrote so that it can harm neither the notebook nor the check.

`guarded` calls one function: it ends in time, prints little, and whatever it raises comes back as a value. `sandbox`
stands around a whole check: what an answer changed behind its back is put right and noted.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import io
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.exercises import advice
from advlib.exercises.mistake import Mistake, Unwritten

PRINTED = 2000  # characters that an answer may print in one check


class OutOfTime(BaseException):
    """Not an `Exception`: an answer that swallows all of those ends, too."""


@dataclass(frozen=True)
class Watch:
    """What an answer must not call, and how long it may take."""

    by_hand: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ("advlib",)
    seconds: float = 20
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Failed:
    """A call that ended in an error: what it was, the mistake in words, and whether a network raised it."""

    what: str
    mistake: Mistake
    in_network: bool = False
    error: Exception | None = None

    def refused(self, kind: type[Exception] | None) -> bool:
        """Whether the call ended in the error that was asked for."""
        return kind is not None and isinstance(self.error, kind)


def guarded(function: Callable, args: tuple, watch: Watch) -> Any:
    """``function(*args)``, or `Failed`. Raises `Unwritten` for a stub, `Mistake` for a library's own answer."""
    called: list[str] = []
    try:
        with _settings(watch.notes), _limited(watch.seconds), _watched(watch, called):
            result = function(*args)
    except OutOfTime:
        raise Mistake(
            f"it was stopped after {watch.seconds:g} seconds",
            mend="look for a loop that never ends, or for work that is done once per pixel",
        ) from None
    except NotImplementedError as error:
        if advice.raised_by_learner(error, function):
            raise Unwritten from None
        return _failed(error, function, args)
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise Mistake(
            f"it ended with {type(error).__name__}", mend="return the result: nothing may end the notebook"
        ) from None
    except Exception as error:  # any error of the learner's is for them to read, not for the notebook to die of
        return _failed(error, function, args)
    if called:
        raise Mistake(
            f"it calls {called[0]}: that works, and it is what this exercise asks you to write",
            mend="write it yourself, from the formula; compare with the library afterwards",
        )
    if result is None and not advice.is_stub(function):
        return Failed(
            "None", Mistake(f"{advice.named(function)} returns None", mend="end the function with a `return`")
        )
    if result is None or result is ...:
        raise Unwritten
    return result


def _failed(error: Exception, function: Callable, args: tuple) -> Failed:
    what = f"{type(error).__name__}: {advice.first_line(error)}"
    where = advice.where(error, function)
    mistake = Mistake(f"{where}: {what} (called with {advice.shapes(args)})", mend=advice.hint(error, function))
    return Failed(what, mistake, advice.raised_in_network(error), error)


class _Brief(io.TextIOBase):
    """Passes on the first characters that are printed, and drops the rest."""

    def __init__(self, to: Any):
        self.to, self.left = to, PRINTED

    def write(self, text: str) -> int:
        if self.left > 0:
            self.to.write(text[: self.left])
            if len(text) > self.left:
                self.to.write("\n… (the answer prints more; the check leaves that out)\n")
        self.left -= len(text)
        return len(text)


@contextlib.contextmanager
def _settings(notes: list[str]) -> Iterator[None]:
    """PyTorch's settings as they were, with gradients, before and after."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        with torch.enable_grad():
            yield
    finally:
        if torch.get_default_dtype() != dtype:
            notes.append(f"the answer changed the default dtype to {torch.get_default_dtype()}; it is {dtype} again")
            torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            notes.append(
                f"the answer changed the number of threads to {torch.get_num_threads()}; it is {threads} again"
            )
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` inside the block when time is up, again and again until it leaves."""

    def again(frame: FrameType, event: str, arg: Any) -> Callable | None:
        if event == "line":
            raise OutOfTime
        return None if event == "call" else again

    def stop(*_: Any) -> None:
        # A bare `except:` inside a loop catches what is raised here; so its next line raises, too.
        frame = sys._getframe(1)
        sys.settrace(again)
        while frame is not None and frame.f_globals.get("__name__") != __name__:
            frame.f_trace, frame = again, frame.f_back
        raise OutOfTime

    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        before, tracer = signal.signal(signal.SIGALRM, stop), sys.gettrace()
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            sys.settrace(tracer)
        return
    # Windows, or a kernel that runs cells beside its main thread: another thread knocks at this one's door.
    over, here = threading.Event(), ctypes.c_ulong(threading.get_ident())

    def knock() -> None:
        wait = seconds
        while not over.wait(wait):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(OutOfTime))
            wait = 0.05

    threading.Thread(target=knock, daemon=True).start()
    try:
        yield
    finally:
        over.set()


# The rooms of advlib that hold the answers to exercises.
_ANSWERS = ("advlib.attacks", "advlib.ball", "advlib.exercises", "advlib.losses", "advlib.norms")


@contextlib.contextmanager
def _watched(watch: Watch, called: list[str]) -> Iterator[None]:
    """Note calls of advlib's own rooms, and of what is to be written by hand."""
    allowed = ("advlib.exercises.guarded", "advlib.exercises.specimens", *watch.allowed)

    def look(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            name, room = (
                arg.__name__,
                getattr(arg, "__module__", None) or type(getattr(arg, "__self__", None)).__module__,
            )
        elif event == "call":
            name, room = frame.f_code.co_name, frame.f_globals.get("__name__", "")
            above = frame.f_back.f_globals.get("__name__", "") if frame.f_back else ""
            entered = room.startswith(_ANSWERS) and not above.startswith(("advlib.", "importlib"))
            if entered and not name.startswith(("_", "<")) and not room.startswith(allowed):
                called.append(f"advlib's own {name}")
        else:
            return
        if name in watch.by_hand and str(room).startswith(("torch", "advlib", "numpy", "scipy")):
            called.append(f"{str(room).split('.')[0]}'s own {name}")

    if not watch.by_hand and any("advlib".startswith(room) for room in watch.allowed):
        yield
        return
    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


# --- around a whole check ---------------------------------------------------------------------------------

# What a verdict rests on. A notebook that replaced any of it would be judged by its own replacement.
_RELIED_ON = {
    "torch": torch,
    "torch.Tensor": Tensor,
    "torch.nn.functional": F,
    "torch.autograd": torch.autograd,
    "torch.nn.Module": nn.Module,
}
_AS_IMPORTED = {name: dict(vars(owner)) for name, owner in _RELIED_ON.items()}


def _replaced() -> list[str]:
    """Names that are no longer what they were when the course's package was imported; they are put back."""
    found = []
    for room, owner in _RELIED_ON.items():
        now, then = vars(owner), _AS_IMPORTED[room]
        changed = [
            name
            for name, value in then.items()
            if inspect.isroutine(value) and now.get(name) is not value and not _torchs_own(now.get(name))
        ]
        # A method set on Tensor itself hides the one that it inherits.
        added = [name for name in now if name not in then and owner is Tensor and hasattr(torch._C.TensorBase, name)]
        for name in changed:
            setattr(owner, name, then[name])
        for name in added:
            delattr(owner, name)
        found += [f"{room}.{name}" for name in (*changed, *added) if not name.startswith("__")]
    return found


def _torchs_own(value: Any) -> bool:
    """PyTorch wraps functions of its own when parts of it are imported late."""
    return str(getattr(value, "__module__", "")).startswith("torch")


@contextlib.contextmanager
def sandbox(answer: Any, given: tuple, notes: list[str]) -> Iterator[None]:
    """Run a check with random numbers of its own; afterwards all is as it was, and ``notes`` say what was not."""
    _honest()
    kept = _Kept(answer, given)
    numbers = (random.getstate(), np.random.get_state())
    quiet = contextlib.redirect_stdout(_Brief(sys.stdout))
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad(), quiet:
            torch.manual_seed(0)
            yield
    finally:
        random.setstate(numbers[0])
        np.random.set_state(numbers[1])
        notes += kept.put_back()
        _honest()


def _honest() -> None:
    if found := _replaced():
        raise Mistake(
            f"{', '.join(found)} was replaced by something else, and the check relies on it; it is PyTorch's own again",
            mend="give your function a name of its own, and run the check again",
        )


class _Kept:
    """The settings, models and tensors that a check finds, to be found again after it."""

    def __init__(self, answer: Any, given: tuple):
        names = getattr(answer, "__globals__", {})
        known = {name: value for name, value in names.items() if isinstance(value, Tensor | nn.Module)}
        known |= {f"argument {i + 2} of the check": v for i, v in enumerate(given) if isinstance(v, Tensor | nn.Module)}
        self.names = names
        self.models = {name: (m, _state(m)) for name, m in known.items() if isinstance(m, nn.Module)}
        self.tensors = {name: (t, t.detach().clone()) for name, t in known.items() if type(t) is Tensor and _plain(t)}

    def put_back(self) -> list[str]:
        """Undo what the answer did to them; a line for each."""
        notes = []
        for name, (tensor, value) in self.tensors.items():
            if not torch.equal(tensor.detach(), value) and not tensor.isnan().any():
                tensor.data.copy_(value)
                notes.append(f"the answer changed the notebook's {name}; it is as before again")
        for name, (model, state) in self.models.items():
            if _differs(_state(model), state):
                _restore(model, state)
                notes.append(f"the answer changed the notebook's {name}; it is as before again")
        for name, (value, _) in {**self.models, **self.tensors}.items():
            if name in self.names or name.startswith("argument"):
                continue
            self.names[name] = value
            notes.append(f"the answer deleted the notebook's {name}; it is back")
        return notes


def _plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.numel() <= 2**26


def _state(model: nn.Module) -> tuple[list, list, list]:
    """Modes, wishes for gradients, and copies of all values."""
    values = [*model.parameters(), *model.buffers()]
    return (
        [module.training for module in model.modules()],
        [value.requires_grad for value in values],
        [value.detach().clone() for value in values],
    )


def _differs(now: tuple[list, list, list], then: tuple[list, list, list]) -> bool:
    same = [a.shape == b.shape and torch.equal(a, b) for a, b in zip(now[2], then[2])]
    return now[:2] != then[:2] or len(now[2]) != len(then[2]) or not all(same)


def _restore(model: nn.Module, state: tuple[list, list, list]) -> None:
    for module, mode in zip(model.modules(), state[0]):
        module.training = mode
    for value, wanted, content in zip([*model.parameters(), *model.buffers()], state[1], state[2]):
        value.data.copy_(content)
        value.requires_grad_(wanted)
