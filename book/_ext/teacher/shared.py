"""What slides and handouts have in common: scripts and styles, so that the folder works anywhere without a network."""

import shutil
from pathlib import Path

from pygments.formatters import HtmlFormatter

from book._ext.coursebook import assets

HERE = Path(__file__).parent
MATHJAX = "tex-svg-full.js"  # draws formulas as SVG: no fonts to load, so it also works from file://
REVEAL = ("reveal.js", "reveal.css", "plugin/notes.js")


def copy_shared(folder: Path) -> None:
    """Fill ``folder`` with scripts and styles. Raises `RuntimeError` where the scripts cannot be installed."""
    if problem := assets.install():
        raise RuntimeError(f"the pages' JavaScript could not be installed: {problem}")
    vendor = folder / "vendor"
    assets.build_widgets(vendor)
    dist = assets.MODULES / "reveal.js" / "dist"
    scripts = {vendor / "mathjax" / MATHJAX: assets.MODULES / "mathjax" / "es5" / MATHJAX}
    for target, source in (scripts | {vendor / "reveal" / name: dist / name for name in REVEAL}).items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for source in (*(HERE / "static").iterdir(), HERE.parents[1] / "_static" / "course.js"):
        shutil.copyfile(source, folder / source.name)
    colours = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
    (folder / "code.css").write_text(colours, encoding="utf-8")
