"""What lies in a folder: read without running it, refused with the reason, and written so that it can be read."""

import json
import os
import shutil
from math import pi

import pytest
import torch
from torch import nn, rand_like, sign

from advlib.attacks import pgd
from advlib.models import nets
from advlib.norms import Linf
from advlib.tournament import submit_attack, submit_model
from advlib.tournament.entries import entries

pytestmark = pytest.mark.usefixtures("one_warden")
STEPS = 2
TABLE = {"a": torch.zeros(1)}


@pytest.fixture
def handed_in(tmp_path, weights):
    """A folder with one good submission on each side, to be spoiled."""
    (tmp_path / "attacks" / "ada").mkdir(parents=True)
    (tmp_path / "attacks" / "ada" / "attack.py").write_text("def attack(model, x, y, within): return x")
    (tmp_path / "defenses" / "bob").mkdir(parents=True)
    shutil.copy(weights, tmp_path / "defenses" / "bob" / "model.safetensors")
    (tmp_path / "defenses" / "bob" / "submission.json").write_text('{"architecture": "signs-linear"}')
    return tmp_path


def last(folder, side):
    return entries(folder, side)[-1]


def test_good_ones_and_the_house(handed_in):
    assert [one.team for one in entries(handed_in, "defense")] == ["signs-cnn", "signs-robust", "bob"]
    assert [one.team for one in entries(handed_in, "attack")] == ["fgsm", "pgd", "worst_case", "ada"]
    assert not last(handed_in, "defense").problem and not last(handed_in, "attack").problem


def test_hidden_folders_and_files_beside_them_are_none(handed_in):
    (handed_in / "attacks" / ".ipynb_checkpoints").mkdir()
    (handed_in / "attacks" / "notes.txt").write_text("x")
    assert last(handed_in, "attack").team == "ada"


SPOILED = {
    "no weights": (lambda bob: (bob / "model.safetensors").unlink(), "missing", "there is no model.safetensors"),
    "no card": (lambda bob: (bob / "submission.json").unlink(), "missing", "there is no submission.json"),
    "a card that is no JSON": (lambda bob: _card(bob, "{"), "card", "is no JSON"),
    "a card without an end": (lambda bob: _card(bob, "[" * 50_000), "card", "is no JSON"),
    "a card that is no text": (lambda bob: (bob / "submission.json").write_bytes(b"\xff"), "missing", "UTF-8"),
    "a card that is a list": (lambda bob: _card(bob, "[1]"), "card", "does not say"),
    "no architecture": (lambda bob: _card(bob, "{}"), "card", "does not say"),
    "a number for one": (lambda bob: _card(bob, '{"architecture": 3}'), "card", "expected a text"),
    "an unknown one": (lambda bob: _said(bob, "signs-lineal"), "card", "did you mean 'signs-linear'?"),
    "a file above": (lambda bob: _said(bob, "../ada/net.py:make"), "card", "unknown architecture"),
    "a file anywhere": (lambda bob: _said(bob, "/etc/net.py:make"), "card", "unknown architecture"),
    "a file that is not there": (lambda bob: _said(bob, "net.py:make"), "missing", "there is no net.py"),
    "a pickle": (lambda bob: (bob / "model.pt").write_bytes(b"x"), "pickle", "it brings a pickle, model.pt"),
    "a pickle below": (lambda bob: _below(bob), "pickle", "it brings a pickle, old.pkl"),
    "a pickle in disguise": (lambda bob: (bob / "model.safetensors").write_bytes(b"PK\3\4"), "pickle", "another name"),
    "weights of torch": (lambda bob: torch.save({}, bob / "model.safetensors"), "pickle", "another name"),
    "broken weights": (lambda bob: (bob / "model.safetensors").write_bytes(b"\0" * 99), "card", "is no safetensors"),
    "a link": (lambda bob: _link(bob), "files", "is a link to elsewhere"),
    "a bad name": (lambda bob: bob.rename(bob.with_name("a:b")), "name", "team is 'a:b'"),
    "the house's name": (lambda bob: bob.rename(bob.with_name("Signs-CNN")), "name", "an entry of the house"),
}


def _card(bob, text):
    (bob / "submission.json").write_text(text)


def _said(bob, architecture):
    _card(bob, json.dumps({"architecture": architecture}))


def _below(bob):
    (bob / "more").mkdir()
    (bob / "more" / "old.pkl").touch()


def _link(bob):
    (bob / "submission.json").unlink()
    os.symlink("/etc/passwd", bob / "submission.json")


@pytest.mark.parametrize("what", SPOILED)
def test_a_defence_with(what, handed_in):
    spoil, outcome, words = SPOILED[what]
    spoil(handed_in / "defenses" / "bob")
    problem = last(handed_in, "defense").problem
    assert problem and problem[0] == outcome and words in problem[1], problem


def test_an_attack_that_is_too_large_or_missing(handed_in):
    path = handed_in / "attacks" / "ada" / "attack.py"
    path.write_text("#" * 2**21)
    assert last(handed_in, "attack").problem == ("size", "attack.py has more than 1,024 KB")
    path.unlink()
    assert last(handed_in, "attack").problem[1] == "there is no attack.py that can be read"


# ------------------------------------------------------------------------------------------------------ handing in
def helper(x):
    return x.clamp(0, 1)


def attack_of_parts(model: nn.Module, x, y, within: Linf, steps=STEPS):
    # a comment
    return helper(pgd(model, x, y, within, steps=steps, step=within.eps / STEPS))


eps = torch.zeros(1)  # a name like that of an attribute below


def attack_by_short_names(model, x, y, within):
    return x + within.eps * sign(rand_like(x) - pi / 6)


def attack_with_a_table(model, x, y, within):
    return x + TABLE["a"]


def test_a_function_is_written_with_all_that_it_uses(tmp_path):
    text = submit_attack(tmp_path, "ada", attack_of_parts).read_text()
    for line in (
        "import torch.nn as nn",
        "from advlib.norms import Linf",
        "STEPS = 2",
        "def helper(x):",
        "# a comment",
    ):
        assert line in text, text
    names: dict = {}
    exec(text, names)
    short = submit_attack(tmp_path, "eve", attack_by_short_names).read_text()
    for line in ("from torch import rand_like", "from torch import sign", "pi = 3.14159"):
        assert line in short and "eps =" not in short, short
    model, x = nets.signs_linear(), torch.full((1, 3, 48, 48), 0.5)
    y = model(x).argmax(1)
    assert names["attack"](model, x, y, Linf(0.1)).shape == x.shape


@pytest.mark.parametrize(
    "attack, words",
    [
        (attack_with_a_table, "attack uses TABLE, .* which cannot be written down"),
        (lambda model, x, y, within: x, "expected a function that was written with def"),
        (len, "expected a function that was written with def"),
        ("x = 3", "attack is a text that defines none"),
        ("def attack(", "attack is no Python"),
        ("attack = '\0'", "attack is no Python"),
    ],
)
def test_an_attack_that_cannot_be_written_down_is_refused(attack, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        submit_attack(tmp_path, "ada", attack)
    assert not (tmp_path / "attacks").exists()


def test_a_function_inside_a_function_is_refused(tmp_path):
    size = 3

    def attack(model, x, y, within):
        return x + size

    with pytest.raises(ValueError, match="attack uses size of the function around attack"):
        submit_attack(tmp_path, "ada", attack)


def test_a_model_of_ones_own_code(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from advlib.models.nets import signs_linear\ndef make(): return signs_linear()")
    target = submit_model(tmp_path, "bob", nets.signs_linear(), f"{file}:make")
    assert sorted(one.name for one in target.iterdir()) == ["model.safetensors", "net.py", "submission.json"]
    assert last(tmp_path, "defense").architecture == "net.py:make" and not last(tmp_path, "defense").problem
    submit_model(tmp_path, "bob", nets.signs_linear(), "signs-linear")
    assert not (target / "net.py").exists() and last(tmp_path, "defense").architecture == "signs-linear"


@pytest.mark.parametrize(
    "model, architecture, words",
    [
        (nets.signs_linear(), "signs-cnn", "does not come back from signs-cnn"),
        (nets.mnist_mlp(), "mnist-mlp", "does not come back"),
        (nets.signs_linear(3), "mine.py:make", "there is no file mine.py"),
        (nets.signs_linear(), "signs-lineal", "did you mean 'signs-linear'"),
    ],
)
def test_a_model_that_does_not_come_back_is_refused(model, architecture, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        submit_model(tmp_path, "bob", model, architecture)
    assert not (tmp_path / "defenses").exists()


def test_a_name_that_is_no_text_is_refused_and_can_be_written_down(handed_in):
    try:
        os.mkdir(os.fsencode(handed_in / "attacks") + b"/\xff")
    except OSError:
        pytest.skip("this file system takes no such name")
    odd = next(one for one in entries(handed_in, "attack") if one.problem)
    assert odd.team == "\\xff" and odd.problem[0] == "name" and odd.problem[1].encode()
