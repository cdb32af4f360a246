"""What an error inside a learner's function means to them: where it was, and advice only where its cause is certain."""

from __future__ import annotations

import dis
import inspect
import linecache
import re
import textwrap
import traceback
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor

# Words of an error, a pattern that the learner's function must hold (or ""), and what is certain then.
_GRAD_OF_NOTHING = "does not require grad"
_ONE_PER_IMAGE = "the loss has one value per image: sum it before differentiating"
_TUPLE = ["'tuple'", "to tuple", "not tuple", "tuple indices", "can't multiply sequence", "return_types."]
_GRAD_IS_A_TUPLE = "torch.autograd.grad returns a tuple: take its first entry, [0]"
_VALUES_AND_INDICES = "max and min over a dimension return two tensors, values and indices: take .values, or amax"
_CERTAIN = [
    (_GRAD_OF_NOTHING, r"no_grad|inference_mode",
     "gradients are switched off where the loss is computed: leave no_grad out"),
    (_GRAD_OF_NOTHING, r"requires_grad",
     "what you differentiate was computed before requires_grad was set, or was detached on the way"),
    (_GRAD_OF_NOTHING, "", "no gradient is recorded: begin with x = x.clone().detach().requires_grad_()"),
    ("not have been used in the graph", "",
     "the loss does not depend on the tensor you differentiate: compute it from the very one that records gradients"),
    ("leaf Variable that requires grad", "",
     "a tensor that records gradients cannot be changed in place: make a new one"),
    ("only for scalar outputs", r"autograd\.grad\(\s*\w+\(",
     "gradients begin at one number: sum a loss first; for a picture, pass what arrives from behind as third argument"),
    ("only for scalar outputs", "", _ONE_PER_IMAGE),
    ("backward through the graph a second time", "",
     "the graph is gone after one backward pass: compute the loss again in each step"),
    ("must be a 2-tuple", r"norm\(", "norm over three axes is not defined: flatten(1) first, then norm(dim=1)"),
    ("Index tensor must have the same number of dimensions", r"gather|scatter",
     "gather and scatter want an index of as many dimensions as the tensor: y[:, None]"),
    ("Can't call numpy()", "", "a tensor that records gradients: detach() it before numpy()"),
    *((words, r"autograd\.grad\(", _GRAD_IS_A_TUPLE) for words in _TUPLE),
    *((words, r"\.(max|min|sort|topk|median)\(\s*(dim=)?-?\d", _VALUES_AND_INDICES) for words in _TUPLE),
    ("'NoneType'", r"\.grad\b(?!\()",
     "`.grad` is None: loss.backward() fills it, only for a tensor on which requires_grad_() was called, and not for "
     "one that was computed from it"),
    ("Boolean value of Tensor with more than one value", "",
     "`if`, `and`, `or` and a < b < c take one truth value: between tensors write & or |, each comparison in brackets, "
     "and choose by torch.where"),
    ("int too large to convert", "", "that number is beyond a float: divide a whole number by a whole one, at the end"),
]  # fmt: skip


def hint(error: Exception, function: Callable) -> str:
    """What to do, where the error leaves no doubt; else nothing."""
    said = words_of(error)
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        return "that name is not known: run the cell that defines or imports it"
    if isinstance(error, RecursionError):
        return "the function calls itself without end: call another one, or none"
    if isinstance(error, TypeError) and _frames(error, function) == [] and "argument" in said:
        return "the parameters are not those of the stub: keep them as they were"
    if "must match the size" in said and _flat_beside_images(error, function):
        return "one number per image, (N,), beside images (N, C, H, W): give it three dimensions, [:, None, None, None]"
    source = _source(function)
    return next((words for text, pattern, words in _CERTAIN if text in said and re.search(pattern, source)), "")


def words_of(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception:  # an exception of the learner's own may do anything
        return ""


def first_line(error: BaseException) -> str:
    text = words_of(error)
    return textwrap.shorten(text.splitlines()[0], 160, placeholder=" …") if text else "(no message)"


def where(error: Exception, function: Callable) -> str:
    """The learner's line, counted from their `def`, and what stands there."""
    frames = _frames(error, function)
    if not frames:
        return "calling it"
    frame, line = frames[-1]
    source = linecache.getline(frame.f_code.co_filename, line).strip()
    place = f"line {line - frame.f_code.co_firstlineno + 1} of {frame.f_code.co_name}"
    return f"{place}, `{source}`" if source else place


def raised_by_learner(error: BaseException, function: Callable) -> bool:
    """An unwritten stub raises by itself; torch raises the same type for operations that it lacks."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not _is_learners(trace.tb_frame, function):
        return False
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"  # not inside an operation


def raised_in_network(error: BaseException) -> bool:
    """True for an error inside a call of a network."""
    return any(frame.f_code.co_name == "_call_impl" for frame, _ in traceback.walk_tb(error.__traceback__))


def is_stub(function: Callable) -> bool:
    """True if nothing was written: the body touches no name and makes no variable."""
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None:
        return False
    return not code.co_names and code.co_nlocals == code.co_argcount + code.co_kwonlyargcount


def named(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _local(error: Exception, function: Callable) -> dict[str, Any]:
    """What the names in the learner's failing line stand for; where the line is not known, all of their names."""
    frames = _frames(error, function)
    if not frames:
        return {}
    frame, line = frames[-1]
    source = linecache.getline(frame.f_code.co_filename, line)
    names = dict.fromkeys(re.findall(r"\b[A-Za-z_]\w*\b", source)) if source else frame.f_locals
    return {name: frame.f_locals[name] for name in names if name in frame.f_locals}


def _flat_beside_images(error: Exception, function: Callable) -> bool:
    shapes = [value.shape for value in _local(error, function).values() if isinstance(value, Tensor)]
    return any(len(one) == 1 and len(other) == 4 and one[0] == other[0] for one in shapes for other in shapes)


def held(error: Exception, function: Callable, args: tuple) -> str:
    """What the names in the learner's failing line held: tensors by their shape, and None; or else the arguments."""
    local = _local(error, function).items()
    words = [f"{name} is {_shape(value)}" for name, value in local if value is None or isinstance(value, Tensor)]
    return ", ".join(words[:5]) or "called with " + ", ".join(_shape(arg) for arg in args)


def _shape(value: object) -> str:
    """A tensor by its shape, anything else in a word."""
    if isinstance(value, Tensor):
        kind = "" if value.dtype in (torch.float32, torch.int64) else f" of {value.dtype}"
        return f"a tensor {tuple(value.shape)}{kind}"
    return "None" if value is None else f"{value:.3g}" if isinstance(value, float) else type(value).__name__


def _frames(error: BaseException, function: Callable) -> list[tuple[FrameType, int]]:
    return [frame for frame in traceback.walk_tb(error.__traceback__) if _is_learners(frame[0], function)]


def _is_learners(frame: FrameType, function: Callable) -> bool:
    """True for code of the same module as the answer: in a notebook, everything written in its cells."""
    return frame.f_globals.get("__name__") == getattr(function, "__module__", None)


def _source(function: Callable) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""
