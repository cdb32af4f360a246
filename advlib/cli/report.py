"""``advlib report``: measure a model and print its report card; with ``--out`` also as a page and a picture."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from advlib.cli import own_model
from advlib.data import load_images
from advlib.files import replacing
from advlib.plots import png_of
from advlib.report_card import report_card

# What a model of ours was trained on; another one is measured on what --data names.
DATA = {"signs": "signs", "digits": "mnist"}


def run(args: Namespace) -> int:
    model = own_model.chosen(args)
    data = args.data or DATA.get(args.model.partition("-")[0])
    if data is None:
        raise ValueError(f"what {args.model} reads is not known; name images with labels: --data signs, --data mnist")
    images = load_images(data, "test", n=args.images)
    if own_model.is_own(args.model):  # ours read the images as they are
        resized: Callable = vars(model)["preprocess"]
        images = replace(images, x=resized(images.x))
    proofs = ("interval", "crown") if args.crown else ("interval",)
    card = report_card(model, images, name=args.model, proofs=proofs, queries=args.queries)
    print(card)
    if args.out:
        folder = Path(args.out)
        name = Path(args.model).stem.replace(":", "-")
        for suffix, content in ((".html", card.page().encode()), (".png", png_of(card.figure()))):
            with replacing(folder / f"{name}-report{suffix}") as temporary:
                temporary.write_bytes(content)
            print(f"written: {folder / f'{name}-report{suffix}'}")
    return 0
