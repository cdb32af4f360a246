"""``advlib tournament``: play the submissions in a folder against each other and the house's."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from advlib.cli import printable
from advlib.cli.attack import ball
from advlib.tournament import play


def run(args: Namespace) -> int:
    result = play(
        args.folder,
        images=args.images,
        within=ball(args.norm, args.eps),
        seed=args.seed,
        seconds=args.seconds,
        passes=args.passes,
        memory=args.memory,
        photos=args.photos,
        rounds=args.rounds,
    )
    print("\n".join(map(printable, result.table().split("\n"))))
    for name in ("index.html", "scores.csv"):
        print(printable(f"written: {Path(args.folder, 'results', name)}"))
    return 0
