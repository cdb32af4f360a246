"""ImageNet classifiers by name: torchvision's own preprocessing and weights, brought to the pixel-space contract."""

import os
import urllib.error
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms.functional import to_pil_image

from advlib import evaluate
from advlib.attacks import bim, eot, fgsm, pgd
from advlib.data import load_photo
from advlib.data.photos import into_box, to_8bit, to_8bit_within, to_jpeg
from advlib.models import load_model
from advlib.models.imagenet import Preprocess, architectures
from advlib.norms import Linf

GIVEN = os.environ.get("TORCH_HOME")
PHOTOS = Path(os.environ.get("ADVLIB_DATA", "nowhere"), "photos")


def weights_file(name: str, version: str = "IMAGENET1K_V1") -> str:
    return torchvision.models.get_model_weights(name)[version].url.rsplit("/", 1)[-1]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub folder and no network; `hub(name)` puts random weights for a model there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)

    def place(name: str, version: str = "IMAGENET1K_V1") -> Path:
        torch.manual_seed(0)
        path = checkpoints / weights_file(name, version)
        torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)
        return path

    place.folder = checkpoints
    return place


def needs(name: str) -> str:
    """The name in full, if its weights are in the TORCH_HOME that the tests were started with."""
    if not GIVEN or not Path(GIVEN, "hub/checkpoints", weights_file(name)).is_file():
        pytest.skip(f"TORCH_HOME has no weights of {name}")
    return f"imagenet:{name}"


def photos() -> list[Path]:
    found = sorted(PHOTOS.glob("n*.JPEG"))
    if not found:
        pytest.skip("ADVLIB_DATA has no photos")
    return found


# -- weights made on the spot ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_the_model_is_torchvisions_with_its_normalisation_inside(hub, name):
    path = hub(name)
    model = load_model(f"imagenet:{name}")
    assert not any(module.training for module in model.modules())
    assert len(model.classes) == 1000 and model.classes[1] == "goldfish" and "guacamole" in model.classes
    reference = torchvision.models.get_model(name)
    reference.load_state_dict(torch.load(path, weights_only=True))
    preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    x = torch.rand(2, 3, 224, 224)
    normalised = (x - torch.tensor(preset.mean).view(3, 1, 1)) / torch.tensor(preset.std).view(3, 1, 1)
    assert torch.allclose(model(x), reference.eval()(normalised), atol=1e-4)


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (224, 224), (60, 90), (1000, 230), (16, 300)])
def test_preprocessing_is_torchvisions_up_to_the_normalisation(hub, size):
    weights = torchvision.models.get_model_weights("resnet18").IMAGENET1K_V1
    preset = weights.transforms()
    rough = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    photo = torch.nn.functional.interpolate(rough, size).mul(255).round() / 255
    theirs = preset(to_pil_image(photo[0])) * torch.tensor(preset.std).view(3, 1, 1)
    theirs = theirs + torch.tensor(preset.mean).view(3, 1, 1)
    ours = Preprocess(weights)(photo)
    assert ours.shape == (1, 3, 224, 224)
    assert (ours[0] - theirs).abs().max() < 2 / 255  # Pillow rounds to 8 bits after each of its two passes


def test_bicubic_preprocessing_stays_in_the_box_and_keeps_its_gradient():
    weights = torchvision.models.get_model_weights("swin_t").DEFAULT
    photo = (torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(0)) > 0.5).float().requires_grad_()
    x = Preprocess(weights)(photo)
    assert x.min() >= 0 and x.max() <= 1
    assert (torch.autograd.grad(x.sum(), photo)[0][..., 60:240, 60:240] != 0).all()


def test_on_photos_is_the_same_classifier_at_the_photos_own_size(hub):
    hub("resnet18")
    model = load_model("imagenet:resnet18")
    photo = torch.rand(2, 3, 250, 310)
    whole = model.on_photos()
    assert torch.equal(whole(photo), model(model.preprocess(photo))) and whole.classes == model.classes
    x_adv = fgsm(whole, photo, whole(photo).argmax(1), Linf(1 / 255))
    assert x_adv.shape == photo.shape and (x_adv - photo).abs().max() <= 1 / 255 + 1e-6
    assert not torch.equal(x_adv, photo)


def test_a_version_of_the_weights_can_be_asked_for(hub):
    hub("mobilenet_v2", "IMAGENET1K_V2")
    assert len(load_model("imagenet:mobilenet_v2@IMAGENET1K_V2").classes) == 1000
    with pytest.raises(FileNotFoundError, match=weights_file("mobilenet_v2", "IMAGENET1K_V1")):
        load_model("imagenet:mobilenet_v2")


@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_models_that_torchvision_changes_with_their_weights_load_too(hub):
    hub("googlenet")  # its weights switch on a transformation of its input
    assert load_model("imagenet:googlenet").network.transform_input is True


# -- what can go wrong -----------------------------------------------------------------------------------------------


def test_where_it_looked_how_to_get_it_and_how_to_point_to_it(hub):
    with pytest.raises(FileNotFoundError) as error:
        load_model("imagenet:resnet18")
    said = str(error.value)
    assert str(hub.folder / weights_file("resnet18")) in said
    assert "no network in this test" in said and "TORCH_HOME" in said


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_file_is_refused_and_named(hub, damage):
    path = hub("squeezenet1_1")
    path.write_bytes(path.read_bytes()[:100_000] if damage is None else damage)
    with pytest.raises(ValueError, match="weights of 'squeezenet1_1' are damaged .* Delete .*squeezenet1_1"):
        load_model("imagenet:squeezenet1_1")


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_wants_to_run_code_is_refused_before_it_does(hub, tmp_path):
    torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, hub.folder / weights_file("squeezenet1_1"))
    with pytest.raises(ValueError, match="damaged"):
        load_model("imagenet:squeezenet1_1")
    assert not (tmp_path / "sprung").exists()


def test_the_file_is_read_once_and_only_for_tensors(hub, monkeypatch):
    asked = []
    load = torch.load
    monkeypatch.setattr("torch.load", lambda *args, **settings: asked.append(settings) or load(*args, **settings))
    hub("squeezenet1_1")
    load_model("imagenet:squeezenet1_1")
    assert [settings["weights_only"] for settings in asked] == [True]


@pytest.mark.parametrize(
    "name, message",
    [
        ("sqeezenet1_1", "did you mean 'squeezenet1_1'"),
        ("fcn_resnet50", "unknown ImageNet model"),
        ("", "unknown"),
        ("resnet50@V2", "Known: IMAGENET1K_V1, IMAGENET1K_V2"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        load_model(f"imagenet:{name}")


def test_every_classifier_offers_what_is_needed():
    for name in architectures():
        weights = torchvision.models.get_model_weights(name).DEFAULT
        assert len(weights.meta["categories"]) == 1000 and Preprocess(weights).size >= 224


# -- real weights, real photos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_real_photos_are_read_as_torchvision_reads_them(name):
    model = load_model(needs(name))
    reference = torchvision.models.get_model(name, weights="IMAGENET1K_V1").eval()
    preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    right = 0
    for path in photos():
        with torch.no_grad():
            ours = model(model.preprocess(load_photo(path))).softmax(1)
            theirs = reference(preset(Image.open(path).convert("RGB"))[None]).softmax(1)
        assert (ours - theirs).abs().max() < 0.05  # Pillow resizes in 8 bits, torch does not
        right += model.classes[ours.argmax()].replace(" ", "_").lower() == path.stem.split("_", 1)[1].lower()
    print(f"{name}: {right} of {len(photos())} photos read as they are named")
    assert right >= 10


@pytest.mark.thorough
@pytest.mark.parametrize("attack, level", [(fgsm, 2), (bim, 1)])
def test_real_photos_are_fooled_at_their_own_size(attack, level):
    model = load_model(needs("squeezenet1_1"))
    whole, within, fooled = model.on_photos(), Linf(level / 255), 0
    for path in photos():
        x = load_photo(path)
        y = whole(x).argmax(1)
        x_adv = attack(whole, x, y, within)
        assert x_adv.shape == x.shape and within.size(x_adv - x) <= within.eps + 1e-6
        fooled += (whole(x_adv).argmax(1) != y).item()
    print(f"{attack.__name__} at {level}/255 fooled {fooled} of {len(photos())}")
    assert fooled >= 12


@pytest.mark.thorough
def test_real_photos_are_read_as_something_else_and_survive_what_was_expected():
    """All photos through a targeted attack, a file, a JPEG and a smaller size, and before another network's eyes."""
    model = load_model(needs("squeezenet1_1"))
    target = model.classes.index("guacamole")
    x = to_8bit(torch.cat([model.preprocess(load_photo(path)) for path in photos()]))
    y, _ = evaluate.predict(model, x)
    x, y = x[y != target], y[y != target]
    within, to_half = Linf(4 / 255), lambda x, generator=None: half(x)
    made = {
        "PGD": pgd(model, x, y, within, target=target, steps=10, early_stop=False),
        "PGD through half the size": pgd(
            eot(model, to_half, samples=1), x, y, within, target=target, steps=10, early_stop=False
        ),
    }
    ways = {"PNG": to_8bit, "JPEG 95": lambda x: to_jpeg(x, 95), "JPEG 75": lambda x: to_jpeg(x, 75), "half": half}
    reached = {}
    for attack, x_adv in made.items():
        x_adv = to_8bit_within(x_adv, x, within)
        assert within.size(x_adv - x).max() <= within.eps + 1e-6
        reached[attack] = {
            way: int((evaluate.predict(model, handle(x_adv))[0] == target).sum()) for way, handle in ways.items()
        }
        print(f"{attack} at 4/255, read as guacamole, of {len(x)}: {reached[attack]}")
    assert reached["PGD"]["PNG"] >= len(x) - 1
    assert reached["PGD"]["half"] < len(x) / 2 < reached["PGD through half the size"]["half"]


def half(x):
    """Half as large, and as large as before again."""
    small = torch.nn.functional.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    return into_box(torch.nn.functional.interpolate(small, size=x.shape[2:], mode="bilinear", antialias=True))


def test_real_photos_before_another_networks_eyes():
    model, other = load_model(needs("squeezenet1_1")), load_model(needs("mobilenet_v2"))
    x = torch.cat([model.preprocess(load_photo(path)) for path in photos()])
    y, seen = evaluate.predict(model, x)[0], evaluate.predict(other, x)[0]
    x_adv = fgsm(model, x, y, Linf(16 / 255))
    changed = {
        name: int((evaluate.predict(one, x_adv)[0] != before).sum())
        for name, one, before in (("attacked", model, y), ("other", other, seen))
    }
    print(f"FGSM at 16/255 changed, of {len(x)} readings: {changed}")
    assert changed["attacked"] >= len(x) - 2 and changed["other"] > 0
