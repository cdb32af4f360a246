"""What a check says of an answer."""


def verdict(capsys, checker, *args, **options) -> str:
    """What the check prints, its line breaks undone."""
    checker(*args, **options)
    return " ".join(capsys.readouterr().out.split())
