"""A chapter's Markdown in parts (headings, paragraphs, formulas, tables, folds, …), and a paragraph in sentences."""

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

PARSER = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, allow_digits=True, double_inline=False)
KINDS = {
    "heading_open": "heading",
    "paragraph_open": "paragraph",
    "math_block": "formula",
    "table_open": "table",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "blockquote_open": "quote",
    "fence": "code",
    "html_block": "html",
}
# What no sentence ends in, whatever points it has: formulas, code, the targets of links.
CLOSED = re.compile(r"\$[^$]+\$|`[^`]+`|\]\([^)]*\)|\bet al\.|\be\.g\.|\bi\.e\.|\bvs\.")
END = re.compile(r"[.?!][*_\"”’)]*(?:\s+(?=[A-Z“\"‘*_(\[$`\d])|$)")


@dataclass(frozen=True)
class Block:
    """A part of a text: its kind (`KINDS`, or "fold") and its Markdown."""

    kind: str
    text: str


def blocks(text: str) -> list[Block]:
    """The parts of a Markdown text, in order; what stands in `<details>` is one fold.

    >>> [part.kind for part in blocks("## Why\\n\\nIt holds\\n\\n$$a = b.$$\\n\\n<details>\\n\\nSo.\\n\\n</details>")]
    ['heading', 'paragraph', 'formula', 'fold']
    """
    lines, found, fold = text.splitlines(), [], []
    for token in PARSER.parse(text):
        if token.level or token.nesting < 0 or token.type not in KINDS:
            continue
        part = "\n".join(lines[slice(*token.map)]).strip()
        if fold or part.startswith("<details"):
            fold.append(part)
            if part.endswith("</details>"):
                found.append(Block("fold", "\n\n".join(fold)))
                fold = []
        else:
            found.append(Block(KINDS[token.type], part))
    return found


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, each with its marks; **bold** text is not cut in two.

    >>> sentences("**Step 1. Look.** Chen et al. say $a. B$ is so. Is it? For a small δ,")
    ['**Step 1. Look.**', 'Chen et al. say $a. B$ is so.', 'Is it?', 'For a small δ,']
    """
    text = " ".join(paragraph.split())
    hidden = CLOSED.sub(lambda found: "x" * len(found[0]), text)
    ends = [found.end() for found in END.finditer(hidden)]
    found, start = [], 0
    for end in [*ends, len(text)]:
        part = text[start:end]
        if part.count("**") % 2 == 0 and part.count("(") == part.count(")") and part.strip():
            found.append(part.strip())
            start = end
    return [*found, text[start:].strip()] if text[start:].strip() else found
