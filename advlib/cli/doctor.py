"""``advlib doctor``: is everything here that the course needs, and does it work?"""

from __future__ import annotations

import platform
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

from advlib import __version__

OK, FAILED, ABSENT = "✓", "✗", "–"
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "matplotlib", "pillow", "safetensors", "tqdm", "ipywidgets")


def run(args: Namespace) -> int:
    """A line per check: ✓ well, ✗ must be mended, – not here and not needed by the core course."""
    failed = 0
    for name, check in checks():
        try:
            mark, words = check()
        except Exception as error:  # whatever is wrong with an installation is what this command is to report
            mark, words = FAILED, " ".join(f"{type(error).__name__}: {error}".split())
        failed += mark == FAILED
        print(f"{mark} {name}: {words}")
    print(f"{failed} to mend" if failed else "all well")
    return 1 if failed else 0


def checks() -> Iterator[tuple[str, Callable[[], tuple[str, str]]]]:
    """Every check as its name and a function that gives its mark and its words."""
    yield "python", python
    for package in PACKAGES:
        yield package, partial(installed, package)
    yield "torch with torchvision", together
    yield "device", compute
    yield "sliders", sliders
    yield "generated signs", signs
    yield from models()
    for name in ("mnist", "cifar10", "gtsrb"):
        yield name, partial(real_data, name)
    yield "ImageNet weights", imagenet_weights


def installed(package: str) -> tuple[str, str]:
    return OK, metadata.version(package)


def python() -> tuple[str, str]:
    mark = OK if sys.version_info >= (3, 10) else FAILED
    return mark, f"{platform.python_version()} on {platform.system()} {platform.machine()}, advlib {__version__}"


def together() -> tuple[str, str]:
    try:
        import torchvision.ops  # noqa: F401  (loads the compiled part)
    except RuntimeError as error:
        return FAILED, f"they do not fit each other ({error}); install both anew from one source"
    return OK, "they fit each other"


def compute() -> tuple[str, str]:
    import torch

    from advlib.device import device

    x = torch.ones(2, 3, device=device(), requires_grad=True)
    (gradient,) = torch.autograd.grad((x * x).sum(), x)
    return (OK if bool((gradient == 2).all()) else FAILED), f"{device()} computes gradients"


def sliders() -> tuple[str, str]:
    import ipywidgets

    if hasattr(ipywidgets, "Stack"):
        return OK, "ipywidgets has Stack: they work without a kernel"
    return ABSENT, f"ipywidgets {ipywidgets.__version__} has no Stack: they need a running kernel; version 8 does not"


def signs() -> tuple[str, str]:
    from advlib.data import load_images

    return OK, f"{load_images('signs', n=16)}"


def models() -> Iterator[tuple[str, Callable[[], tuple[str, str]]]]:
    from advlib.models.zoo import load_model, model_names

    def check(name: str) -> tuple[str, str]:
        model = load_model(name)
        return OK, f"loads, its hash fits, {len(model.classes)} classes"

    if not model_names():
        yield "models", lambda: (FAILED, "the package's model files are missing; install advlib anew")
    for name in model_names():
        yield f"model {name}", partial(check, name)


def real_data(name: str) -> tuple[str, str]:
    from advlib.data import real

    places = {split: real.find_source(real.source(name, split)) for split in ("train", "test")}
    found = [f"{split} in {place}" for split, place in places.items() if place]
    given = real.data_folder() or "not set"
    return (
        (OK, ", ".join(found))
        if found
        else (ABSENT, f"not here (ADVLIB_DATA: {given}, cache: {real.cache_folder()}); downloaded when asked for")
    )


def imagenet_weights() -> tuple[str, str]:
    import torch

    folder = Path(torch.hub.get_dir(), "checkpoints")
    found = sorted(path.stem.rpartition("-")[0] for path in folder.glob("*-*.pth"))
    return (
        (OK, f"{', '.join(found)} in {folder}") if found else (ABSENT, f"none in {folder}; downloaded when asked for")
    )
