"""What takes part: the submissions in a folder, read without running any of it, and the house's own entries."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from advlib import contract
from advlib.checks import shown
from advlib.data import signs
from advlib.files import PICKLES, replacing, replacing_together
from advlib.models import nets, zoo
from advlib.names import unknown
from advlib.tournament.cell import HOUSE_ATTACKS
from advlib.tournament.source import source_of
from advlib.tournament.warden import Warden

__all__ = ["Entry", "entries", "submit_attack", "submit_model"]

HOUSE_DEFENSES = ("signs-cnn", "signs-robust")
SIDES = {"defense": "defenses", "attack": "attacks"}  # and their folders
LONGEST_NAME = 60
LARGEST = {".safetensors": 200 * 2**20, ".py": 2**20, ".json": 2**16}
WEIGHTS, CARD, ATTACK = "model.safetensors", "submission.json", "attack.py"
MEMORY, SECONDS = 2000, 60  # with which a submitted model is tried


@dataclass(frozen=True)
class Entry:
    """A submission, or one of the house: its files, what they say, and what is wrong with them, if anything."""

    side: str  # "defense" or "attack"
    team: str
    house: bool = False
    architecture: str = ""  # a key of `nets.NETS`, or "net.py:make"
    code: str = ""  # of a defence's net.py, or of an attack
    weights: Path | None = None
    digest: str = ""  # of all that decides what it does
    problem: tuple[str, str] | None = None  # outcome and reason, where it cannot take part


def check_team(name: str) -> None:
    """``name`` can be a folder's on any system, and nothing but a folder's; else TypeError or ValueError."""
    contract.check_text(name, "team")
    odd = [letter for letter in name if letter in '/\\:\0<>"|?*' or not letter.isprintable()]
    if not name.strip(". ") or name != name.strip() or name[0] == "." or odd or len(name) > LONGEST_NAME:
        raise ValueError(
            f"team is {shown(name)}; expected a name of 1 to {LONGEST_NAME} letters, digits, spaces, - and _, which "
            "a folder can have."
        )
    if name.lower() in (*HOUSE_DEFENSES, *HOUSE_ATTACKS):
        raise ValueError(f"team is {name!r}, which is an entry of the house; expected a name of your own.")


def submit_model(folder: str | os.PathLike, team: str, model: nn.Module, architecture: str) -> Path:
    """Hand in a model: write ``defenses/TEAM`` below the tournament's ``folder``, and return it.

    model         of pixels in [0, 1], (N, 3, 48, 48), to logits (N, 16), the classes of ``load_images("signs")``.
    architecture  what makes an untrained one: a key of ``advlib.models.nets.NETS`` such as "signs-cnn", or
                  "FILE.py:FUNCTION". The file is copied, and must do with itself and installed packages.

    What is written is loaded once, in isolation, as the tournament will. An earlier submission of the team is replaced.

    Raises
        TypeError, ValueError: a name that no folder can have, or a model that does not come back from what was
            written, and why. Then nothing is written.
    """
    contract.check_path(folder, "folder")
    check_team(team)
    contract.check_model(model)
    contract.check_text(architecture, "architecture")
    code, files = "", [WEIGHTS, CARD]
    if architecture not in nets.NETS:
        file, _, function = architecture.rpartition(":")
        if not file.endswith(".py") or not function.isidentifier():
            known = unknown("architecture", architecture, nets.NETS)
            raise ValueError(f"{known}. Or expected a file of yours with a function of no arguments: net.py:make")
        if not Path(file).is_file():
            raise ValueError(
                f"architecture is {architecture!r}, but there is no file {file}; expected FILE.py:FUNCTION"
            )
        try:
            code, architecture, files = _text(Path(file)), f"net.py:{function}", [*files, "net.py"]
        except Refused as refused:
            raise ValueError(f"architecture is {architecture!r}, but {refused.args[1]}; expected a text.") from None
    weights = safetensors.torch.save(
        {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    )
    with Warden() as warden:
        job: dict = {"task": "read", "architecture": architecture, "net": code, "weights": warden.keep(weights)}
        job |= {"seed": 0, "seconds": SECONDS, "memory": MEMORY}
        answer = warden.ask(job, {"x": torch.full((2, 3, 48, 48), 0.5)})
    if answer.outcome:
        raise ValueError(
            f"the model does not come back from {architecture} and its weights: {answer.reason}. Expected the "
            "architecture that the model was made with."
        )
    if (given := tuple(answer.tensors["logits"].shape)) != (2, len(signs.CLASSES)):
        raise ValueError(
            f"the model gives logits of shape {given} for 2 signs; expected {(2, len(signs.CLASSES))}, the classes of "
            "load_images('signs')."
        )
    target = Path(folder, SIDES["defense"], team)
    contents = (weights, json.dumps({"architecture": architecture}).encode() + b"\n", code.encode())
    with replacing_together(*(target / name for name in files)) as temporary:
        for path, content in zip(temporary, contents):
            path.write_bytes(content)
    if not code:
        (target / "net.py").unlink(missing_ok=True)
    return target


def submit_attack(folder: str | os.PathLike, team: str, attack: Callable | str) -> Path:
    """Hand in an attack: write ``attacks/TEAM/attack.py`` below the tournament's ``folder``, and return that file.

    attack  a function attack(model, x, y, within) -> x_adv, which may be defined in a notebook: its source is
            written, with the imports, numbers and functions that it uses. Or the text of such a file.

    Raises
        TypeError, ValueError: a name that no folder can have, a text that is no Python, or a function that uses what
            cannot be written down, and which.
    """
    contract.check_path(folder, "folder")
    check_team(team)
    if not isinstance(attack, str):
        contract.check_function(attack, "attack", "attack(model, x, y, within) -> x_adv, or the text of one")
    text = attack if isinstance(attack, str) else source_of(attack)
    try:
        compile(text, ATTACK, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"attack is no Python: {error}. Expected the text of a file that defines attack(…).") from None
    if "attack" not in text:  # as the source of a function always has
        raise ValueError("attack is a text that defines none; expected def attack(model, x, y, within): …")
    path = Path(folder, SIDES["attack"], team, ATTACK)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def entries(folder: Path, side: str) -> list[Entry]:
    """All that take part on a side, the house's first, then the teams by name."""
    below = folder / SIDES[side]
    # What begins with a dot is the system's or an editor's.
    teams = sorted(one for one in below.iterdir() if one.name[0] != ".") if below.is_dir() else []
    house = HOUSE_DEFENSES if side == "defense" else HOUSE_ATTACKS
    return [_of_house(side, name) for name in house] + [_submitted(side, one) for one in teams if one.is_dir()]


def _of_house(side: str, name: str) -> Entry:
    if side == "attack":
        return Entry(side, name, house=True, digest=_digest(name.encode()))
    card, weights = zoo.read_card(name), zoo.WEIGHTS / f"{name}.safetensors"
    return Entry(side, name, True, card["net"], weights=weights, digest=_digest(card["net"].encode(), weights))


def _submitted(side: str, folder: Path) -> Entry:
    team = os.fsencode(folder.name).decode("utf-8", "backslashreplace")  # a name may be no text
    entry = Entry(side, team)
    try:
        _look_through(folder)
        if side == "attack":
            code = _text(folder / ATTACK)
            return Entry(side, team, code=code, digest=_digest(code.encode()))
        architecture = _architecture(folder / CARD)
        code = "" if architecture in nets.NETS else _text(folder / architecture.rpartition(":")[0])
        weights = folder / WEIGHTS
        _check_weights(weights)
        digest = _digest(f"{architecture}\n{code}".encode(), weights)
        return Entry(side, team, False, architecture, code, weights, digest)
    except Refused as refused:
        return replace(entry, problem=refused.args)


class Refused(Exception):
    """A submission that cannot take part: the outcome in a word, the reason in a sentence."""


def _look_through(folder: Path) -> None:
    try:
        check_team(folder.name)
    except ValueError as error:
        raise Refused("name", str(error)) from None
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            raise Refused("files", f"{path.name} is a link to elsewhere")
        if path.suffix.lower() in PICKLES:
            raise Refused("pickle", f"it brings a pickle, {path.name}, which may run anything when it is opened")


def _bytes(path: Path) -> bytes:
    most = LARGEST[path.suffix]
    try:
        if path.stat().st_size > most:
            raise Refused("size", f"{path.name} has more than {most // 1024:,} KB")
        return path.read_bytes()
    except OSError:
        raise Refused("missing", f"there is no {path.name} that can be read") from None


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("missing", f"{path.name} is no text in UTF-8") from None


def _architecture(path: Path) -> str:
    try:
        said = json.loads(_text(path))
        architecture = said["architecture"]
    except (ValueError, RecursionError):
        raise Refused("card", f"{path.name} is no JSON") from None
    except (KeyError, TypeError):
        raise Refused("card", f'{path.name} does not say {{"architecture": "…"}}') from None
    if not isinstance(architecture, str):
        raise Refused("card", f"{path.name}: the architecture is {shown(architecture)}; expected a text")
    file, _, function = architecture.rpartition(":")
    plain = file.endswith(".py") and function.isidentifier() and Path(file).name == file and file[0] != "."
    if architecture not in nets.NETS and not (plain and "\\" not in file and file.isprintable()):
        raise Refused("card", f"{path.name}: {unknown('architecture', architecture[:80], nets.NETS)}, or net.py:make")
    return architecture


def _check_weights(path: Path) -> None:
    start = _bytes(path)[:2]
    if start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise Refused("pickle", f"{path.name} is a pickle under another name")
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise Refused("card", f"{path.name} is no safetensors file, or damaged: {str(error)[:200]}") from None


def _digest(data: bytes, file: Path | None = None) -> str:
    return hashlib.sha256(data + (b"\0" + file.read_bytes() if file else b"")).hexdigest()
