"""Robust accuracy against ε, over one seed or several. ``advlib.evaluate`` offers both names as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from advlib import contract
from advlib.answers import right as is_right
from advlib.intervals import interval_over_runs
from advlib.norms import Ball, Linf, readable

__all__ = ["Curve", "curve"]


@dataclass(frozen=True)
class Curve:
    """Robust accuracy against ε, with a 95 % interval at each point.

    Where the attack ran with several seeds, ``accuracy`` is the mean over them, ``by_seed`` has the accuracy with each
    (a tuple per seed, as long as ``eps``), and the interval is for other images *and* other seeds.
    """

    eps: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    by_seed: tuple[tuple[float, ...], ...] = ()

    def __str__(self) -> str:
        lines = []
        for i, (e, a, low, high) in enumerate(zip(self.eps, self.accuracy, self.low, self.high)):
            each = [accuracies[i] for accuracies in self.by_seed]
            seeds = f"; {len(each)} seeds: {min(each):.1%} to {max(each):.1%}" if each else ""
            lines.append(f"ε = {readable(e)}: {a:.1%} ({low:.1%} to {high:.1%}{seeds})")
        return "\n".join(lines)


def curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Callable[..., Tensor],
    eps: Sequence[float],
    *,
    norm: Callable[[float], Ball] = Linf,
    seeds: Sequence[int] | None = None,
    batch_size: int | None = None,
    **settings,
) -> Curve:
    """Accuracy under ``attack`` for each ε of ``eps``: the shape of robustness, rather than one point of it.

    Shapes: x (N, C, H, W) in [0, 1], y (N,). ``attack`` is called as ``attack(model, x, y, norm(ε), **settings)``;
    at ε = 0 nothing is attacked. An image wrong before the attack counts as wrong.

    seeds   runs the attack with each, as ``seed=``: the mean over them is what one run of this attack leaves right,
            and their spread says how much of it is chance. (Of the worst case over several starts ``restarts`` makes
            one attack.) None runs it once, as ``settings`` say.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, or an attack whose result does; no ε at all;
        seeds for an attack without a ``seed``, or that are not different whole numbers.

    >>> import torch
    >>> from advlib.answers import predict
    >>> from advlib.attacks import fgsm
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> curve(model, x, predict(model, x)[0], fgsm, [0, 0.5]).accuracy[0]
    1.0
    """
    contract.check_function(attack, "attack", "(model, x, y, within) -> x_adv, such as attacks.pgd")
    contract.check_function(norm, "norm", "of ε that gives a ball, such as L2, without ε")
    if isinstance(eps, str) or not isinstance(eps, Iterable):
        raise TypeError(f"eps is {contract.shown(eps)}; expected several numbers, such as [0, 2/255, 4/255, 8/255].")
    balls = [norm(e) for e in eps]
    if not balls:
        raise ValueError("eps is empty; expected at least one ε, such as [0, 2/255, 4/255, 8/255].")
    for ball in balls:
        contract.check_ball(ball)
        contract.check_one_eps(ball, "curve")
    runs = [settings]
    if seeds is not None:
        _check_seeds(seeds, attack, settings)
        runs = [settings | {"seed": seed} for seed in seeds]
    clean = is_right(model, x, y, batch_size=batch_size)

    def count(ball: Ball, run: dict) -> int:
        x_adv = x
        if ball.eps:
            x_adv = attack(model, x, y, ball, **run)
            contract.check_result(x_adv, x, ball, attack)
        return int((is_right(model, x_adv, y, batch_size=batch_size) & clean).sum())

    counts = [[count(ball, run) for run in runs] for ball in balls]
    bounds = [interval_over_runs(each, len(x)) for each in counts]
    return Curve(
        eps=tuple(float(ball.eps) for ball in balls),
        accuracy=tuple(sum(each) / len(each) / len(x) for each in counts),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
        by_seed=() if seeds is None else tuple(tuple(count / len(x) for count in each) for each in zip(*counts)),
    )


def _check_seeds(seeds: Sequence[int], attack: Callable, settings: dict) -> None:
    if isinstance(seeds, (int, str)) or not isinstance(seeds, Sequence) or not seeds:
        raise TypeError(f"seeds is {seeds!r}; expected several whole numbers, such as seeds=(0, 1, 2).")
    for seed in seeds:
        contract.check_seed(seed, "seeds: a seed")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds is {seeds!r}; expected different ones: the same seed gives the same run again.")
    if "seed" in settings:
        raise ValueError(f"got seed={settings['seed']!r} and seeds={seeds!r}; expected one of the two.")
    takes = inspect.signature(attack).parameters.values()
    if not any(one.name == "seed" or one.kind is one.VAR_KEYWORD for one in takes):
        name = getattr(attack, "__name__", attack)
        raise TypeError(f"{name} takes no seed, so that every run would be the same; leave out seeds.")
