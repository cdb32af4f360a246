"""Defences that clean the image: what they do, and that they say no more of their gradient than is true."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from advlib.attacks import GradientMaskingWarning, bpda, eot, pgd
from advlib.defenses import JPEG, BitDepth, Quantize, ResizePad
from advlib.losses import margin
from advlib.norms import Linf


def model(values=192, classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(values, 8), nn.ReLU(), nn.Linear(8, classes)).eval()


def batch(n=4, channels=3, size=8):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(2))


def file_and_back(image, quality):
    """One image (C, H, W) through Pillow, without advlib."""
    levels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0]).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(file)).copy()).view(*levels.shape).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [5, 75, 95])
def test_jpeg_is_pillows_byte_for_byte(channels, quality):
    x = batch(channels=channels, size=16)
    seen = JPEG(nn.Identity(), quality)(x)
    assert torch.equal((seen * 255).round().byte(), torch.stack([file_and_back(image, quality) for image in x]))
    assert torch.equal(seen, (seen * 255).round() / 255)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_bit_depth_leaves_so_many_levels_and_the_nearest(bits):
    x = torch.linspace(0, 1, 2048).view(1, 1, 32, 64)
    seen = BitDepth(nn.Identity(), bits)(x)
    assert len(seen.unique()) == 2**bits and seen.min() == 0 and seen.max() == 1
    assert (seen - x).abs().max() <= 0.5 / (2**bits - 1) + 1e-6
    assert torch.equal(seen, Quantize(nn.Identity(), 2**bits)(x))


DEFENDED = {
    "jpeg": lambda: JPEG(model(), 60),
    "bits": lambda: BitDepth(model(), 3),
    "levels": lambda: Quantize(model(), 5),
}


@pytest.mark.parametrize("name", DEFENDED)
def test_the_model_sees_the_transformed_image_and_bpda_the_same_with_a_gradient(name):
    defended, x = DEFENDED[name](), batch().requires_grad_()
    seen = defended.transform(x.detach())
    assert torch.equal(defended(x), defended.model(seen)) and not torch.equal(seen, x)
    through = bpda(defended.model, defended.transform)
    assert torch.equal(through(x), defended(x))
    assert torch.autograd.grad(through(x)[:, 0].sum(), x)[0].abs().sum() > 0


def test_jpeg_has_no_gradient_and_the_attack_says_what_to_do():
    defended, x = JPEG(model(), 60), batch()
    assert not defended.requires_grad_(False)(x.requires_grad_()).requires_grad
    with pytest.raises(ValueError, match="do not depend differentiably.*bpda"):
        pgd(defended, x.detach(), torch.zeros(4).long(), Linf(0.1))


@pytest.mark.parametrize("name", ["bits", "levels"])
def test_a_rounding_has_a_gradient_of_zero_and_the_attack_warns(name):
    defended, x = DEFENDED[name](), batch().requires_grad_()
    assert (torch.autograd.grad(defended(x)[:, 0].sum(), x)[0] == 0).all()
    y = defended(x).argmax(1)
    with pytest.warns(GradientMaskingWarning, match="bpda"):
        x_adv = pgd(defended, x.detach(), y, Linf(0.02))
    through = pgd(bpda(defended.model, defended.transform), x.detach(), y, Linf(0.2))
    assert (defended(x_adv).argmax(1) == y).float().mean() > (defended(through).argmax(1) == y).float().mean()


# -------------------------------------------------------------------------------------------------- size by chance
def test_each_image_is_somewhere_on_black_in_a_whole_size_between_the_two():
    x = torch.ones(400, 1, 10, 10)
    seen = ResizePad(nn.Identity(), scale=(0.7, 1)).transform(x, torch.Generator().manual_seed(0))
    assert seen.shape == x.shape and torch.allclose(seen, seen.round(), atol=1e-4)
    rows, columns = (seen > 0.5).any(3).sum((1, 2)), (seen > 0.5).any(2).sum((1, 2))
    assert torch.equal(rows, columns) and rows.unique().tolist() == [7, 8, 9, 10]
    assert torch.equal(seen.sum((1, 2, 3)).round(), (rows * columns).float())
    small = (seen[rows == 7] > 0.5).any(3)[:, 0]
    assert small.float().argmax(1).unique().tolist() == [0, 1, 2, 3]
    counts = rows.bincount()[7:]
    assert (counts > 60).all(), counts  # 100 each, on average


def test_an_image_in_its_own_size_is_left_alone_and_a_larger_canvas_pads_it():
    x = batch()
    torch.testing.assert_close(ResizePad(nn.Identity(), scale=(1, 1))(x), x)
    seen = ResizePad(nn.Identity(), scale=(1, 1), onto=(11, 9)).transform(x[:1], torch.Generator().manual_seed(1))
    windows = seen.unfold(2, 8, 1).unfold(3, 8, 1).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    assert seen.shape == (1, 3, 11, 9)
    assert sum(torch.allclose(window, x[0], atol=1e-4) for window in windows[0]) == 1
    assert seen.sum().item() == pytest.approx(x[0].sum().item(), rel=1e-4)


def test_pictures_that_are_not_square_keep_their_shape():
    seen = ResizePad(nn.Identity(), scale=(0.5, 0.5)).transform(torch.ones(3, 1, 8, 16), torch.Generator())
    inked = seen > 0.5
    assert inked.any(3).sum((1, 2)).tolist() == [4] * 3 and inked.any(2).sum((1, 2)).tolist() == [8] * 3


def test_passes_draw_from_torchs_own_state_and_transform_from_its_generator():
    defended, x = ResizePad(model(), scale=(0.6, 1)), batch()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        one, other = defended(x), defended(x)
        torch.manual_seed(5)
        again = defended(x)
    assert torch.equal(one, again) and not torch.equal(one, other)
    before = torch.get_rng_state()
    first, second = (defended.transform(x, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(before, torch.get_rng_state())


def test_its_gradient_is_real_and_eot_attacks_the_expectation():
    defended, x = ResizePad(model(), scale=(0.7, 1)), batch()
    torch.testing.assert_close(
        torch.autograd.functional.jacobian(lambda z: ResizePad(model(), scale=(1, 1))(z).sum(), x),
        torch.autograd.functional.jacobian(lambda z: model()(z).sum(), x),
        atol=1e-4,
        rtol=1e-3,
    )
    unseen = eot(defended.model, defended.transform, samples=50, seed=9)
    y = unseen(x).argmax(1)
    x_adv = pgd(eot(defended.model, defended.transform, samples=8), x, y, Linf(0.25), steps=20)
    clean, attacked = (margin(unseen(images), y) for images in (x, x_adv))
    assert (attacked > clean + 0.1).all()


# ------------------------------------------------------------------------------------------------------- all of them
EVERY = {**DEFENDED, "size": lambda: ResizePad(model())}


@pytest.mark.parametrize("name", EVERY)
def test_they_carry_names_and_modes_and_keep_the_type(name):
    bare = EVERY[name]().model
    bare.classes, bare.preprocess = ("a", "b", "c"), str
    defended = type(EVERY[name]())(bare, *{"jpeg": [60], "bits": [3], "levels": [5], "size": []}[name])
    assert defended.classes == ("a", "b", "c") and defended.preprocess is str and "=" in repr(defended)
    assert defended.train().model.training and not defended.eval().model.training
    assert defended.transform(batch().double()).dtype == torch.float64


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda: JPEG("model", 75), TypeError, "nn.Module"),
        (lambda: JPEG(model(), 0), ValueError, "quality is 0"),
        (lambda: JPEG(model(), 96), ValueError, "quality is 96; expected a JPEG quality from 1 to 95"),
        (lambda: JPEG(model(), 75.0), TypeError, "quality"),
        (lambda: JPEG(model(), 75)(batch(channels=2)), ValueError, "2 channels"),
        (lambda: BitDepth(model(), 0), ValueError, "bits is 0"),
        (lambda: BitDepth(model(), 9), ValueError, "bits is 9"),
        (lambda: Quantize(model(), 1), ValueError, "levels is 1"),
        (lambda: Quantize(nn.Linear, 2), TypeError, "an instance"),
        (lambda: ResizePad(model(), scale=(1, 0.5)), ValueError, "smallest, largest"),
        (lambda: ResizePad(model(), scale=(0, 0.5)), ValueError, "smallest, largest"),
        (lambda: ResizePad(model(), scale=(1.5, 1.5))(batch()), ValueError, "do not fit onto"),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
