"""``advlib models``: what can be loaded by name, and what was measured on it."""

from __future__ import annotations

from argparse import Namespace

from advlib.cli.train import print_measured
from advlib.models.zoo import model_names, read_card


def run(args: Namespace) -> int:
    for name in model_names():
        card = read_card(name)
        print(f"{name}: {len(card['classes'])} classes, {card['parameters']:,} parameters, made by '{card['command']}'")
        print_measured(card.get("measured", []))
    print("imagenet:NAME: any ImageNet classifier of torchvision, such as imagenet:squeezenet1_1")
    return 0
