"""What a chapter prints as the solution passes the chapter's own check, in grading mode too."""

import pytest
import torch
from torch.nn import functional as F

from advlib import attacks, evaluate, load_images, load_model
from advlib.exercises import check
from advlib.norms import Linf
from tests.exercises.printed import checks, solutions


@pytest.mark.parametrize("number", range(3))
def test_fgsm_solutions_pass(number, capsys, monkeypatch):
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    signs = load_images("signs", "test", n=104)
    names = {
        "torch": torch,
        "F": F,
        "check": check,
        "evaluate": evaluate,
        "model": load_model("signs-cnn"),
        "one": signs.x[103:],
        "label": signs.y[103:],
        "fgsm": lambda model, x, y, eps: attacks.fgsm(model, x, y, Linf(eps)),
    }
    assert len(solutions("06_fgsm")) == len(checks("06_fgsm")) == 3
    exec(solutions("06_fgsm")[number], names)
    exec(checks("06_fgsm")[number], names)
    assert capsys.readouterr().out.startswith("✓")
