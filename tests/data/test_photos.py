"""Photos as people have them: each kind is read, or refused in one line that says why."""

import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advlib.data.photos import (
    PhotoError,
    PhotoWarning,
    fit_square,
    load_photo,
    save_png,
    to_8bit,
    to_8bit_within,
    to_jpeg,
)
from advlib.norms import L0, L1, L2, Linf


def colours(height=40, width=50):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def save(array_or_image, path, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


def png(*chunks):
    """A PNG file of these chunks, written by hand where Pillow would not write it."""
    parts = [(kind.encode() + data, len(data)) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", size) + part + struct.pack(">I", zlib.crc32(part)) for part, size in parts
    )


def quietly(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_photo(path)


def test_rgb_comes_back_exactly(tmp_path):
    x = quietly(save(colours(), tmp_path / "a.png"))
    assert x.shape == (1, 3, 40, 50) and x.dtype == torch.float32 and x.is_contiguous()
    np.testing.assert_array_equal((x[0] * 255).round().byte().permute(1, 2, 0), colours())


@pytest.mark.parametrize(
    "mode, suffix",
    [
        ("L", "png"),
        ("L", "jpg"),
        ("1", "png"),
        ("P", "png"),
        ("P", "gif"),
        ("CMYK", "jpg"),
        ("CMYK", "tif"),
        ("YCbCr", "jpg"),
        ("LAB", "tif"),
        ("RGB", "bmp"),
        ("RGB", "webp"),
        ("RGB", "tif"),
    ],
)
def test_every_mode_becomes_rgb_of_the_same_picture(tmp_path, mode, suffix):
    smooth = Image.linear_gradient("L").resize((50, 40)).convert("RGB").convert(mode)
    x = quietly(save(smooth, tmp_path / f"a.{suffix}"))
    assert x.shape == (1, 3, 40, 50)
    dither = 0.51 if mode == "1" else 0.06
    expected = torch.from_numpy(np.array(smooth.convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 255
    assert (x[0] - expected).abs().max() < dither
    assert x[0, :, -5:].mean() - x[0, :, :5].mean() > 0.5  # the gradient is still dark above and bright below


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_is_obeyed(tmp_path, orientation):
    upright = Image.fromarray(np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20, np.ones((16, 16), np.uint8)))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    x = quietly(save(stored, tmp_path / "a.png", exif=exif))
    np.testing.assert_array_equal((x[0, 0] * 255).round().byte(), np.array(upright))


@pytest.mark.parametrize(
    "suffix, as_type, scale",
    [
        ("png", np.uint16, 65535),
        ("tif", np.uint16, 65535),
        ("tif", np.int32, 65535),
        ("tif", np.float32, 1),
        ("tif", np.float32, 255),
        ("tif", np.float32, 65535),
    ],
)
def test_deep_greyscale_keeps_its_depth(tmp_path, suffix, as_type, scale):
    values = np.linspace(0, 1, 40 * 50).reshape(40, 50)
    x = quietly(save((values * scale).astype(as_type), tmp_path / f"a.{suffix}"))
    assert np.abs(x[0].numpy() - values).max() < 2 / 65535
    assert len(x.unique()) > 1000  # more than the 256 levels of 8 bits


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_a_colour_are_read_to_the_nearest_levels(tmp_path, channels):
    deep = np.random.default_rng(0).integers(0, 65536, (30, 40, channels))
    deep[..., 3:] = 65535  # opaque
    path = tmp_path / "a.png"
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", 40, 30, 16, 2 if channels == 3 else 6, 0, 0, 0)
    path.write_bytes(png(("IHDR", header), ("IDAT", zlib.compress(rows)), ("IEND", b"")))
    x = quietly(path)
    assert x.shape == (1, 3, 30, 40)
    assert np.abs(x[0].permute(1, 2, 0).numpy() - deep[..., :3] / 65535).max() < 1 / 255


@pytest.mark.parametrize("values", [np.full((20, 20), np.nan), np.full((20, 20), -1.0), np.full((20, 20), 1e6)])
def test_deep_greyscale_that_means_nothing_is_refused(tmp_path, values):
    with pytest.raises(PhotoError, match="a.tif: has pixels"):
        load_photo(save(values.astype(np.float32), tmp_path / "a.tif"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white_and_said(tmp_path, mode):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 10, 20))
    path = save(image.convert(mode), tmp_path / "a.png")
    with pytest.warns(PhotoWarning, match="transparent parts; they are laid on white"):
        x = load_photo(path)
    assert x[..., :10].max() == 0 and x[..., 10:].min() == 1


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path):
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    with pytest.warns(PhotoWarning, match="transparent"):
        x = load_photo(save(image, tmp_path / "a.png", transparency=0))
    assert x.min() == 1


def test_an_alpha_channel_that_hides_nothing_needs_no_word(tmp_path):
    assert quietly(save(Image.new("RGBA", (20, 20), (255, 0, 0, 255)), tmp_path / "a.png"))[0, 0].min() == 1


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first_is_used_and_said(tmp_path, suffix):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue", "lime")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(PhotoWarning, match="has 3 frames; only the first is used"):
        x = load_photo(path)
    assert x[0, :, 5, 5].tolist() == [1, 0, 0]


def test_a_phones_multi_picture_file_is_one_photo(tmp_path):
    path = tmp_path / "a.mpo"
    Image.new("RGB", (40, 40), "red").save(
        path, format="MPO", save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")]
    )
    assert quietly(path).shape == (1, 3, 40, 40)


def test_a_very_large_photo_is_scaled_down_and_said(tmp_path):
    for suffix in ("jpg", "png"):
        path = save(Image.new("RGB", (400, 100), "red"), tmp_path / f"a.{suffix}")
        with pytest.warns(PhotoWarning, match="has 400×100 pixels; scaled down to 200×50"):
            assert load_photo(path, most_pixels=10_000).shape == (1, 3, 50, 200)


def test_scaling_down_and_turning_go_together(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(Image.new("RGB", (400, 100)), tmp_path / "a.jpg", exif=exif)
    with pytest.warns(PhotoWarning, match="scaled down"):
        assert load_photo(path, most_pixels=10_000).shape == (1, 3, 200, 50)


def bomb(path, width, height):
    """A PNG of a few bytes that claims to be enormous."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(png(("IHDR", header), ("IDAT", zlib.compress(b"")), ("IEND", b"")))
    return path


@pytest.mark.parametrize("width, height", [(100_000, 100_000), (13_400, 13_300)])
def test_a_decompression_bomb_is_refused_unread(tmp_path, width, height):
    with pytest.raises(PhotoError, match="has more than 178 million pixels; scale it down first"):
        load_photo(bomb(tmp_path / "a.png", width, height))


def test_nothing_depends_on_pillows_own_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(PhotoError, match="178 million"):
        load_photo(bomb(tmp_path / "a.png", 100_000, 100_000))


def test_what_takes_too_much_memory_to_decode_is_refused_until_the_limit_is_raised(tmp_path):
    path = save(Image.new("RGB", (400, 100)), tmp_path / "a.png")
    with pytest.raises(PhotoError, match="more than 0.03 million pixels; .* raise the limit"):
        load_photo(path, most_decoded=30_000)
    assert quietly(path).shape == load_photo(path, most_decoded=40_000).shape == (1, 3, 100, 400)
    jpeg = save(Image.new("RGB", (400, 100)), tmp_path / "a.jpg")  # decoded at half its size, and so within the limit
    with pytest.warns(PhotoWarning, match="scaled down"):
        assert load_photo(jpeg, most_pixels=10_000, most_decoded=10_000).shape == (1, 3, 50, 200)


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, None, "64"])
@pytest.mark.parametrize("name", ["most_pixels", "most_decoded"])
def test_a_limit_is_a_number_of_pixels(tmp_path, name, limit):
    path = save(Image.new("RGB", (40, 40)), tmp_path / "a.png")
    with pytest.raises((TypeError, ValueError), match=f"{name} is {limit}|{name} is '64'"):
        load_photo(path, **{name: limit})


@pytest.mark.parametrize("width, height", [(15, 40), (40, 15), (1, 1)])
def test_a_tiny_photo_is_refused(tmp_path, width, height):
    with pytest.raises(PhotoError, match=f"is {width}×{height} pixels; at least 16×16"):
        load_photo(save(Image.new("RGB", (width, height)), tmp_path / "a.png"))


def test_sixteen_pixels_are_enough(tmp_path):
    assert quietly(save(Image.new("RGB", (16, 16)), tmp_path / "a.png")).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_file_cut_short_is_refused_in_one_line(tmp_path, suffix, share):
    whole = save(colours(200, 200), tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(PhotoError, match=r"a\.\w+: ") as error:
        load_photo(path)
    assert "\n" not in str(error.value)


@given(
    st.binary(min_size=1, max_size=200),
    st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]),
    st.integers(0, 400),
)
def test_no_damage_raises_anything_else(tmp_path_factory, noise, kind, at):
    path = tmp_path_factory.mktemp("damaged") / "a"
    Image.fromarray(colours(20, 20)).save(path, format=kind)
    data = bytearray(path.read_bytes())
    data[at : at + len(noise)] = noise
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            x = load_photo(path)
        except PhotoError as error:
            assert "\n" not in str(error)
        else:
            assert x.shape[:2] == (1, 3) and x.min() >= 0 and x.max() <= 1


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jpg", b"hello, I am a text", "is not an image"),
        ("a.jpg", b"", "the file is empty"),
        ("a.HEIC", b"\0\0\0\x18ftypheic", "HEIC photos are not read"),
        ("a.svg", b"<svg/>", "is not an image"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n", "is not an image"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PhotoError, match=message):
        load_photo(tmp_path / name)


def test_a_missing_file_a_folder_and_no_path_at_all(tmp_path):
    with pytest.raises(PhotoError, match="nowhere.jpg: there is no such file"):
        load_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(PhotoError, match="is a folder"):
        load_photo(tmp_path)
    with pytest.raises(PhotoError):
        load_photo("x" * 5000)
    with pytest.raises(TypeError, match="by its path .* got int"):
        load_photo(3)


def test_a_folder_names_the_photos_that_are_in_it(tmp_path):
    with pytest.raises(PhotoError, match="is a folder without photos in it"):
        load_photo(tmp_path)
    for name in ("a.JPEG", "b.JPEG", "c.png", "d.txt", "e.txt", "f.txt"):
        (tmp_path / name).touch()
    with pytest.raises(PhotoError, match=r"is a folder; give the photos in it, for example .*\*\.JPEG"):
        load_photo(tmp_path)


def test_a_photo_error_is_a_value_error():
    assert issubclass(PhotoError, ValueError)


# -- resizing --------------------------------------------------------------------------------------------------------


def test_the_middle_is_kept():
    x = torch.zeros(1, 3, 48, 100)
    x[..., 26:74] = 1
    assert fit_square(x, 48).min() == 1


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 60))
def test_any_size_is_made_square_and_stays_in_the_box(height, width, size):
    x = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    y = fit_square(x, size)
    assert y.shape == (2, 3, size, size) and y.min() >= 0 and y.max() <= 1


def test_resizing_passes_gradients():
    x = torch.rand(1, 3, 40, 60, requires_grad=True)
    fit_square(x, 24).sum().backward()
    assert (x.grad[..., 10:50] > 0).all() and (x.grad[..., :10] == 0).all()


@pytest.mark.parametrize("size", [24, 37, 48, 90])
def test_white_keeps_its_gradient_although_rounding_would_leave_the_box(size):
    x = torch.ones(1, 3, 64, 64, requires_grad=True)
    y = fit_square(x, size)
    assert y.max() <= 1
    y.sum().backward()
    assert (x.grad > 0).all()


# -- eight bits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_image_comes_back_rounded_and_no_more(tmp_path, channels):
    x = torch.rand(1, channels, 20, 30)
    save_png(x, tmp_path / "deep" / "a.png")
    assert torch.equal(load_photo(tmp_path / "deep" / "a.png"), to_8bit(x).expand(1, 3, 20, 30))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]


def test_only_one_image_is_saved(tmp_path):
    with pytest.raises(ValueError, match=r"one image of 1 or 3 channels, but got the shape \(2, 3, 8, 8\)"):
        save_png(torch.rand(2, 3, 8, 8), tmp_path / "a.png")


@pytest.mark.parametrize(
    "within",
    [
        Linf(8 / 255),
        Linf(0.03),
        Linf(0.5 / 255),
        Linf(torch.tensor([0.0, 0.5, 4.0, 8.0]) / 255),
        L2(0.5),
        L2(3.0),
        L1(4.0),
        L0(7),
    ],
    ids=str,
)
@given(seed=st.integers(0, 50))
def test_rounding_stays_in_the_ball_and_on_the_grid(within, seed):
    generator = torch.Generator().manual_seed(seed)
    x = to_8bit(torch.rand(4, 3, 8, 8, generator=generator))
    x_adv = x + within.project(torch.randn(4, 3, 8, 8, generator=generator) * 0.1, x)
    rounded = to_8bit_within(x_adv, x, within)
    assert torch.equal(rounded, to_8bit(rounded)) and rounded.min() >= 0 and rounded.max() <= 1
    assert (within.size(rounded - x) <= within.eps + 1e-5).all()
    assert ((rounded - x_adv).abs() <= 1 / 255 + 1e-6).all()


def test_a_step_of_whole_levels_survives_whole():
    x = torch.full((1, 3, 4, 4), 100 / 255)
    x_adv = x + 8 / 255
    assert torch.equal(to_8bit_within(x_adv, x, Linf(8 / 255)).mul(255).round(), torch.full((1, 3, 4, 4), 108.0))


@pytest.mark.parametrize("levels", [0, 0.4, 0.6, 1, 1.7, 2.5, 8])
def test_in_a_ball_of_the_largest_change_each_pixel_takes_the_nearest_level_inside(levels):
    generator = torch.Generator().manual_seed(0)
    x = to_8bit(torch.rand(2, 3, 8, 8, generator=generator, dtype=torch.float64))
    within = Linf(levels / 255)
    x_adv = x + within.project(torch.randn(x.shape, generator=generator, dtype=torch.float64) * levels / 200, x)
    distances = torch.arange(256, dtype=torch.float64) / 255 - x_adv[..., None]
    outside = (distances + (x_adv - x)[..., None]).abs() > within.eps + 1e-6
    nearest = distances.abs().masked_fill(outside, torch.inf).amin(-1)
    torch.testing.assert_close((to_8bit_within(x_adv, x, within) - x_adv).abs(), nearest, rtol=0, atol=1e-7)


# -- what cannot be written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x, error, words",
    [
        (torch.full((1, 3, 20, 20), torch.nan), ValueError, "NaN or infinite"),
        (torch.full((1, 3, 20, 20), 255.0), ValueError, "from 255 to 255.*divide by 255"),
        (torch.full((3, 20, 20), -0.5), ValueError, "from -0.5 to -0.5"),
        (torch.full((1, 3, 20, 20), 255, dtype=torch.uint8), TypeError, "uint8.*Divide by 255"),
        (np.zeros((3, 20, 20)), TypeError, "x is a numpy.ndarray"),
    ],
)
def test_pixels_that_are_none_are_not_saved(tmp_path, x, error, words):
    with pytest.raises(error, match=words):
        save_png(x, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "quality, error, words",
    [
        (500, ValueError, "quality is 500; expected a JPEG quality"),
        (0, ValueError, "quality is 0"),
        ("75", TypeError, "'75'"),
    ],
)
def test_a_quality_that_jpeg_does_not_have(quality, error, words):
    with pytest.raises(error, match=words):
        to_jpeg(torch.rand(1, 3, 20, 20), quality)


def test_a_jpeg_has_one_channel_or_three_and_pixels_in_the_box():
    with pytest.raises(ValueError, match=r"\(1, 2, 20, 20\); a JPEG file holds 1 or 3"):
        to_jpeg(torch.rand(1, 2, 20, 20), 75)
    with pytest.raises(ValueError, match="NaN"):
        to_jpeg(torch.full((1, 3, 20, 20), torch.nan), 75)
