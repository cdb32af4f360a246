"""The frame: what it prints for an unwritten, a right, a wrong, a broken and a hostile answer, and what it leaves."""

import random
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from advlib import attacks, norms
from advlib.exercises import check, progress, properties, slips
from advlib.exercises.frame import Case, Formula, Number, Wrong
from advlib.exercises.guarded import Watch, guarded
from tests.exercises.verdicts import verdict


def half(x, *, factor=0.5, shift=0.0):
    return factor * x + shift


HALF = Formula(
    name="half",
    chapter=99,
    title="Halve it",
    points=1,
    right=half,
    cases=lambda: [Case("four numbers", torch.arange(4.0)), Case("float64", torch.ones(2, dtype=torch.float64))],
    wrong=[
        Wrong({"factor": 2}, "every number grew", "multiplied by 2", "multiply by 0.5"),
        Wrong({"shift": 1.0}, "one too much", "one was added", "leave it out"),
        Wrong(lambda x: x / x.sum(0, keepdim=True).tolist(), "a list", "tolist", "leave it out"),
    ],
    verified="half of four numbers",
    by_hand=["div", "true_divide"],
    seconds=1,
)
SIZES = Number(
    name="sizes",
    chapter=99,
    title="Sizes",
    points=1,
    right=lambda: {"a": 1.0, "b": 2.0},
    wrong=[Wrong({"a": lambda: -1.0}, "the sign is flipped", "minus", "plus")],
    verified="{0:g} and {1:g}",
)


def raises_not_implemented(x):
    raise NotImplementedError


def is_dots(x): ...


def is_docstring(x):
    """Half of x."""


def returns_ellipsis(x):
    y = x * 2  # noqa: F841
    return ...


def calls_a_stub(x):
    return raises_not_implemented(x) * 2


UNWRITTEN = [raises_not_implemented, is_dots, is_docstring, returns_ellipsis, calls_a_stub, None, ...]


@pytest.mark.parametrize("answer", UNWRITTEN)
def test_unwritten(capsys, monkeypatch, answer):
    assert verdict(capsys, HALF, answer) == f"○ {getattr(answer, '__name__', 'half')}: not written yet"
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    with pytest.raises(AssertionError, match="not written yet"):
        HALF(answer)


@pytest.mark.parametrize(
    ("by", "asked", "right_passes"), [("validate", "", True), ("autograde", "", False), ("autograde", "1", True)]
)
def test_nbgrader_is_noticed_and_gives_no_points_without_the_settings(monkeypatch, capsys, by, asked, right_passes):
    """It says itself that it runs the notebook: an environment variable that was forgotten gives nobody points."""
    monkeypatch.setenv("NBGRADER_EXECUTION", by)
    monkeypatch.setenv("ADVLIB_GRADING", asked)
    with pytest.raises(AssertionError):
        HALF(lambda x: 2 * x)
    with pytest.raises(AssertionError):
        HALF(raises_not_implemented)
    if right_passes:
        HALF(lambda x: 0.5 * x)
        assert "✓" in capsys.readouterr().out
    else:
        with pytest.raises(AssertionError, match=r"classroom/nbgrader_config\.py"):
            HALF(lambda x: 0.5 * x)


def test_right_wrong_and_two_mistakes_at_once(capsys, monkeypatch):
    assert verdict(capsys, HALF, lambda x: x * 0.5) == "✓ <lambda>: half of four numbers"
    HALF(lambda x: 2 * x)
    assert capsys.readouterr().out.splitlines() == [
        "✗ <lambda>: every number grew",
        "  Likely cause: multiplied by 2",
        "  What to do: multiply by 0.5",
    ]
    both = verdict(capsys, HALF, lambda x: 2 * x + 1)
    assert "two mistakes at once" in both and "multiplied by 2" in both and "one was added" in both
    unknown = verdict(capsys, HALF, lambda x: x * 0.5 + x**2 * 0.1)
    assert "4 values differ" in unknown and "Likely cause" not in unknown
    assert "it is right" not in unknown
    assert "on 1 of 2 cases it is right" in verdict(capsys, HALF, lambda x: torch.where(x == 3, 5, x / 2))
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    with pytest.raises(AssertionError, match="every number grew"):
        HALF(lambda x: 2 * x)


def test_several_wrong_numbers_are_all_named(capsys):
    assert verdict(capsys, SIZES, {"a": 1, "b": torch.tensor(2.0)}) == "✓ sizes: 1 and 2"
    said = verdict(capsys, SIZES, {"a": -1, "b": 5})
    assert "the sign is flipped" in said and "b is 5; that is too large" in said
    for odd in ({"a": 1}, 3, [1, 2]):
        assert "expected a dictionary with the keys a, b" in verdict(capsys, SIZES, odd)
    for odd in (True, "1", float("nan"), torch.ones(3)):
        assert "expected one finite number" in verdict(capsys, SIZES, {"a": odd, "b": 2})


def no_return(x):
    y = 2 * x  # noqa: F841


def no_such_name(x):
    factor = 2
    return factor * y  # noqa: F821


def deep(x):
    return no_such_name(x)


def no_graph(x):
    return torch.autograd.grad((x**2).sum(), x)[0]


def a_tuple(x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad((x**2).sum(), x) * 2.0


def largest(x):
    return 0.5 * x[None].max(1)


def swallows(x):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            x = x + 1


def float32(x):
    return (x.float() / 1).mul(0.5)


class Unspeakable(BaseException):
    def __str__(self):
        raise ValueError("no words")


def unspeakable(x):
    raise Unspeakable


class Agreeable(torch.Tensor):
    def __eq__(self, other):
        return torch.ones(4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("answer", "messages"),
    [
        (no_return, ["returns None", "`return`"]),
        (no_such_name, ["line 3 of no_such_name", "NameError", "run the cell"]),
        (deep, ["line 3 of no_such_name"]),
        (no_graph, ["no gradient is recorded"]),
        (a_tuple, ["returns a tuple"]),
        (largest, [".values"]),
        (lambda: 1, ["calling it: TypeError", "parameters are not those of the stub"]),
        (lambda x: x[:2] * 0.5, ["the result has shape (2,), expected (4,)"]),
        (float32, ["in float64 the result is float32"]),
        (lambda x: (x * 0.5).int(), ["torch.int32 on cpu, expected torch.float32"]),
        (lambda x: x.mul_(0.5), ["the caller's x was changed"]),
        (lambda x: torch.rand(4), ["two calls with the same arguments gave different results"]),
        (lambda x: (x * 0.5).as_subclass(Agreeable), ["expected a plain tensor"]),
        (lambda x: torch.true_divide(x, 2), ["torch's own true_divide", "write it yourself"]),
        (lambda x: norms.Linf(1.0).project(x), ["advlib's own project"]),
        (lambda x: sys.exit(), ["it ended with SystemExit"]),
        (lambda x: (_ for _ in ()).throw(KeyboardInterrupt), ["it ended with KeyboardInterrupt"]),
        (unspeakable, ["it ended with Unspeakable"]),
        (lambda x: time.sleep(60), ["stopped after 1 seconds"]),
        (swallows, ["stopped after 1 seconds"]),
        (torch.zeros(3), ["got a tensor of shape (3,) and type float32, expected a function"]),
        (42, ["got 42, expected a function"]),
    ],
)
def test_broken_answers_are_told_not_raised(capsys, answer, messages):
    said = verdict(capsys, HALF, answer)
    assert said.startswith("✗"), said
    assert [message for message in messages if message not in said] == [], said


def wave(x, y, eps):
    return 2 * eps * torch.sin(3 * x + y[:, None])


WAVE = Formula(
    name="wave",
    chapter=99,
    title="A wave",
    points=1,
    right=wave,
    cases=lambda: [
        Case("four rows", torch.linspace(-1, 1, 12).view(4, 3), torch.tensor([2, 0, 1, 1]), 0.6),
        Case("two rows", torch.linspace(-2, 0, 8, dtype=torch.float64).view(2, 4), torch.tensor([1, 0]), 1.5),
    ],
    verified="",
)
SCALED = [(100, "per cent"), (1.4427, "base 2"), (0.7, "0.7 times")]


@pytest.mark.parametrize("slip", slips.RETURNED, ids=lambda slip: slip[1])
def test_a_slip_in_what_is_returned_is_named(capsys, slip):
    change, *words = slip
    said = verdict(capsys, WAVE, lambda x, y, eps: change(wave(x, y, eps), (x,)))
    harmless = said.startswith("✓")  # where no gradient counts, nothing has one channel too many, …
    assert harmless or all(text.replace("{x}", "x") in said for text in words), said
    assert not harmless or words[0].startswith(
        ("dimensions of size 1", "each image's result is one row", "the values are")
    )


@pytest.mark.parametrize(
    "result, words",
    [
        ([[1, 1], [1, 1], [1, 1]], "; every value is 1"),
        ([[2, 5], [2, 5], [2, 5]], "; all 3 rows are the same"),
        ([[0, 0], [0, 0], [5, 6]], "; of 3 rows only the last is right, and what is wrong came back as it was"),
        ([[9, -9], [3, 4], [5, 6]], "; of 3 rows only the first is wrong"),
        ([[9, 2], [3, 4], [9, 6]], "by up to 8; all that do are too large"),
        ([[1, 0], [3, 4], [5, 0]], "by up to 6; none is too large"),
        ([[2, 2], [3, 4], [5, 3]], "by up to 3"),
    ],
)
def test_what_wrong_values_have_in_common_is_said(result, words):
    right, x = torch.tensor([[1.0, 2], [3, 4], [5, 6]]), torch.zeros(3, 2)
    assert properties.difference(torch.tensor(result).float(), right, (x,)).endswith(words)


def _not_spread(model, x, y):
    sizes = x.flatten(1).norm(dim=1)
    return x / sizes


def _and(model, x, y):
    size = x.flatten(1).amax(1)
    return size < 1 and size > 0


def _no_leaf(model, x, y):
    seen = x.requires_grad_() + 0
    model(seen).sum().backward()
    slope = seen.grad
    return slope.sign()


@pytest.mark.parametrize(
    "answer, words",
    [
        (_not_spread, "(x is a tensor (3, 1, 5, 5), sizes is a tensor (3,))\nWhat to do: one number per image, (N,)"),
        (_and, "(size is a tensor (3,))\nWhat to do: `if`, `and`, `or` and a < b < c take one truth value"),
        (_no_leaf, "(slope is None)\nWhat to do: `.grad` is None"),
    ],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_an_error_comes_with_what_the_line_held_and_with_advice_that_is_certain(answer, words):
    args = nn.Sequential(nn.Flatten(), nn.Linear(25, 2)), torch.rand(3, 1, 5, 5), torch.tensor([0, 1, 0])
    failed = guarded(answer, args, Watch())
    assert words in str(failed.mistake)


def test_a_factor_is_named(capsys):
    for factor, words in SCALED:
        assert words in verdict(capsys, WAVE, lambda *given: factor * wave(*given))
    assert "divided by the number of images" in verdict(capsys, WAVE, lambda x, *rest: wave(x, *rest) / len(x))
    assert "Likely cause" not in verdict(capsys, WAVE, lambda x, *rest: wave(x, *rest) / (1 + len(x)))


@pytest.mark.parametrize(("change", "words"), [(c, str(m)) for c, m in slips.given(wave)])
def test_a_slip_in_what_is_given_is_named(capsys, change, words):
    assert " ".join(words.split()) in verdict(capsys, WAVE, lambda *args: wave(*change(args)))


def test_a_mistake_is_named_where_other_values_are_infinite(capsys):
    said = verdict(capsys, HALF, lambda x: torch.where(x == 3, torch.inf, 2 * x))
    assert "every number grew" in said and "Besides, on four numbers, 1 of 4 values are NaN or infinite" in said


def test_the_library_is_not_the_answer(capsys):
    said = verdict(capsys, check.fgsm, lambda model, x, y, eps: attacks.fgsm(model, x, y, norms.Linf(eps)))
    assert "advlib's own fgsm, and that is what this exercise asks you to write" in said


def test_what_an_answer_changes_is_as_before_and_noted(capsys):
    model, picture = nn.Linear(4, 2), torch.zeros(3)
    weight = model.weight.detach().clone()

    def meddles(x):
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        with torch.no_grad():
            model.weight.zero_()
        model.train(not model.training)
        picture.add_(1)
        return x * 0.5

    scope = dict(globals(), model=model, picture=picture)
    exec("import torch, random, numpy as np", scope)
    import inspect
    import textwrap

    exec(textwrap.dedent(inspect.getsource(meddles)), scope)
    numbers = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    threads, training = torch.get_num_threads(), model.training
    said = verdict(capsys, HALF, scope["meddles"])
    assert said.startswith("✓")
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == (
        torch.float32,
        threads,
        True,
    )
    assert torch.equal(torch.get_rng_state(), numbers[0]) and random.getstate() == numbers[2]
    assert (np.random.get_state()[1] == numbers[1]).all()
    assert torch.equal(model.weight, weight) and model.training == training and not picture.any()
    for name in ("default dtype", "number of threads", "the notebook's model", "the notebook's picture"):
        assert name in said, said


def test_patched_functions_are_noticed_and_put_back(capsys):
    allclose, entropy = torch.allclose, F.cross_entropy

    def patches(x):
        torch.allclose = lambda *_: True
        F.cross_entropy = lambda *_: 0
        torch.Tensor.abs = lambda self: self
        return x

    said = verdict(capsys, HALF, patches)
    assert "torch.allclose" in said and "torch.nn.functional.cross_entropy" in said and "torch.Tensor.abs" in said
    assert (torch.allclose, F.cross_entropy) == (allclose, entropy) and torch.tensor(-1.0).abs() == 1


def test_gradients_are_recorded_even_where_the_notebook_switched_them_off(capsys):
    def needs_gradient(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((x**2).sum() / 4, x)[0]

    with torch.no_grad():
        assert verdict(capsys, HALF, needs_gradient).startswith("✓")


def test_lines_fit_a_page_and_prints_stay_short(capsys):
    def talks(x):
        print("word " * 10_000)
        return x * 3

    HALF(talks)
    out = capsys.readouterr().out
    assert len(out) < 3000 and "the check leaves that out" in out
    assert max(map(len, out.split("leaves that out")[1].splitlines())) <= 72


def test_progress_is_kept_shown_and_deleted(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("ADVLIB_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(progress, "latest", None)
    check.progress()
    assert "no exercise solved yet" in capsys.readouterr().out
    check.fgsm(check.fgsm.right)
    check.fgm_l2(lambda model, x, y, eps: x)
    capsys.readouterr()
    check.progress()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Chapter 6: 1 of 3 exercises solved, 2 of 8 points"
    assert said[1:3] == ["  ✓ Write FGSM · 2 points", "  ○ The L2 step · 3 points"]
    check.forget()
    check.progress(6)
    assert capsys.readouterr().out.startswith("Chapter 6: 0 of 3")
    progress.file().write_text("not json")
    check.progress(6)
    assert capsys.readouterr().out.startswith("Chapter 6: 0 of 3")
    with pytest.raises(ValueError, match="chapter 99 has no exercises; these have: "):
        check.progress(99)
