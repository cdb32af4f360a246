"""The zoo: what is loaded is what the card describes, and anything else is refused."""

import copy
import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import safetensors.torch
import torch

from advlib.attacks import pgd
from advlib.data import load_images, on_disk
from advlib.defenses import certified_accuracy
from advlib.evaluate import accuracy
from advlib.models import load_model, model_names, nets, save_model, zoo
from advlib.models.recipes import RECIPES
from advlib.norms import Linf

CLASSES = [f"class {k}" for k in range(16)]
CARD = {"name": "mine", "net": "signs-linear", "input": [3, 48, 48], "classes": CLASSES, "command": "advlib train mine"}


@pytest.fixture
def saved(tmp_path):
    """A model of one's own in a folder: its path and the model."""
    model = nets.signs_linear()
    return save_model(model, CARD, tmp_path), model


# -- what ships ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", model_names())
def test_each_model_loads_for_use(name):
    model = load_model(name)
    assert not any(module.training for module in model.modules())
    channels, height, width = model.card["input"]
    logits = model(torch.rand(3, channels, height, width))
    assert logits.shape == (3, len(model.classes)) and logits.isfinite().all()
    assert model.preprocess(torch.rand(1, 3, 90, 70)).shape == (1, channels, height, width)


@pytest.mark.parametrize("name", model_names())
def test_each_card_tells_how_the_model_was_made_and_what_it_reaches(name):
    card = zoo.read_card(name)
    assert card["command"] == f"advlib train {name}" and card["net"] == RECIPES[name].net
    assert card["seed"] == RECIPES[name].seed and card["data"] and card["made_with"]["torch"]
    assert card["parameters"] == sum(p.numel() for p in load_model(name).parameters())
    attacks = [figure["attack"] for figure in card["measured"]]
    attack, most = ("worst_case", str(Linf(0.2))) if name == "digits-ibp" else ("PGD", "8/255")
    assert None in attacks and any(one and one.startswith(attack) and one.endswith(most) for one in attacks)
    if card["classes"] == list(load_images("signs", n=1).classes):
        assert any("real photos" in figure["on"] for figure in card["measured"])


def test_the_cards_figure_is_true():
    card, images = zoo.read_card("signs-cnn"), load_images("signs", "test", n=512)
    claimed = next(f["accuracy"] for f in card["measured"] if not f["attack"] and "real" not in f["on"])
    assert claimed >= 0.99 and accuracy(load_model("signs-cnn"), images.x, images.y) == pytest.approx(
        claimed, abs=0.015
    )
    assert card["parameters"] <= 400_000


def test_the_robust_model_withstands_what_its_card_claims():
    card, images = zoo.read_card("signs-robust"), load_images("signs", "test", n=128)
    claimed = {figure["attack"]: figure["accuracy"] for figure in card["measured"]}
    assert claimed["PGD of 40 steps, L∞ ≤ 8/255"] >= 0.5
    reached = {}
    for name in ("signs-robust", "signs-cnn"):
        model = load_model(name)
        x_adv = pgd(model, images.x, images.y, Linf(8 / 255), steps=10)
        reached[name] = accuracy(model, x_adv, images.y)
    assert reached["signs-robust"] == pytest.approx(claimed["PGD of 40 steps, L∞ ≤ 8/255"], abs=0.13)
    assert reached["signs-cnn"] < 0.1


def test_the_certified_model_has_its_proofs():
    """What its card claims is proved again; and no attack left fewer than were proved."""
    figures, balls = zoo.read_card("digits-ibp")["measured"], (Linf(0.1), Linf(0.2))
    proved, attacked = (
        [next(f for f in figures if f.get(kind) == f"{how}, {within}") for within in balls]
        for kind, how in (("proof", "interval bounds"), ("attack", "worst_case"))
    )
    for proof, attack in zip(proved, attacked):
        assert proof["accuracy"] <= attack["accuracy"] and proof["images"] == attack["images"] == 1_000
        assert proof["interval"][0] < proof["accuracy"] < proof["interval"][1]
    if not on_disk("mnist"):
        pytest.skip("needs MNIST")
    digits, model = load_images("mnist", "test", n=1_000), load_model("digits-ibp")
    for within, proof in zip(balls, proved):
        share = certified_accuracy(model, digits.x, digits.y, within, method="interval")
        assert share == pytest.approx(proof["accuracy"], abs=0.002)


def test_a_card_says_what_its_recipe_is():
    # Cards written before a field was added do not have it; what they have is what is still run.
    for name in model_names():
        recipe, said = json.loads(json.dumps(asdict(RECIPES[name]))), zoo.read_card(name)["recipe"]
        assert said == {key: recipe[key] for key in said}, name


def test_every_recipe_ships_its_model():
    assert set(model_names()) == set(RECIPES)


def test_two_loads_are_two_models():
    one, other = load_model("signs-linear"), load_model("signs-linear")
    with torch.no_grad():
        next(one.parameters()).zero_()
    assert next(other.parameters()).abs().sum() > 0


# -- one's own -------------------------------------------------------------------------------------------------------


def test_a_saved_model_comes_back_by_its_path(saved):
    path, model = saved
    loaded = load_model(path)
    x = torch.rand(2, 3, 48, 48)
    assert torch.equal(loaded(x), model(x)) and loaded.classes == tuple(CLASSES)
    assert torch.equal(load_model(str(path))(x), model(x))
    assert sorted(file.name for file in path.parent.iterdir()) == ["mine.json", "mine.safetensors"]


def test_the_card_gets_size_and_hash(saved):
    path, _ = saved
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["parameters"] == 3 * 48 * 48 * 16 + 16
    assert {key: card[key] for key in CARD} == CARD


def test_saving_again_replaces(saved):
    path, _ = saved
    other = nets.signs_linear()
    save_model(other, CARD, path.parent)
    assert torch.equal(load_model(path)[1].weight, other[1].weight)


def test_saving_leaves_the_model_alone(tmp_path):
    model = nets.signs_cnn().train()
    before = copy.deepcopy(model.state_dict())
    save_model(model, CARD | {"net": "signs-cnn"}, tmp_path)
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_incomplete_card_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="does not say: classes, net"):
        save_model(nets.signs_linear(), {"name": "mine", "input": [3, 48, 48]}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["../escape", "a/b", "a\\b", "c:evil", "..", ".", "", " ", 3, None])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name is .*; expected a plain file name"):
        save_model(nets.signs_linear(), CARD | {"name": name}, tmp_path / "in")
    assert not list(tmp_path.iterdir())


def test_weights_and_card_are_replaced_together(saved, monkeypatch):
    path, model = saved
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    monkeypatch.setattr(zoo.json, "dumps", lambda *a, **k: 1 / 0)  # the weights are written by then, but not moved
    with pytest.raises(ZeroDivisionError):
        save_model(nets.signs_linear(), CARD, path.parent)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_save_cut_short_between_the_two_is_said(saved, monkeypatch):
    path, _ = saved
    moved = []

    def once(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        Path(source).rename(target)

    monkeypatch.setattr("advlib.files.os.replace", once)
    with pytest.raises(KeyboardInterrupt):
        save_model(nets.signs_linear(), CARD, path.parent)
    assert moved == [path] and len(list(path.parent.iterdir())) == 2
    with pytest.raises(ValueError, match="or saving was cut short between the two"):
        load_model(path)


def test_a_grey_model_gets_grey_photos(tmp_path):
    card = CARD | {"net": "mnist-mlp", "input": [1, 28, 28], "classes": [*"0123456789"]}
    model = load_model(save_model(nets.mnist_mlp(), card, tmp_path))
    assert model.preprocess(torch.rand(2, 3, 50, 40)).shape == (2, 1, 28, 28)


# -- what is refused -------------------------------------------------------------------------------------------------


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def retrain(path):
    path.write_bytes(safetensors.torch.save(nets.signs_linear().state_dict()))


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, retrain])
def test_other_weights_than_the_cards_are_refused(saved, damage):
    path, _ = saved
    damage(path)
    with pytest.raises(
        ValueError, match="not the ones that the card 'mine' describes .* make it again: advlib train mine"
    ):
        load_model(path)


def test_a_swapped_pair_is_refused(saved):
    path, _ = saved
    other = path.with_name("other.safetensors")
    shutil.copy(path, other)
    shutil.copy(path.with_suffix(".json"), other.with_suffix(".json"))
    with pytest.raises(ValueError, match="swapped"):
        load_model(other)


def test_a_card_for_another_network_is_refused(saved):
    path, _ = saved
    card = path.with_suffix(".json")
    card.write_text(card.read_text(encoding="utf-8").replace('"signs-linear"', '"signs-cnn"'), encoding="utf-8")
    with pytest.raises(ValueError, match="does not fit the network that its card names"):
        load_model(path)


def test_the_readme_repeats_the_cards_figures():
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    drawn, real = [f for f in zoo.read_card("signs-cnn")["measured"] if not f["attack"]]
    assert f"reads {drawn['accuracy']:.1%} of fresh" in readme
    assert f"{real['accuracy']:.1%} of {real['images']} real photos" in readme


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ("[]", "does not say"),
        ("3", "is damaged"),
        ('{"name": "mine"}', "does not say: classes, input, net, sha256"),
    ],
)
def test_a_broken_card_is_refused(saved, content, message):
    path, _ = saved
    card = path.with_suffix(".json")
    card.unlink() if content is None else card.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"the model card .*mine.json {message}"):
        load_model(path)


def test_missing_weights_are_named(saved):
    path, _ = saved
    path.unlink()
    with pytest.raises(ValueError, match="mine.safetensors cannot be read: No such file"):
        load_model(path)


@pytest.mark.parametrize(
    "name, kind, message",
    [
        ("signs-ccn", ValueError, "did you mean 'signs-cnn'"),
        ("resnet", ValueError, "unknown model 'resnet'. .'advlib models' lists them all"),
        ("", ValueError, "unknown model"),
        (3, TypeError, "got int"),
        (None, TypeError, "got NoneType"),
        ("../signs-cnn", ValueError, "unknown model"),
    ],
)
def test_unknown_names(name, kind, message):
    with pytest.raises(kind, match=message):
        load_model(name)
