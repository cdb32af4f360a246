"""``advlib train``: weights, a card that tells all, and what is noticed before hours of work."""

import json
from pathlib import Path

import pytest

from advlib.cli import train
from advlib.data import load_images
from advlib.models import load_model
from advlib.models.recipes import RECIPES, Recipe


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.fixture
def quick(monkeypatch):
    """A recipe that takes a second."""
    monkeypatch.setitem(RECIPES, "quick", Recipe(net="signs-linear", data="signs", train_images=64, epochs=2, lr=1e-3))
    monkeypatch.setattr(train, "TEST_IMAGES", 64)
    monkeypatch.setattr(train, "ATTACKED_IMAGES", 16)


def test_training_writes_a_model_that_loads_with_a_card_that_tells_all(run, quick, tmp_path):
    status, out, _ = run("train", "quick", "--device", "cpu")
    assert status == 0 and files(tmp_path / "out") == ["quick.json", "quick.safetensors"]
    card = load_model(tmp_path / "out" / "quick.safetensors").card
    assert card["command"] == "advlib train quick" and card["recipe"]["epochs"] == 2 and card["seed"] == 0
    assert card["made_with"]["device"] == "cpu"
    clean = card["measured"][0]
    assert clean["attack"] is None and clean["images"] == 64 and f"{clean['accuracy']:.1%}" in out
    attacked = [one for one in card["measured"] if one["attack"]]
    assert len(attacked) == len(train.ATTACKS) and all(one["images"] == 16 for one in attacked)


def test_training_twice_gives_the_same_weights(run, quick, tmp_path):
    for folder in ("one", "two"):
        assert run("train", "quick", "--device", "cpu", "--out", tmp_path / folder)[0] == 0
    assert (tmp_path / "one/quick.safetensors").read_bytes() == (tmp_path / "two/quick.safetensors").read_bytes()


@pytest.mark.parametrize("fresh, seeds", [(True, [5, 6, 7]), (False, [5])])
def test_each_epoch_sees_new_images_or_the_same_again(fresh, seeds, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "load_images", lambda *given: asked.append(given[-1]) or load_images(*given))
    recipe = Recipe(net="signs-linear", data="signs", train_images=32, epochs=3, lr=1e-3, seed=5, fresh=fresh)
    train.train(recipe, "cpu")
    assert asked == seeds


def test_an_unknown_recipe(run):
    status, _, err = run("train", "signs-ccn")
    assert status == 2 and "unknown recipe 'signs-ccn': did you mean 'signs-cnn'" in err


def test_the_card_is_readable_json_in_utf8(run, quick, tmp_path):
    run("train", "quick", "--device", "cpu")
    text = (tmp_path / "out" / "quick.json").read_text(encoding="utf-8")
    assert "L∞ ≤ 8/255" in text and json.loads(text)["name"] == "quick"


@pytest.mark.parametrize("out", ["file", "file/below", "shut"])
def test_where_nothing_can_be_written_is_noticed_before_training(run, quick, tmp_path, monkeypatch, out):
    (tmp_path / "file").touch()
    monkeypatch.setattr(train, "fit", lambda *a, **k: pytest.fail("trained first"))
    if out == "shut":

        def shut(*, dir):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("advlib.files.tempfile.TemporaryFile", shut)
    status, _, err = run("train", "quick", "--device", "cpu", "--out", tmp_path / out)
    assert status == 2 and "cannot write to" in err and "choose another folder with --out" in err and out in err
