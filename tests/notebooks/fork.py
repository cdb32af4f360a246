"""Make a fork one's own: write its address wherever the course names its own, in the notebooks' first cells above all.

    make fork URL=https://github.com/ada/course

A notebook that Colab has opened cannot know whence it came, so its first cell has to say whence to install.
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Who quotes the course goes on quoting the original: CITATION.cff stays as it is, and so does the history of changes.
NAMED = ("_config.yml", "README.md", "CONTRIBUTING.md", "pyproject.toml", "book/*.ipynb", "chapters/*.ipynb")
ADDRESS = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+")
INSTALLED = re.compile(r"%pip install .*git\+(\S+)")


def address(root: Path = ROOT) -> str:
    """Where the course lives, as `_config.yml` says."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def adopt(url: str, root: Path = ROOT) -> list[Path]:
    """Write `url` where the course's present address stands; the files that changed."""
    url = url.strip().rstrip("/").removesuffix(".git")
    if not ADDRESS.fullmatch(url):
        raise ValueError(f"URL is {url!r}; expected an address such as https://github.com/owner/name")
    before, changed = re.compile(re.escape(address(root)) + r"(?![\w-])"), []
    for path in (path for pattern in NAMED for path in sorted(root.glob(pattern))):
        text = path.read_bytes().decode("utf-8")  # a notebook keeps its line ends
        if (after := before.sub(url, text)) != text:
            path.write_bytes(after.encode("utf-8"))
            changed.append(path)
    return changed


def main(arguments: list[str]) -> int:
    """Exit status 2 where no address is given, or none that could be one."""
    try:
        (url,) = arguments
        changed = adopt(url)
    except ValueError as error:
        print(f"Say where your fork lives: make fork URL=https://github.com/owner/name ({error})", file=sys.stderr)
        return 2
    print(f"{len(changed)} files name {address()} now. Commit them: Colab opens what is pushed.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
