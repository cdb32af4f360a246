"""The command line: ``advlib attack``, ``train``, ``models`` and ``doctor``.

Each command's module is imported when it runs, so that ``advlib --help`` need not wait for what only one of
them needs.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
from collections.abc import Sequence

from advlib import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 all well, 1 some of it failed, 2 it could not start."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="replace")  # a Windows console may have no ✓, ε or ∞
    if not sys.stderr.isatty() and "tqdm" not in sys.modules:
        os.environ["TQDM_DISABLE"] = "1"  # no progress bars in log files; tqdm looks once, when it is imported
    args = _parser().parse_args(argv)
    try:
        return importlib.import_module(f"advlib.cli.{args.command}").run(args)
    except (ValueError, OSError) as error:
        print(f"advlib {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def size(text: str) -> float:
    """ε as people write it.

    >>> size("8/255") == 8 / 255, size("0.03"), size("0.5/255") == 0.5 / 255
    (True, 0.03, True)
    """
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number; write 8/255 or 0.03")
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; ε is a size")
    return value


def usable_device(name: str | None):
    """The torch device of ``--device``; the best one there is where none was named."""
    import torch

    from advlib.device import device

    try:
        return torch.zeros(1, device=name or device()).device
    except (RuntimeError, AssertionError) as error:  # torch's words for no such device, or none on this machine
        raise ValueError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="advlib", description="Attack, train and check image classifiers.")
    parser.add_argument("--version", action="version", version=f"advlib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    attack = commands.add_parser(
        "attack",
        help="make photos that a model misreads",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="For every photo, write a picture of clean / perturbation / adversarial and the adversarial image "
        "as a lossless PNG,\nread it back, and print what the model sees in it.",
        epilog="examples:\n  advlib attack stop.jpg --eps 8/255\n"
        "  advlib attack cat.jpg --model imagenet:squeezenet1_1 --eps 2/255 --target guacamole",
    )
    attack.add_argument("photos", nargs="+", metavar="PHOTO", help="an image file; wildcards are expanded")
    attack.add_argument(
        "--model",
        default="signs-cnn",
        help="a name that 'advlib models' lists, imagenet:NAME, or the "
        "path of a .safetensors file (default: %(default)s)",
    )
    attack.add_argument("--norm", default="linf", choices=["linf", "l2", "l1", "l0"], help="default: %(default)s")
    attack.add_argument(
        "--eps",
        type=size,
        metavar="ε",
        help="how much may change, in pixel units: 8/255, 0.03 (default for linf: 8/255); for l0 a number of pixels",
    )
    attack.add_argument("--attack", default="pgd", metavar="NAME", help="fgsm, pgd, … (default: %(default)s)")
    attack.add_argument("--steps", type=int, metavar="N", help="steps of an iterated attack")
    attack.add_argument("--label", metavar="CLASS", help="what the photos really show (default: what the model reads)")
    attack.add_argument("--target", metavar="CLASS", help="what the model shall read: a class by name or number")
    attack.add_argument("--out", default="adversarial", metavar="DIR", help="default: %(default)s")
    _add_device(attack)

    train = commands.add_parser(
        "train",
        help="train a model of the course by its recipe",
        description="Train a model by its recipe, measure it, and write weights and card.",
    )
    train.add_argument("name", metavar="NAME", help="a name that 'advlib models' lists")
    train.add_argument("--out", default=".", metavar="DIR", help="default: the current folder")
    train.add_argument(
        "--checkpoint", metavar="FILE", help="kept after each epoch: an interrupted run goes on from there"
    )
    _add_device(train)

    commands.add_parser("models", help="list the models and what was measured on them")
    commands.add_parser("doctor", help="check that everything is installed and works")
    return parser


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")
