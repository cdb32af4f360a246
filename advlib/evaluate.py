"""How often is the model right, on clean images and under attack, and how sure is that number?"""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.answers import logits_of, predict
from advlib.answers import right as is_right
from advlib.attacks.worst import worst_case
from advlib.intervals import Share, interval, interval_over_runs
from advlib.norms import L0, L1, L2, Ball, Linf, readable
from advlib.sanity import sanity_checks

__all__ = ["predict", "accuracy", "robust_accuracy", "Share", "interval", "report", "Report", "curve", "Curve"]
__all__ += ["sanity_checks"]


def accuracy(model: nn.Module, x: Tensor, y: Tensor, *, batch_size: int | None = None) -> float:
    """The share of images whose label is predicted.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> accuracy(model, x, predict(model, x)[0])
    1.0
    """
    return is_right(model, x, y, batch_size=batch_size).float().mean().item()


def robust_accuracy(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    attack: Callable[..., Tensor] = worst_case,
    batch_size: int | None = None,
    **settings,
) -> Share:
    """The share of images that are right, and stay right under ``attack``: by default ``attacks.worst_case``.

    Only the images that are right are attacked. No attack proves robustness: this is an upper bound on it, and
    ``advlib.attacks.worst_case`` makes it a tight one. The share is a float that knows its 95 % interval.

    Shapes: x (N, C, H, W) in [0, 1], y (N,). ``settings`` go to the attack, which may be anybody's: what it returns
    is checked, and does not count as an attack where it left the ball or the box.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, or an attack whose result does.

    >>> import torch
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([[0.9, 0.9, 0.1, 0.1], [0.55, 0.5, 0.5, 0.45]]).view(2, 1, 2, 2)   # far, near the boundary
    >>> robust_accuracy(model, x, torch.tensor([0, 0]), Linf(0.1), queries=50)
    50.0% (9.5% to 90.5%, 2 images)
    """
    contract.check_images(x)
    contract.check_ball(within, x)
    contract.check_function(attack, "attack", "(model, x, y, within) -> x_adv, such as attacks.pgd")
    right = is_right(model, x, y, batch_size=batch_size)
    if not right.any():
        return Share(0, len(x))
    rows = right.nonzero().flatten().to(x.device)
    attacked, y, within = x[rows], y.to(x.device)[rows], within.rows(rows)
    x_adv = attack(model, attacked, y, within, batch_size=batch_size, **settings)
    check_result(x_adv, attacked, within, attack)
    return Share(int(is_right(model, x_adv, y, batch_size=batch_size).sum()), len(x))


def check_result(x_adv, x: Tensor, within: Ball, attack: Callable | None = None) -> None:
    """What an attack returned is images like x, inside the ball and the box but for rounding; else ValueError."""
    name = getattr(attack, "__name__", "the attack")
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape or not x_adv.is_floating_point():
        got = f"{x_adv.dtype} {tuple(x_adv.shape)}" if isinstance(x_adv, Tensor) else type(x_adv).__name__
        raise ValueError(f"{name} returned {got}; expected images like its own, {x.dtype} {tuple(x.shape)}.")
    low, high = (float(end) for end in x_adv.detach().aminmax())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"{name} returned pixels from {low:.4g} to {high:.4g}; expected [0, 1], or no such picture exists. Clip "
            "them: x_adv.clamp(0, 1)."
        )
    delta = x_adv.detach().to(x.device).double() - x.double()
    # Each pixel may have been rounded by half a step of its dtype below 1. Of a count of pixels nothing is forgiven.
    half_a_step = max(torch.finfo(one.dtype).eps for one in (x, x_adv)) / 4
    slack = 1e-6 + (0 if isinstance(within, L0) else half_a_step * within.size(torch.ones_like(delta[:1])).item())
    size, eps = within.size(delta), torch.as_tensor(within.eps_for(x)).double().to(delta.device)
    outside = (size > eps + slack).nonzero().flatten().tolist()
    if outside:
        raise ValueError(
            f"{name} left the ball on {len(outside)} of {len(x)} images: the first has {within.symbol} = "
            f"{size[outside[0]].item():.6g}, but {within} was asked for. It cannot be counted. (ε in other units, such "
            f"as 0 to 255 or normalised pixels?) Or project it: x + within.project(x_adv - x, x)."
        )


@dataclass(frozen=True)
class Report:
    """What an attack did to a model; print it, or let a notebook show it as a table."""

    n: int
    clean_accuracy: float
    robust_accuracy: float
    attacked: int  # images that were right, on which there was something to win
    success_rate: float  # the share of those that the attack took
    success_interval: tuple[float, float]  # 95 %, Wilson
    mean_size: dict[str, float]  # of the perturbation, by norm
    max_size: dict[str, float]

    def rows(self) -> list[tuple[str, str]]:
        low, high = self.success_interval
        return [
            ("images", str(self.n)),
            ("clean accuracy", f"{self.clean_accuracy:.1%}"),
            ("robust accuracy", f"{self.robust_accuracy:.1%}"),
            ("attack success", f"{self.success_rate:.1%} of {self.attacked} (95 % interval {low:.1%} to {high:.1%})"),
            *(
                (f"perturbation, {norm}", f"mean {self.mean_size[norm]:.4g}, max {self.max_size[norm]:.4g}")
                for norm in self.mean_size
            ),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:<27}{value}" for name, value in self.rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for name, value in self.rows()
        )
        return f"<table>{cells}</table>"


def report(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_adv: Tensor,
    *,
    target: int | Tensor | None = None,
    batch_size: int | None = None,
) -> Report:
    """Compare a model on images and on their adversarial versions.

    Shapes: x and x_adv (N, C, H, W) in [0, 1], y (N,). Success is counted on the images that were right before;
    with ``target``, only a prediction of the target is one. Sizes are means and maxima over all images.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, or x_adv of another shape than x.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x = torch.rand(5, 1, 2, 2)
    >>> report(model, x, predict(model, x)[0], x).robust_accuracy
    1.0
    """
    contract.check_images(x_adv, "x_adv")
    right = is_right(model, x, y, batch_size=batch_size)
    if x_adv.shape != x.shape:
        raise ValueError(f"x_adv has shape {tuple(x_adv.shape)}, x has {tuple(x.shape)}; expected the same images.")
    still_right = is_right(model, x_adv, y, batch_size=batch_size)
    won = ~still_right
    if target is not None:
        target = contract.check_target(target, y, logits_of(model, x[:1]).shape[1])
        won = is_right(model, x_adv, target, batch_size=batch_size)
    attacked, taken = int(right.sum()), int((right & won).sum())
    delta = (x_adv.to(x.device) - x).double()
    sizes = {
        "L∞": Linf(1).size(delta),
        "L2": L2(1).size(delta),
        "L1": L1(1).size(delta),
        "L0 (pixels)": (delta != 0).any(1).sum((1, 2)).double(),
    }
    return Report(
        n=len(x),
        clean_accuracy=right.float().mean().item(),
        robust_accuracy=(still_right & right).float().mean().item(),
        attacked=attacked,
        success_rate=taken / attacked if attacked else float("nan"),
        success_interval=interval(taken, attacked) if attacked else (0.0, 1.0),
        mean_size={norm: size.mean().item() for norm, size in sizes.items()},
        max_size={norm: size.max().item() for norm, size in sizes.items()},
    )


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
            check_result(x_adv, x, ball, attack)
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
