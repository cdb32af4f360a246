"""What "This course beside its sources" quotes as ours stands in the stored output of the cell that it names."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "sources.md"
ROW = re.compile(r"^\|(?P<experiment>[^|]+)\|(?P<theirs>[^|]+)\|(?P<ours>[^|]+)\|(?P<where>[^|]+)\|$", re.M)
LINK = re.compile(r'^\[(\d+)\]\((?P<file>\.\./chapters/\w+\.ipynb)#(?P<anchor>[\w-]+) "(?P<cell>[\w-]+)"\)$')
QUOTE = re.compile(r"`([^`]+)`")
SECTION = re.compile(r"^#{2,3} (.+)$", re.M)


def rows(text: str) -> list[re.Match]:
    """The tables' rows, without their heads."""
    return [row for row in ROW.finditer(text) if row["where"].strip() != "Cell" and set(row["ours"]) != {"-"}]


def faults(row: re.Match) -> Iterator[str]:
    """What is wrong with one row: a link that leads elsewhere, a figure that the cell does not print."""
    link = LINK.match(row["where"].strip())
    if not link:
        yield 'the last column is no link: [number](../chapters/file.ipynb#section "cell")'
        return
    path = PAGE.parent / link["file"]
    if not path.is_file():
        yield f"there is no {link['file']}"
        return
    found = find(nbformat.read(path, as_version=4), link["cell"])
    if not found:
        yield f"{path.name} has no cell {link['cell']}"
        return
    section, printed = found
    if section != link["anchor"]:
        yield f"{link['cell']} stands in #{section}, but the link leads to #{link['anchor']}"
    quotes = QUOTE.findall(row["ours"])
    if not quotes:
        yield "it quotes nothing"
    for quote in quotes:
        if plain(quote) not in printed:
            yield f"{link['cell']} does not print {quote!r}"
    if figures := re.findall(r"\d[\d.,]*\s?%?", re.sub(r"ε = [\d./]+", "", QUOTE.sub("", row["ours"]))):
        yield f"figures that are no quotes: {figures}"


def find(notebook: NotebookNode, name: str) -> tuple[str, str] | None:
    """The anchor of the section that a cell stands in, and the text that it printed."""
    anchor = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (headings := SECTION.findall(cell.source)):
            anchor = re.sub(r"[^\w\- ]", "", headings[-1].lower()).replace(" ", "-")
        if cell.get("id") == name and cell.cell_type == "code":
            parts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
            return anchor, plain("".join(parts))
    return None


def plain(text: str) -> str:
    """One space between words, so that a quote need not repeat a table's alignment."""
    return " ".join(text.split())


def row_of(ours: str, where: str) -> re.Match:
    return rows(f"| FGSM | 3 % | {ours} | {where} |")[0]


GOLDEN = '[6](../chapters/06_fgsm.ipynb#the-idea-in-code "fgsm-06")'


@pytest.mark.parametrize("row", rows(PAGE.read_text(encoding="utf-8")), ids=lambda row: row["experiment"].strip()[:40])
def test_what_is_quoted_is_printed(row: re.Match) -> None:
    assert list(faults(row)) == []


def test_every_line_of_a_table_is_such_a_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = text.count("\n|---|---|---|---|\n")
    assert heads >= 3 and len(rows(text)) == len(lines) - 2 * heads


@pytest.mark.parametrize(
    "ours, where, fault",
    [
        ("`read rightly under FGSM`", GOLDEN, None),
        ("`read rightly under FGSM` at ε = 8/255", GOLDEN, None),
        ("`read rightly under FGSM with 8/255: 0%`", GOLDEN, "does not print"),
        ("down to 3 %, `read rightly under FGSM`", GOLDEN, "no quotes: .*3 %"),
        ("it falls", GOLDEN, "quotes nothing"),
        ("`read`", GOLDEN.replace("fgsm-06", "fgsm-999"), "no cell fgsm-999"),
        ("`read`", GOLDEN.replace("the-idea-in-code", "play"), "stands in #the-idea-in-code"),
        ("`read`", GOLDEN.replace("06_fgsm", "06_none"), "there is no"),
        ("`read`", "chapter 6", "no link"),
    ],
)
def test_a_wrong_row_is_noticed(ours: str, where: str, fault: str | None) -> None:
    found = "; ".join(faults(row_of(ours, where)))
    assert re.search(fault, found) if fault else not found
