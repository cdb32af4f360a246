"""What of a chapter's words stands on a slide: the gist of a section, what leads to a figure, what is found in it."""

import re

from .blocks import sentences

WORDS = 430  # characters of running text that a slide bears
FILLED = 330  # so many do not leave a slide empty
LEAD = 150  # characters above what has a slide of its own; half as many again above what is small
FINDING = 170  # characters below it
# Words that only lead on to what is not on the slide.
ONWARD = re.compile(r"(Read|Look|Now|Two|Three)\b[^.?!]{,45}[.:]")
# A sentence that refers to the one before it.
LEANS = re.compile(r"(\W*)(It|Its|They|Their|This|That|These|Those|Both|So|And|But|Then|Nor|Here too)\b")


def gist(paragraphs: list[str]) -> list[str]:
    """Of each paragraph its first sentence, and what it asks, as far as a slide bears it; then more, if it is empty."""
    asides = [paragraph for paragraph in paragraphs if paragraph.startswith("(")]
    parts = [points(paragraph) for paragraph in paragraphs if paragraph not in asides or asides == paragraphs]
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


def lead(paragraph: str, before: str = "", room: int = LEAD) -> str:
    """What leads to what stands below: the sentence that runs into it, or else the first ones.

    A sentence that says little, or refers to the one before it, brings that along, even out of the paragraph before.

    >>> lead("**Step 2: they part company.** " + "The sum has one term for each pixel. " * 5 + "So for all of them,")
    '**Step 2: they part company.** The sum has one term for each pixel. So for all of them,'
    >>> lead("Is it really the rounding that takes them so far? Two tests can tell. " + "They take time. " * 9, room=80)
    'Is it really the rounding that takes them so far? Two tests can tell.'
    >>> lead("(As in chapter 2.) Here it is:")
    'Here it is:'
    >>> lead("It moves one pixel:", before="Much was said. There is a test for it.")
    'There is a test for it. It moves one pixel:'
    """
    parts, earlier = outside(points(paragraph)), outside(points(before)) if before else []
    runs_on = not re.search(r"[.?!][*_\"”)]*$", parts[-1])
    if len(" ".join(parts)) > room and len(parts) > 1 and not runs_on:
        return begin(" ".join(parts), room)
    bold = [parts.pop(0)] if parts[0].startswith("**") and len(parts) > 1 else []
    kept = parts if len(" ".join(parts)) <= room else parts[-1:]
    earlier = parts[: -len(kept)] if len(kept) < len(parts) else [] if bold else earlier
    text = " ".join(kept)
    while earlier and (LEANS.match(text) or len(text) < 40) and len(f"{earlier[-1]} {text}") < room + 50:
        text = f"{earlier.pop()} {text}"
    return " ".join([*bold, text])


def outside(found: list[str]) -> list[str]:
    """Those that are not in brackets, unless all are."""
    return [one for one in found if not (one.startswith("(") and one.endswith(")"))] or found


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


def finding(paragraph: str, kind: str) -> str:
    """What is found in what a slide shows: the first words behind it, unless they begin something new."""
    words = begin(paragraph, FINDING)
    return "" if ONWARD.fullmatch(words) or (kind == "formula" and words.startswith("**")) else words
