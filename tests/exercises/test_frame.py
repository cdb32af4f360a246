"""The frame: what is printed for an unwritten, a right, a wrong and a broken answer."""

import pytest
import torch

from advlib.exercises.frame import Mistake, checks_function, checks_value


@checks_function
def doubles(attempt):
    result = attempt(torch.arange(4.0))
    attempt.note("torch can do this")
    attempt.note("torch can do this")
    if result.tolist() != [0, 2, 4, 6]:
        raise Mistake(f"got {result.tolist()}", "another factor", "multiply by two")
    return "four numbers"


@checks_value
def positive(number):
    if number <= 0:
        raise Mistake(f"{number} is not above zero")
    return "above zero"


def raises_not_implemented(x):
    raise NotImplementedError


def is_dots(x): ...


def is_docstring(x):
    """Twice x."""


def returns_ellipsis(x):
    y = x * 2  # noqa: F841
    return ...


def calls_a_stub(x):
    return raises_not_implemented(x) * 2


@pytest.mark.parametrize(
    "answer", [raises_not_implemented, is_dots, is_docstring, returns_ellipsis, calls_a_stub, None, ...]
)
def test_unwritten(capsys, monkeypatch, answer):
    doubles(answer)
    assert capsys.readouterr().out == f"○ {getattr(answer, '__name__', 'doubles')}: not written yet\n"
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    with pytest.raises(AssertionError, match="not written yet"):
        doubles(answer)


def test_right_answer_says_what_was_verified_and_each_note_once(capsys, monkeypatch):
    def twice(x):
        return 2 * x

    for grading in ("", "0", "1"):
        monkeypatch.setenv("ADVLIB_GRADING", grading)
        doubles(twice)
        assert capsys.readouterr().out == "✓ twice: four numbers\n  Note: torch can do this\n"


def test_wrong_answer_names_seen_cause_and_mend(capsys):
    doubles(lambda x: 3 * x)
    assert capsys.readouterr().out.splitlines() == [
        "✗ <lambda>: got [0.0, 3.0, 6.0, 9.0]",
        "  Likely cause: another factor",
        "  What to do: multiply by two",
    ]


def test_value_checks(capsys):
    positive(2)
    positive(-1)
    positive(...)
    assert capsys.readouterr().out.splitlines() == [
        "✓ positive: above zero",
        "✗ positive: -1 is not above zero",
        "○ positive: not written yet",
    ]


def no_return(x):
    y = 2 * x  # noqa: F841


def no_such_name(x):
    factor = 2
    return factor * y  # noqa: F821


def torch_lacks_it(x):
    return torch.nn.Module()(x)


def silent_error(x):
    raise ValueError


def deep(x):
    return no_such_name(x)


@pytest.mark.parametrize(
    ("answer", "messages"),
    [
        (no_return, ["returns None", "add a `return`"]),
        (no_such_name, ["line 3 of no_such_name, `return factor * y # noqa: F821`", "NameError", "run the cell"]),
        (deep, ["line 3 of no_such_name"]),
        (torch_lacks_it, ["line 2 of torch_lacks_it", "NotImplementedError"]),
        (silent_error, ["ValueError: (no message)", "called with a tensor (4,)"]),
        (lambda: 1, ["calling it: TypeError", "parameters are not those of the stub"]),
        (torch.zeros(3), ["got a tensor of shape (3,), expected a function", "check.doubles(my_function)"]),
        (42, ["got 42, expected a function"]),
        (len, ["the check cannot read this answer"]),
    ],
)
def test_broken_answers_are_told_not_raised(capsys, answer, messages):
    doubles(answer)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("✗")
    assert [message for message in messages if message not in said] == [], said


def test_random_state_is_neither_used_nor_disturbed(capsys):
    def random(x):
        return torch.rand(4)

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    doubles(random)
    first = capsys.readouterr().out
    assert torch.equal(torch.rand(1), expected)
    doubles(random)
    assert capsys.readouterr().out == first


def test_gradients_are_recorded_even_where_the_notebook_switched_them_off(capsys):
    def needs_gradient(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad((x**2).sum(), x)[0]

    with torch.no_grad():
        doubles(needs_gradient)
    assert capsys.readouterr().out.startswith("✓")


def test_lines_fit_a_page(capsys):
    positive_long = checks_value(lambda _: "word " * 60)
    positive_long(1)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 72


def test_keyboard_interrupt_gets_through():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        doubles(interrupted)
