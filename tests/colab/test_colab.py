"""The parts of `make colab` without its half an hour: the environment, the first cell, a fork's, the sliders."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from ipywidgets.embed import embed_data
from nbformat.v4 import new_code_cell, new_notebook

from advlib import widgets
from tests.colab import environment, mirror, run
from tests.notebooks.guard import setup_source

CHAPTER = environment.ROOT / "chapters" / "06_fgsm.ipynb"
ADDRESS = "https://github.com/ada/course"

# A kernel's first cell where advlib is not installed: everything that leads to ours is taken out of the way.
COLD = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "advlib" not in repr(finder)]
sys.path[:] = [folder for folder in sys.path if folder not in {ours!r}]
sys.path.insert(0, {target!r})
from IPython.core.interactiveshell import InteractiveShell
result = InteractiveShell.instance().run_cell({cell!r})
result.raise_error()
"""


# --- the environment ----------------------------------------------------------------------------------------------


def test_the_versions_are_those_of_colab_and_older_than_ours():
    pinned = environment.pinned()
    assert pinned["ipywidgets"].startswith("7.7.") and pinned["ipython"] == "7.34.0"
    assert all(re.fullmatch(r"[\d.]+", version) for version in pinned.values())
    assert not set(pinned) & {"advlib", *environment.BORROWED}


def test_torch_is_borrowed_with_all_that_it_needs_and_nothing_of_ours(tmp_path):
    environment.borrow(tmp_path)
    links = {path.name: path.resolve() for path in tmp_path.iterdir()}
    assert {"torch", "torchvision", "sympy"} <= set(links) and all(path.exists() for path in links.values())
    assert not {"advlib", "numpy", "PIL", "IPython", "ipywidgets", "skimage"} & set(links)
    assert not [name for name in links if "advlib" in name]


def test_what_an_extra_asks_for_is_needed_too():
    names = environment.closure(["torch"])
    asked = [one for one in environment.metadata.requires("torch") or [] if "[" in one.split(";")[0]]
    for requirement in map(environment.Requirement, asked):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            deeper = environment.closure([f"{requirement.name}[{','.join(requirement.extras)}]"])
            assert set(deeper) <= set(names)


def test_another_python_is_refused_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    with pytest.raises(SystemExit, match=r"make PYTHON=python3\.12"):
        environment.build(tmp_path)


def test_nothing_of_this_machine_s_settings_reaches_the_kernel(monkeypatch, tmp_path):
    for name in ("ADVLIB_DATA", "ADVLIB_GRADING", "TORCH_HOME", "TQDM_DISABLE", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "ours")
    variables = environment.variables(tmp_path / "env" / "bin" / "python", tmp_path)
    assert "ours" not in variables.values()
    assert variables["PATH"].startswith(str(tmp_path / "env" / "bin"))


def test_the_stub_has_what_a_notebook_touches():
    code = "import google.colab; from google.colab import output; output.enable_custom_widget_manager(); output.clear()"
    there = {**os.environ, "PYTHONPATH": str(environment.HERE / "stub")}
    subprocess.run([sys.executable, "-c", code], env=there, check=True)


def test_the_mirror_gives_files_by_name(tmp_path, monkeypatch):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "t10k.gz").write_bytes(b"digits")
    monkeypatch.setenv("ADVLIB_DATA", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    from urllib.error import HTTPError
    from urllib.request import urlopen

    with mirror.served(mirror.files()) as address:
        assert urlopen(f"{address}/any/where/t10k.gz").read() == b"digits"
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{address}/t10k")


def test_weights_that_are_not_the_published_ones_are_known_as_such(tmp_path):
    right = f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    for name in (right, "net-00000000.pth", "digits.gz"):
        (tmp_path / name).write_bytes(b"weights")
    assert list(mirror.stand_ins({path.name: path for path in tmp_path.iterdir()})) == ["net-00000000.pth"]


# --- the first cell -----------------------------------------------------------------------------------------------


def repository(folder: Path, says: str) -> Path:
    """A package in a repository of its own that is called advlib."""
    (folder / "advlib").mkdir(parents=True)
    (folder / "advlib" / "__init__.py").touch()
    (folder / "advlib" / "device.py").write_text(f"described = lambda: {says!r}\n")
    (folder / "setup.py").write_text("from setuptools import setup\nsetup(name='advlib', packages=['advlib'])\n")
    return folder


def first_cell(source: str, tmp_path: Path, git: dict[str, str]) -> str:
    """What a first cell prints where the package is missing; it is installed into a folder of its own."""
    target = str(tmp_path / "installed")
    os.mkdir(target)  # Python remembers a folder that was not there
    ours = [str(environment.ROOT), ""]
    quick = {"PIP_TARGET": target, "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1"}
    there = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    there |= git | quick | {"IPYTHONDIR": str(tmp_path)}
    code = COLD.format(ours=ours, target=target, cell=source)
    done = subprocess.run([sys.executable, "-c", code], env=there, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_first_cell_installs_from_the_address_that_it_names_and_says_where_it_computes(tmp_path, monkeypatch):
    cell = setup_source(nbformat.read(CHAPTER, as_version=4))
    monkeypatch.setattr(environment, "ROOT", repository(tmp_path / "theirs", "GPU: Tesla T4"))
    subprocess.run(["git", "init", "--quiet", tmp_path / "theirs"], check=True)
    from tests.notebooks.fork import address

    git = environment.snapshot(tmp_path / "snapshot", address())
    monkeypatch.undo()
    assert "GPU: Tesla T4" in first_cell(cell, tmp_path, git)


@pytest.mark.slow
def test_a_fork_s_first_cell_installs_the_fork(tmp_path, monkeypatch):
    from tests.notebooks.fork import adopt

    course = tmp_path / "course"
    (course / "chapters").mkdir(parents=True)
    for name in ("_config.yml", "chapters/06_fgsm.ipynb"):
        (course / name).write_bytes((environment.ROOT / name).read_bytes())
    adopt(ADDRESS, course)
    cell = setup_source(nbformat.read(course / "chapters" / "06_fgsm.ipynb", as_version=4))
    monkeypatch.setattr(environment, "ROOT", repository(tmp_path / "fork", "installed from the fork"))
    subprocess.run(["git", "init", "--quiet", tmp_path / "fork"], check=True)
    git = environment.snapshot(tmp_path / "snapshot", ADDRESS)
    monkeypatch.undo()
    assert "installed from the fork" in first_cell(cell, tmp_path, git)


# --- a run --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_tells_time_and_failure(tmp_path, monkeypatch):
    environment.kernel(tmp_path, Path(sys.executable))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setattr(run, "forget", lambda python: None)
    cells = ["sum(range(10**7)); import os; print(os.listdir())", "sum(range(2 * 10**7)); 1 / 0", "print('never')"]
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in cells]), tmp_path / "x.ipynb")
    result = run.run(tmp_path / "x.ipynb", tmp_path / "env" / "bin" / "python", {}, tmp_path / "kept")
    kept = nbformat.read(tmp_path / "kept" / "x.ipynb", as_version=4)
    assert kept.cells[0].outputs[0].text == "['x.ipynb']\n" and not kept.cells[2].outputs
    assert 0.05 < result.first < result.whole and (result.megabytes > 10 or sys.platform != "linux")
    assert len(result.faults) == 1 and "ZeroDivisionError" in str(result)


# --- sliders without a kernel -------------------------------------------------------------------------------------


def stored(*boxes) -> tuple[dict, list[str]]:
    data = embed_data(boxes, drop_defaults=False)
    return data["manager_state"], [view["model_id"] for view in data["view_specs"]]


def slider_and_quiz() -> list:
    answers = {"Up": "It climbs.", "Down": "It descends."}
    slider = widgets.slider_over(["<p>clean</p>", "<p>half</p>", "<p>attacked</p>"], start=1)
    return [slider, widgets.quiz("Where to?", answers, correct="Up")]


@pytest.fixture
def drawn():
    from book._ext.coursebook import assets

    if why := assets.install():
        pytest.skip(why)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["8", "7"])
def test_sliders_and_quizzes_of_both_versions_move_and_show_no_tabs(version, browser, drawn, tmp_path, monkeypatch):
    from tests.colab.sliders import page, still

    if version == "7":
        monkeypatch.delattr("ipywidgets.Stack")
    state, views = stored(*slider_and_quiz())
    assert still(browser, state, views, tmp_path) == []
    (tmp_path / "page.html").write_text(page(state, views), encoding="utf-8")
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    tab.locator("input[type=radio]").first.wait_for()
    assert tab.locator("[role=tab]:visible").count() == 0
    assert tab.locator(".box").all_inner_texts()[0].split() == ["ε", "1", "half"]
    tab.close()


@pytest.mark.thorough
def test_a_slider_that_moves_nothing_is_noticed(browser, drawn, tmp_path):
    from tests.colab.sliders import still

    state, views = stored(*slider_and_quiz())
    # All of them: widgets of other tests are stored along.
    state["state"] = {name: one for name, one in state["state"].items() if one["model_name"] != "LinkModel"}
    assert len(still(browser, state, views, tmp_path)) == len(views) == 2


def test_the_browser_is_given_a_page_that_a_frame_cannot_end():
    from tests.colab.sliders import page

    text = page({"state": {"a": {"value": "</script><script>alert(1)</script>"}}}, ["a"])
    assert "</script><script>alert" not in text
    assert json.loads(re.search(r'widget-state\+json">(.*?)</script>', text)[1])
