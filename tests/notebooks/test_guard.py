"""The guard sees each fault it is there for, in a chapter that is otherwise whole."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.notebooks.guard import WIDGET_STATE, WIDGET_VIEW, faults

SETUP = "import advlib"
TOC = "chapters:\n  - file: chapters/99_whole\n"
MARKDOWN, CODE, FIGURE, SLIDER = 0, 2, 3, 4


def whole_chapter() -> NotebookNode:
    """A small chapter without a fault: text, setup, a printed number, a figure, a slider over one frame."""
    state = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_frame"]}},
        "frame": {"model_name": "HTMLModel", "state": {"value": '<img src="data:," alt="a stop sign">'}},
    }
    cells = [
        new_markdown_cell("# FGSM\n\n$x_{i}$ and `{code}`\n\n```python\n# {not}`a role`\n```\n\nEnd."),
        new_code_cell(SETUP, execution_count=1),
        new_code_cell("print(1)", execution_count=2, outputs=[new_output("stream", text="1\n")]),
        new_code_cell(
            "draw()",
            execution_count=3,
            outputs=[new_output("display_data", {"image/png": "…"})],
            metadata={"mystnb": {"image": {"alt": "Accuracy falls as ε grows."}}},
        ),
        new_code_cell(
            "box", execution_count=4, outputs=[new_output("display_data", {WIDGET_VIEW: {"model_id": "box"}})]
        ),
    ]
    widgets = {WIDGET_STATE: {"state": state, "version_major": 2, "version_minor": 0}}
    return new_notebook(cells=cells, metadata={"widgets": widgets, "advlib": {"cpu_seconds": 1.0}})


def check(notebook: NotebookNode, folder: Path, toc: str = TOC, setup: str = SETUP) -> list[str]:
    path = folder / "chapters" / "99_whole.ipynb"
    path.parent.mkdir()
    nbformat.write(notebook, path)
    return faults(path, toc, setup)


def test_whole_chapter_has_no_fault(tmp_path: Path) -> None:
    assert check(whole_chapter(), tmp_path) == []


def break_run(nb):
    nb.cells[CODE].update(execution_count=None, outputs=[])


def break_output(nb):
    nb.cells[CODE].outputs = []


def break_need(nb):
    """Cell 2 is skipped where MNIST is missing; cell 3 runs there all the same."""
    nb.cells[CODE].source = "import math\ndigits = 1\nprint(digits)"
    nb.cells[CODE].metadata["advlib"] = {"needs": ["mnist"]}
    nb.cells[FIGURE].source = "def draw(math):\n    return math\ndraw(digits)"


def break_empty(nb):
    nb.cells[CODE].source = " \n"


def break_alt(nb):
    del nb.cells[FIGURE].metadata["mystnb"]


def break_short_alt(nb):
    nb.cells[FIGURE].metadata["mystnb"]["image"]["alt"] = "plot"


def break_widgets(nb):
    del nb.metadata["widgets"]


def break_frame(nb):
    del nb.metadata["widgets"][WIDGET_STATE]["state"]["frame"]


def break_time(nb):
    del nb.metadata["advlib"]


def break_speed(nb):
    nb.metadata["advlib"]["cpu_seconds"] = 61.0


def break_setup(nb):
    nb.cells[1].source = "import torch"


def break_error(nb):
    nb.cells[CODE].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def break_stderr(nb):
    nb.cells[CODE].outputs = [new_output("stream", name="stderr", text="UserWarning: …")]


def break_comparison(nb):
    nb.cells[CODE].metadata["tags"] = ["nbval-ignore-output"]


def break_sample(nb):
    nb.cells[CODE].source = 'print(load_images("gtsrb-signs", "sample"))'


def break_sample_without_files(nb):
    nb.cells[CODE].source = 'try: x = load_images("gtsrb-signs", "sample")\nexcept FileNotFoundError: print(1)'


def break_frame_alt(nb):
    nb.metadata["widgets"][WIDGET_STATE]["state"]["frame"]["state"]["value"] = '<img src="data:," alt="">'


def break_html_alt(nb):
    nb.cells[CODE].outputs = [new_output("display_data", {"text/html": '<img src="data:,">'})]


def break_bar(nb):
    bar = "100%|####| 512/512 [00:06<00:00, 79.28pass/s]"
    nb.cells[CODE].outputs = [new_output("display_data", {"text/plain": bar})]


@pytest.mark.parametrize(
    "broken, message",
    [
        (break_run, "cell 2: it has not been run"),
        (break_output, "cell 2: it should print or show something, but no output is stored"),
        (break_empty, "cell 2: an empty code cell"),
        (break_error, "cell 2: it ended in an error: ValueError"),
        (break_stderr, "cell 2: it wrote to stderr"),
        (break_bar, "cell 2: a progress bar is stored"),
        (break_comparison, "cell 2: tagged nbval-ignore-output, so that no test sees its figures"),
        (break_sample, "cell 2: it loads photographs that cannot be downloaded"),
        (break_sample_without_files, "cell 2: it loads photographs that cannot be downloaded"),
        (break_alt, "cell 3: a figure without alt text"),
        (break_short_alt, "cell 3: a figure without alt text"),
        (break_html_alt, "cell 2: an <img> without alt text"),
        (break_frame_alt, "cell 4: an <img> without alt text"),
        (break_widgets, "cell 4: its widget's state is not stored"),
        (break_frame, "cell 4: its widget's state is not stored"),
        (break_time, "no run time is stored"),
        (break_speed, "it took 61 s of processor time, the limit is 60 s"),
        (break_setup, "the first code cell is not the setup cell"),
        (break_need, "cell 3: digits comes from cell 2, which is skipped without mnist"),
    ],
)
def test_guard_sees(broken: Callable[[NotebookNode], None], message: str, tmp_path: Path) -> None:
    notebook = whole_chapter()
    broken(notebook)
    found = check(notebook, tmp_path)
    assert len(found) == 1 and found[0].startswith(message), found


@pytest.mark.parametrize(
    "text",
    [
        "```{note}\nRead on.\n```",
        ":::{tip}\nRead on.\n:::",
        "See {cite}`goodfellow2015`.",
        "(here)=\n# Here",
        "% a remark",
        "{{ repository }}",
        "![](figure.png)",
        "![A sign](https://example.org/sign.png)",
    ],
)
def test_guard_sees_markdown_that_colab_cannot_show(text: str, tmp_path: Path) -> None:
    notebook = whole_chapter()
    notebook.cells[MARKDOWN].source += f"\n\n{text}\n"
    found = check(notebook, tmp_path)
    assert found and all(fault.startswith("cell 0: ") for fault in found), found


def test_guard_sees_a_chapter_that_the_book_does_not_list(tmp_path: Path) -> None:
    found = check(whole_chapter(), tmp_path, toc="- file: chapters/98_other")
    assert found == ["_toc.yml does not list chapters/99_whole"]
