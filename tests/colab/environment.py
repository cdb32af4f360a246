"""An environment as Colab ships it, without Colab: its versions, its module, torch, and not our package.

torch is borrowed from the environment that this runs in, for a second one would be 5 GB.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
BORROWED = ("torch", "torchvision")
KERNEL = "colab"
PYTHON = ((3, 11), (3, 13))  # from, and below: for these all of the versions exist
# Of this machine, what Colab does not have: our settings, and what would lead its Python elsewhere.
UNSET = re.compile(r"ADVLIB_|TQDM_|TORCH_HOME$|PYTHON|VIRTUAL_ENV$|JUPYTER|IPYTHON|MPL|GIT_CONFIG")


def pinned() -> dict[str, str]:
    """The versions of requirements.txt by name."""
    lines = (line.split("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def closure(names: Iterable[str]) -> dict[str, metadata.Distribution]:
    """The installed packages of these names, and those that they need, under normalised names."""
    found: dict[str, metadata.Distribution] = {}
    waiting, seen = [Requirement(name) for name in names], set()
    while waiting:
        wanted = waiting.pop()
        name = _normal(wanted.name)
        for extra in {"", *wanted.extras} - {extra for other, extra in seen if other == name}:
            seen.add((name, extra))
            found[name] = metadata.distribution(name)
            needed = map(Requirement, found[name].requires or [])
            waiting += [one for one in needed if one.marker is None or one.marker.evaluate({"extra": extra})]
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def borrow(site: Path) -> None:
    """Link torch and what it needs into an environment's site-packages, but for what Colab has in its own versions."""
    own = {_normal(name) for name in pinned()}
    for name, one in closure(BORROWED).items():
        if name in own:
            continue
        tops = {Path(file).parts[0] for file in one.files or () if Path(file).parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():  # several packages share a folder such as nvidia/
                (site / top).symlink_to(one.locate_file(top))


def build(folder: Path) -> Path:
    """The environment's Python; built anew where the versions, or the Python that it stands on, have changed."""
    if not PYTHON[0] <= sys.version_info[:2] < PYTHON[1]:
        wanted = "Python 3.11 or 3.12, as Colab has it"
        raise SystemExit(
            f"make colab needs {wanted}; .venv has {sys.version.split()[0]}. Try: make PYTHON=python3.12 …"
        )
    stamp = folder / "made-of"
    made_of = hashlib.sha256(REQUIREMENTS.read_bytes() + repr((sys.prefix, sys.version)).encode()).hexdigest()
    python = folder / "env" / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == made_of:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    borrow(site)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True)
    kernel(folder, python)
    stamp.write_text(made_of)
    return python


def kernel(folder: Path, python: Path) -> None:
    """Tell Jupyter of the environment, where JUPYTER_PATH names `folder`."""
    spec = folder / "kernels" / KERNEL / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "Colab", "language": "python"}))


def snapshot(folder: Path, address: str) -> dict[str, str]:
    """The working tree as the only commit of a repository in `folder`; what sends git there instead of to `address`."""
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():  # a file may be deleted and not yet committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", "--all", "--force")
    who = ("-c", "user.name=make colab", "-c", "user.email=colab@localhost", "-c", "commit.gpgsign=false")
    _git(folder, *who, "commit", "--quiet", "--no-verify", "--message", "The working tree")
    return redirect(folder, address)


def redirect(folder: Path, address: str) -> dict[str, str]:
    """Environment variables under which git fetches from `folder` what lies at `address`."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{folder}.insteadOf", "GIT_CONFIG_VALUE_0": address}


def _git(folder: Path, *args: str) -> str:
    return subprocess.run(["git", "-C", folder, *args], check=True, capture_output=True, text=True).stdout


def variables(python: Path, scratch: Path) -> dict[str, str]:
    """The environment variables of a kernel as in Colab, its caches in `scratch`, which is empty at first."""
    kept = {name: value for name, value in os.environ.items() if not UNSET.match(name)}
    return kept | {
        "PATH": os.pathsep.join([str(python.parent), kept["PATH"]]),
        "PYTHONPATH": str(HERE / "stub"),
        "COLAB_RELEASE_TAG": "release-colab-external",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": str(python.parents[2] / "matplotlib"),  # Colab's list of fonts is there from the start, too
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "LOCALAPPDATA": str(scratch / "cache"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of ipykernel's debugger, between the lines of the table
        "ADVLIB_PROGRESS": str(scratch / "progress.json"),
        # With several threads, waiting for each other would count as work.
        "OMP_NUM_THREADS": "1",
    }
