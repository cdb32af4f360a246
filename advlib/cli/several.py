"""Commands under ``torchrun``: several processes that work as one, and speak with one voice."""

from __future__ import annotations

import contextlib
import os
import warnings
from argparse import Namespace
from collections.abc import Callable

TOGETHER = ("report", "train")  # the commands that share their work


def as_one(run: Callable[[Namespace], int], args: Namespace) -> int:
    """Run a command, in each of the processes that torchrun started; the first alone prints and shows bars.

    Where one fails, the first to fail says why and the others end without a word: torchrun ends whoever is left.
    """
    if "WORLD_SIZE" not in os.environ:  # and torch need not be imported to know
        return run(args)
    from advlib import distributed

    if not distributed.launched():
        return run(args)
    if args.command not in TOGETHER:
        raise ValueError(f"torchrun is for {' and '.join(TOGETHER)}; run 'advlib {args.command}' by itself")
    with distributed.group() as is_first_to_say, contextlib.ExitStack() as quiet:
        if distributed.rank() > 0:
            quiet.enter_context(contextlib.redirect_stdout(quiet.enter_context(open(os.devnull, "w"))))
            quiet.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        try:
            return run(args)
        except BaseException:
            if is_first_to_say():
                raise
            raise SystemExit(1) from None
