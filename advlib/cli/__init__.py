"""The command line: ``advlib attack``, ``train``, ``report``, ``grade``, ``tournament``, ``models`` and ``doctor``.

Each command's module is imported when it runs, so that ``advlib --help`` need not wait for what only one of
them needs.
"""

from __future__ import annotations

import argparse
import codecs
import importlib
import os
import sys
from collections.abc import Sequence

from advlib import __version__
from advlib.cli.several import as_one
from advlib.cli.values import duration, megabytes, megapixels, picture_size, size, some
from advlib.names import alike

# What a terminal without these letters gets instead.
ASCII = {"✓": "ok", "✗": "FAILED", "–": "-", "ε": "eps", "∞": "inf", "≤": "<=", "×": "x", "…": "...", "δ": "delta"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 all well, 1 some of it failed, 2 it could not start, 130 it was stopped."""
    codecs.register_error("advlib", _spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="advlib")
    if not sys.stderr.isatty() and "tqdm" not in sys.modules:
        os.environ["TQDM_DISABLE"] = "1"  # no progress bars in log files; tqdm looks once, when it is imported
    args = _parse(argv)
    try:
        return as_one(importlib.import_module(f"advlib.cli.{args.command}").run, args)
    except (ValueError, OSError) as error:
        words = "\n".join(map(printable, str(error).split("\n")))
        print(f"advlib {args.command}: {words}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def printable(text: str) -> str:
    """Text that may hold any file's name, with what could steer a terminal written out.

    >>> printable("cat\\x1b[2J\\r.png")
    'cat\\\\x1b[2J\\\\r.png'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """The error handler of codecs that `ASCII` describes; other letters become a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(ASCII.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; an option that is not known gets the one that may have been meant."""
    parser, commands = _parser()
    args, others = parser.parse_known_args(argv)
    if others:
        command = commands.choices[args.command]
        known = [option for action in command._actions for option in action.option_strings if option[:2] == "--"]
        near = alike(others[0].partition("=")[0].lstrip("-"), [option.lstrip("-") for option in known])
        guess = f"did you mean --{near[0]}? Known: " if near else ""
        command.error(f"unknown: {printable(' '.join(others))}; {guess}{', '.join(known)}")
    return args


def _parser() -> tuple[argparse.ArgumentParser, argparse._SubParsersAction]:
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
        "  advlib attack cat.jpg --model imagenet:squeezenet1_1 --eps 2/255 --target guacamole\n"
        "  advlib attack cat.jpg --model my_model.py:make --weights my_weights.safetensors --size 32",
    )
    attack.add_argument("photos", nargs="+", metavar="PHOTO", help="an image file; wildcards are expanded")
    attack.add_argument(
        "--model",
        default="signs-cnn",
        help="a name that 'advlib models' lists, imagenet:NAME, the path of a .safetensors file that advlib wrote, or "
        "FILE.py:FUNCTION, a function that returns your own network of pixels in [0, 1] (default: %(default)s)",
    )
    _add_own_model(attack)
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
    attack.add_argument(
        "--largest",
        type=megapixels,
        metavar="N",
        help="the largest picture to decode, in million pixels; needs up to 16 MB for each (default: 64)",
    )
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

    report = commands.add_parser(
        "report",
        help="measure a model and print its report card",
        description="Measure a model: clean, under the worst case in four norms, proved, masked, corrupted, and at "
        "what cost.\nA robust model takes minutes: what nothing fools is attacked with everything.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("model", metavar="MODEL", help="as for 'advlib attack --model'")
    _add_own_model(report)
    report.add_argument(
        "--data",
        metavar="NAME",
        help="signs, mnist, … or a folder with one of photos for each class (default: as trained)",
    )
    report.add_argument("--images", type=some, default=100, metavar="N", help="or 'all' (default: %(default)s)")
    report.add_argument("--batch-size", type=int, metavar="N", help="images at once (default: as many as pay)")
    report.add_argument(
        "--queries", type=int, default=500, metavar="N", help="per image and ball (default: %(default)s)"
    )
    report.add_argument("--crown", action="store_true", help="prove by CROWN, too: seconds for each image")
    report.add_argument("--out", metavar="DIR", help="also write the card as a page and as a picture")
    _add_device(report)

    grade = commands.add_parser(
        "grade",
        help="grade a class's notebooks of a chapter",
        description="Run each answer in a process of its own against the chapter's checks, as this course ships them.\n"
        "Writes scores.csv and a page of feedback for each student. What is done already is not run again.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  advlib grade submissions/ --chapter 06\n"
        "  advlib grade submissions/ --chapter 06 --container my-course-image",
    )
    grade.add_argument("submissions", metavar="FOLDER", help="holds <student>.ipynb, or <student>/06_fgsm.ipynb")
    grade.add_argument("--chapter", required=True, metavar="N", help="its number, or the path of its notebook")
    grade.add_argument("--out", default="graded", metavar="DIR", help="default: %(default)s")
    grade.add_argument(
        "--seconds", type=duration, default=120, metavar="N", help="of processor time for an answer (default: 120)"
    )
    grade.add_argument(
        "--memory",
        type=megabytes,
        default=2048,
        metavar="MB",
        help="for an answer, above the chapter's (default: 2048)",
    )
    grade.add_argument(
        "--own-numbers", action="store_true", help="everyone had numbers of their own, by the name they hand in under"
    )
    grade.add_argument(
        "--container", metavar="IMAGE", help="run the answers in it, by docker or podman: one with python and torch"
    )

    tournament = commands.add_parser(
        "tournament",
        help="play defences and attacks that a class handed in",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Play what was handed in, and the house's entries, against each other: every match in a process "
        "of its own, with limits.\nScores and a leaderboard are written to FOLDER/results. Finished matches are not "
        "played again.",
        epilog="what is handed in:\n  FOLDER/defenses/TEAM/model.safetensors and submission.json, which says "
        '{"architecture": "signs-cnn"} or "net.py:make"\n  FOLDER/attacks/TEAM/attack.py, which defines '
        "attack(model, x, y, within)",
    )
    tournament.add_argument("folder", metavar="FOLDER", help="what was handed in, in defenses/ and attacks/")
    whole: dict = dict(type=int, metavar="N")
    tournament.add_argument("--images", default=100, **whole, help="signs, drawn afresh (default: %(default)s)")
    tournament.add_argument("--photos", default=0, **whole, help="real photos besides, scored apart")
    tournament.add_argument("--seed", default=0, **whole, help="decides the signs: a number that no team knows")
    tournament.add_argument("--norm", default="linf", choices=["linf", "l2", "l1", "l0"], help="default: %(default)s")
    tournament.add_argument("--eps", type=size, metavar="ε", help="as for 'advlib attack' (default for linf: 8/255)")
    tournament.add_argument(
        "--seconds", type=float, default=60, metavar="S", help="of processor time for a match (default: %(default)s)"
    )
    tournament.add_argument("--passes", **whole, help="of the model that an attack may take for each image")
    tournament.add_argument("--memory", default=2000, **whole, help="in MB, for a match (default: %(default)s)")
    tournament.add_argument("--rounds", **whole, help="of like against like, for many teams (default: all meet all)")

    commands.add_parser("models", help="list the models and what was measured on them")
    commands.add_parser("doctor", help="check that everything is installed and works")
    return parser, commands


def _add_own_model(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("a model of your own, FILE.py:FUNCTION")
    own.add_argument("--weights", metavar="FILE", help="its state_dict, as a .safetensors file")
    own.add_argument(
        "--classes", metavar="NAMES", help="cat,dog,… or a file of a name per line (default: its .classes)"
    )
    own.add_argument("--size", type=picture_size, metavar="N", help="it takes N × N pixels (default: its .input_size)")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda or mps (default: the best there is)")
