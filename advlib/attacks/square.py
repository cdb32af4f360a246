"""Square: random search on a black box that tells its scores, one painted square after the other."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import Tensor

from advlib import contract
from advlib.attacks.blackbox import Attacked, BlackBox, black_box, check_start
from advlib.ball import wide
from advlib.device import at_once
from advlib.norms import L2, Ball, Linf

__all__ = ["square"]

# Andriushchenko et al. (2020), Section 4: of 10,000 queries, those after which the squares' area is halved.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
IMPROVING = 200  # queries that a start is worth
# When to look whether an image is worth more queries: first at this share of them, and earlier where it is known what
# another attack reached; then each time they have doubled.
FIRST_LOOK, EARLIER = 1 / 25, 1 / 50
FILLED = {"cpu": 16, "mps": 64, "cuda": 256}  # images in a call up to which `ahead` adds some


def square(
    victim: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    queries: int = 5000,
    p: float = 0.8,
    start: Tensor | None = None,
    hope: float | None = None,
    reached: Tensor | None = None,
    ahead: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    return_queries: bool = False,
) -> Attacked:
    """Random search with squares: paint one at random, keep it if the margin grew.

    Andriushchenko et al. (2020), "Square Attack", Algorithm 1, with the proposals of Algorithm 2 (L∞: all pixels of a
    square go to +ε or −ε, channel by channel) or 3 (L2: a bump that takes its energy from another window). It sees no
    gradient, so it finds what masked gradients hide.

    Deviations: p = 0.8 is AutoAttack's; the authors' commands in L∞ pass 0.05 for ordinary ImageNet networks, and 0.8
    for a robust one on MNIST. A square that would change nothing, because it is painted that way already, is painted
    the other way instead: the paper's would waste a query. ``start``, ``hope``, ``reached`` and ``ahead`` are not the
    paper's.

    victim      an ``nn.Module`` that gives logits, or any callable that gives logits or probabilities (N, K).
    within      an ``Linf`` or ``L2`` ball, with one ε or one per image (N,).
    target      a class index, or one per image (N,).
    queries     the most images the victim is shown for each image of x; one that fools is asked about no more. The
                squares shrink over this budget as they do over the paper's 10,000, so that even a small one ends
                with small squares.
    p           area of the first squares as a share of the image.
    start       images within the ball to improve, such as another attack's best failures, instead of fresh stripes:
                the squares are then as small as after the paper's first 200 queries, and shrink with its slowness.
    seed, batch_size  of the squares; and how many images the victim is shown at once.
    hope        leave an image whose margin would still not get there if each doubling of the queries raised it ``hope``
                times as much as the last one did; None leaves none. At 4, most images that a search cannot fool are
                left after a tenth of it.
    reached     margins (N,) that another attack has brought the images to: while the search is behind, half the hope.
                Where gradients lead, they are worth more than luck; where they mislead, the search is soon ahead.
    ahead       for a victim of one's own, which may be asked for nothing: show it several next squares of an image at
                once, as if each before them were in vain, which most are. The result is the same, in fewer, larger
                calls, but for rounding; what was asked after a square that was kept is asked again, and counted once.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, or with ``return_queries`` also the queries used
    (N,).

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; another ball; a start outside it.

    >>> from advlib.norms import Linf
    >>> victim = lambda images: torch.stack([images.mean((1, 2, 3)), 0.9 - images.mean((1, 2, 3))], dim=1)
    >>> x_adv, asked = square(victim, torch.full((2, 1, 4, 4), 0.5), torch.zeros(2).long(), Linf(0.1), queries=50,
    ...                       return_queries=True)
    >>> victim(x_adv).argmax(1), bool((asked < 50).all())
    (tensor([1, 1]), True)
    """
    contract.check_images(x)
    contract.check_ball(within, x)
    if not isinstance(within, (Linf, L2)):
        raise ValueError(f"square got the ball {within}; it is defined for Linf and L2.")
    first, propose = (_stripes, _paint) if isinstance(within, Linf) else (_tiles, _move_bump)
    contract.check_share(p, "p", positive=True, what="share of the image")
    if hope is not None:
        contract.check_number(hope, "hope", positive=True)
    contract.check_flag(ahead, "ahead")
    if reached is not None:
        _check_reached(reached, len(x))
    with black_box(victim, x, y, target, queries, batch_size, seed, return_queries) as box:
        clean, generator = box.clean, torch.Generator().manual_seed(seed)
        adv = first(clean, within, generator) if start is None else _checked_start(start, clean, within)
        margin = box.margins(adv, box.rows)
        hopeless, at_last_look = torch.zeros_like(margin, dtype=torch.bool), None
        looks = {round(queries * (FIRST_LOOK if reached is None else EARLIER) * 2**i) for i in range(6)}
        filled = FILLED.get(clean.device.type, FILLED["cpu"])
        side = lambda k: _side(clean, p, 10_000 * k / queries if start is None else IMPROVING + k)
        k = 1
        while k < queries:
            if hope and k in looks:
                if at_last_look is not None:
                    behind = torch.zeros_like(hopeless) if reached is None else margin < reached.to(margin)
                    gain = torch.where(behind, hope / 2, hope) * (margin - at_last_look)
                    hopeless |= margin + gain * math.log2(queries / k) <= 0
                at_last_look = margin.clone()
            rows = ((margin <= 0) & ~hopeless).nonzero().flatten()
            if not len(rows):
                break
            most = min(filled, at_once(box.width, clean.device)) // len(rows) if ahead else 1
            pixels, turns = side(k), 1
            while turns < most and k + turns < queries and k + turns not in looks and side(k + turns) == pixels:
                turns += 1
            # Drawn for all images, so that the draws do not depend on which of them still stand.
            u = torch.stack([torch.rand(len(clean), 5 + clean.shape[1], generator=generator) for _ in range(turns)])
            paint = lambda i, u, side=pixels: propose(clean[i], adv[i], within.rows(i), side, u)
            _take(box, adv, margin, rows, u.to(clean), paint)
            k += turns
        return box.result(adv, return_queries)


def _take(box: BlackBox, adv: Tensor, margin: Tensor, rows: Tensor, u: Tensor, paint: Callable) -> None:
    """For each image of ``rows`` the squares ``u`` (turns, N, ·), kept where they raise its margin; in place.

    All are asked about at once. Where one is kept, those after it were drawn on an image that is no more: again.
    """
    turn = torch.zeros_like(rows)
    while len(rows):
        which, at = (torch.arange(len(u), device=rows.device) >= turn[:, None]).nonzero(as_tuple=True)
        i = rows[which]
        proposal = paint(i, u[at, i])
        now = box.margins(proposal, i)
        better = now > margin[i]
        kept = torch.full_like(rows, len(u)).scatter_reduce(0, which[better], at[better], "amin")
        box.used[rows] -= (len(u) - 1 - kept).clamp_min(0)
        chosen = at == kept[which]
        adv[i[chosen]], margin[i[chosen]] = proposal[chosen], now[chosen]
        more = (kept < len(u) - 1) & (margin[rows] <= 0)
        rows, turn = rows[more], kept[more] + 1


def _side(x: Tensor, p: float, done: float) -> int:
    """Of a square after ``done`` of the paper's 10,000 queries, in pixels."""
    area = p / 2 ** bisect_left(HALVINGS, done)
    return round(math.sqrt(area * x[0, 0].numel()))


def _stripes(x: Tensor, within: Ball, generator: torch.Generator) -> Tensor:
    """Vertical stripes of ±ε: the pattern convolutional networks like least."""
    n, channels, _, width = x.shape
    sign = _signs(torch.rand(n, channels, 1, width, generator=generator).to(x))
    return (x + within.factor(x) * sign).clamp_(0, 1)


def _paint(x: Tensor, adv: Tensor, within: Ball, side: int, u: Tensor) -> Tensor:
    """Andriushchenko et al. (2020), Algorithm 2: x ± ε in one square of each image. Writes into ``adv``."""
    square = _window(x, side, u[:, :2])
    sign = _signs(u[:, 5:])[:, :, None, None]
    here, step = x[square], within.factor(x) * sign
    painted = (here + step).clamp_(0, 1)
    idle = (painted == adv[square]).flatten(1).all(1)
    adv[square] = torch.where(wide(idle), (here - step).clamp_(0, 1), painted)
    return adv


def _tiles(x: Tensor, within: Ball, generator: torch.Generator) -> Tensor:
    """Five by five bumps of random sign, as in Section 3.4."""
    n, channels, height, width = x.shape
    side = max(1, min(height, width) // 5)
    down, across = height // side, width // side
    sign = _signs(torch.rand(n, channels, down, across, generator=generator).to(x))
    tiles = sign.repeat_interleave(side, 2).repeat_interleave(side, 3) * _bump(side).to(x).repeat(down, across)
    delta = torch.zeros_like(x)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    delta[:, :, top : top + down * side, left : left + across * side] = tiles
    return x + within.steepest(delta, x)


def _move_bump(x: Tensor, adv: Tensor, within: Ball, side: int, u: Tensor) -> Tensor:
    """Algorithm 3: a bump on top of what one window holds, with the energy of that window and of another one.

    The rest is scaled so that the whole budget is used inside the box, which the paper leaves to later steps.
    """
    delta, tiny = adv - x, torch.finfo(x.dtype).tiny
    side = max(3, side + (side + 1) % 2)  # odd, for a bump with a middle
    here, there = _window(x, side, u[:, :2]), _window(x, side, u[:, 2:4])
    before, held = _energy(delta), delta[here]
    delta[here] = delta[there] = 0
    freed = before - _energy(delta)
    bump = _bump(held.shape[-1]).to(x)
    bump = torch.where(u[:, 4, None, None, None] < 0.5, bump, bump.T) * _signs(u[:, 5:])[:, :, None, None]
    bump = bump + held / _energy(held).sqrt().clamp_min(tiny)
    delta[here] = bump * (freed / _energy(bump).clamp_min(tiny)).sqrt()
    return x + within.steepest(delta, x)


def _bump(side: int) -> Tensor:
    """The η of Section 3.4: two hills of opposite sign side by side, (side, side), of length 1."""

    def hill(rows: int) -> Tensor:
        ring = torch.maximum((torch.arange(rows) - rows // 2).abs()[:, None], (torch.arange(side) - side // 2).abs())
        steps = 1 / torch.arange(1, int(ring.max()) + 2).double() ** 2
        height = steps.flip(0).cumsum(0).flip(0)[ring]  # Σ 1/(k + 1)² over the rings k from this one outwards
        return height / height.norm()

    bump = torch.cat([hill(side // 2), -hill(side - side // 2)]) if side > 1 else torch.ones(1, 1).double()
    return bump / bump.norm()


def _window(x: Tensor, side: int, u: Tensor) -> tuple[Tensor, ...]:
    """The index of one square per image, anywhere in it with equal chance: ``x[index]`` is (n, C, side, side)."""
    n, channels, height, width = x.shape
    side = max(1, min(side, height, width))
    along = torch.arange(side, device=x.device)
    top, left = (u[:, 0] * (height - side + 1)).long(), (u[:, 1] * (width - side + 1)).long()
    image, channel = torch.arange(n, device=x.device), torch.arange(channels, device=x.device)
    return (
        image[:, None, None, None],
        channel[:, None, None],
        (top[:, None] + along)[:, None, :, None],
        (left[:, None] + along)[:, None, None, :],
    )


def _signs(u: Tensor) -> Tensor:
    """±1 with equal chance, from numbers uniform in [0, 1)."""
    return 1 - 2 * (u < 0.5).to(u)


def _energy(delta: Tensor) -> Tensor:
    """Σ δ² per channel: (n, C, H, W) → (n, C, 1, 1)."""
    return delta.square().sum((2, 3), keepdim=True)


def _check_reached(reached, n: int) -> None:
    if not isinstance(reached, Tensor):
        raise TypeError(f"reached is {contract.shown(reached)}; expected a torch.Tensor of {n} margins.")
    contract.check_tensor(reached, "reached")
    if reached.shape != (n,) or not reached.is_floating_point() or bool(reached.isnan().any()):
        raise ValueError(
            f"reached has shape {tuple(reached.shape)}, dtype {str(reached.dtype)[6:]} and "
            f"{int(reached.isnan().sum())} values of NaN; expected {n} margins, as `losses.margin` gives them."
        )


def _checked_start(start: Tensor, clean: Tensor, within: Ball) -> Tensor:
    check_start(start, clean)
    start = start.to(clean, copy=True)
    size = within.size(start - clean)
    if bool((size > within.eps_for(clean) + 1e-5).any()):
        raise ValueError(f"start is up to {float(size.max()):.3g} away from x; expected {within}.")
    return clean + within.project(start - clean, clean)
