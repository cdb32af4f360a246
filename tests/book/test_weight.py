"""What a reader waits for: a page is light, needs few requests, and its text does not wait for its sliders."""

import gzip
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image, ImageChops
from sphinx.errors import ExtensionError

from book._ext.coursebook import bundles, files, pictures, stills
from tests.book.pages import PAGES, Book, widgets_of

KILOBYTES, REQUESTS = 1200, 25
ZIPPED = {".html", ".css", ".js", ".svg", ".json"}  # by any server; pictures and fonts are packed already
LOADED = "[location.href, ...performance.getEntriesByType('resource').map(one => one.name)]"


def weight(file: Path) -> int:
    content = file.read_bytes()
    return len(gzip.compress(content)) if file.suffix in ZIPPED else len(content)


@pytest.mark.parametrize("name", [PAGES[0], *(page for page in PAGES if page.startswith("chapters/"))])
def test_a_page_is_light(book: Book, name: str) -> None:
    page = book.open(name).page
    page.wait_for_load_state("networkidle")
    asked = [url for url in page.evaluate(LOADED) if not url.startswith("data:")]
    weights = {url: weight(book.folder / unquote(urlsplit(url).path).lstrip("/")) / 1000 for url in asked}
    heaviest = sorted(weights.items(), key=lambda one: -one[1])[:4]
    assert sum(weights.values()) <= KILOBYTES, f"{sum(weights.values()):.0f} kB, of which {heaviest}"
    assert len(asked) <= REQUESTS, asked


@pytest.mark.parametrize("name", [page for page in PAGES if widgets_of(page)])
def test_the_text_does_not_wait_for_the_frames(built_book: Path, name: str) -> None:
    page = (built_book / f"{name}.html").read_text(encoding="utf-8")
    assert stills.STATE not in page
    assert len(re.findall(r'<script defer="defer" src="[^"]*(?:_static/frames/|vendor/widgets\.js)', page)) == 2
    first, *others = re.findall(r'<link [^>]*rel="stylesheet"[^>]*>', page)
    assert "_static/bundle/" in first and not others


def test_the_frames_beside_a_page_are_the_notebook_s(built_book: Path) -> None:
    notebook = json.loads(Path("chapters/06_fgsm.ipynb").read_text(encoding="utf-8"))
    stored = notebook["metadata"]["widgets"][stills.STATE]["state"]
    served = stills.models_of(built_book, "chapters/06_fgsm")
    assert served.keys() == stored.keys()

    def frames(models: dict) -> list[str]:
        return [one["state"]["value"] for one in models.values() if one["model_name"] == "HTMLModel"]

    carried = r"data:image/\w+;base64,[^\"]+"
    assert [re.sub(carried, "", one) for one in frames(served)] == [re.sub(carried, "", one) for one in frames(stored)]
    assert "image/webp" in "".join(frames(served)) and stills.models_of(built_book, "book/notation") == {}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_lighter_picture_has_the_same_pixels(tmp_path: Path, mode: str) -> None:
    picture = Image.radial_gradient("L").convert("RGBA")
    picture.putalpha(Image.linear_gradient("L"))
    picture = picture.convert(mode)
    png = io.BytesIO()
    picture.save(png, "PNG")
    lighter = pictures.stored(png.getvalue(), tmp_path)
    assert lighter == pictures.stored(png.getvalue(), tmp_path) and lighter.stat().st_size <= len(png.getvalue())
    changed = ImageChops.difference(Image.open(lighter).convert("RGBA"), picture.convert("RGBA"))
    assert not any(high for _, high in changed.getextrema())


def test_a_picture_that_webp_makes_heavier_stays_as_it_is(tmp_path: Path) -> None:
    dot = io.BytesIO()
    Image.new("1", (1, 1)).save(dot, "PNG")
    lighter = pictures.webp(dot.getvalue())
    kept = pictures.stored(dot.getvalue(), tmp_path)
    assert kept.stat().st_size == min(len(lighter), len(dot.getvalue()))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(ExtensionError, match=r"images/a\.webp cannot be written: .+ folder of its own"):
        files.write(tmp_path / "images" / "a.webp", b"")


PAGE = """<link rel="stylesheet" href="../_static/a.css?v=1">
<link media="print" rel="stylesheet" href="../_static/b.css">
<script src="../_static/documentation_options.js"></script>
<script src="../_static/x.js"></script>
<script src="../searchindex.js"></script>
<script defer src="../_static/vendor/own.js"></script>
<p>text</p>
<script defer src="../_static/y.js"></script>
"""


@pytest.fixture
def static(built_book: Path, tmp_path: Path) -> Path:
    """A folder with some styles and scripts; esbuild comes with the built book."""
    for name, text in {
        "a.css": "p { color: red; }",
        "b.css": "p { color: black; }",
        "documentation_options.js": "const DOCUMENTATION_OPTIONS = {};",
        "x.js": "var told = 1",
        "y.js": "told += 1;",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_bundles_keep_the_order_and_what_is_for_paper(static: Path) -> None:
    page = bundles.with_one_script(bundles.with_one_style(PAGE, static, {}), static, {})
    style, script = ((static / "bundle" / name) for name in re.findall(r"\.\./_static/bundle/([\w.]+)", page))
    assert style.read_text(encoding="utf-8").strip() == "p{color:red}@media print{p{color:#000}}"
    assert script.read_text(encoding="utf-8").strip() == "var told=1;told+=1;"
    assert "const DOCUMENTATION_OPTIONS" in page and "searchindex" not in page and "vendor/own.js" in page
    again = bundles.with_one_script(bundles.with_one_style(page, static, {}), static, {})
    assert again == page, "a page that a former build has bundled changes"


def test_a_style_that_is_not_there_is_an_error(static: Path) -> None:
    with pytest.raises(ExtensionError, match=r"esbuild cannot build.*gone\.css"):
        bundles.built('@import "./gone.css";', ".css", static, {}, "--bundle")
