"""The leaderboard: one HTML page that needs nothing else, on which every name and reason is text and nothing more."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from advlib.data.images import Images
from advlib.tournament.matches import Match, png

if TYPE_CHECKING:
    from advlib.tournament.scores import Result, Score

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1a1a; --quiet: #595959; --line: #c9c9c9; --link: #0b5cad }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e8e8e8; --quiet: #b0b0b0; --line: #444b52; --link: #7db8ff }
}
body { background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 70rem; padding: 1rem; overflow-wrap: break-word }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top }
td.number { text-align: right; white-space: nowrap }
td.notes { min-width: 14rem }
th button { all: unset; box-sizing: border-box; color: var(--link); cursor: pointer; font-weight: 600; width: 100% }
th button:focus-visible, .wide:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
th[aria-sort=ascending] button::after { content: " \\2191" }
th[aria-sort=descending] button::after { content: " \\2193" }
.house, .quiet { color: var(--quiet) }
.pairs { display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0 }
.pairs img { height: 96px; image-rendering: pixelated; width: 96px }
figure { margin: 0 } figcaption { color: var(--quiet); font-size: .875rem; max-width: 13rem }
"""

SCRIPT = """
for (const button of document.querySelectorAll('th button')) button.addEventListener('click', () => {
  const head = button.closest('th'), body = head.closest('table').tBodies[0];
  const column = head.cellIndex, number = head.dataset.kind === 'number';
  const before = head.getAttribute('aria-sort');
  const up = before === 'none' ? !number || column === 0 : before === 'descending';
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const order = (a, b) => number ? value(a) - value(b) : value(a).localeCompare(value(b));
  for (const other of head.parentNode.cells) other.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
});
"""

Column = tuple[str, str, Callable]  # its head, number or text, and what a score has there: a value, or None
PLACE: Column = ("Place", "number", lambda one: one.place)
TEAM: Column = ("Team", "text", lambda one: one.team)
PHOTOS: tuple[Column, ...] = (
    ("On photos", "number", lambda one: one.photos),
    ("Clean on photos", "number", lambda one: one.clean_photos),
)
DEFENSES: tuple[Column, ...] = (
    ("Worst case", "number", lambda one: one.score),
    ("Clean", "number", lambda one: one.clean),
)
ATTACKS: tuple[Column, ...] = (("Fooled", "number", lambda one: one.score),)
MILLISECONDS: Column = ("ms an image", "number", lambda one: one.ms_per_image)
PASSES: Column = ("Passes an image", "number", lambda one: one.passes_per_image)
MATCHES: Column = ("Matches", "number", lambda one: one.matches)
NOTES: Column = ("Notes", "text", lambda one: "; ".join(one.notes))
SHARES = {"Worst case", "Clean", "Fooled", "On photos", "Clean on photos"}


def page(result: Result, images: Images) -> str:
    """The page: both tables, which a click or a key sorts, and for each defence what its strongest attack did to it.

    images  those that were played on, of which the clean pictures are shown.
    """
    rules = result.rules
    photos = PHOTOS if rules.photos else ()
    defenses = [one for one in result.scores if one.side == "defense"]
    attacks = [one for one in result.scores if one.side == "attack"]
    content = [
        "<h1>Tournament</h1>",
        f"<p>Attacks change each image within {escape(rules.within)}. {rules.images} signs, drawn afresh"
        + (f", and {rules.photos} photos" if rules.photos else "")
        + ". A defence's score is the share of signs that it reads rightly after every attack that it met; an attack's "
        "is the share that it made defences misread, of those they had read rightly. In brackets: 95 % intervals for "
        "other signs of the same kind.</p>",
        _table("Defences", [PLACE, TEAM, *DEFENSES, *photos, MILLISECONDS, MATCHES, NOTES], defenses),
        _table("Attacks", [PLACE, TEAM, *ATTACKS, *photos[:1], PASSES, MILLISECONDS, MATCHES, NOTES], attacks),
        "<h2>What fooled them</h2>",
        *(_pictures(one, [m for m in result.matches if m.defense == one.team], images) for one in defenses),
    ]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>Tournament</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(content)
        + f"\n</main><script>{SCRIPT}</script></body></html>\n"
    )


def _table(title: str, columns: list[Column], scores: list[Score]) -> str:
    heads = "".join(
        f'<th scope="col" data-kind="{kind}" aria-sort="{"ascending" if name == "Place" else "none"}">'
        f'<button type="button">{name}</button></th>'
        for name, kind, _ in columns
    )
    rows = "".join(
        "<tr>" + "".join(_cell(name, kind, value(one), one) for name, kind, value in columns) + "</tr>\n"
        for one in scores
    )
    return (
        f'<h2>{title}</h2>\n<div class="wide" role="region" aria-label="{title}" tabindex="0"><table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _cell(name: str, kind: str, value, score: Score) -> str:
    if name == "Team":
        return f"<td>{escape(value)}{' <span class=house>(house)</span>' * score.house}</td>"
    if kind == "text":
        return f'<td class="notes">{escape(value)}</td>'
    if value is None:
        return '<td class="number" data-value="-1">–</td>'
    said = f"{value:.1%}" if name in SHARES else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
    if name in ("Worst case", "Fooled"):
        said += f" <span class=quiet>({score.low:.0%}–{score.high:.0%})</span>"
    return f'<td class="number" data-value="{value}">{said}</td>'


def _pictures(score: Score, matches: list[Match], images: Images) -> str:
    """A defence's strongest attack, the cheaper of two equal ones, and some of what it did."""
    head = f"<h3>{escape(score.team)}</h3>"
    best = min(matches, key=lambda one: (-one.fooled, one.passes, one.attack), default=None)
    if best is None or not best.fooled:
        return head + "<p>Nothing fooled it.</p>" if best else head + "<p>It was not attacked.</p>"
    shown = []
    for one in best.pictures:
        place, name = one["image"], images.classes
        meant, read = name[int(images.y[place])], name[one["read"]]
        told = f"{meant}, read as {read} after {best.attack}"
        shown.append(
            f'<li><figure><img src="data:image/png;base64,{png(images.x[place])}" alt="{escape(meant)}, as it was"> '
            f'<img src="data:image/png;base64,{escape(one["png"])}" alt="{escape(told)}">'
            f"<figcaption>{escape(meant)} → {escape(read)}</figcaption></figure></li>"
        )
    pairs = f'<ul class="pairs">{"".join(shown)}</ul>' if shown else ""
    return f"{head}<p>{escape(best.attack)} fooled it on {best.fooled} of {best.attacked} images.</p>{pairs}"
