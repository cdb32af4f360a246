"""The frame that every checker stands in: run an answer, never crash a notebook, name the mistake.

A checker is a function that returns what was verified, or raises `Mistake` at the first thing that is wrong:

    @checks_function
    def my_exercise(attempt):
        result = attempt(model, x, y, eps)      # the learner's function, guarded
        if result.max() > 1:
            raise Mistake("a pixel reached 1.3", "the last step is not clipped", "end with .clamp(0, 1)")
        return "inside the box on two models"
"""

from __future__ import annotations

import functools
import linecache
import os
import textwrap
import traceback
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any

import torch
from torch import Tensor

PAGE = 72  # characters that fit the book's column


class Mistake(Exception):
    """What is wrong with an answer: what was seen, the likely cause, what to do."""

    def __init__(self, seen: str, cause: str = "", mend: str = ""):
        super().__init__(seen, cause, mend)
        self.seen, self.cause, self.mend = seen, cause, mend

    def __str__(self) -> str:
        parts = [self.seen]
        parts += [f"Likely cause: {self.cause}"] if self.cause else []
        parts += [f"What to do: {self.mend}"] if self.mend else []
        return "\n".join(parts)


# What known mistakes lead to: a wrong result, and the mistake that gives it.
Suspects = list[tuple[Tensor, Mistake]]


class Unwritten(Exception):
    """The stub is still there."""


class Attempt:
    """A learner's function. Calling it turns whatever goes wrong inside into a `Mistake` or `Unwritten`."""

    def __init__(self, function: Callable):
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.notes: list[str] = []

    def __call__(self, *args: Any) -> Any:
        try:
            result = self.function(*args)
        except NotImplementedError as error:
            if _raised_by_learner(error, self.function):
                raise Unwritten from None
            raise self._mistake(error, args) from error
        except Exception as error:  # any error of the learner's is for them to read, not for the notebook to die of
            raise self._mistake(error, args) from error
        if result is None and not _is_stub(self.function):
            raise Mistake(f"{self.name} returns None", "the last line does not return the result", "add a `return`")
        if result is None or result is ...:
            raise Unwritten
        return result

    def note(self, text: str) -> None:
        """Something to know about a right answer; said once."""
        if text not in self.notes:
            self.notes.append(text)

    def _mistake(self, error: Exception, args: tuple) -> Mistake:
        what = f"{type(error).__name__}: {_first_line(error)}"
        return Mistake(f"{_where(error, self.function)}: {what} (called with {_shapes(args)})", mend=_hint(error))


def checks_function(checker: Callable[[Attempt], str]) -> Callable[[Any], None]:
    """Make a checker of a learner's function out of ``checker(attempt)``."""

    @functools.wraps(checker)
    def check(answer: Any) -> None:
        def judge() -> tuple[str, list[str]]:
            if not callable(answer):
                raise Mistake(
                    f"got {_kind(answer)}, expected a function",
                    "the function was called, or is not there",
                    f"pass the function itself, without brackets: check.{checker.__name__}(my_function)",
                )
            attempt = Attempt(answer)
            return checker(attempt), attempt.notes

        _run(getattr(answer, "__name__", checker.__name__), answer, judge)

    return check


def checks_value(checker: Callable[..., str]) -> Callable[..., None]:
    """Make a checker of a number or another value out of ``checker(value, *given)``."""

    @functools.wraps(checker)
    def check(answer: Any, *given: Any, **options: Any) -> None:
        _run(checker.__name__, answer, lambda: (checker(answer, *given, **options), []))

    return check


def _run(name: str, answer: Any, judge: Callable[[], tuple[str, list[str]]]) -> None:
    """Print the verdict. When grading, anything but a right answer raises."""
    grading = os.environ.get("ADVLIB_GRADING", "") not in ("", "0")
    try:
        if answer is None or answer is ...:
            raise Unwritten
        # A check neither depends on the notebook's random state nor disturbs it.
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            verified, notes = judge()
    except Unwritten:
        verdict = f"○ {name}: not written yet"
    except Mistake as mistake:
        verdict = f"✗ {name}: {mistake}"
    except Exception as error:  # an answer so odd that the checker itself stumbles over it
        verdict = f"✗ {name}: the check cannot read this answer ({type(error).__name__}: {_first_line(error)})"
    else:
        print(_wrapped("\n".join([f"✓ {name}: {verified}", *(f"Note: {note}" for note in notes)])))
        return
    if grading:
        raise AssertionError(verdict)
    print(_wrapped(verdict))


def _wrapped(text: str) -> str:
    """Lines no longer than a page is wide, those after the first set in."""
    first, *rest = text.split("\n")
    lines = [textwrap.fill(first, PAGE, subsequent_indent="  ")]
    lines += [textwrap.fill(line, PAGE, initial_indent="  ", subsequent_indent="    ") for line in rest]
    return "\n".join(lines)


# --- what went wrong inside the learner's function -------------------------------------------------------

# Words of an error message, and what they mean to a learner; the first that fits is said.
_HINTS = {
    "does not require grad": ("no gradient is recorded for x: start with x = x.clone().detach().requires_grad_()"),
    "not have been used in the graph": (
        "the loss does not depend on the tensor you differentiate: "
        "compute the loss from the very tensor on which you called requires_grad_()"
    ),
    "'NoneType' object has no attribute": (
        "something is None: .grad stays None until loss.backward() ran, and for any tensor that is itself "
        "the result of an operation. torch.autograd.grad(loss, x)[0] always gives the gradient"
    ),
    "leaf Variable that requires grad": (
        "a tensor that records gradients cannot be changed in place: make a new one, x_adv = x + …"
    ),
    "only for scalar outputs": "the loss has one value per image: sum it before differentiating",
    "must match the size of tensor": (
        "two shapes do not fit: a number per image, shape (N,), must become (N, 1, 1, 1) "
        "before it can multiply an image"
    ),
    "invalid for input of size": "a shape is written into your code: take it from x.shape",
    "mat1 and mat2 shapes": "the model was given another shape than that of x: pass the whole batch",
    "backward through the graph a second time": ("the graph is gone after one backward pass: compute the loss again"),
    "positional argument": "the function's parameters are not those of the stub: keep them as they were",
    "is not defined": "a name is unknown: run the cell that defines or imports it",
    "Can't call numpy()": "detach() a tensor that records gradients before numpy()",
    "tuple": "torch.autograd.grad returns a tuple: take its first entry, [0]",
}


def _hint(error: Exception) -> str:
    return next((hint for words, hint in _HINTS.items() if words in str(error)), "")


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return textwrap.shorten(text.splitlines()[0], 160, placeholder=" …") if text else "(no message)"


def _where(error: Exception, function: Callable) -> str:
    """The learner's line, counted from their `def`, and what stands there."""
    frames = [frame for frame in traceback.walk_tb(error.__traceback__) if _is_learners(frame[0], function)]
    if not frames:
        return "calling it"
    frame, line = frames[-1]
    source = linecache.getline(frame.f_code.co_filename, line).strip()
    place = f"line {line - frame.f_code.co_firstlineno + 1} of {frame.f_code.co_name}"
    return f"{place}, `{source}`" if source else place


def _is_learners(frame, function: Callable) -> bool:
    """True for code of the same module as the answer: in a notebook, everything written in its cells."""
    return frame.f_globals.get("__name__") == getattr(function, "__module__", None)


def _raised_by_learner(error: BaseException, function: Callable) -> bool:
    """An unwritten stub raises by itself; torch raises the same type for operations that it lacks."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and _is_learners(trace.tb_frame, function)


def _is_stub(function: Callable) -> bool:
    """True if nothing was written: the body touches no name and makes no variable."""
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None:
        return False
    return not code.co_names and code.co_nlocals == code.co_argcount + code.co_kwonlyargcount


def _kind(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.40}"


def _shapes(args: tuple) -> str:
    """The arguments of a call in short: a model by its class, a tensor by its shape."""
    words = []
    for arg in args:
        if isinstance(arg, Tensor):
            words.append(f"a tensor {tuple(arg.shape)}")
        else:
            words.append(f"{arg:.3g}" if isinstance(arg, float) else type(arg).__name__)
    return ", ".join(words)
