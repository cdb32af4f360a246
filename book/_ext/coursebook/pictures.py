"""Pictures as WebP without loss: those in figures, and the frames of sliders, take a third of what they do as PNG."""

import base64
import io
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from PIL import Image

from .files import write

INLINE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def stored(png: bytes, folder: Path) -> Path:
    """A PNG in its lightest form, as a file in ``folder`` that is written once."""
    name = folder / sha256(png).hexdigest()
    if found := [path for path in (name.with_suffix(".webp"), name.with_suffix(".png")) if path.is_file()]:
        return found[0]
    lighter = webp(png)
    path, content = (name.with_suffix(".webp"), lighter) if len(lighter) < len(png) else (name.with_suffix(".png"), png)
    return write(path, content)


def webp(png: bytes) -> bytes:
    """The same pixels as WebP.

    >>> flat = io.BytesIO()
    >>> Image.new("RGB", (300, 200), "white").save(flat, "PNG")
    >>> len(webp(flat.getvalue())) < len(flat.getvalue())
    True
    """
    lighter = io.BytesIO()
    Image.open(io.BytesIO(png)).save(lighter, "WEBP", lossless=True, exact=True, quality=80)
    return lighter.getvalue()


def lightened(folder: Path) -> Callable[[str], str]:
    """What makes the pictures lighter that a piece of HTML carries; ``folder`` keeps them for the next build."""

    def lighter(carried: re.Match) -> str:
        path = stored(base64.b64decode(carried[1]), folder)
        return f"data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"

    return lambda text: INLINE.sub(lighter, text)
