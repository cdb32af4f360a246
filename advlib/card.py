"""A report card as a value: in words (``print``), as a page (``page``) and as a picture (``figure``)."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from advlib.intervals import Share
from advlib.norms import readable
from advlib.plots import Picture, png_of, style
from advlib.sanity import SanityChecks

__all__ = ["ReportCard"]


@dataclass(frozen=True)
class ReportCard:
    """What was measured of one model on n images. Shares know their 95 % intervals."""

    name: str
    n: int
    clean: Share
    worst: dict[str, dict[float, Share]]  # by norm and ε: upper bounds of robust accuracy
    proved: dict[str, Share]  # by method, at the smallest ε of L∞: lower bounds of it
    not_proved: str  # why there is no proof, where there is none
    smallest: dict[str, tuple[float, ...]]  # by norm: the smallest change found, sorted; ∞ where none was found
    sanity: SanityChecks
    corruptions: dict[str, Share]
    parameters: int
    seconds: float  # of processor time for one clean pass over all images
    run: tuple[str, ...]  # exactly what was run

    @property
    def cost(self) -> dict[str, str]:
        return {
            "parameters": f"{self.parameters:,}",
            "one image": f"{1000 * self.seconds / self.n:.2f} ms of processor time on this machine",
        }

    @classmethod
    def of_parts(cls, parts: Sequence[ReportCard]) -> ReportCard:
        """The card of all images from those of parts of them. The signs of masking are the first part's."""
        first = parts[0]
        if len(parts) == 1:
            return first
        return replace(
            first,
            n=sum(part.n for part in parts),
            clean=_all_of([part.clean for part in parts]),
            worst={
                norm: {eps: _all_of([part.worst[norm][eps] for part in parts]) for eps in row}
                for norm, row in first.worst.items()
            },
            proved={how: _all_of([part.proved[how] for part in parts]) for how in first.proved},
            smallest={
                norm: tuple(sorted(size for part in parts for size in part.smallest[norm])) for norm in first.smallest
            },
            corruptions={what: _all_of([part.corruptions[what] for part in parts]) for what in first.corruptions},
            seconds=sum(part.seconds for part in parts),
            run=(*first.run, f"in {len(parts)} parts of at most {first.n} images; signs of masking in the first"),
        )

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """The card as sections of (what, figure)."""
        worst = [
            (f"{norm} ≤ {readable(eps)}", str(share)) for norm, row in self.worst.items() for eps, share in row.items()
        ]
        proved = [
            (f"by {how}, L∞ ≤ {readable(next(iter(self.worst['L∞'])))}", str(share))
            for how, share in self.proved.items()
        ]
        smallest = [(norm, _quartiles(sizes)) for norm, sizes in self.smallest.items()]
        signs = [(check.name, f"{check.evidence}. {check.meaning}") for check in self.sanity.flagged]
        return [
            ("Right", [("clean", str(self.clean))]),
            ("Right under the worst case found (robust accuracy is at most this)", worst),
            ("Proved (robust accuracy is at least this)", proved or [("nothing", self.not_proved)]),
            ("Smallest change found that fools (the true one is at most this)", smallest),
            ("Signs of gradient masking", signs or [("none", self.sanity.verdict)]),
            (
                "Right under what weather and cameras do",
                [(name, str(share)) for name, share in self.corruptions.items()],
            ),
            ("Cost", list(self.cost.items())),
            ("Run", [(str(i), line) for i, line in enumerate(self.run, 1)]),
        ]

    def __str__(self) -> str:
        lines = [f"Report card of {self.name}, {self.n} images"]
        for title, rows in self.sections():
            lines += ["", title, *(f"  {what:<26}{figure}" for what, figure in rows)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cell = '<td style="text-align:left">'
        rows = "".join(
            f'<tr><th colspan="2" scope="rowgroup" style="text-align:left">{html.escape(title)}</th></tr>'
            + "".join(
                f"<tr>{cell}{html.escape(what)}</td>{cell}{html.escape(figure)}</td></tr>" for what, figure in part
            )
            for title, part in self.sections()
        )
        return f"<table><caption>Report card of {html.escape(self.name)}, {self.n} images</caption>{rows}</table>"

    def page(self) -> str:
        """The card with its picture as one HTML page that needs nothing else."""
        picture = base64.b64encode(png_of(self.figure())).decode()
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(self.name)}: report card</title>'
            "<style>body{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}img{max-width:100%}"
            "th{padding-top:1rem}td{padding:.1rem 1rem .1rem 0;vertical-align:top}</style>"
            f'<img src="data:image/png;base64,{picture}" alt="{html.escape(self.alt)}">{self._repr_html_()}</html>'
        )

    @property
    def alt(self) -> str:
        """The picture in words."""
        ends = (f"{norm}: {self.clean:.0%} to {list(row.values())[-1]:.0%}" for norm, row in self.worst.items())
        return f"Accuracy of {self.name} from no change to the largest, by norm: {'; '.join(ends)}."

    @style()
    def figure(self) -> Figure:
        """Accuracy against ε in each norm, with intervals, and what is proved."""
        figure = Picture(figsize=(3 * len(self.worst), 3.2), layout="constrained")
        for ax, (norm, row) in zip(
            figure.subplots(1, len(self.worst), sharey=True, squeeze=False)[0], self.worst.items()
        ):
            eps, shares = [0.0, *row], [self.clean, *row.values()]
            ax.plot(eps, shares, marker="o", label="worst case found")
            ax.fill_between(eps, [one.low for one in shares], [one.high for one in shares], alpha=0.2)
            if norm == "L∞":
                for how, share in self.proved.items():
                    ax.plot([eps[1]], [share], "^", color="#009E73", label=f"proved, {how}")
            ax.set(xlabel=f"ε, {norm}", ylim=(0, 1), xticks=eps, xticklabels=[readable(e) for e in eps])
        figure.axes[0].set_ylabel("right")
        figure.axes[0].legend(loc="upper right", fontsize=9)
        return figure


def _all_of(shares: Sequence[Share]) -> Share:
    """One share of the images of several."""
    return Share(sum(round(share * share.n) for share in shares), sum(share.n for share in shares))


def _quartiles(sizes: Sequence[float]) -> str:
    if not sizes:
        return "no image is right"
    at = lambda share: readable(sizes[min(int(share * len(sizes)), len(sizes) - 1)], digits=3)
    return f"median {at(0.5)}, middle half {at(0.25)} to {at(0.75)}, of {len(sizes)} images that are right"
