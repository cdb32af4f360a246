"""What of a chapter goes on a slide, and what is left for the speaker to say.

Each heading begins a slide. A formula, table, quote, list, figure, slider, quiz, short function or printed result has a
slide of its own, below the sentence that leads to it; the rest of the text is the speaker's notes. An exercise is one
slide with its task. Setup, long code, the cells to fill in, help and solutions are left out. Where a chapter's cell
says otherwise, with the `slideshow.slide_type` that notebook programs can set, it is shown (or not) as it says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from book._ext.coursebook import chapter, folds
from book._ext.coursebook.stills import VIEW

from .blocks import Block, blocks, sentences
from .exhibits import exhibits, shown

WORDS = 430  # characters of running text that a slide bears
AIMS = re.compile(r"^\*\*(After this chapter you can)\*\*$")
LABEL = chapter.LABEL
OUTCOME = re.compile(rf"<summary>{folds.OUTCOME}</summary>\s*(.*?)\s*</details>", re.S)
# Sections that are a chapter's business with its reader, not a speaker's with a class.
UNSHOWN = ("Where you stand", "Further reading")


@dataclass
class Slide:
    """One slide: its heading, the Markdown and the cells on it, and what the speaker says."""

    heading: str
    text: list[str] = field(default_factory=list)
    cells: list[NotebookNode] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: str = ""


@dataclass
class Section:
    heading: str
    items: list[Block | NotebookNode] = field(default_factory=list)


def deck(notebook: NotebookNode) -> NotebookNode:
    """The chapter as a notebook of slides, for nbconvert."""
    about = chapter.of_notebook(notebook)
    slides = opening(notebook, about)
    for section in sections(notebook.cells[1:]):
        if section.heading not in UNSHOWN:
            slides += exercise(section) if chapter.EXERCISE.match(section.heading) else teaching(section, notebook)
    metadata = {"title": f"{about.number}. {about.title}", "widgets": notebook.metadata.get("widgets", {})}
    return new_notebook(cells=[cell for slide in slides for cell in cells_of(slide)], metadata=metadata)


def cells_of(slide: Slide) -> Iterator[NotebookNode]:
    def marked(kind: str, text: str) -> NotebookNode:
        return new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}, "kind": slide.kind})

    yield marked("slide", "\n\n".join([slide.heading, *slide.text]).strip())
    yield from slide.cells
    if slide.notes:
        yield marked("notes", "\n\n".join(slide.notes))


def opening(notebook: NotebookNode, about: chapter.Chapter) -> list[Slide]:
    """The title with the chapter's promise, and what one can do afterwards."""
    parts = blocks(notebook.cells[0].source)
    title = Slide(f"# {about.number}. {about.title}", [f"*{about.promise}*"], kind="title")
    found = [title]
    for above, part in zip(parts, parts[1:]):
        if part.kind == "list" and (aims := AIMS.match(above.text)):
            found.append(Slide(f"## {aims[1]}", [part.text]))
    title.notes += [part.text for part in parts if part.text.startswith("**Time:**")]
    return found


def sections(cells: list[NotebookNode]) -> list[Section]:
    """What stands below each heading; what stands above the first, which sets things up, is left out."""
    found = []
    for cell in cells:
        kind = slide_type(cell)
        if kind and (found or kind in ("slide", "subslide")):
            found = found or [Section("")]
            found[-1].items.append(cell)
        elif cell.cell_type == "code" and found:
            found[-1].items.append(cell)
        elif cell.cell_type == "markdown" and not chapter.grade_id(cell):
            for part in blocks(cell.source):
                if part.kind == "heading":
                    found.append(Section(part.text.lstrip("# ").strip()))
                elif found:
                    found[-1].items.append(part)
    return found


def exercise(section: Section) -> list[Slide]:
    """The task with its label, and the quiz where it is one. No stub, no check, no help."""
    heading = f"## {section.heading}"
    task = [item.text for item in section.items if isinstance(item, Block) and item.kind != "fold"]
    if task and LABEL.fullmatch(task[0]):
        task[0] = f"**{task[0]}**"
    outputs = [one for item in section.items if isinstance(item, NotebookNode) for one in item.get("outputs", [])]
    quizzes = [shown("", [one]) for one in outputs if VIEW in one.get("data", {})]
    alone = quizzes and len(" ".join(task[1:])) < 80  # "Answer before you read the feedback."
    found = [] if alone else [Slide(heading, task, kind="exercise")]
    found += [Slide(heading, task[:1], [quiz], kind="quiz") for quiz in quizzes]
    for item in section.items:
        if isinstance(item, NotebookNode) and (kind := slide_type(item)):
            by_hand(item, kind, found, heading)
    return found


def teaching(section: Section, notebook: NotebookNode) -> list[Slide]:
    """A section's slides: one for each thing to look at, each with the sentence that leads to it."""
    found: list[Slide] = []
    waiting: list[str] = []
    heading = f"## {section.heading}"

    def say() -> None:
        """What waits is said below the last slide; at the section's beginning its gist is a slide."""
        if waiting and not found:
            found.append(Slide(heading, gist(waiting)))
        if found:
            found[-1].notes += [text for text in waiting if text not in found[-1].text]
        waiting.clear()

    def add(exhibit: Slide) -> None:
        leading = waiting.pop() if waiting and exhibit.kind != "quiz" else ""
        say()
        if leading:
            exhibit.text.insert(0, lead(leading))
            exhibit.notes += [leading] if lead(leading) != leading else []
        found.append(exhibit)

    for item in section.items:
        if isinstance(item, NotebookNode):
            if kind := slide_type(item):
                say()
                by_hand(item, kind, found, heading)
                continue
            for exhibit in exhibits(item, notebook, in_code=section.heading.endswith("code")):
                add(Slide(heading, cells=[exhibit.cell], kind=exhibit.kind))
        elif item.kind == "paragraph":
            waiting.append(item.text)
        elif item.kind == "fold":
            if found and (outcome := OUTCOME.search(item.text)):
                found[-1].notes.append(outcome[1])
        elif item.kind == "formula" and found and not waiting and found[-1].kind == "formula":
            found[-1].text.append(item.text)
        elif item.kind != "html":
            add(Slide(heading, [item.text], kind=item.kind))
    say()
    return found


def slide_type(cell: NotebookNode) -> str:
    """Where a cell's metadata says that it goes; empty where it says nothing."""
    return cell.metadata.get("slideshow", {}).get("slide_type", "")


def by_hand(cell: NotebookNode, kind: str, found: list[Slide], heading: str) -> None:
    """A cell whose metadata says where it goes goes there whole."""
    if kind == "skip":
        return
    if kind in ("slide", "subslide") or not found:
        found.append(Slide("" if cell.source.startswith("#") else heading))
    if kind == "notes":
        found[-1].notes.append(cell.source)
    elif cell.cell_type == "code":
        found[-1].cells.append(shown(cell.source, cell.outputs, cell))
    else:
        found[-1].text.append(cell.source)


def gist(paragraphs: list[str]) -> list[str]:
    """Of each paragraph its first sentence, and what it asks, as far as a slide bears it."""
    found, length = [], 0
    for paragraph in paragraphs:
        first, *rest = points(paragraph)
        kept = " ".join([first, *(one for one in rest if re.search(r"\?[*_\"”]*$", one))])
        kept = paragraph if len(paragraph) <= 1.3 * len(kept) else kept
        if not found or length + len(kept) <= WORDS:
            found.append(kept)
            length += len(kept)
    return found


def lead(paragraph: str) -> str:
    """The sentence that leads to what stands below: the one that runs into it, or else the first.

    >>> lead("**Step 2: the pixels part company.** " + "The sum has one term for each. " * 5 + "In one formula,")
    '**Step 2: the pixels part company.** In one formula,'
    >>> lead("Is it the rounding? Two tests. " + "They take a while to describe, so this goes on. " * 4)
    'Is it the rounding?'
    """
    parts = points(paragraph)
    runs_on = not re.search(r"[.?!][*_\"”)]*$", parts[-1])
    if len(paragraph) <= 150 or len(parts) == 1:
        return paragraph
    bold = [parts[0]] if parts[0].startswith("**") else []
    return " ".join([*bold, parts[-1]]) if runs_on else parts[0]


def points(paragraph: str) -> list[str]:
    """Its sentences; one that is but a name in bold goes with the next.

    >>> points("**Label flips.** They need no key. Nor time.")
    ['**Label flips.** They need no key.', 'Nor time.']
    """
    first, *rest = sentences(paragraph)
    name = re.fullmatch(r"\*\*[^*:]{1,20}\*\*", first) and rest
    return [f"{first} {rest[0]}", *rest[1:]] if name else [first, *rest]
