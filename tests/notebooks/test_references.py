"""What chapters, pages and docstrings cite stands in the book's references, with the same authors, title and year."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "references.md"
YEAR = r"(?:19|20)\d\d"
# (label)= - **Title.** Authors. Venue, year. [link](https://…)
ENTRY = re.compile(
    r"^\((?P<label>\w+)\)=\n- \*\*(?P<title>.+?[.?])\*\*\s(?P<about>.+?)\[[^]]+\]\((?P<link>[^)]+)\)", re.M | re.S
)
# A capital and, behind it, some small letter. One way to match each word: with two, a list of ten names takes a minute.
NAME = r"\b[A-ZŠ](?=[\w’'-]*[a-zé])[\w’'-]*\w"
# Wang et al., 2004 · Ding, Wang & Jin (2019) · Wilson (1927): a single name only before a year in parentheses.
CITED = re.compile(
    rf"(?P<names>{NAME}(?:,? et al\.|(?:, {NAME})*,? (?:&|and) {NAME}))(?:'s|’s)?,? \(?(?P<year>{YEAR})\b"
    rf"|(?P<one>{NAME})(?:'s|’s)? \((?P<its_year>{YEAR})\)"
)
# - Ian Goodfellow, Jonathon Shlens: [Title](https://…), ICLR 2015. What it gives.
READING = re.compile(r"^- (?P<authors>[^:[\n]+): \[(?P<title>[^]]+)\]\((?P<link>http[^)]+)\)(?P<rest>.*)$", re.M)
PAPER = re.compile(r"https?://(?:arxiv\.org|doi\.org)/[^\s)\"'>]+")


@dataclass(frozen=True)
class Entry:
    label: str
    title: str
    authors: tuple[str, ...]  # surnames, plain
    year: str
    link: str


def plain(text: str) -> str:
    """In small letters, without accents and doubled space, so that Mądry is Madry and ℓ₁ is l1."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(
        "".join(letter for letter in letters if not unicodedata.combining(letter)).replace("’", "'").split()
    )


def entries(page: str) -> list[Entry]:
    return [
        Entry(
            found["label"],
            plain(found["title"]).rstrip("."),
            surnames(found["about"]),
            (re.findall(YEAR, found["about"]) or [""])[-1],
            found["link"],
        )
        for found in ENTRY.finditer(page)
    ]


def surnames(about: str) -> tuple[str, ...]:
    """Of "C. Szegedy, L. van der Maaten. ICLR 2014": what follows the initials of each."""
    return tuple(
        map(
            plain,
            re.findall(r"(?:[A-Z]\.-?\s?)+\s*((?:[a-z]+ )*[A-ZŠ][\w’'-]+(?: [A-Z][\w’'-]+)*)", " ".join(about.split())),
        )
    )


def cited_in(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The surnames and the year of each citation in running text, also where a line or a comment breaks it."""
    for found in CITED.finditer(re.sub(r"\s*\n\s*(?:# ?)?", " ", text)):
        names = re.split(r",? (?:&|and) |, |,? et al\.", found["names"] or found["one"])
        yield tuple(plain(re.sub(r"['’]s$", "", name)) for name in names if name), found["year"] or found["its_year"]


def faults(text: str, known: list[Entry]) -> Iterator[str]:
    """What one source cites and the references do not have, or have otherwise."""
    said = plain(text)
    for names, year in cited_in(text):
        fits = [one for one in known if one.year == year and one.authors[0] == names[0] and {*names} <= {*one.authors}]
        named = ", ".join(names)
        if not fits:
            yield f"{named} {year}: no such entry in book/references.md"
        elif len(fits) > 1 and not any(one.link in text or one.title.split(":")[0] in said for one in fits):
            yield f"{named} {year}: may be {' or '.join(one.label for one in fits)}; name the title or link it"
    by_link = {one.link: one for one in known}
    for link in PAPER.findall(text):
        if link not in by_link:
            yield f"{link}: not in book/references.md"
    for line in READING.finditer(text):
        entry = by_link.get(line["link"])
        if entry is None:
            continue
        first = plain(re.sub(r" et al\.$", "", line["authors"].split(",")[0]))
        if not first.endswith(entry.authors[0]):
            yield f"{line['link']}: its first author is {entry.authors[0]} in book/references.md, here {first}"
        if not entry.title.startswith(plain(line["title"])):
            yield f"{line['link']}: its title is “{entry.title}” in book/references.md, here “{line['title']}”"
        years = re.findall(YEAR, line["rest"])
        if years and years[0] != entry.year:
            yield f"{line['link']}: of {entry.year} in book/references.md, here of {years[0]}"


def twice(known: list[Entry]) -> list[str]:
    """Labels, titles and links that two entries share."""
    return [
        f"{what} stands {count} times in book/references.md"
        for kind in ("label", "title", "link")
        for what, count in Counter(getattr(one, kind) for one in known).items()
        if count > 1
    ]


def sources() -> dict[str, str]:
    """Every text that may cite: chapters and pages without their outputs, and the package's modules."""
    notebooks = [*sorted((ROOT / "chapters").glob("*.ipynb")), *sorted((ROOT / "book").glob("*.ipynb"))]
    texts = {path: "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells) for path in notebooks}
    pages = [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md", *sorted((ROOT / "advlib").rglob("*.py"))]
    texts |= {path: path.read_text(encoding="utf-8") for path in pages if path != PAGE}
    return {str(path.relative_to(ROOT)): text for path, text in texts.items()}


KNOWN = entries(PAGE.read_text(encoding="utf-8"))


def test_every_entry_is_read_whole() -> None:
    page = PAGE.read_text(encoding="utf-8")
    labels = re.findall(r"^\((\w+)\)=$", page, re.M)
    assert [one.label for one in KNOWN] == labels and len(labels) > 60
    found = [f"{one.label}: no year or no author" for one in KNOWN if not one.year or not one.authors]
    assert not found, "\n".join(found)


def test_nothing_stands_twice() -> None:
    assert not twice(KNOWN), "\n".join(twice(KNOWN))


def test_what_is_cited_is_listed() -> None:
    texts = sources()
    found = [f"{name}: {fault}" for name, text in texts.items() for fault in dict.fromkeys(faults(text, KNOWN))]
    assert not found, "\n".join(found)
    assert sum(len(list(cited_in(text))) for text in texts.values()) > 40, "hardly any citation was recognised"


@pytest.mark.parametrize(
    "text, fault",
    [
        ("as Wang et al. (2004) say", None),
        ("(Goodfellow, Shlens &\n    Szegedy, 2015)", None),
        ("Madry\n# et al. 2018", None),
        ("Wilson's (1927) interval", None),
        ("at ICLR 2015, see Section 3 and Figure 2 of 2016", None),
        ("as Wang et al. (2005) say", "wang 2005: no such entry"),
        ("Goodfellow, Shlens & Bengio (2015)", "goodfellow, shlens, bengio 2015: no such entry"),
        ("Shlens et al. 2015", "shlens 2015: no such entry"),
        ("Wilson (1928)", "wilson 1928: no such entry"),
        ("Kurakin, Goodfellow & Bengio (2017)", "may be kurakin2017physical or kurakin2017scale; name the title"),
        ("Kurakin et al. (2017), “Adversarial machine learning\nat scale”", None),
        ("[here](https://arxiv.org/abs/0000.00000)", "0000.00000: not in"),
        ("- Ian Goodfellow et al.: [Explaining](https://arxiv.org/abs/1412.6572), ICLR 2015. FGSM.", None),
        ("- Ian Goodfellow: [Explaining](https://arxiv.org/abs/1412.6572), ICLR 2014.", "of 2015 .*, here of 2014"),
        ("- Jonathon Shlens: [Explaining](https://arxiv.org/abs/1412.6572), ICLR 2015.", "first author is goodfellow"),
        ("- Ian Goodfellow: [Harnessing](https://arxiv.org/abs/1412.6572), ICLR 2015.", "here “Harnessing”"),
    ],
)
def test_a_wrong_citation_is_noticed(text: str, fault: str | None) -> None:
    found = "; ".join(faults(text, KNOWN))
    assert re.search(fault, found) if fault else not found


def test_an_entry_that_stands_twice_is_noticed() -> None:
    again = f"{KNOWN[0].label} stands 2 times in book/references.md"
    assert again in twice([*KNOWN, KNOWN[0]])
