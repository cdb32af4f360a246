"""Printed sheets, bound to one document: links that lead to pages of it, bookmarks, page numbers."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    Fit,
    FloatObject,
    NameObject,
    NullObject,
    NumberObject,
    TextStringObject,
)

from .sheets import Book, Sheet


@dataclass(frozen=True)
class Printed:
    """A sheet and its pages."""

    sheet: Sheet
    pages: PdfReader

    @classmethod
    def from_bytes(cls, sheet: Sheet, printed: bytes) -> "Printed":
        return cls(sheet, PdfReader(io.BytesIO(printed)))

    def places(self) -> dict[str, tuple[int, float]]:
        """Where each noted anchor lies: page, from 0, and height on it. The anchor "" is the sheet itself."""
        found = {"": (0, float(self.pages.pages[0].mediabox.top))}
        for name, target in self.pages.named_destinations.items():
            number = self.pages.get_destination_page_number(target)
            found[unquote(name.removeprefix("/"))] = number, float(target.top)
        return found


def bind(front: Printed, rest: list[Printed], book: Book, home: str, about: dict[str, str]) -> PdfWriter:
    """The whole document. ``home`` is the book's address on the web, for links to what is not printed."""
    writer, places = PdfWriter(), {}
    for printed in [front, *rest]:
        start = len(writer.pages)
        for anchor, (number, top) in printed.places().items():
            places[printed.sheet.name, anchor] = start + number, top
        for page in printed.pages.pages:
            writer.add_page(page)
    for page in writer.pages:
        for link in page.get("/Annots", ()):
            _lead(link.get_object(), writer, places, book, home)
    _add_bookmarks(writer, [printed.sheet for printed in rest], places)
    first = len(front.pages.pages)
    writer.set_page_label(0, first - 1, style="/r")
    writer.set_page_label(first, len(writer.pages) - 1, style="/D")
    writer.page_mode = "/UseOutlines"
    writer.root_object[NameObject("/Lang")] = TextStringObject("en")
    writer.add_metadata({f"/{name}": value for name, value in about.items()})
    return writer


def _lead(link: DictionaryObject, writer: PdfWriter, places: dict, book: Book, home: str) -> None:
    """Turn a link to a page of the book into one to a place in this document, or to the web for what is not printed."""
    action = link.get("/A", {}).get("/URI")
    if action is None:
        return
    address = str(action)
    if place := book.place(address):
        number, top = places.get(place) or places.get((place[0], ""), (None, None))
        if number is not None:
            to = [
                writer.pages[number].indirect_reference,
                NameObject("/XYZ"),
                NullObject(),
                FloatObject(top),
                NumberObject(0),
            ]
            del link["/A"]
            link[NameObject("/Dest")] = ArrayObject(to)
            return
    if address.startswith(root := book.folder.as_uri() + "/"):
        link["/A"][NameObject("/URI")] = TextStringObject(home + address.removeprefix(root))


def _add_bookmarks(writer: PdfWriter, sheets: Iterable[Sheet], places: dict) -> None:
    """Parts, pages and the sections of each."""
    for name, title in (("title", "Title page"), ("contents", "Contents")):
        _bookmark(writer, title, places["front", name])
    above = [None]
    for sheet in sheets:
        if not sheet.part:
            above = [None]
        elif sheet.opens_part:
            above = [_bookmark(writer, sheet.part, places[sheet.name, ""])]
        del above[sheet.depth + 1 :]
        above.append(_bookmark(writer, sheet.title, places[sheet.name, ""], above[-1]))
        for anchor, title in sheet.headings:
            _bookmark(writer, title, places[sheet.name, anchor], above[-1])


def _bookmark(writer: PdfWriter, title: str, place: tuple[int, float], parent=None):
    number, top = place
    return writer.add_outline_item(title=title, page_number=number, parent=parent, fit=Fit.xyz(top=top), is_open=False)
