"""``advlib train``: weights, a card that tells all, and what is noticed before hours of work."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from advlib.cli import train
from advlib.data import load_images
from advlib.defenses import certified
from advlib.models import load_model
from advlib.models.recipes import RECIPES, Defence, Recipe
from advlib.norms import Linf


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


TINY = Recipe(net="signs-linear", data="signs", train_images=32, epochs=3, lr=1e-3, seed=5)


@pytest.mark.parametrize(
    "changes, seeds", [({}, [5, 6, 7]), ({"fresh": False}, [5]), ({"fresh": False, "sets": 2}, [5, 6])]
)
def test_each_epoch_sees_new_images_or_kept_ones_in_turn(changes, seeds, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "load_images", lambda *given: asked.append(given[-1]) or load_images(*given))
    recipe = replace(TINY, **changes)
    train.train(recipe, "cpu")
    assert asked == seeds
    assert train.which_images(recipe) == {1: "the same 32 images", 2: "32 of 64 images"}.get(
        0 if recipe.fresh else recipe.sets, "32 images"
    )
    if recipe.sets == 2:
        draw = train.training_images(recipe)
        assert torch.equal(draw(2).x, draw(0).x) and not torch.equal(draw(1).x, draw(0).x)


DEFENCES = {
    "climb": Defence("climb", 8 / 255, steps=2, step=0.75),
    "trades": Defence("trades", 8 / 255, beta=2.0),
    "noise": Defence("noise", sigma=0.1),
    "distilled": Defence("distilled", temperature=20.0, teacher="signs-linear"),
    "ibp": Defence("ibp", eps=0.2),
}


@pytest.mark.parametrize("kind", DEFENCES)
def test_a_recipe_says_how_it_defends(kind, monkeypatch):
    given = {}
    monkeypatch.setattr(train, "fit", lambda model, images, **settings: given.update(settings))
    model = train.train(replace(TINY, start="signs-linear", defence=DEFENCES[kind]), "cpu")
    expected = {
        "climb": ("Climb(within=Linf(eps=0.031", "None"),
        "trades": ("Divergence(within=Linf(eps=0.031", "Trades(beta=2.0)"),
        "noise": ("Noise(sigma=0.1)", "None"),
        "distilled": ("None", "Taught(temperature=20.0)"),
        "ibp": ("None", "IBP(within=Linf(eps=0.2), kappa=0.5)"),
    }[kind]
    assert repr(given.get("perturb")).startswith(expected[0]) and repr(given.get("objective")) == expected[1]
    weights, start = (network[1].weight for network in (model, load_model("signs-linear")))
    assert torch.allclose(weights, start * (20 if kind == "distilled" else 1))


def test_an_eps_grows_over_its_share_of_the_run():
    perturb = train.changes(Defence("climb", 0.1, ramp=0.5), "cpu")["perturb"]
    assert [perturb.at(t).within.eps for t in (0, 0.25, 0.5, 0.9)] == pytest.approx([0, 0.05, 0.1, 0.1])


def test_the_radius_of_the_bounds_grows_over_its_share_of_the_run():
    objective = train.changes(Defence("ibp", 0.2, ramp=0.5), "cpu")["objective"]
    assert [objective.at(t).within.eps for t in (0, 0.25, 0.5, 0.9)] == pytest.approx([0, 0.1, 0.2, 0.2])


def test_a_certified_model_is_measured_from_both_sides(monkeypatch):
    """No image that is proved falls, and the worst case is looked for among all others that are right."""
    images = load_images("signs", "test", n=48)
    monkeypatch.setattr(train, "worst_case", lambda model, x, y, within: torch.full_like(x, 0.5))
    model = load_model("signs-linear")
    clean, *pairs = train.measure(model, "signs", images, Defence("ibp", eps=2 / 255))
    for (proof, attack), within in zip((pairs[:2], pairs[2:]), (Linf(1 / 255), Linf(2 / 255))):
        sure = certified(model, images.x, images.y, within, method="interval")
        blank = model(torch.full_like(images.x, 0.5)).argmax(1) == images.y
        right = model(images.x).argmax(1) == images.y
        assert proof["proof"] == f"interval bounds, {within}" and attack["attack"] == f"worst_case, {within}"
        assert proof["accuracy"] == pytest.approx(sure.float().mean().item())
        assert attack["accuracy"] == pytest.approx((sure | right & blank).float().mean().item())
        assert proof["interval"][0] <= proof["accuracy"] <= attack["accuracy"] <= clean["accuracy"]


def test_an_interrupted_training_goes_on_from_its_checkpoint(run, quick, tmp_path, monkeypatch):
    assert run("train", "quick", "--device", "cpu", "--out", tmp_path / "whole")[0] == 0
    asked, real = [], load_images

    def stop_once(data, split, *more):
        if split == "train":
            asked.append(more[-1])
            if asked == [0, 1]:
                raise KeyboardInterrupt
        return real(data, split, *more)

    monkeypatch.setattr(train, "load_images", stop_once)
    again = ("train", "quick", "--device", "cpu", "--out", tmp_path / "again", "--checkpoint", tmp_path / "run.pt")
    assert run(*again)[0] != 0
    assert run(*again)[0] == 0 and asked == [0, 1, 1]
    whole, resumed = (tmp_path / folder / "quick.safetensors" for folder in ("whole", "again"))
    assert whole.read_bytes() == resumed.read_bytes()


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
