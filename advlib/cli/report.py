"""``advlib report``: measure a model and print its report card; with ``--out`` also as a page and a picture."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from advlib import distributed
from advlib.card import ReportCard
from advlib.cli import own_model
from advlib.contract import model_device
from advlib.data import Folder, Images, load_images
from advlib.data.images import NAMES
from advlib.files import replacing
from advlib.plots import png_of
from advlib.report_card import report_card

# What a model of ours was trained on; another one is measured on what --data names.
DATA = {"signs": "signs", "digits": "mnist"}
READERS = 4  # processes that read photos ahead, where the processor would otherwise wait for the GPU


def run(args: Namespace) -> int:
    model = own_model.chosen(args)
    data = args.data or DATA.get(args.model.partition("-")[0])
    if data is None:
        raise ValueError(f"what {args.model} reads is not known; name images with labels: --data signs, --data mnist")
    classes, preprocess = cast(tuple, model.classes), cast(Callable, model.preprocess)
    images: Images | Folder
    if data not in NAMES and (os.sep in data or Path(data).is_dir()):
        workers = READERS if model_device(model).type == "cuda" else 0
        images = Folder(data, classes, preprocess, n=args.images, workers=workers)
    else:
        images = load_images(data, "test", n=args.images)
        if own_model.is_own(args.model):  # ours read the images as they are
            images = replace(images, x=preprocess(images.x))
    proofs = ("interval", "crown") if args.crown else ("interval",)
    card = report_card(model, images, name=args.model, proofs=proofs, queries=args.queries, batch_size=args.batch_size)
    print(card)
    if args.out:
        distributed.only_first(partial(write, card, args))
    return 0


def write(card: ReportCard, args: Namespace) -> None:
    folder = Path(args.out)
    name = Path(args.model).stem.replace(":", "-")
    for suffix, content in ((".html", card.page().encode()), (".png", png_of(card.figure()))):
        with replacing(folder / f"{name}-report{suffix}") as temporary:
            temporary.write_bytes(content)
        print(f"written: {folder / f'{name}-report{suffix}'}")
