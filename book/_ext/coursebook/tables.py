"""Tables of numbers as tables: what a cell tagged `table` prints in columns, the page sets as a table.

Columns stand at least two spaces apart. The first line names them, and a second where it holds no numbers. A line
without columns is a sentence about the table, and stands above or below it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

TAG = "table"
PIECE = re.compile(r"\S+(?: \S+)*")  # words with one space between them
PADDED = re.compile(r"(?<=[(\[]) +(?=\d)|(?<=\bto ) +(?=\d)")  # in an interval, before a number shorter than others
PAD = "\0"
INTERVAL = re.compile(r"[(\[][^)\]]*[)\]]")
NUMBER = re.compile(r"[−+\-<>≈≤×~]*\s?\d")


@dataclass(frozen=True)
class Head:
    """A name, and how many columns it stands above."""

    text: str
    columns: int


@dataclass(frozen=True)
class Table:
    heads: list[list[Head]]
    rows: list[list[str]]


def set_tables(app: Sphinx, page: nodes.document) -> None:
    """Put tables in the place of what the page's tagged cells print.

    Raises
        ExtensionError: a tagged cell prints no table; the page is named, and what came.
    """
    for cell in page.findall(nodes.container):
        if f"tag_{TAG}" not in cell.get("classes", ()):
            continue
        for printed in list(cell.findall(lambda node: "stream" in getattr(node, "attributes", {}).get("classes", ()))):
            try:
                found = parts(printed.astext())
            except ValueError as error:
                raise ExtensionError(f"{app.env.docname}: a cell is tagged `{TAG}`, but {error}") from error
            printed.replace_self([drawn(one) if isinstance(one, Table) else said(one, printed) for one in found])


def said(text: str, printed: nodes.Element) -> nodes.Element:
    """A part of what is printed, as it was."""
    part = printed.copy()
    part.rawsource = text
    part += nodes.Text(text)
    return part


def parts(text: str) -> list[str | Table]:
    """What is printed, as tables and the sentences around them.

    >>> parts("three seeds\\n      clean  PGD\\none     98%  12%\\ntwo     97%   9%")
    ... # doctest: +NORMALIZE_WHITESPACE
    ['three seeds',
     Table(heads=[[Head(text='', columns=1), Head(text='clean', columns=1), Head(text='PGD', columns=1)]],
           rows=[['one', '98%', '12%'], ['two', '97%', '9%']])]
    """
    found: list[str | Table] = []
    for in_columns, run in groupby(text.strip("\n").splitlines(), key=lambda line: len(PIECE.findall(line)) > 1):
        lines = list(run)
        if one := table(lines) if in_columns and len(lines) > 2 else None:
            found.append(one)
        elif found and isinstance(found[-1], str):
            found[-1] += "\n" + "\n".join(lines)
        else:
            found.append("\n".join(lines))
    if not any(isinstance(part, Table) for part in found):
        raise ValueError(f"prints no columns, two spaces apart, below their names:\n{text}")
    return [part for part in found if isinstance(part, Table) or part.strip()]


def table(lines: Sequence[str]) -> Table | None:
    """The lines as a table, if the first is no row like the others.

    Raises
        ValueError: a name stands above no column of its own.
    """
    lines = [PADDED.sub(lambda gap: PAD * len(gap[0]), line) for line in lines]
    first, second, third = (PIECE.findall(line)[1:][-2:] for line in lines[:3])
    names = 1 if any(map(NUMBER.match, second)) or set(map(kind, second)) & set(map(kind, third)) else 2
    cells, places = columns(lines[names:])
    if [*map(kind, first)] == [kind(cell) for cell in cells[0][1:][-2:]]:
        return None
    return Table(
        [heads(line, places) for line in lines[:names]], [[cell.replace(PAD, "") for cell in row] for row in cells]
    )


def kind(text: str) -> str:
    """A text whatever its numbers are."""
    return re.sub(rf"[{PAD}\d.]+", "0", text)


def columns(rows: Sequence[str]) -> tuple[list[list[str]], list[tuple[int, int]]]:
    """The cells of all rows, and where each column begins and ends.

    Rows with as many pieces have a piece in each column. Where some are empty, there are two spaces, at least, between
    two columns that all rows have in one place.
    """
    pieces = [[*PIECE.finditer(row)] for row in rows]
    if len({len(row) for row in pieces}) == 1:
        columns = [*zip(*pieces)]
        places = [(min(one.start() for one in column), max(one.end() for one in column)) for column in columns]
        return [[one[0] for one in row] for row in pieces], places
    width = max(map(len, rows))
    ink = "".join("x" if any(row[place : place + 1].strip() for row in rows) else " " for place in range(width))
    places = [piece.span() for piece in PIECE.finditer(ink)]
    return [[row[start:end].strip() for start, end in places] for row in rows], places


def heads(line: str, places: Sequence[tuple[int, int]]) -> list[Head]:
    """The names above columns: one each, or each column has the one that reaches over most of it."""
    pieces = [*PIECE.finditer(line)]
    if len(pieces) == len(places):
        return [Head(piece[0], 1) for piece in pieces]
    if len(pieces) == len(places) - 1 and line.startswith(" "):
        return [Head("", 1), *(Head(piece[0], 1) for piece in pieces)]
    owners = []
    for start, end in places:
        shared = [min(end, piece.end()) - max(start, piece.start()) for piece in pieces]
        owners.append(shared.index(max(shared)) if max(shared) > 0 else None)
    if lost := set(range(len(pieces))) - set(owners):
        raise ValueError(f"“{pieces[min(lost)][0]}” stands above no column of its own:\n{line}")
    same = [(owner, len([*run])) for owner, run in groupby(owners)]
    return [Head("" if owner is None else pieces[owner][0], many) for owner, many in same]


def drawn(one: Table) -> nodes.table:
    """A table as the page's others: numbers on the right, words on the left."""
    widths = len(one.rows[0])
    group = nodes.tgroup(cols=widths)
    group += [nodes.colspec(colwidth=1) for _ in range(widths)]
    numeric = [
        number > 0 and all(NUMBER.match(row[number]) for row in one.rows if row[number]) for number in range(widths)
    ]
    head, body = nodes.thead(), nodes.tbody()
    for line in one.heads:
        row, place = nodes.row(), 0
        for name in line:
            entry = nodes.entry("", nodes.paragraph(text=name.text), morecols=name.columns - 1)
            entry["classes"] += ["text-right"] if numeric[place] and name.columns == 1 else []
            row += entry
            place += name.columns
        head += row
    for line in one.rows:
        row = nodes.row()
        for number, text in enumerate(line):
            # On a phone an interval may stand below its share, and is one piece there.
            entry = nodes.entry("", nodes.paragraph(text=INTERVAL.sub(lambda one: one[0].replace(" ", "\xa0"), text)))
            entry["classes"] += ["text-right"] if numeric[number] else []
            row += entry
        body += row
    group += [head, body]
    return nodes.table("", group, classes=["printed"])
