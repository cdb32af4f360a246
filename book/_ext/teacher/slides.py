"""A chapter's slides: nbconvert turns the notebook of slides into a page that reveal.js moves through."""

from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

from .deck import deck

HERE = Path(__file__).parent


def write_slides(notebook: Path, folder: Path) -> Path:
    """Write the slides of one chapter into ``folder``, beside which the scripts lie in `shared/`."""
    exporter = SlidesExporter(
        template_name="deck", extra_template_basedirs=[str(HERE / "templates")], exclude_anchor_links=True
    )
    page, _ = exporter.from_notebook_node(deck(nbformat.read(notebook, as_version=4)))
    target = folder / f"{notebook.stem}.html"
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return target
