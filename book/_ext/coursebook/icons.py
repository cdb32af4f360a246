"""The theme's icons, drawn by the style sheet: some outlines in place of a script and two fonts with thousands."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from sphinx.application import Sphinx

NAMES = (
    "angle-left", "angle-right", "arrow-up", "bars", "chevron-down", "circle-half-stroke", "download", "expand", "file",
    "file-pdf", "github", "lightbulb", "list", "magnifying-glass", "moon", "rocket", "sun",
)  # fmt: skip
STYLE = "vendor/icons.css"
SCRIPT = Path("scripts", "fontawesome.js")
OUTLINE = r'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"\]'
# As high as a letter, in its colour. Where the system sets the colours, in the system's.
RULES = """html :is(.fa-solid, .fas, .fab) { font-family: inherit; }
html .theme-switch.fa-lg { font-size: 1em; }
html :is(.fa-solid, .fas, .fab)::before {
  content: ""; display: inline-block; height: 1em; vertical-align: -0.125em; background: currentColor;
  -webkit-mask: var(--icon) center / contain no-repeat; mask: var(--icon) center / contain no-repeat;
}
@media (forced-colors: active) { html :is(.fa-solid, .fas, .fab)::before { background: CanvasText; } }
"""


@cache
def script() -> str:
    """The theme's own script, which holds the outlines of all icons."""
    theme = files("pydata_sphinx_theme") / "theme" / "pydata_sphinx_theme" / "static"
    return theme.joinpath(*SCRIPT.parts).read_text(encoding="utf-8")


def rule(name: str) -> str:
    """An icon, as a rule of a style sheet.

    >>> rule("bars")[:60]
    '.fa-bars { --icon: url("data:image/svg+xml,%3Csvg xmlns=\\'htt'
    """
    found = re.search(OUTLINE.format(name=re.escape(name)), script())
    if not found:
        raise ValueError(f"the theme has no icon {name!r}; remove it from {Path(__file__).name}")
    width, height, path = found.groups()
    drawn = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'><path d='{path}'/></svg>"
    icon = quote(drawn, safe=" ='/:.,-")
    wide = int(width) / int(height)
    return (
        f'.fa-{name} {{ --icon: url("data:image/svg+xml,{icon}"); }}\n.fa-{name}::before {{ width: {wide:.4g}em; }}\n'
    )


def draw_in_style(app: Sphinx) -> None:
    """Write the icons' style sheet, and link it on every page."""
    style = Path(app.outdir) / "_static" / STYLE
    style.parent.mkdir(parents=True, exist_ok=True)
    style.write_text(RULES + "".join(map(rule, NAMES)), encoding="utf-8")
    app.add_css_file(STYLE)


def leave_out_script(app: Sphinx, error: Exception | None) -> None:
    """Empty the theme's script, whose place the style sheet takes."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "_static" / SCRIPT).write_text(f"// The icons are drawn by {STYLE}.\n", encoding="utf-8")
