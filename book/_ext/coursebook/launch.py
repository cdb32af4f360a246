"""Below the title of each page that is a notebook: links that open it where it runs."""

from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def show_buttons(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put the links of `places` behind the title."""
    path = Path(app.env.doc2path(page))
    if doctree is None or path.suffix != ".ipynb":
        return
    file = path.relative_to(app.srcdir).as_posix()
    links = "".join(
        f'<a href="{escape(url)}" title="{escape(what)}">{name}</a>'
        for name, url, what in places(app.config.html_theme_options, file)
    )
    title, end, text = context["body"].partition("</h1>")
    context["body"] = f'{title}{end}<p class="launch">Run this page: {links}</p>{text}' if end else title


def places(options: dict, file: str) -> list[tuple[str, str, str]]:
    """Where a notebook opens: the name, the address, what to expect.

    >>> options = {"repository_url": "https://github.com/ada/course", "repository_branch": "main"}
    >>> options["launch_buttons"] = {"colab_url": "https://colab.example"}
    >>> [url for _, url, _ in places(options, "chapters/06_fgsm.ipynb")]
    ['https://colab.example/github/ada/course/blob/main/chapters/06_fgsm.ipynb']
    """
    name = options["repository_url"].removeprefix("https://github.com/")
    branch, buttons = options["repository_branch"], options["launch_buttons"]
    found = []
    if colab := buttons.get("colab_url"):
        what = "Needs a Google account. The first cell installs what is missing, in half a minute."
        found.append(("Colab", f"{colab}/github/{name}/blob/{branch}/{file}", what))
    if binder := buttons.get("binderhub_url"):
        what = "Needs no account. May take minutes to start, has no GPU, and forgets what you did."
        found.append(("Binder", f"{binder}/v2/gh/{name}/{branch}?urlpath=lab/tree/{file}", what))
    return found
