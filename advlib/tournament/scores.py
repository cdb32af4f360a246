"""Scores from matches, and the result of a tournament as a table."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from advlib.files import for_spreadsheet
from advlib.intervals import interval
from advlib.names import unknown
from advlib.tournament.entries import Entry
from advlib.tournament.matches import Match, Rules

__all__ = ["FLOOR", "Result", "Score", "score_attack", "score_defense"]

FLOOR = 0.8  # of the clean images must a defence read, or one that always says "Stop" would never be fooled
COLUMNS: tuple[str, ...] = ("place", "side", "team", "house", "score", "low", "high", "clean", "photos", "clean_photos")
COLUMNS += ("ms_per_image", "passes_per_image", "matches", "notes")


@dataclass(frozen=True)
class Score:
    """One line of the table. Shares are of 1; what was not measured is None."""

    place: int
    side: str  # "defense" or "attack"
    team: str
    house: bool
    score: float  # worst-case accuracy of a defence; what an attack fooled, averaged over the defences it met
    low: float  # its 95 % interval (Wilson), for other images of the same kind
    high: float
    clean: float | None  # a defence's accuracy on images as they are
    photos: float | None  # the score on real photos, where they were asked for
    clean_photos: float | None
    ms_per_image: float | None  # processor time: to read an image, or to attack one
    passes_per_image: float | None  # of the model, as an attack took them
    matches: int
    notes: tuple[str, ...]  # the reason of each zero


@dataclass(frozen=True)
class Result:
    """A tournament's scores, best first on each side, and its matches. A notebook shows it as two tables."""

    folder: Path
    rules: Rules
    scores: tuple[Score, ...]
    matches: tuple[Match, ...]

    def of(self, team: str, side: str = "defense") -> Score:
        """The score of one team on one side.

        Raises
            ValueError: there is none; who took part.
        """
        known = {score.team: score for score in self.scores if score.side == side}
        if team not in known:
            raise ValueError(unknown(f"{side} of team", team, known))
        return known[team]

    def table(self) -> str:
        """The scores in words, a line for each."""
        lines: list[str] = []
        for side, title in (("defense", "Defences"), ("attack", "Attacks")):
            rows = [row for row in self.scores if row.side == side]
            width = max((len(row.team) for row in rows), default=0)
            head = f"{title}, {self.rules.within}, {self.rules.images} signs"
            lines += [*([""] if lines else []), head]
            for row in rows:
                name = "".join(one if one.isprintable() else "?" for one in row.team)
                lines.append(f"{row.place:>3}. {name:<{width}}  {_figures(row)}{'  (house)' * row.house}")
                lines += [f"     {note}" for note in row.notes]
        return "\n".join(lines)

    __str__ = table

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        parts = []
        for side, title in (("defense", "Defences"), ("attack", "Attacks")):
            rows = "".join(
                f"<tr><td>{row.place}</td><td>{html.escape(row.team)}{' (house)' * row.house}</td>"
                f"<td>{html.escape(_figures(row))}</td><td>{html.escape('; '.join(row.notes))}</td></tr>"
                for row in self.scores
                if row.side == side
            )
            names = "".join(f'<th scope="col">{name}</th>' for name in ("place", "team", "score", "notes"))
            parts.append(f"<table><caption>{title}</caption><tr>{names}</tr>{rows}</table>")
        return "".join(parts)

    def csv(self) -> str:
        """The scores as comma-separated values, with a head."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.scores:
            values = {**vars(row), "notes": "; ".join(row.notes), "house": int(row.house)}
            writer.writerow([_plain(values[name]) for name in COLUMNS])
        return text.getvalue()


def _plain(value):
    """A value for a spreadsheet."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return for_spreadsheet(value) if isinstance(value, str) else value


def _figures(row: Score) -> str:
    said = f"{row.score:.1%} ({row.low:.1%} to {row.high:.1%})"
    if row.clean is not None:
        said += f", clean {row.clean:.1%}"
    if row.photos is not None:
        said += f", on photos {row.photos:.1%}"
    if row.ms_per_image is not None:
        said += f", {row.ms_per_image:.1f} ms an image"
    if row.passes_per_image is not None:
        said += f", {row.passes_per_image:.0f} passes"
    return said


def score_defense(entry: Entry, clean: Match | None, met: Sequence[Match], images: int) -> Score:
    """A defence's score: the share of signs that it read rightly clean and after every attack that it met.

    clean  how it read the images as they are, None for one that cannot take part; the first ``images`` are signs.
    """
    if entry.problem or clean is None:
        return _line(entry, notes=(entry.problem[1],) if entry.problem else ())
    stands = [all(each) for each in zip(clean.right, *(match.right for match in met))]
    share = sum(clean.right[:images]) / images
    notes = [clean.reason] if clean.outcome else []
    if not clean.outcome and share < FLOOR:
        notes = [f"it reads {share:.0%} of the clean signs; at least {FLOOR:.0%} are asked for"]
    if notes:
        stands = [False] * len(stands)
    counts = not notes
    notes += dict.fromkeys(match.reason for match in met if match.at_fault == "defense")
    photos = len(clean.right) - images
    return _line(
        entry,
        share=sum(stands[:images]) / images,
        n=images * counts,
        clean=share,
        photos=sum(stands[images:]) / photos if photos else None,
        clean_photos=sum(clean.right[images:]) / photos if photos else None,
        ms=1000 * clean.seconds,
        matches=len(met),
        notes=tuple(notes),
    )


def score_attack(entry: Entry, met: Sequence[tuple[Match, Match]], images: int) -> Score:
    """An attack's score: of the signs that a defence reads rightly, the share that it made it misread, on average.

    met  for each defence that it met, how that read the images as they are, and the match.
    """
    if entry.problem:
        return _line(entry, notes=(entry.problem[1],))
    shares: dict[str, list[float]] = {"signs": [], "photos": []}
    for clean, match in met:
        for kind, part in (("signs", slice(images)), ("photos", slice(images, None))):
            if before := sum(clean.right[part]):
                shares[kind].append(1 - sum(match.right[part]) / before)
    mean = {kind: sum(each) / len(each) if each else None for kind, each in shares.items()}
    attacked = sum(match.attacked for _, match in met)
    notes = [f"against {match.defense}: {match.reason}" for _, match in met if match.at_fault == "attack"]
    return _line(
        entry,
        share=mean["signs"] or 0.0,
        n=images,
        photos=mean["photos"],
        ms=1000 * sum(match.seconds for _, match in met) / attacked if attacked else None,
        passes=sum(match.passes for _, match in met) / attacked if attacked else None,
        matches=len(met),
        notes=tuple(notes),
    )


def _line(
    entry: Entry, share=0.0, n=0, clean=None, photos=None, clean_photos=None, ms=None, passes=None, matches=0, notes=()
) -> Score:
    low, high = interval(round(share * n), n) if n else (0.0, 0.0)
    return Score(
        place=0,
        side=entry.side,
        team=entry.team,
        house=entry.house,
        score=share,
        low=low,
        high=high,
        clean=clean,
        photos=photos,
        clean_photos=clean_photos,
        ms_per_image=ms,
        passes_per_image=passes,
        matches=matches,
        notes=notes,
    )
