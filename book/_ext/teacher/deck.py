"""What of a chapter goes on a slide, and what is left for the speaker to say.

Each heading begins a slide. A formula, table, quote, list, figure, slider, quiz, short function or printed result has a
slide of its own, below the sentences that lead to it; below it comes, with the next click, what is found in it. The
rest of the text is the speaker's notes. An exercise is one slide with its task. Setup, long code, the cells to fill in,
help and solutions are left out. Where a chapter's cell says otherwise, with the `slideshow.slide_type` that notebook
programs can set, it is shown (or not) as it says.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from book._ext.coursebook import chapter, folds
from book._ext.coursebook.stills import VIEW

from .blocks import Block, blocks
from .exhibits import exhibits, shown
from .words import LEAD, finding, gist, lead, points

FOUND = ("formula", "code", "print", "figure")  # what has something to be found in it
AIMS = re.compile(r"^\*\*(After this chapter you can)\*\*$")
LABEL = chapter.LABEL
OUTCOME = re.compile(rf"<summary>{folds.OUTCOME}</summary>\s*(.*?)\s*</details>", re.S)
# Sections that are a chapter's business with its reader, not a speaker's with a class.
UNSHOWN = ("Where you stand", "Exercises", "Further reading")


@dataclass
class Slide:
    """One slide: its heading, the Markdown and the cells on it, what is found in them, and what the speaker says."""

    heading: str
    text: list[str] = field(default_factory=list)
    cells: list[NotebookNode] = field(default_factory=list)
    finding: str = ""
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
    heading = ""
    for section in sections(notebook.cells[1:]):
        if chapter.EXERCISE.match(section.heading):
            section, after = parted(section, heading)
            slides += exercise(section) + teaching(after, notebook)
        elif section.heading not in UNSHOWN:
            heading = section.heading
            slides += teaching(section, notebook)
    metadata = {"title": f"{about.number}. {about.title}", "widgets": notebook.metadata.get("widgets", {})}
    return new_notebook(cells=[cell for slide in slides for cell in cells_of(slide)], metadata=metadata)


def cells_of(slide: Slide) -> Iterator[NotebookNode]:
    def marked(kind: str, text: str) -> NotebookNode:
        return new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}, "kind": slide.kind})

    yield marked("slide", "\n\n".join([slide.heading, *slide.text]).strip())
    yield from slide.cells
    if slide.finding:
        yield marked("fragment", slide.finding)
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


def parted(section: Section, heading: str) -> tuple[Section, Section]:
    """An exercise, and what of the section above goes on below its check, help and solution."""
    graded = [
        place for place, item in enumerate(section.items) if not isinstance(item, Block) and chapter.grade_id(item)
    ]
    helps = [place for place, item in enumerate(section.items) if isinstance(item, Block) and item.kind == "fold"]
    end = 1 + max([*graded, *helps]) if graded else len(section.items)
    return Section(section.heading, section.items[:end]), Section(heading, section.items[end:])


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
        """What waits is said below the last slide, where its first words are found; a section begins with a gist."""
        if waiting and not found:
            found.append(Slide(heading, gist(waiting)))
        elif waiting and found[-1].kind in FOUND:
            found[-1].finding = found[-1].finding or finding(waiting[0], found[-1].kind)
        if found:
            found[-1].notes += [text for text in waiting if text not in found[-1].text]
        waiting.clear()

    def add(exhibit: Slide) -> None:
        leading = waiting.pop() if waiting and exhibit.kind != "quiz" else ""
        before = waiting[-1] if waiting else ""
        say()
        before = before.removeprefix(found[-1].finding).strip() if found else before
        if leading:
            words = lead(leading, before, LEAD * 3 // 2 if small(exhibit) else LEAD)
            above = exhibit if len(words) <= LEAD + 80 or exhibit.kind not in ("figure", "slider") else Slide(heading)
            above.text.insert(0, words)
            above.notes += [leading] if leading != words else []
            found.extend([] if above is exhibit else [above])
        found.append(exhibit)

    for item in section.items:
        if isinstance(item, NotebookNode):
            if kind := slide_type(item):
                say()
                by_hand(item, kind, found, heading)
                continue
            for exhibit in exhibits(item, notebook, in_code=section.heading.endswith("code")):
                add(Slide(heading, cells=[exhibit.cell], kind=exhibit.kind))
                found[-1].notes += [f"```\n{exhibit.aside}\n```"] if exhibit.aside else []
        elif item.kind == "paragraph":
            text = item.text
            if found and not waiting and not found[-1].cells and re.match(r"[a-z(]", text):
                first, *rest = points(text)  # "where $c$ is …" belongs to the formula
                found[-1].text.append(first)
                text = " ".join(rest)
            waiting += [text] if text else []
        elif item.kind == "fold":
            if outcome := OUTCOME.search(item.text):
                waiting += [part.text for part in blocks(outcome[1])]
                say()
        elif item.kind == "formula" and found and not waiting and found[-1].kind == "formula":
            found[-1].text.append(item.text)
        elif item.kind != "html":
            add(Slide(heading, [item.text], kind=item.kind))
    say()
    return found


def small(exhibit: Slide) -> bool:
    """A formula, or a few lines of print."""
    prints = [one.get("text", "") for cell in exhibit.cells for one in cell.outputs]
    return exhibit.kind == "formula" or (exhibit.kind == "print" and sum(len(one.splitlines()) for one in prints) <= 10)


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
