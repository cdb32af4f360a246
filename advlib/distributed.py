"""Several processes that work as one: each takes its share, and all come to the same results.

They are started by ``torchrun``, or by whoever calls ``torch.distributed.init_process_group``. Without a process group
each function here does what one process does alone.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["average", "each", "everyone", "group", "in_rounds", "launched", "mean", "of_this_process", "only_first"]
__all__ += ["rank", "share", "sharing", "total", "world"]

Item = TypeVar("Item")
Found = TypeVar("Found")

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # as torchrun says
PATIENCE = timedelta(days=1)  # one process may attack for hours what another one is done with; a dead one is noticed
# Whether what runs is dealt out: True where all do so together, False within what a process works on by itself.
_sharing: ContextVar[bool | None] = ContextVar("sharing", default=None)


class Gone(ConnectionError):
    """Another process of the group has ended, or cannot be reached."""


def rank() -> int:
    """The number of this process: 0 for the first, or the only one."""
    return dist.get_rank() if _grouped() else 0


def world() -> int:
    """How many processes work together.

    >>> rank(), world()
    (0, 1)
    """
    return dist.get_world_size() if _grouped() else 1


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


# ------------------------------------------------------------------------------------------------ talking
def everyone(mine: Any) -> list[Any]:
    """What each process says, in the order of their ranks. All must ask; tensors come back on the CPU."""
    if world() == 1:
        return [mine]
    said: list[Any] = [None] * world()
    with _lost():
        dist.all_gather_object(said, _moved(mine, "cpu"))
    return said


def only_first(call: Callable[[], Found]) -> Found:
    """What ``call()`` gives in the first process, which alone makes it; if it raises there, it raises in all."""
    if world() == 1:
        return call()
    box: list[Any] = [_tried(call) if rank() == 0 else None]
    with _lost():
        dist.broadcast_object_list(box)
    return _opened(box[0])


def total(numbers: Sequence[float]) -> list[float]:
    """The sum over the processes of each number."""
    return [sum(column) for column in zip(*everyone(list(numbers)))]


def mean(value: Tensor, n: int) -> Tensor:
    """The mean of a number over all images, of which this process has seen n."""
    if world() == 1:
        return value
    above, below = total([value.item() * n, n])
    return value.new_tensor(above / below)


def agree(**facts: Any) -> None:
    """All processes were given the same; else ValueError, in all of them, before they wait for each other for ever."""
    for number, theirs in enumerate(said := everyone({name: _told(fact) for name, fact in facts.items()})):
        for name in theirs:
            if theirs[name] != said[0].get(name):
                raise ValueError(
                    f"process 0 was given {name}={said[0].get(name)} and process {number} {name}={theirs[name]}; "
                    "expected the same in all: the whole set, of which each process takes its share by itself."
                )


def _told(fact: Any) -> str:
    """A fact in words that are the same wherever it is the same."""
    if isinstance(fact, Tensor):
        return f"{'×'.join(map(str, fact.shape))} numbers with the sum {fact.sum(dtype=torch.float64):.17g}"
    return repr(fact)


# ----------------------------------------------------------------------------------------------- sharing
@contextmanager
def sharing(**facts: Any) -> Iterator[None]:
    """Within this context the processes, given the same ``facts``, share the batches of whatever runs.

    All run the same program on the same images, draw the same chance and come to the same results: what `each` works
    on is dealt out, and what it finds is told to all. The batches are those of a single process: so are the figures.
    """
    if _sharing.get() is not None or world() == 1:
        yield
        return
    agree(**facts)
    with _set(True):
        yield


@contextmanager
def _set(shared: bool) -> Iterator[None]:
    token = _sharing.set(shared)
    try:
        yield
    finally:
        _sharing.reset(token)


def each(work: Callable[[Item], Found], items: Sequence[Item], device: Any = "cpu") -> list[Found]:
    """``work(item)`` for each item, in order; where processes share, each does some and all get the results.

    What is found is tensors or tuples of them, which come to ``device``. An error is raised in all processes.

    >>> each(abs, [-2, 3])
    [2, 3]
    """
    if not _sharing.get():
        return [work(item) for item in items]
    mine: list[Any] = []
    for item in of_this_process(items):
        mine.append(_tried(work, item))
        if isinstance(mine[-1], _Failed):
            break
    said = everyone(mine)
    found: list[Any] = []
    for k in range(len(items)):
        by = said[k % world()]
        found.append(_moved(_opened(by[k // world()]), device))
    return found


def in_rounds(work: Callable[[Item], Found], parts: Iterable[Item]) -> Iterator[Found]:
    """``work(part)`` for each part of a stream, in order, on every process; each works on every ``world()``-th part.

    A stream with a method ``share(rank, world)`` gives a process its own parts alone; any other is read by all.

    >>> list(in_rounds(abs, iter([-2, 3])))
    [2, 3]
    """
    own = parts.share(rank(), world()) if hasattr(parts, "share") else of_this_process(parts)
    if world() == 1:
        yield from map(work, own)
        return
    while True:
        found = _tried(lambda: [work(part) for part in islice(own, 1)])
        said = [_opened(one) for one in everyone(found)]
        yield from (one for parts in said for one in parts)
        if not all(said):
            return


def of_this_process(items: Iterable[Item]) -> Iterator[Item]:
    """Every ``world()``-th item, from that of this process's rank on."""
    return islice(items, rank(), None, world())


def share(count: int) -> int:
    """About how many of so many are this process's, where processes share; else all."""
    return -(-count // world()) if _sharing.get() else count


# ---------------------------------------------------------------------------------------------- training
def average(model: nn.Module, part: float) -> None:
    """Gradients, and what batch norms remember, become their means over the processes.

    part    the share of the batch that this process has seen: the weight of its gradients
    """
    if world() == 1:
        return
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    met = [parameter.grad is not None for parameter in trained]
    kept = [buffer for buffer in _running(model) if buffer is not None]
    numbers = [part * (p.grad if p.grad is not None else torch.zeros_like(p)) for p in trained]
    numbers += [part * buffer for buffer in kept] + [torch.tensor(met).to(numbers[0])]
    widest = torch.float64 if any(one.dtype == torch.float64 for one in numbers) else torch.float32
    flat = torch.cat([one.detach().flatten().to(widest) for one in numbers])
    where = flat.device
    with _lost():
        dist.all_reduce(flat := flat.cpu() if where.type == "mps" else flat)
    *new, met_by_any = flat.to(where).split([one.numel() for one in numbers])
    for parameter, gradient, any_met in zip(trained, new, met_by_any.tolist()):
        parameter.grad = gradient.view_as(parameter).to(parameter) if any_met else None
    for buffer, value in zip(kept, new[len(trained) :]):
        buffer.copy_(value.view_as(buffer))


def _running(model: nn.Module) -> Iterator[Tensor | None]:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            yield from (module.running_mean, module.running_var)


# -------------------------------------------------------------------------------------------- starting
def launched() -> bool:
    """Whether torchrun has started this process, as one of several."""
    return all(name in os.environ for name in LAUNCHED) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def group() -> Iterator[Callable[[], bool]]:
    """The processes that torchrun started as a group: by NCCL where each has a GPU of its own, else by gloo.

    Gives a function that is true for the first process that asks it, and for no other: whoever is to say what failed.
    """
    gpus, here = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() and gpus >= here else "gloo"
    store, number, count = next(iter(dist.rendezvous("env://")))
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    said = dist.PrefixStore("advlib", store)

    def first() -> bool:
        try:
            return said.add("failed", 1) == 1
        except RuntimeError:  # the process that keeps the store has ended, and has said why
            return False

    yield first
    dist.destroy_process_group()  # after a failure the process ends, and its end tells the others


# ---------------------------------------------------------------------------------------------- errors
class _Failed:
    """An error, on its way to the other processes."""

    def __init__(self, error: Exception, where: str):
        self.error, self.where = error, where

    def __reduce__(self):
        try:
            pickle.loads(pickle.dumps(self.error))
            return _Failed, (self.error, self.where)
        except Exception:  # an error that does not travel: its words do
            return _Failed, (RuntimeError(f"{type(self.error).__name__}: {self.error}"), self.where)


def _tried(call: Callable, *given: Any) -> Any:
    """What a process finds by itself, or the error: what the work consists of is not dealt out again."""
    try:
        with _set(False):
            return _moved(call(*given), "cpu")
    except Gone:
        raise
    except Exception as error:
        return _Failed(error, f"process {rank()}:\n{traceback.format_exc()}")


def _opened(found: Any) -> Any:
    if isinstance(found, _Failed):
        raise found.error from RuntimeError(found.where)
    return found


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0].partition(". ")[0][:200]
        raise Gone(f"process {rank()} of {world()} has lost the others: one of them has ended ({why})") from error


def _moved(found: Any, device: Any) -> Any:
    """A tensor, or the tensors in tuples, lists and dictionaries, on a device."""
    if isinstance(found, Tensor):
        return found.detach().to(device)
    if isinstance(found, dict):
        return {key: _moved(value, device) for key, value in found.items()}
    if type(found) in (tuple, list):
        return type(found)(_moved(one, device) for one in found)
    return found
