"""Run what a learner wrote so that it can harm neither the notebook nor the check.

`guarded` calls one function: it ends in time, and whatever it raises comes back as a value.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from advlib.exercises import advice
from advlib.exercises.mistake import Mistake, Unwritten


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
    except Exception as error:  # any error of the learner's is for them to read, not for the notebook to die of
        return _failed(error, function, args)
    except BaseException as error:  # SystemExit, KeyboardInterrupt, and whatever else ends a program
        raise Mistake(
            f"it ended with {type(error).__name__}", mend="return the result: nothing may end the notebook"
        ) from None
    if called:
        raise Mistake(
            f"it calls {called[0]}, and that is what this exercise asks you to write",
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
    mistake = Mistake(f"{where}: {what} ({advice.held(error, function, args)})", mend=advice.hint(error, function))
    return Failed(what, mistake, advice.raised_in_network(error), error)


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
