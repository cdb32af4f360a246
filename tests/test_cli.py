"""The command line: what it writes, what it prints, what it says when something is wrong, and its exit status."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.models import ResNet18_Weights, resnet18

from advlib import cli
from advlib.cli import attack, doctor, train
from advlib.data import load_images, load_photo, save_png
from advlib.models import load_model, model_names
from advlib.models.recipes import RECIPES, Defence, Recipe
from advlib.norms import L0, L1, L2, Linf

SAMPLE = Path(os.environ.get("ADVLIB_DATA", "nowhere"), "gtsrb_sample")


@pytest.fixture
def signs(tmp_path):
    """Three generated signs as files: 30, 50 and 60."""
    folder = tmp_path / "photos"
    images = load_images("signs", "test", n=3)
    for k in range(3):
        save_png(images.x[k : k + 1], folder / f"{k}.png")
    return sorted(str(path) for path in folder.iterdir())


@pytest.fixture
def run(tmp_path, capsys):
    """Run `advlib` with these words: (exit status, stdout, stderr); results go to tmp_path/out."""

    def run(*words):
        out = ["--out", str(tmp_path / "out")] if words[0] in ("attack", "train") and "--out" not in words else []
        try:
            status = cli.main([*map(str, words), *out])
        except SystemExit as stop:  # argparse
            status = stop.code
        return status, *capsys.readouterr()

    return run


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# -- attack: what it writes ------------------------------------------------------------------------------------------


def test_each_photo_gets_a_figure_and_a_lossless_image(run, signs, tmp_path):
    status, out, err = run("attack", *signs, "--eps", "8/255")
    assert (status, err) == (0, "")
    assert files(tmp_path / "out") == [f"{k}-{kind}.png" for k in range(3) for kind in ("adversarial", "figure")]
    model = load_model("signs-cnn")
    for k, line in enumerate(out.splitlines()[1:4]):
        x, x_adv = load_photo(signs[k]), load_photo(tmp_path / "out" / f"{k}-adversarial.png")
        assert x_adv.shape == (1, 3, 48, 48)
        assert 0 < (x_adv - x).abs().max() <= 8 / 255 + 1e-6
        clean, fooled = model.classes[model(x).argmax()], model.classes[model(x_adv).argmax()]
        assert signs[k] in line and line.count(clean) >= 1 and fooled in line and line.endswith("8/255")
        assert (" yes " in line) == (clean != fooled)
        with Image.open(tmp_path / "out" / f"{k}-figure.png") as figure:
            assert figure.width > 3 * 100


@pytest.mark.parametrize(
    "norm, eps, ball",
    [
        ("linf", "0.03", Linf(0.03)),
        ("linf", "0.5/255", Linf(0.5 / 255)),
        ("l2", "1.5", L2(1.5)),
        ("l1", "20", L1(20.0)),
        ("l0", "30", L0(30)),
    ],
)
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_the_written_file_is_inside_the_ball(run, signs, tmp_path, norm, eps, ball, name):
    status, out, _ = run("attack", signs[0], "--norm", norm, "--eps", eps, "--attack", name)
    delta = load_photo(tmp_path / "out" / "0-adversarial.png") - load_photo(signs[0])
    assert status == 0 and ball.size(delta) <= ball.eps + 1e-5
    assert str(ball) in out


def test_a_target_by_name_or_number_is_reached(run, signs, tmp_path):
    model = load_model("signs-cnn")
    for target in ("stop", "Stop", "7"):
        status, out, _ = run("attack", signs[0], "--target", target, "--attack", "pgd", "--eps", "24/255")
        assert status == 0 and "1 of 1 read as Stop" in out
        assert model.classes[model(load_photo(tmp_path / "out" / "0-adversarial.png")).argmax()] == "Stop"


def test_the_true_label_can_be_given(run, signs, tmp_path):
    status, out, _ = run("attack", signs[0], "--label", "stop", "--eps", "0")
    assert status == 0 and "1 of 1 fooled" in out  # 30 is not read as stop, so that nothing needs to change
    assert torch.equal(load_photo(tmp_path / "out" / "0-adversarial.png"), load_photo(signs[0]))


def test_photos_of_any_size_are_brought_to_the_models(run, tmp_path):
    Image.new("L", (300, 200), 128).save(tmp_path / "grey.jpg")
    status, _, err = run("attack", tmp_path / "grey.jpg")
    assert (status, err) == (0, "")
    assert load_photo(tmp_path / "out" / "grey-adversarial.png").shape == (1, 3, 48, 48)


def test_what_rounding_to_8_bits_undoes_is_said(run, signs, monkeypatch):
    monkeypatch.setattr(attack, "to_8bit_within", lambda x_adv, x, within: x)
    status, out, _ = run("attack", signs[0], "--attack", "pgd", "--eps", "16/255")
    assert status == 0 and "no (lost in rounding to 8 bits)" in out and "0 of 1 fooled" in out


def test_photos_of_one_name_do_not_overwrite_each_other(run, signs, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(Path(signs[0]).read_bytes())
    assert run("attack", tmp_path / "a/1.png", tmp_path / "b/1.png")[0] == 0
    assert len(files(tmp_path / "out")) == 4


def test_wildcards_that_the_shell_left_alone(run, signs, tmp_path):
    status, out, _ = run("attack", tmp_path / "photos" / "*.png")
    assert status == 0 and "of 3 fooled" in out


def test_a_model_of_ones_own_by_its_path(run, signs):
    weights = Path(cli.__file__).parents[1] / "models" / "weights" / "signs-linear.safetensors"
    assert run("attack", signs[0], "--model", weights)[0] == 0


def test_photos_in_the_output_folder_are_not_overwritten(run, signs):
    before = Path(signs[0]).read_bytes()
    assert run("attack", signs[0], "--out", Path(signs[0]).parent)[0] == 0
    assert Path(signs[0]).read_bytes() == before


# -- attack: what goes wrong -----------------------------------------------------------------------------------------


def test_bad_photos_get_a_line_each_and_the_others_are_still_done(run, signs, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    status, out, err = run(
        "attack", tmp_path / "text.jpg", signs[0], tmp_path / "tiny.png", tmp_path / "missing.png", tmp_path, signs[1]
    )
    assert status == 1
    lines = err.splitlines()
    assert len(lines) == 4
    for line, name, reason in zip(
        lines,
        ("text.jpg", "tiny.png", "missing.png", str(tmp_path)),
        ("is not an image", "is 9×9 pixels", "there is no such file", "is a folder"),
    ):
        assert line.startswith("advlib attack: ") and name in line and reason in line
    assert "of 2 fooled; 4 of 6 photos could not be attacked" in out
    assert files(tmp_path / "out") == [f"{k}-{kind}.png" for k in (0, 1) for kind in ("adversarial", "figure")]


def test_if_no_photo_is_good_there_is_no_table(run, tmp_path):
    status, out, err = run("attack", tmp_path / "missing.png")
    assert status == 1 and "clean" not in out and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_a_photo_lost_is_noted_on_one_line(run, tmp_path):
    Image.new("RGBA", (60, 60), (255, 0, 0, 100)).save(tmp_path / "a.png")
    status, _, err = run("attack", tmp_path / "a.png")
    assert status == 0 and err.startswith("note: ") and "laid on white" in err and len(err.splitlines()) == 1


def test_a_target_that_is_read_already_is_an_error_of_that_photo(run, signs):
    status, out, err = run("attack", *signs[:2], "--target", "30 km/h", "--attack", "pgd", "--eps", "16/255")
    assert status == 1 and "is read as '30 km/h' already; choose another --target" in err and "of 1 read as" in out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--eps", "8"], "did you mean --eps 8/255"),
        (["--eps", "-8/255"], "expected one argument|negative"),
        (["--eps=-0.1"], "negative"),
        (["--eps", "lots"], "write 8/255 or 0.03"),
        (["--eps", "8/0"], "write 8/255 or 0.03"),
        (["--eps", "nan"], "write 8/255 or 0.03"),
        (["--eps", "inf"], "write 8/255 or 0.03"),
        (["--norm", "l2"], "for example --norm l2 --eps 0.5"),
        (["--norm", "l7"], "invalid choice"),
        (["--norm", "l0", "--eps", "2.5"], "a whole number"),
        (["--attack", "pdg"], "did you mean 'pgd'"),
        (["--attack", "ascend"], "unknown attack"),
        (["--steps", "5", "--attack", "fgsm"], "fgsm takes no --steps"),
        (["--steps", "0", "--attack", "pgd"], "steps is 0"),
        (["--model", "sings-cnn"], "did you mean 'signs-cnn'"),
        (["--model", "nowhere.safetensors"], "nowhere.json is missing"),
        (["--model", "imagenet:resnt18"], "did you mean 'resnet18'"),
        (["--target", "stpo"], "did you mean 'Stop'"),
        (["--target", "16"], "0 to 15"),
        (["--label", "stop", "--target", "7"], "both 'Stop'"),
        (["--device", "toaster"], "toaster"),
    ],
)
def test_what_cannot_start_says_why(run, signs, tmp_path, options, message):
    status, out, err = run("attack", signs[0], *options)
    assert status == 2 and out == ""
    assert any(part in err for part in message.split("|")) and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(run, signs, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run("attack", signs[0], "--out", tmp_path / "file")
    assert status == 2 and "file" in err and "Traceback" not in err


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="ADVLIB_DATA has no gtsrb_sample")
def test_real_stop_signs(run, tmp_path):
    photos = sorted((SAMPLE / "00014").glob("*.png"))
    status, out, err = run("attack", *photos, "--eps", "8/255", "--attack", "pgd", "--label", "stop")
    assert (status, err) == (0, "")
    assert len(files(tmp_path / "out")) == 2 * len(photos)
    print(out)
    assert int(out.split("8/255: ")[1].split()[0]) >= len(photos) // 2


@pytest.mark.slow
@pytest.mark.skipif(not (SAMPLE.parent / "photos").is_dir(), reason="ADVLIB_DATA has no photos")
def test_real_photos_become_guacamole_at_their_own_size(run, tmp_path):
    photos = sorted((SAMPLE.parent / "photos").glob("*.JPEG"))
    status, out, err = run(
        "attack",
        *photos,
        "--model",
        "imagenet:squeezenet1_1",
        "--steps",
        "10",
        "--eps",
        "2/255",
        "--target",
        "guacamole",
    )
    if status == 2 and "could not be fetched" in err:
        pytest.skip("no weights of squeezenet1_1")
    print(out)
    attacked = [photo for photo in photos if f"{photo}: is read as 'guacamole' already" not in err]
    reached = int(out.split("2/255: ")[1].split()[0])
    assert len(attacked) >= len(photos) - 1 and reached >= 0.9 * len(attacked)
    assert status == (1 if len(attacked) < len(photos) else 0)
    for photo in attacked:
        x, written = load_photo(photo), load_photo(tmp_path / "out" / f"{photo.stem}-adversarial.png")
        assert written.shape == x.shape and (written - x).abs().max() <= 2 / 255 + 1e-6
        height, width = x.shape[2:]  # the model sees the middle of the longer side: nothing else is changed
        margin = (max(height, width) - min(height, width)) // 2 - 20
        edge = (slice(None), slice(None), *((slice(margin), slice(None))[:: 1 if height > width else -1]))
        assert margin <= 0 or torch.equal(written[edge], x[edge])


def test_resnet18_on_a_photo_of_the_goldfishs_size(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    weights = ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    torch.save(resnet18().state_dict(), tmp_path / "hub/checkpoints" / weights)
    x = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 11), (263, 376), mode="bilinear")
    save_png(x, tmp_path / "goldfish.png")
    status, out, _ = run(
        "attack",
        tmp_path / "goldfish.png",
        "--model",
        "imagenet:resnet18",
        "--target",
        "guacamole",
        "--eps",
        "2/255",
        "--steps",
        "3",
    )
    written = load_photo(tmp_path / "out" / "goldfish-adversarial.png")
    assert status == 0 and "1 read as guacamole" in out
    assert 0 < (written - load_photo(tmp_path / "goldfish.png")).abs().max() <= 2 / 255 + 1e-6


# -- names and numbers -----------------------------------------------------------------------------------------------


def test_an_ambiguous_class_asks_for_the_number():
    with pytest.raises(ValueError, match="several classes 'crane'; give the number: 0, 2"):
        attack.class_index("crane", ["crane", "dog", "crane"])
    assert attack.class_index("2", ["crane", "dog", "crane"]) == 2


# -- train -----------------------------------------------------------------------------------------------------------


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
    }[kind]
    assert repr(given.get("perturb")).startswith(expected[0]) and repr(given.get("objective")) == expected[1]
    weights, start = (network[1].weight for network in (model, load_model("signs-linear")))
    assert torch.allclose(weights, start * (20 if kind == "distilled" else 1))


def test_an_eps_grows_over_its_share_of_the_run():
    perturb = train.changes(Defence("climb", 0.1, ramp=0.5), "cpu")["perturb"]
    assert [perturb.at(t).within.eps for t in (0, 0.25, 0.5, 0.9)] == pytest.approx([0, 0.05, 0.1, 0.1])


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


# -- models, doctor, help --------------------------------------------------------------------------------------------


def test_models_lists_each_with_its_figures(run):
    status, out, _ = run("models")
    assert status == 0 and "signs-cnn: 16 classes" in out and "signs-linear: 16 classes" in out
    assert "under FGSM, L∞ ≤ 8/255" in out


def test_a_healthy_installation(run):
    status, out, _ = run("doctor")
    assert status == 0 and doctor.FAILED not in out and out.endswith("all well\n")
    for name in ("python", "torch", "device", "sliders", "model signs-cnn", "mnist", "ImageNet weights"):
        assert any(line[2:].startswith(f"{name}: ") for line in out.splitlines())


def test_a_sick_installation_is_told_and_the_rest_still_checked(run, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))

    def broken(name):
        raise ValueError("the file is broken\nor was swapped")

    monkeypatch.setattr("advlib.models.zoo.load_model", broken)
    status, out, _ = run("doctor")
    lines = out.splitlines()
    assert status == 1 and lines[-1] == f"{1 + len(model_names())} to mend"
    assert "✗ no-such-package: PackageNotFoundError" in out
    assert "✗ model signs-cnn: ValueError: the file is broken or was swapped" in lines
    assert any(line.startswith("✓ device") for line in lines)


def test_real_data_is_found_or_said_to_be_optional(run, monkeypatch, tmp_path):
    monkeypatch.setenv("ADVLIB_DATA", str(tmp_path))
    monkeypatch.setattr("advlib.data.real.cache_folder", lambda: tmp_path / "cache")
    status, out, _ = run("doctor")
    assert status == 0 and f"– cifar10: not here (ADVLIB_DATA: {tmp_path}" in out


def test_help_waits_for_nothing_that_only_a_command_needs():
    code = (
        "import sys; from advlib.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print({'torchvision', 'matplotlib', 'advlib.attacks', 'advlib.evaluate'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "doctor" in done.stdout and done.stdout.endswith("set()\n")


def test_python_m_advlib_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "advlib", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("advlib ")


def test_a_terminal_without_these_letters_still_gets_its_table(tmp_path, signs):
    done = subprocess.run(
        [sys.executable, "-m", "advlib", "attack", signs[0], "--out", str(tmp_path / "out")],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert b"8/255" in done.stdout and done.stderr == b""


def test_ctrl_c_is_no_traceback(run, signs, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(attack, "load_photo", stop)
    status, _, err = run("attack", signs[0])
    assert status == 130 and err == "stopped\n"


def test_the_card_is_readable_json_in_utf8(run, quick, tmp_path):
    run("train", "quick", "--device", "cpu")
    text = (tmp_path / "out" / "quick.json").read_text(encoding="utf-8")
    assert "L∞ ≤ 8/255" in text and json.loads(text)["name"] == "quick"
