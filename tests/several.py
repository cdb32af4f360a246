"""What the tests of several processes run in each of them: ``torchrun -m tests.several all FOLDER``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import torch
from torch import nn

from advlib import cli, distributed
from advlib.attacks import pgd, square
from advlib.cli import train as cli_train
from advlib.data import Images, load_images
from advlib.defenses import fit
from advlib.evaluate import robust_accuracy
from advlib.models import load_model
from advlib.models.recipes import RECIPES, Recipe
from advlib.norms import L2, Linf
from advlib.report_card import report_card

ROOT = Path(__file__).parents[1]
QUICK = Recipe(net="signs-linear", data="signs", train_images=64, epochs=4, lr=1e-3, batch_size=16)


def launch(*words: object, module: str = "tests.several") -> subprocess.CompletedProcess:
    """Two processes by torchrun: its exit status, what the first one printed, and what all said on stderr."""
    return _run("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", module, *words)


def alone(*words: object) -> subprocess.CompletedProcess:
    """A process of ours, which makes two others."""
    return _run("tests.several", *words)


def _run(*words: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)


def stripes(n: int = 96) -> Images:
    """Two classes that differ in one pixel."""
    x, y = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2
    x[:, 0, 0, 0] = 0.2 + 0.6 * y
    return Images(x, y, ("dark", "bright"))


def net(norm: type[nn.Module]) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(distributed.rank())  # the first process's weights are those to begin with
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), norm(8), nn.ReLU(), nn.Linear(8, 2))


def figures() -> dict:
    """What is to be the same in one process and in several, to the last bit."""
    model, images = load_model("signs-linear"), load_images("signs", "test", n=70)
    x, y, budgets = images.x[:40], images.y[:40], {Linf: (4 / 255,), L2: (0.5,)}
    parts = [images[:35], (images.x[35:], images.y[35:]), images[:9]]
    mine: list[int] = []

    def counted(model, x, y, within, **settings):
        mine.append(len(x))
        return pgd(model, x, y, within, steps=4, **settings)

    def told(card) -> str:
        return "\n".join(line for line in str(card).splitlines() if "of processor time" not in line)

    found = {
        "starts": robust_accuracy(model, x, y, Linf(2 / 255), attack=pgd, steps=5, restarts=2, batch_size=8),
        "squares": robust_accuracy(model, x, y, L2(0.5), attack=square, queries=40, batch_size=8),
        "parts": robust_accuracy(model, parts, within=Linf(2 / 255), attack=counted, seed=3),
        "card": told(report_card(model, images[:40], eps=budgets, queries=2, batch_size=8)),
        "card of parts": told(report_card(model, parts[:2], eps={Linf: (2 / 255,)}, queries=2)),
    }
    plain = lambda one: one if isinstance(one, str) else (float(one), getattr(one, "low", 0.0))
    return {name: plain(one) for name, one in found.items()} | {"attacked here": sum(mine)}


def learnt() -> dict:
    """What is to be the same to rounding, and with a batch norm to its noise."""
    found = {}
    for norm in (nn.Identity, nn.BatchNorm1d):
        model = net(norm)
        history = fit(model, stripes(), epochs=6, lr=0.02, batch_size=32, average=0.5, progress=False)
        found[norm.__name__] = [tuple(epoch) for epoch in history], model.state_dict()
    return found


def errors() -> dict:
    """What is said where processes are given different things, or where one fails."""
    model, images = load_model("signs-linear"), load_images("signs", "test", n=24)

    def fails_in_the_second(model, x, y, within, **settings):
        if distributed.rank() == 1:
            raise ValueError("the second process has had enough")
        return x

    def said(call) -> str:
        try:
            call()
        except ValueError as error:
            return str(error)
        return ""

    own = images[: 20 + distributed.rank()]
    return {
        "other images": said(lambda: robust_accuracy(model, own.x, own.y, Linf(0.1))),
        "other settings": said(lambda: fit(net(nn.Identity), stripes(), epochs=1 + distributed.rank(), progress=False)),
        "one fails": said(lambda: robust_accuracy(model, [images] * 3, within=Linf(0.1), attack=fails_in_the_second)),
        "too few": said(lambda: fit(net(nn.Identity), stripes(9), epochs=1, batch_size=1, progress=False)),
    }


def everything(args: Namespace) -> int:
    """Everything above, from each process as a file of its own; a training that nothing disturbs; and an end."""
    folder = Path(args.out).parent
    found = {"figures": figures(), "learnt": learnt(), "errors": errors()}
    torch.save(found, folder / f"{distributed.rank()}.pt")
    prepare("goes on")
    TRAIN(args)
    if distributed.rank() == 1:
        raise ValueError("no light in the second room")
    time.sleep(60)  # what is left is ended by torchrun
    return 0


def words(folder: Path) -> list[str]:
    given = ["train", "quick", "--device", "cpu", "--out", folder / "out", "--checkpoint", folder / "run.pt"]
    return [str(word) for word in given]


def prepare(how: str) -> None:
    """A recipe of a second, in an epoch of which the second process is killed, or not."""
    RECIPES["quick"], cli_train.TEST_IMAGES, cli_train.ATTACKED_IMAGES = QUICK, 32, 8
    end, _, at = how.partition("@")
    asked = load_images

    def until(data: str, split: str, n: int = 0, seed: int = 0) -> Images:
        if data != "signs":
            raise FileNotFoundError("no real photos here")
        if end == "killed" and (split, distributed.rank(), str(seed)) == ("train", 1, at):
            os.kill(os.getpid(), signal.SIGKILL)
        return asked(data, split, n, seed)

    cli_train.load_images = until


def forked(how: str, folder: Path) -> list[int]:
    """``advlib train`` in two processes without torchrun, so that nobody ends who is left: their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    prepare(how)
    children = []
    for rank in ("0", "1"):
        children.append(os.fork())
        if not children[-1]:
            os.environ |= place | {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            signal.alarm(90)  # whoever hangs does not end well
            status = 1
            try:
                status = cli.main(words(folder))
            except SystemExit as end:
                status = end.code
            finally:
                sys.stdout.flush()
                os._exit(status)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    into = Path(sys.argv[2])
    if sys.argv[1] == "all":
        TRAIN, cli_train.run = cli_train.run, everything
        sys.exit(cli.main(words(into)))
    print(json.dumps(forked(sys.argv[1], into)))
