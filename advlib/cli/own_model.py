"""A model of the person's own: ``--model my_model.py:make``, a function that returns a network of pixels → logits."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import safetensors.torch
import torch
from torch import nn

from advlib.answers import DoesNotFit, logits_of
from advlib.cli.values import usable_device
from advlib.data.photos import SMALLEST_SIDE
from advlib.files import PICKLES
from advlib.models.nets import Normalize
from advlib.models.zoo import load_model, preprocess
from advlib.names import unknown

CONVERT = (
    "import torch, safetensors.torch as s; weights = torch.load({source!r}, map_location='cpu', weights_only=True); "
    "s.save_file({{name: value.clone() for name, value in weights.items()}}, {target!r})"
)


def is_own(model: str) -> bool:
    """Whether ``--model`` names a Python file.

    >>> is_own("my_model.py:make"), is_own("my_model.py"), is_own("imagenet:resnet18")
    (True, True, False)
    """
    return model.endswith(".py") or ".py:" in model


def chosen(args: Namespace) -> nn.Module:
    """The model that ``--model`` names, of the person's own or one that ``load_model`` knows."""
    device = usable_device(args.device)
    if is_own(args.model):
        return load(args.model, args.weights, args.classes, args.size, device)
    given = [f"--{name}" for name in ("weights", "classes", "size") if getattr(args, name) is not None]
    if given:
        raise ValueError(f"{', '.join(given)}: only for a model of your own, FILE.py:FUNCTION")
    return load_model(args.model, device)


def load(
    model: str, weights: str | None, classes: str | None, size: int | None, device: str | torch.device
) -> nn.Module:
    """The network that the function returns, in eval mode, with ``.classes`` and ``.preprocess`` as the zoo's have.

    Raises `ValueError`, which names the file, for whatever is wrong with it, its weights, or its answer.
    """
    file, _, name = model.rpartition(":") if ".py:" in model else (model, "", "")
    network = made_by(function(run_file(Path(file)), name, file), f"{file}:{name}")
    if weights is not None:
        load_weights(network, Path(weights))
    try:
        network = network.eval().to(device)
        side = picture_side(network, size)
        channels, outputs = answer_of(network, side)
        names = class_names(network, classes, outputs)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}:{name}: {error}") from None
    vars(network).update(classes=names, preprocess=partial(preprocess, channels=channels, size=side))
    return network


def run_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; --model takes FILE.py:FUNCTION")
    name = f"own_{file.stem}"  # whatever the file is called, no module of that name is replaced
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass in it looks itself up there
    sys.path.insert(0, str(file.resolve().parent))  # for what lies beside it, at once or when the function runs
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file} cannot be imported: {_where(error, file)}") from None
    return module


def function(module: ModuleType, name: str, file: str) -> Callable:
    known = [
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
    ]
    if not name:
        one = known[0] if len(known) == 1 else "make"
        has = f"it has {', '.join(known)}" if known else "it has none yet"
        raise ValueError(f"{file}: say which function returns the model, as in --model {file}:{one} ({has})")
    found = getattr(module, name, None)
    if found is None:
        raise ValueError(f"{file}: {unknown('function', name, known)}")
    return found


def made_by(make: Callable, which: str) -> nn.Module:
    if isinstance(make, nn.Module):
        return make
    if not callable(make):
        raise ValueError(f"{which} is a {type(make).__name__}; expected a function that returns a torch.nn.Module")
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        raise ValueError(
            f"{which} wants arguments ({error}); expected a function of none. Write one that calls it: "
            "def make(): return MyModel(…)"
        ) from None
    except ValueError:
        pass  # a callable that does not tell its signature
    try:
        network = make()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{which} failed: {_where(error, Path(which.rpartition(':')[0]))}") from None
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{which} returned {'nothing' if network is None else f'a {type(network).__name__}'}; expected a "
            "torch.nn.Module that maps pixels in [0, 1] to logits. Is there a return?"
        )
    return network


def load_weights(network: nn.Module, weights: Path) -> None:
    """Only safetensors: a pickle may run any code when it is loaded."""
    if weights.suffix.lower() in PICKLES:
        command = CONVERT.format(source=str(weights), target=str(weights.with_suffix(".safetensors")))
        raise ValueError(
            f"{weights} is a pickle, which may run anything when it is opened; expected a .safetensors file. Convert a "
            f'state_dict that you trust:\n  python -c "{command}"'
        )
    try:
        tensors = safetensors.torch.load_file(weights)
    except FileNotFoundError:
        raise ValueError(f"{weights}: there is no such file") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{weights} is no safetensors file, or is damaged ({error})") from None
    if isinstance(network, nn.Sequential) and _is_normalised(network) and set(tensors) == set(network[1].state_dict()):
        network = network[1]  # saved before Normalize was put in front
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"{weights} does not fit the network: {reason[:600]}. Expected the state_dict of the module that the "
            "function returns, or of the one behind its Normalize."
        ) from None


def _is_normalised(network: nn.Module) -> bool:
    """Whether it is ``nn.Sequential(Normalize(…), network)``."""
    return isinstance(network, nn.Sequential) and len(network) == 2 and isinstance(network[0], Normalize)


def picture_side(network: nn.Module, given: int | None) -> int:
    """The side of the square pictures that it takes: the option, or the attribute ``input_size``."""
    size = getattr(network, "input_size", None) if given is None else given
    sides = set(size[-2:]) if isinstance(size, Sequence) and not isinstance(size, str) else {size}
    side = sides.pop() if len(sides) == 1 else None
    if not isinstance(side, int) or side < SMALLEST_SIDE:
        has = "it has no .input_size" if size is None else f"its picture size is {size!r}"
        raise ValueError(
            f"{has}; expected the side of the square pictures that it takes, {SMALLEST_SIDE} or more. Say --size 32"
        )
    return side


def answer_of(network: nn.Module, side: int) -> tuple[int, int]:
    """How many channels the network takes, three or one, and how many logits it gives."""
    failed = {}
    for channels in (3, 1):
        try:
            return channels, logits_of(network, torch.full((1, channels, side, side), 0.5)).shape[1]
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            failed[channels] = error
    refused = isinstance(failed[3], (TypeError, ValueError)) and not isinstance(failed[3], DoesNotFit)
    if type(failed[3]) is type(failed[1]) and refused:
        raise failed[3]  # it took the picture, and its answer breaks the contract
    words = [" ".join(str(error.__cause__ or error).split())[:200] for error in failed.values()]
    raise ValueError(
        f"the model takes no picture of {side}×{side}, neither in colour ({words[0]}) nor grey ({words[1]}); expected "
        "(N, 3, H, W) or (N, 1, H, W) → (N, classes). Another --size?"
    )


def class_names(network: nn.Module, given: str | None, outputs: int) -> tuple[str, ...]:
    """From ``--classes``, a list or a file; from the attribute; or else numbers."""
    if given is None:
        names = [str(name) for name in getattr(network, "classes", None) or map("class {}".format, range(outputs))]
    elif Path(given).is_file():
        names = [line.strip() for line in Path(given).read_text("utf-8").splitlines() if line.strip()]
    else:
        names = [name.strip() for name in given.split(",")]
    if len(names) != outputs:
        source = "--classes" if given else ".classes"
        raise ValueError(f"{source} has {len(names)} names; the model gives {outputs} logits. Expected one for each.")
    return tuple(names)


def _where(error: BaseException, file: Path) -> str:
    """An error of the person's code in one line: which, and where in the file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
    line = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{line}"
