"""Every chapter as Colab runs it, cold: `make colab`, or some of them: python -m tests.colab chapters/06_fgsm.ipynb"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat

from book._ext.browser import NoBrowser, opened
from book._ext.coursebook import assets
from tests.colab import environment, mirror
from tests.colab.run import HEAD, run
from tests.colab.sliders import still_in
from tests.notebooks.fork import ROOT, address

FOLDER = ROOT / "build" / "colab"
RUN = FOLDER / "run"


def run_all(paths: list[Path]) -> int:
    """Run the notebooks one after the other, and print the table; how many failed."""
    python = environment.build(FOLDER)
    os.environ["JUPYTER_PATH"] = str(FOLDER)
    data, failed = mirror.files(), 0
    with tempfile.TemporaryDirectory(prefix="colab-git-") as folder, mirror.served(data) as local:
        also = environment.snapshot(Path(folder), address())
        if data:
            also["ADVLIB_MIRROR"] = local
        weights = mirror.stand_ins(data)
        for name in weights:
            print(f"{name} on this machine is not the published file: it lies on disk, and is not fetched.")
        print(HEAD, flush=True)
        for path in paths:
            result = run(path, python, also, RUN, weights)
            failed += bool(result.faults)
            print(result, flush=True)
    print(f"{len(paths)} notebooks, {failed} failed; what they showed lies in {RUN}.")
    return failed


def move_all(paths: list[Path]) -> int:
    """Move every slider that the notebooks stored, in a page without a kernel; how many notebooks have a still one."""
    if why := assets.install():
        print(f"The sliders were not tried: {why}")
        return 0
    failed = 0
    try:
        with opened() as browser, tempfile.TemporaryDirectory() as folder:
            for path in paths:
                still = still_in(nbformat.read(RUN / path.name, as_version=4), browser, Path(folder))
                failed += bool(still)
                print(
                    f"{path.stem}: {'; '.join(still) or 'its sliders and quizzes move, without a kernel'}", flush=True
                )
    except NoBrowser as error:
        print(f"The sliders were not tried: {error}")
    return failed


if __name__ == "__main__":
    every = [ROOT / "book" / "index.ipynb", *sorted((ROOT / "chapters").glob("*.ipynb"))]
    chosen = [Path(path) for path in sys.argv[1:]] or every
    sys.exit(1 if run_all(chosen) + move_all(chosen) else 0)
