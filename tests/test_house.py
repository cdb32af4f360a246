"""The house stands: an import points down, none leads back to where it began, and no file is too long to read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "advlib"
# Which rooms (a file or a folder of advlib) stand on which floor, from the ground up.
FLOORS = (
    ("answers", "ball", "checks", "contract", "device", "distributed", "files", "frozen", "intervals", "landlock")
    + ("losses", "names", "norms", "progress", "resource_limits", "tensors"),
    ("data", "models"),
    ("attacks", "card", "curves", "defenses", "evaluate", "masking", "panels", "plots", "report_card")
    + ("sanity", "suspect", "__init__"),
    ("cli", "exercises", "grading", "tournament", "widgets", "__main__"),
)
LINES = 300
# A chapter's exercises stand in one file, and most of it is the list of what people write instead: as long as it is.
LISTS = {f"advlib.exercises.{path.stem[3:]}" for path in (ROOT.parent / "chapters").glob("*.ipynb")}


def modules(root: Path) -> dict[str, Path]:
    """Every module below the package ``root`` by its dotted name; a package by its folder's."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """Which modules of the package each of its modules imports, at the top or inside a function.

    To import a module runs the packages it is in as well, all but those that the importing one is in itself.
    """
    known, graph = modules(root), {}
    for name, path in known.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        wanted = set(_imported(ast.parse(path.read_text("utf-8")), package, known))
        around = {".".join(parts[:n]) for parts in (one.split(".") for one in wanted) for n in range(1, len(parts))}
        graph[name] = wanted | {package for package in around if not f"{name}.".startswith(f"{package}.")}
    return graph


def _imported(tree: ast.Module, package: str, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # `from package import name` means the module of that name where there is one, else the package itself.
            named = (f"{base}.{alias.name}" for alias in node.names)
            yield from {one if one in known else base for one in named if one in known or base in known}


def circles(graph: dict[str, set[str]]) -> list[str]:
    """One line for each import that leads back to where it began."""
    found, done = [], set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append(f"{' imports '.join([*path[path.index(name) :], name])}: one of these imports must go")
        elif name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found


def climbs(graph: dict[str, set[str]], floors: tuple[tuple[str, ...], ...] = FLOORS) -> list[str]:
    """One line for each import that points up, and for each room that stands on no floor."""
    room = lambda name: name.split(".")[1] if "." in name else "__init__"
    floor = {one: height for height, rooms in enumerate(floors) for one in rooms}
    homeless = sorted({room(name) for name in graph} - set(floor))
    return [f"tests/test_house.py: FLOORS has no room {one}; say on which floor it stands" for one in homeless] + [
        f"{name} imports {other}, which stands on a higher floor: move what both need down"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if room(name) in floor and room(other) in floor and floor[room(name)] < floor[room(other)]
    ]


def too_long(root: Path) -> list[str]:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules(root).items()}
    return [
        f"{name} has {count} lines, more than {LINES}: give part of it a room"
        for name, count in lines.items()
        if count > LINES and name not in LISTS
    ]


def test_no_import_leads_back():
    found = circles(imports(ROOT))
    assert not found, "\n".join(found)


def test_imports_point_down():
    found = climbs(imports(ROOT))
    assert not found, "\n".join(found)


def test_no_file_is_too_long():
    found = too_long(ROOT)
    assert not found, "\n".join(found)


# ------------------------------------------------------------------------------------------- a house that is crooked
@pytest.fixture
def crooked(tmp_path):
    """A package with a circle, an import that climbs, a room on no floor, and a long file."""
    files = {
        "__init__": "",
        "norms": "from advlib import evaluate",
        "evaluate": "from advlib.attacks.worst import worst",
        "attacks/__init__": "from advlib.attacks.worst import worst",
        "attacks/worst": "def worst():\n    import advlib.evaluate",
        "data/__init__": "from advlib.data import images",
        "data/images": "from advlib.models import nets",
        "models/__init__": "from advlib.models.zoo import load",
        "models/nets": "",
        "models/layers": "from . import pools",
        "models/pools": "from .layers import Layer",
        "models/zoo": "from advlib.data import images",
        "shed": "\n" * 301,
        "exercises/fgsm": "\n" * 301,
    }
    for name, text in files.items():
        path = tmp_path / "advlib" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "advlib"


def test_a_circle_is_seen_even_inside_a_function(crooked):
    found = circles(imports(crooked))
    assert "advlib.attacks.worst imports advlib.evaluate imports advlib.attacks.worst: " in "".join(found)


def test_a_circle_through_a_package_is_seen(crooked):
    """`nets` imports nothing, but whoever imports it runs `models/__init__.py` first."""
    found = circles(imports(crooked))
    assert any("advlib.models.zoo" in line and "advlib.data.images" in line for line in found)


def test_a_circle_of_relative_imports_is_seen(crooked):
    found = circles(imports(crooked))
    assert any("advlib.models.layers imports advlib.models.pools imports" in line for line in found)


def test_a_climb_and_a_homeless_room_are_seen(crooked):
    homeless, climb = climbs(imports(crooked))
    assert homeless.startswith("tests/test_house.py: FLOORS has no room shed")
    assert climb.startswith("advlib.norms imports advlib.evaluate, which stands on a higher floor")


def test_a_long_file_is_seen(crooked):
    assert too_long(crooked) == ["advlib.shed has 301 lines, more than 300: give part of it a room"]
