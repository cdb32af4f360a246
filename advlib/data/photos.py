"""A person's own photo as a tensor of pixels in [0, 1], and back to a lossless file."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from advlib import contract
from advlib.files import replacing

if TYPE_CHECKING:
    from advlib.norms import Ball

__all__ = ["PhotoError", "PhotoWarning", "fit_square", "load_photo", "save_png", "to_8bit", "to_8bit_within", "to_jpeg"]

SMALLEST_SIDE = 16
MOST_PIXELS = 25_000_000  # a 24-megapixel photo stays as it is; its float tensor takes 300 MB
MOST_DECODED = 64_000_000  # pixels held at once while a file is read, at up to 16 bytes each
TOO_MANY_PIXELS = 178_000_000  # where Pillow, too, takes a file for a decompression bomb
# Pillow knows more formats; some of them, such as EPS, hand a stranger's file to another program.
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".tif", ".tiff", ".webp", ".bmp"}

WITH_ALPHA = {"RGBA", "RGBa", "LA", "La", "PA"}
FULL_SCALE = {"I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535, "I": 65535}


class PhotoError(ValueError):
    """A photo cannot be used; the message is one line that says which and why."""


class PhotoWarning(UserWarning):
    """A photo was read, but not quite as it is in the file; the message says what was changed."""


def load_photo(path: str | os.PathLike, *, most_pixels: int = MOST_PIXELS, most_decoded: int = MOST_DECODED) -> Tensor:
    """Read a JPEG, PNG, GIF, TIFF, WebP or BMP file as a float32 tensor of shape (1, 3, H, W) in [0, 1].

    The orientation tag is obeyed; greyscale, palette, CMYK and 16-bit pictures become RGB. What cannot be kept is
    said in a `PhotoWarning`: transparency is laid on white, of several frames the first is used, a picture of more
    than ``most_pixels`` is scaled down.

    A picture of more than ``most_decoded`` pixels is refused, since reading it takes up to 16 bytes for each; a JPEG
    is read at a half, a quarter or an eighth of its size where that is enough. The limit can be raised to 178 million.

    Raises `PhotoError` (a `ValueError`) with a one-line message for a file that is missing, no image, damaged,
    smaller than 16 pixels on a side or too large, `TypeError` for no path at all, and both for limits that are none.

    >>> load_photo("holiday.jpg")
    Traceback (most recent call last):
    ...
    advlib.data.photos.PhotoError: holiday.jpg: there is no such file
    """
    path = _existing_file(path)
    contract.check_count(most_pixels, "most_pixels", least=SMALLEST_SIDE**2)
    contract.check_count(most_decoded, "most_decoded", least=SMALLEST_SIDE**2)
    notes: list[str] = []
    try:
        # Pillow's own warning about large files is replaced by the checks on the size below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                x = _pixels(image, notes, most_pixels, most_decoded)
    except PhotoError as error:
        raise PhotoError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise PhotoError(f"{path}: {_why_unknown(path)}") from None
    except Image.DecompressionBombError:
        raise PhotoError(f"{path}: {_too_large(TOO_MANY_PIXELS)}") from None
    except PermissionError:
        raise PhotoError(f"{path}: no permission to read it") from None
    except Exception as error:  # Pillow's decoders raise anything from OSError to struct.error on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(f"{path}: the file is damaged or cut short ({reason})") from None
    for note in notes:
        warnings.warn(f"{path}: {note}", PhotoWarning, stacklevel=2)
    return x


def fit_square(x: Tensor, size: int) -> Tensor:
    """Cut the central square out of images (N, C, H, W) and resize it to (N, C, size, size); differentiable.

    >>> fit_square(torch.rand(2, 3, 40, 64), 48).shape
    torch.Size([2, 3, 48, 48])

    Raises `TypeError`, `ValueError` for what is no batch of images, and a size that is none.
    """
    contract.check_change(x, "x", some=True)
    contract.check_count(size, "size")
    side = min(x.shape[-2:])
    top, left = ((length - side) // 2 for length in x.shape[-2:])
    x = x[..., top : top + side, left : left + side]
    if side == size:
        return x
    return into_box(F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False))


def into_box(x: Tensor) -> Tensor:
    """Clamp resized images to [0, 1], but let gradients pass.

    Resizing white by rounding gives 1.0000001; a plain clamp would take the gradient from all white parts.

    >>> x = torch.tensor([1.0000001, 0.5], requires_grad=True)
    >>> y = into_box(x)
    >>> y.max() <= 1, torch.autograd.grad(y.sum(), x)[0]
    (tensor(True), tensor([1., 1.]))
    """
    return x + (x.clamp(0, 1) - x).detach()


def to_8bit(x: Tensor) -> Tensor:
    """Round pixels in [0, 1] to the 256 levels that a picture file can hold. TypeError: no tensor of floats.

    >>> to_8bit(torch.tensor([0.5])) * 255
    tensor([128.])
    """
    contract.check_floats(x, "x")
    return (x * 255).round() / 255


def to_8bit_within(x_adv: Tensor, x: Tensor, within: Ball) -> Tensor:
    """Round adversarial images to 256 levels without leaving the ball around `x`, itself of 256 levels.

    Each pixel takes the nearest level that is no further than ε from its own in `x`: in an L∞ ball the nearest image
    there is. Where rounding so takes an image out of another ball, all its pixels take the next level towards `x`
    instead, which never makes a perturbation larger in any norm.

    Raises `TypeError`, `ValueError` for pixels that are none, images of unlike shapes, and what is no ball.

    >>> from advlib.norms import Linf
    >>> x, delta = torch.full((1, 1, 1, 3), 100 / 255), torch.tensor([1.6, -1.2, 0.9]) / 255
    >>> (to_8bit_within(x + delta, x, Linf(1.7 / 255)) - x).mul(255).round()
    tensor([[[[ 1., -1.,  1.]]]])
    """
    contract.check_images(x)
    contract.check_images(x_adv, "x_adv")
    contract.check_change(x_adv, "x_adv", x)
    contract.check_ball(within, x)
    levels = (x_adv - x) * 255
    most = (torch.as_tensor(within.eps).to(x) * 255 + 1e-3).floor().view(-1, 1, 1, 1)  # whole levels that fit into ε
    nearest = levels.round().clamp(-most, most)
    towards_x = (levels.abs() + 1e-3).floor() * levels.sign()  # 7.9999 is an 8 that float32 could not hold
    inside = within.size(nearest / 255) <= within.eps_for(x) + 1e-6
    chosen = torch.where(inside.view(-1, 1, 1, 1), nearest, towards_x)
    return to_8bit((x + chosen / 255).clamp(0, 1))


def to_jpeg(x: Tensor, quality: int) -> Tensor:
    """What comes back from JPEG files of ``quality`` 1 to 95: images (N, 1 or 3, H, W) in [0, 1]; not differentiable.

    Raises `TypeError`, `ValueError` for pixels that are none, other channels, and a quality that JPEG does not have.

    >>> x = torch.full((2, 3, 8, 8), 100 / 255)
    >>> (to_jpeg(x, 75) * 255).unique()
    tensor([100.])
    """
    contract.check_images(x)
    contract.check_jpeg_quality(quality)
    if x.shape[1] not in (1, 3):
        raise ValueError(f"x has shape {tuple(x.shape)}; a JPEG file holds 1 or 3 channels.")
    back = []
    for image in x:
        file = io.BytesIO()
        _picture(image).save(file, format="JPEG", quality=quality)
        levels = torch.from_numpy(np.array(Image.open(file))).to(x) / 255
        back.append(levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1))
    return torch.stack(back)


def save_png(x: Tensor, path: str | os.PathLike) -> None:
    """Write one image (1, C, H, W) or (C, H, W), pixels in [0, 1], as an 8-bit PNG; whole or not at all.

    Raises `TypeError`, `ValueError` for several images, other channels, and pixels that are NaN or not in [0, 1].
    """
    contract.check_path(path)
    image = picture(x)
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def picture(x: Tensor) -> Image.Image:
    """What `save_png` writes, as Pillow's image."""
    contract.check_tensor(x, "x", like="one image (C, H, W)")
    one = x if x.ndim == 4 else x[None]
    if one.ndim != 4 or len(one) != 1 or one.shape[1] not in (1, 3):
        raise ValueError(f"x: expected one image of 1 or 3 channels, but got the shape {tuple(x.shape)}")
    contract.check_images(one)
    return _picture(one[0])


def _picture(image: Tensor) -> Image.Image:
    """One image (C, H, W), pixels in [0, 1], as an 8-bit picture."""
    levels = image.detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(levels.squeeze(2) if len(image) == 1 else levels)


def _existing_file(path: str | os.PathLike) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"a photo is given by its path (expected a string), but got {type(path).__name__}")
    path = Path(path)
    try:
        if path.is_file():
            return path
        if path.is_dir():
            raise PhotoError(f"{path}: is a folder{_photos_in(path)}")
        if path.exists():
            raise PhotoError(f"{path}: is not an ordinary file")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise PhotoError(f"{path}: {error.strerror}") from None
    raise PhotoError(f"{path}: there is no such file")


def _photos_in(folder: Path) -> str:
    """Which wildcard stands for the photos of a folder; the suffix that most of them have."""
    found = Counter(path.suffix for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        return " without photos in it"
    return f"; give the photos in it, for example {folder / f'*{found.most_common(1)[0][0]}'}"


def _why_unknown(path: Path) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    if path.suffix.lower() in {".heic", ".heif"}:
        return "HEIC photos are not read; export it as JPEG or PNG first"
    return "is not an image (JPEG, PNG, GIF, TIFF, WebP and BMP are read)"


def _too_large(limit: int) -> str:
    raised = "" if limit >= TOO_MANY_PIXELS else ", or raise the limit (most_decoded=, --largest) if there is memory"
    return f"has more than {limit / 1e6:g} million pixels; scale it down first{raised}"


def _pixels(image: Image.Image, notes: list[str], most_pixels: int, most_decoded: int) -> Tensor:
    """Decode an opened picture to (1, 3, H, W) in [0, 1]; `notes` collects what could not be kept."""
    width, height = image.size
    if min(width, height) < SMALLEST_SIDE:
        raise PhotoError(f"is {width}×{height} pixels; at least {SMALLEST_SIDE}×{SMALLEST_SIDE} are needed")
    if width * height > TOO_MANY_PIXELS:
        raise PhotoError(_too_large(TOO_MANY_PIXELS))
    # A multi-picture JPEG, as phones write it, is one photo with a preview or a depth map, not an animation.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"has {frames} frames; only the first is used")

    shrink = max(1.0, (width * height / most_pixels) ** 0.5)
    smaller = (round(width / shrink), round(height / shrink))
    if shrink > 1:
        image.draft(None, smaller)  # lets JPEG decode at a half, a quarter, an eighth straight away
    if image.width * image.height > most_decoded:
        raise PhotoError(_too_large(most_decoded))
    image.load()
    image = _rgb_or_grey(_upright(image, notes), notes)
    if shrink > 1:
        image.thumbnail((max(smaller),) * 2, Image.Resampling.BILINEAR)
        notes.append(f"has {width}×{height} pixels; scaled down to {image.width}×{image.height}")

    x = torch.from_numpy(np.array(image, dtype=np.float32))
    x = x.expand(3, -1, -1) if x.ndim == 2 else x.permute(2, 0, 1) / 255
    return x.clamp(0, 1).unsqueeze(0).contiguous()


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged tag is no reason to refuse good pixels
        notes.append("has a damaged orientation tag, which is ignored")
        return image


def _rgb_or_grey(image: Image.Image, notes: list[str]) -> Image.Image:
    """An 8-bit RGB picture, or for deep greyscale a floating-point one already in [0, 1]."""
    if image.mode in FULL_SCALE or image.mode == "F":
        return _deep_grey(image)
    if image.mode not in WITH_ALPHA and "transparency" not in image.info:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    if np.array(picture.getchannel("A")).min() < 255:
        notes.append("has transparent parts; they are laid on white")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    values = np.array(image, dtype=np.float32)
    if not np.isfinite(values).all() or values.min() < 0:
        raise PhotoError("has pixels that are negative or not a number")
    full_scale = FULL_SCALE.get(image.mode) or next((s for s in (1, 255, 65535) if values.max() <= s), 0)
    if not full_scale or values.max() > full_scale:
        raise PhotoError(f"has pixels up to {values.max():g}; at most 65535 are understood")
    return Image.fromarray(values / full_scale)
