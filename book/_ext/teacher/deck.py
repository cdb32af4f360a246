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

from .blocks import Block, blocks, sentences
from .exhibits import exhibits, shown

WORDS = 430  # characters of running text that a slide bears
FILLED = 330  # so many do not leave a slide empty
LEAD = {"formula": 220, "code": 220, "print": 220}  # characters above these; other things need the room themselves
FINDING = 170  # characters below it
FOUND = ("formula", "code", "print", "figure")  # what has something to be found in it
# A sentence that refers to the one before it.
LEANS = re.compile(r"(\W*)(It|Its|They|Their|This|That|These|Those|Both|So|And|But|Then|Nor|Here too)\b")
AIMS = re.compile(r"^\*\*(After this chapter you can)\*\*$")
LABEL = chapter.LABEL
OUTCOME = re.compile(rf"<summary>{folds.OUTCOME}</summary>\s*(.*?)\s*</details>", re.S)
# Sections that are a chapter's business with its reader, not a speaker's with a class.
UNSHOWN = ("Where you stand", "Exercises", "Further reading")


@dataclass
class Slide:
    """One slide: its heading, the Markdown and the cells on it, and what the speaker says."""

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
        elif waiting and found[-1].kind in FOUND and not (found[-1].kind == "formula" and waiting[0].startswith("**")):
            found[-1].finding = found[-1].finding or begin(waiting[0], FINDING)
        if found:
            found[-1].notes += [text for text in waiting if text not in found[-1].text]
        waiting.clear()

    def add(exhibit: Slide) -> None:
        leading = waiting.pop() if waiting and exhibit.kind != "quiz" else ""
        before = waiting[-1] if waiting else ""
        say()
        before = before.removeprefix(found[-1].finding).strip() if found else before
        if leading:
            words = lead(leading, before, LEAD.get(exhibit.kind, 150))
            above = (
                exhibit if len(words) <= FILLED - 100 or exhibit.kind not in ("figure", "slider") else Slide(heading)
            )
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
    """Of each paragraph its first sentence, and what it asks, as far as a slide bears it; then more, if it is empty."""
    parts = [points(paragraph) for paragraph in paragraphs if not paragraph.startswith("(")]
    kept: list[tuple[int, int]] = []

    def length() -> int:
        return sum(len(parts[at][number]) for at, number in kept)

    for at, part in enumerate(parts):
        asked = [number for number, one in enumerate(part) if number == 0 or re.search(r"\?[*_\"”]*$", one)]
        if not kept or length() + sum(len(part[number]) for number in asked) <= WORDS:
            kept += [(at, number) for number in asked]
    for at, part in enumerate(parts):
        if (at, 0) not in kept or part[0].endswith("?**"):  # a question in bold is one of several: none gets its answer
            continue
        for number, one in enumerate(part):
            if (at, number) not in kept:
                if length() + len(one) > (FILLED if length() > FILLED / 3 else WORDS) or one.endswith(":"):
                    break
                kept.append((at, number))
    return [
        " ".join(one for number, one in enumerate(part) if (at, number) in kept)
        for at, part in enumerate(parts)
        if (at, 0) in kept
    ]


def lead(paragraph: str, before: str = "", room: int = 150) -> str:
    """What leads to what stands below: the sentence that runs into it, or else the first ones.

    A sentence that says little, or refers to the one before it, brings that along, even out of the paragraph before.

    >>> lead("**Step 2: they part company.** " + "The sum has one term for each pixel. " * 5 + "So for all of them,")
    '**Step 2: they part company.** The sum has one term for each pixel. So for all of them,'
    >>> lead("Is it really the rounding that takes them so far? Two tests can tell. " + "They take time. " * 9, room=80)
    'Is it really the rounding that takes them so far? Two tests can tell.'
    >>> lead("It moves one pixel:", before="Much was said. There is a test.")
    'There is a test. It moves one pixel:'
    """
    parts, earlier = points(paragraph), points(before) if before else []
    runs_on = not re.search(r"[.?!][*_\"”)]*$", parts[-1])
    if len(paragraph) > room and len(parts) > 1 and not runs_on:
        return begin(paragraph, room)
    bold = [parts.pop(0)] if parts[0].startswith("**") and len(parts) > 1 else []
    kept = parts if len(paragraph) <= room else parts[-1:]
    earlier = parts[: -len(kept)] if len(kept) < len(parts) else [] if bold else earlier
    while (
        earlier
        and (LEANS.match(kept[0]) or len(" ".join(kept)) < 40)
        and len(" ".join([earlier[-1], *kept])) < room + 50
    ):
        kept = [earlier.pop(), *kept]
        if not LEANS.match(kept[0]):
            break
    return " ".join([*bold, *kept])


def begin(paragraph: str, room: int) -> str:
    """Its first sentence, and those that follow as far as there is room; more of it where the first says little.

    >>> begin("One sentence that says quite a lot by itself. Two. Three is longer.", room=50)
    'One sentence that says quite a lot by itself. Two.'
    """
    first, *rest = points(paragraph)
    room += 80 if len(first) < 40 else 0
    for one in rest:
        if len(first) + 1 + len(one) > room or one.endswith(":"):
            break
        first = f"{first} {one}"
    return first


def points(paragraph: str) -> list[str]:
    """Its sentences; one that is but a name in bold goes with the next.

    >>> points("**Label flips.** They need no key. Nor time.")
    ['**Label flips.** They need no key.', 'Nor time.']
    """
    first, *rest = sentences(paragraph)
    name = re.fullmatch(r"\*\*[^*:?]{1,50}\*\*", first) and rest
    return [f"{first} {rest[0]}", *rest[1:]] if name else [first, *rest]
