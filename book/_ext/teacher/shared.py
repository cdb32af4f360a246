"""What slides and handouts have in common: scripts and styles, so that the folder works anywhere without a network."""

import shutil
from pathlib import Path

from pygments.formatters import HtmlFormatter

from book._ext.coursebook import assets

HERE = Path(__file__).parent
REVEAL = ("reveal.js", "reveal.css", "plugin/notes.js")


def copy_shared(folder: Path) -> None:
    """Fill ``folder`` with scripts and styles. Raises `RuntimeError` where the scripts cannot be installed."""
    if problem := assets.install():
        raise RuntimeError(f"the pages' JavaScript could not be installed: {problem}")
    assets.copy_scripts(folder / "vendor")
    for name in REVEAL:
        target = folder / "vendor" / "reveal" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(assets.MODULES / "reveal.js" / "dist" / name, target)
    for source in (*(HERE / "static").iterdir(), HERE.parents[1] / "_static" / "course.js"):
        shutil.copyfile(source, folder / source.name)
    colours = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
    (folder / "code.css").write_text(colours, encoding="utf-8")
