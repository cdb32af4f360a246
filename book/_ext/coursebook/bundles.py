"""One style sheet and one script for what a dozen extensions bring along: a page is there after a few requests."""

import re
from hashlib import sha256
from pathlib import Path

from sphinx.application import Sphinx

from .assets import esbuild
from .files import write
from .formulas import RENDERER

FOLDER = "bundle"  # in _static; as deep as `styles`, so that what the theme's style refers to lies where it says
STYLE = re.compile(
    r'<link (?=[^>]*rel="stylesheet")(?P<rest>[^>]*href="(?P<root>[^"]*?)_static/(?P<name>[^"?]+)[^>]*)>\s*'
)
CODE = re.compile(r'<script[^>]* src="(?P<root>[^"]*?)_static/(?P<name>[^"?]+)[^>]*></script>\s*')
EARLY = re.compile(r'<link rel="preload" as="script"[^>]*>\s*')
# As the theme searches while one types, which this book leaves to the page of the search.
SEARCH = re.compile(r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>\s*')
OPTIONS = "documentation_options.js"  # what later scripts in the page itself add to
ICONS = "scripts/fontawesome.js"  # left empty by icons.py
# Which are not for every page, or choose a page's colours before it is seen.
APART = ("course.js", "frames/", "lab/", "vendor/")


def bundle(app: Sphinx, error: Exception | None) -> None:
    """Bundle the styles and scripts of the pages that this build wrote, and remove the bundles that no page needs."""
    if error or app.builder.format != "html" or app.config.html_math_renderer != RENDERER:
        return
    static, made, needed = Path(app.outdir) / "_static", {}, set()
    for page in sorted(Path(app.outdir).rglob("*.html")):
        if static in page.parents:
            continue
        text = page.read_text(encoding="utf-8")
        lighter = with_one_style(text, static, made)
        if page.name != "search.html":
            lighter = with_one_script(lighter, static, made)
        if lighter != text:
            write(page, lighter.encode())
        needed.update(re.findall(rf"_static/{FOLDER}/([\w.]+)", lighter))
    for old in (static / FOLDER).glob("*"):
        if old.name not in needed:
            old.unlink()


def with_one_style(text: str, static: Path, made: dict) -> str:
    """A page's text with one style sheet in the place of its many, in their order."""
    found = list(STYLE.finditer(text))
    if not found or found[0]["name"].startswith(FOLDER):
        return text
    rules = "".join(f'@import "./{one["name"]}"{" print" if "media=" in one["rest"] else ""};\n' for one in found)
    fonts = ("--external:*.woff2", "--external:*.ttf")
    name = built(rules, ".css", static, made, "--bundle", *fonts, "--loader:.png=dataurl", "--loader:.svg=dataurl")
    link = f'<link rel="stylesheet" href="{found[0]["root"]}_static/{FOLDER}/{name}">\n'
    return replaced(text, found, link)


def with_one_script(text: str, static: Path, made: dict) -> str:
    """A page's text with one script, which waits for the page, in the place of its many."""
    text = EARLY.sub("", SEARCH.sub("", text))
    found = [one for one in CODE.finditer(text) if not one["name"].startswith((FOLDER, *APART))]
    if not found:
        return text
    sources = [one["name"] for one in found if one["name"] not in (OPTIONS, ICONS)]
    code = ";\n".join((static / name).read_text(encoding="utf-8") for name in sources)
    name = built(code, ".js", static, made)
    options = (static / OPTIONS).read_text(encoding="utf-8")
    scripts = f'<script>{options}</script>\n<script defer src="{found[0]["root"]}_static/{FOLDER}/{name}"></script>\n'
    return replaced(text, found, scripts)


def built(source: str, kind: str, static: Path, made: dict, *options: str) -> str:
    """The name of the file that esbuild makes of a source, once; it says what is in it."""
    if source not in made:
        content = esbuild(f"--loader={kind[1:]}", *options, source=source, folder=static)
        made[source] = f"{sha256(content).hexdigest()[:16]}{kind}"
        write(static / FOLDER / made[source], content)
    return made[source]


def replaced(text: str, found: list[re.Match], by: str) -> str:
    """The text without what was found in it, and something else where the first of it stood.

    >>> replaced("<a><b> and <c>", list(re.finditer("<.>", "<a><b> and <c>")), "x")
    'x and '
    """
    for one in reversed(found):
        text = text[: one.start()] + (by if one is found[0] else "") + text[one.end() :]
    return text
