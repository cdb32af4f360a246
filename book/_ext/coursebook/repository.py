"""The addresses of repository and book come from `_config.yml`, or from the environment that publishes a fork."""

import os
from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

VARIABLE = "BOOK_REPOSITORY_URL"
PAGES = "BOOK_URL"  # where the book is read; else GitHub Pages of the repository


def use_one_address(app: Sphinx, config: Config) -> None:
    """Make all links follow one address: the theme's buttons, and links to `repo:path` and `colab:path`."""
    options = config.html_theme_options
    url = os.environ.get(VARIABLE, "").strip() or options["repository_url"]
    url = url.rstrip("/").removesuffix(".git")
    host, _, name = url.removeprefix("https://").partition("/")
    if not url.startswith("https://") or not host or name.count("/") != 1:
        raise ConfigError(f"{VARIABLE} is {url!r}; expected an address such as https://github.com/owner/name")
    branch = options["repository_branch"]
    options["repository_url"] = url
    config.myst_url_schemes = {
        "http": None,
        "https": None,
        "mailto": None,
        "repo": f"{url}/{{{{path}}}}",
        "colab": f"https://colab.research.google.com/github/{name}/blob/{branch}/{{{{path}}}}",
    }
    config.myst_substitutions = {**config.myst_substitutions, "repository": url}
    owner, _, project = name.partition("/")
    config.html_baseurl = os.environ.get(PAGES, "").strip().rstrip("/") or f"https://{owner}.github.io/{project}"
    config.html_baseurl += "/"
    config.ogp_site_url = config.html_baseurl  # and for whoever shares a page
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path  # a missing page can lie at any depth
