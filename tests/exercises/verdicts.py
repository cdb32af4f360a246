"""What a check says of an answer."""

import pytest


def verdict(capsys, checker, *args, **options) -> str:
    """What the check prints, its line breaks undone."""
    checker(*args, **options)
    return " ".join(capsys.readouterr().out.split())


def fails_with(capsys, monkeypatch, checker, answer, message: str) -> None:
    """The message is printed, and where a class is graded it is raised."""
    said = verdict(capsys, checker, answer)
    assert said.startswith("✗") and message in said, said
    monkeypatch.setenv("ADVLIB_GRADING", "1")
    with pytest.raises(AssertionError, match="^✗"):
        checker(answer)
