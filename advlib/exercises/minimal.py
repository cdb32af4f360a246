"""The exercises of chapter 9, the smallest attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from advlib.attacks.minimal import deepfool, fmn
from advlib.ball import wide
from advlib.exercises import derived, properties, specimens
from advlib.exercises.frame import Case, Explore, Formula, Mistake, Wrong
from advlib.norms import L2

# --- my_distance(W, b, x, y) ------------------------------------------------------------------------------


def _own(W: Tensor, y: Tensor) -> Tensor:
    return torch.arange(len(W)) == y[:, None]


def distance(
    W: Tensor,
    b: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    logits: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda W, b, x: x @ W.T + b,
    label: Callable[[Tensor, Tensor], Tensor] = lambda z, y: y,
    normal: Callable[[Tensor, Tensor], Tensor] = lambda W, y: W - W[y][:, None],
    length: Callable[[Tensor], Tensor] = lambda w: w.norm(dim=2),
    wall: Callable[[Tensor, Tensor], Tensor] = lambda gap, length: gap / length,
    nearest: Callable[[Tensor, Tensor], Tensor] = lambda d, own: d.masked_fill(own, torch.inf).amin(1),
    end: Callable[[Tensor], Tensor] = lambda d: d.clamp_min(0),
) -> Tensor:
    """min over k ≠ y of (z_y − z_k) / ‖w_k − w_y‖₂, and 0 where another class is ahead."""
    z = logits(W, b, x)
    y = label(z, y)
    gap = z.gather(1, y[:, None]) - z
    return end(nearest(wall(gap, length(normal(W, y))), _own(W, y)))


def _first_gap(W: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The distance to the runner-up's wall, which need not be the nearest."""
    z, own = x @ W.T + b, _own(W, y)
    k = z.masked_fill(own, -torch.inf).argmax(1)
    rows = torch.arange(len(x))
    return ((z[rows, y] - z[rows, k]) / (W[k] - W[y]).norm(dim=1)).clamp_min(0)


def _pictures(name: str, n: int, inputs: int, classes: int, seed: int, dtype: torch.dtype = torch.float32) -> Case:
    """Half of them read rightly; the rows of W of very different length, so that the runner-up is not the nearest."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(classes, inputs, generator=generator) * torch.logspace(-0.5, 0.7, classes)[:, None]
    b, x = torch.randn(classes, generator=generator), torch.rand(n, inputs, generator=generator)
    y = torch.randint(classes, (n,), generator=generator)
    y[::2] = (x @ W.T + b).argmax(1)[::2]
    return Case(name, W.to(dtype), b.to(dtype), x.to(dtype), y)


def _by_hand() -> Case:
    """The example of the text, as two classes."""
    W, b = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([-2.0, 0.0])
    return Case("the example of the text", W, b, torch.tensor([[0.4, 0.5]]), torch.tensor([0]))


NORMAL = "the wall's direction is w_k − w_y, and its length the root of the sum of squares: norm(dim=2)"
REST = "the smallest over k ≠ y: write torch.inf at y, then amin(1)"
DISTANCE_WRONG = [
    Wrong({"wall": lambda gap, length: gap}, "these are gaps between logits, not distances",
          "the gap was not divided by the length of w_k − w_y", NORMAL),
    Wrong({"length": lambda w: w.square().sum(2)}, "a network with logits twice as large is half as far away",
          "divided by the squared length: the root is missing", NORMAL),
    Wrong({"length": lambda w: w.abs().sum(2)}, "this is the distance in the L∞ norm",
          "divided by the sum of the absolute values, the dual norm of L∞", NORMAL),
    Wrong({"length": lambda w: w.abs().amax(2)}, "this is the distance in the L1 norm",
          "divided by the largest entry, the dual norm of L1", NORMAL),
    Wrong({"normal": lambda W, y: W.expand(len(y), *W.shape)}, "the gap is divided by the length of w_k",
          "w_y was not subtracted", NORMAL),
    Wrong({"normal": lambda W, y: W[y][:, None].expand(len(y), *W.shape)}, "the gap is divided by the length of w_y",
          "w_k was not subtracted", NORMAL),
    Wrong({"normal": lambda W, y: W + W[y][:, None]}, "the gap is divided by the length of w_k + w_y",
          "a sum for the difference", NORMAL),
    Wrong({"length": lambda w: w.norm()}, "all walls are divided by one length", "the norm was taken over everything",
          NORMAL),
    Wrong({"length": lambda w: w.norm(dim=2) ** 0.5}, "divided by the root of the length", "a root too many", NORMAL),
    Wrong({"logits": lambda W, b, x: x @ W.T}, "the bias is missing", "b was not added", "z = x @ W.T + b"),
    Wrong({"label": lambda z, y: z.argmax(1)}, "pictures that are misread have a distance, too",
          "y was replaced by what the network reads", "use the y that is passed: where it is not read, 0"),
    Wrong({"nearest": lambda d, own: d.masked_fill(own, 0).amin(1)}, "no distance is above 0",
          "the class y itself took part in the minimum", REST),
    Wrong({"nearest": lambda d, own: d.amin(1)}, "every distance is NaN",
          "the class y itself took part in the minimum, with 0 / 0", REST),
    Wrong({"nearest": lambda d, own: d.masked_fill(own, -torch.inf).amax(1)}, "this is the farthest wall",
          "the maximum was taken", REST),
    Wrong({"nearest": lambda d, own: d.masked_fill(own, 0).sum(1) / (d.shape[1] - 1)},
          "this is the mean distance of the walls", "the mean was taken", REST),
    Wrong(_first_gap, "this is the distance to the runner-up's wall", "the smallest gap need not be the nearest wall",
          "divide first, then take the minimum"),
    Wrong({"end": lambda d: d}, "pictures that are misread have a negative distance", "the 0 for them is missing",
          "end with .clamp_min(0)"),
    Wrong({"end": torch.abs}, "pictures that are misread have a positive distance", "the absolute value was taken",
          "they are across the wall already: .clamp_min(0)"),
    Wrong({"wall": lambda gap, length: -gap / length}, "the gaps have the wrong sign", "z_k − z_y for z_y − z_k",
          "gap = z.gather(1, y[:, None]) - z"),
    Wrong({"wall": lambda gap, length: gap.abs() / length}, "walls that a misread picture is behind count, too",
          "the absolute value was taken of every gap", "they are across the wall already: .clamp_min(0)"),
    Wrong({"wall": lambda gap, length: gap / length / 2}, "half of the distance", "a factor 1/2",
          "the wall stands where the gap is 0, not half-way"),
]  # fmt: skip

boundary_distance = Formula(
    name="boundary_distance",
    chapter=9,
    title="The distance to the nearest wall",
    points=2,
    right=distance,
    cases=lambda: [
        _pictures("8 pictures of 5 pixels, 4 classes", 8, 5, 4, seed=0),
        _by_hand(),
        _pictures("a batch of 1", 1, 9, 3, seed=1),
        _pictures("12 pictures of 20 pixels, 16 classes", 12, 20, 16, seed=2),
        _pictures("as many pictures as classes", 6, 7, 6, seed=3),
        _pictures("float64", 5, 6, 5, seed=4, dtype=torch.float64),
    ],
    verified="the distances of six batches, to walls near and far, and 0 for what is misread",
    wrong=DISTANCE_WRONG,
)


# --- my_objective(model, w, x, target, c, kappa) ------------------------------------------------------------


def objective(
    model: nn.Module,
    w: Tensor,
    x: Tensor,
    target: Tensor,
    c: Tensor,
    kappa: float,
    *,
    image: Callable[[Tensor], Tensor] = lambda w: (w.tanh() + 1) / 2,
    size: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda x_adv, x, w: (x_adv - x).square().sum((1, 2, 3)),
    rival: Callable[[Tensor, Tensor], Tensor] = lambda z, t: z.scatter(1, t[:, None], -torch.inf).amax(1),
    own: Callable[[Tensor, Tensor], Tensor] = lambda z, t: z.gather(1, t[:, None])[:, 0],
    way: float = 1,
    hinge: Callable[[Tensor, float], Tensor] = lambda lead, kappa: (lead + kappa).clamp_min(0),
    price: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda size, c, lead: size + c * lead,
) -> Tensor:
    """‖x' − x‖₂² + c · max(max_{k ≠ t} z_k − z_t + κ, 0) for each image."""
    x_adv = image(w)
    z = model(x_adv)
    lead = way * (rival(z, target) - own(z, target))
    return price(size(x_adv, x, w), c, hinge(lead, kappa))


def _costs() -> list[Case]:
    def case(name: str, model: nn.Module, shape: tuple, classes: int, kappa: float, seed: int, double=False) -> Case:
        x, target = specimens.images(*shape, seed=seed), specimens.labels(shape[0], classes, seed=seed)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        w = (torch.atanh(0.98 * (2 * x - 1)) + 0.3 * noise).to(torch.float64 if double else torch.float32)
        with torch.no_grad():
            # some reach the target by far, some by less than κ
            target[::3] = model((w.tanh() + 1) / 2).argmax(1)[::3]
        c = torch.logspace(-1, 1, shape[0]).to(w)
        return Case(name, model, w.requires_grad_(), x.to(w), target, c, kappa)

    return [
        case("7 images, κ = 0.5", specimens.mlp(1, 6, 5, seed=2, scale=4), (7, 1, 6), 5, 0.5, seed=1),
        case("κ = 0", specimens.mlp(1, 8, 4, seed=3, scale=3), (6, 1, 8), 4, 0.0, seed=2),
        case("3 colours, κ = 20", specimens.conv(3, 6, seed=4), (5, 3, 12), 6, 20.0, seed=3),
        case("a batch of 1", specimens.mlp(3, 5, 3, seed=5, scale=4), (1, 3, 5), 3, 1.0, seed=4),
        case("large logits", specimens.mlp(1, 7, 6, seed=6, scale=200), (6, 1, 7), 6, 2.0, seed=5),
        case("float64", specimens.mlp(1, 6, 4, seed=7, scale=3).double(), (4, 1, 6), 4, 0.5, seed=6, double=True),
    ]


TANH = "x' = (w.tanh() + 1) / 2"
SQUARES = "(x_adv - x).square().sum((1, 2, 3)): squares, added up for each picture by itself"
OTHERS = "z.scatter(1, target[:, None], -torch.inf).amax(1)"
LEAD = "the best rival's logit minus the target's: it falls while the target comes ahead"
HINGE = "(lead + kappa).clamp_min(0)"
OBJECTIVE_WRONG = [
    Wrong({"image": torch.tanh}, "the picture has pixels from -1 to 1", "tanh w was taken for the picture", TANH),
    Wrong({"image": lambda w: w}, "w itself is shown to the network", "the change of variable is missing", TANH),
    Wrong({"image": lambda w: w.clamp(0, 1)}, "w, clipped, is shown to the network",
          "the change of variable is missing: a clip has no slope beyond its ends", TANH),
    Wrong({"image": torch.sigmoid}, "the picture is sigmoid(w)", "½ (tanh w + 1) is sigmoid(2w)", TANH),
    Wrong({"image": lambda w: w.tanh() + 1}, "the picture has pixels from 0 to 2", "the ½ is missing", TANH),
    Wrong({"image": lambda w: w.tanh() / 2 + 1}, "the picture has pixels from ½ to 1½",
          "the brackets are missing: ½ belongs to the sum", TANH),
    Wrong({"size": lambda x_adv, x, w: (x_adv - x).flatten(1).norm(dim=1)}, "the size is not squared",
          "the L2 norm was taken", SQUARES),
    Wrong({"size": lambda x_adv, x, w: (x_adv - x).abs().sum((1, 2, 3))}, "the size is the L1 norm",
          "absolute values for squares", SQUARES),
    Wrong({"size": lambda x_adv, x, w: (x_adv - x).square().mean((1, 2, 3))}, "the size is n times too small",
          "the mean of the squares was taken, not their sum", SQUARES),
    Wrong({"size": lambda x_adv, x, w: (x_adv - x).square().sum()}, "all pictures pay for the size of all",
          "the sum runs over the batch", SQUARES),
    Wrong({"size": lambda x_adv, x, w: (w - x).square().sum((1, 2, 3))}, "the distance is that from w to x",
          "w was taken for the picture", SQUARES),
    Wrong({"rival": lambda z, t: z.amax(1)}, "κ is charged behind the border as well",
          "the target itself took part in the maximum over the rivals, or κ stands outside of the maximum with 0",
          f"{OTHERS}, then {HINGE}"),
    Wrong({"rival": lambda z, t: z.scatter(1, t[:, None], -torch.inf).logsumexp(1)}, "all rivals count",
          "log-sum-exp was taken: these are log-odds", OTHERS),
    Wrong({"rival": lambda z, t: z.scatter(1, t[:, None], 0.0).amax(1)}, "a rival whose logit is 0 was added",
          "the target's logit was set to 0", OTHERS),
    Wrong({"rival": lambda z, t: z.scatter(1, t[:, None], torch.inf).amin(1)}, "the worst rival was taken",
          "the minimum over the others", OTHERS),
    Wrong({"rival": lambda z, t: z.index_fill(1, t, -torch.inf).amax(1).nan_to_num(0, 0, 0)},
          "the targets of all pictures were left out of every row", "[:, target] instead of one entry per row", OTHERS),
    Wrong(lambda model, *given: objective(nn.Sequential(model, nn.Softmax(1)), *given),
          "the lead is one of probabilities", "a softmax was taken", "z = model(x_adv): the logits as they are"),
    *(Wrong({"own": lambda z, t, low=low: torch.full_like(z[:, 0], low)}, "the target's logit itself plays no part",
            f"it was read after {low:g} was written in its place, as scatter_ does", "read it first, or use scatter")
      for low in (-torch.inf, -1e9, -1e6, -1e4)),
    Wrong({"own": lambda z, t: z[:, t]}, "every picture has the targets of all: the result is (N, N)", "z[:, target]",
          "z.gather(1, target[:, None])[:, 0]"),
    Wrong({"way": -1}, "the push goes away from the target", "the sign of the lead is turned round", LEAD),
    Wrong({"hinge": lambda lead, kappa: lead + kappa}, "far behind the border the cost falls below 0",
          "the maximum with 0 is missing", HINGE),
    Wrong({"hinge": lambda lead, kappa: lead.clamp_min(0)}, "the push stops at the border",
          "κ was not used", HINGE),
    Wrong({"hinge": lambda lead, kappa: (lead - kappa).clamp_min(0)}, "the push stops before the border",
          "κ was subtracted", HINGE),
    Wrong({"hinge": lambda lead, kappa: lead.clamp_min(-kappa)}, "every cost is too small by c κ",
          "max(lead, −κ): the paper's own form, with the same minimum, but another number", HINGE),
    Wrong({"hinge": lambda lead, kappa: lead.clamp_min(kappa)}, "the push never ends at κ",
          "max(lead, κ)", HINGE),
    Wrong({"price": lambda size, c, lead: c * size + lead}, "c stands at the size",
          "the two terms are exchanged", "size² + c · max(…)"),
    Wrong({"price": lambda size, c, lead: c * (size + lead)}, "c multiplies both terms", "brackets",
          "size² + c · max(…)"),
    Wrong({"price": lambda size, c, lead: size + lead}, "the constant has no effect", "c was not used",
          "size² + c · max(…)"),
    Wrong({"price": lambda size, c, lead: c * lead}, "the size costs nothing", "the first term is missing",
          "size² + c · max(…)"),
    Wrong({"price": lambda size, c, lead: size - c * lead}, "the second term is subtracted", "a minus for the plus",
          "size² + c · max(…)"),
]  # fmt: skip

cw_objective = Formula(
    name="cw_objective",
    chapter=9,
    title="The objective, with a target and a confidence",
    points=3,
    right=objective,
    cases=_costs,
    outcome=derived.with_gradient(1, dims=1),
    kind=derived.kind("a sum over the last three dimensions: each picture has a cost of its own"),
    properties=[derived.which("w")],
    verified="costs and their gradients in w, on six networks and batches, at κ from 0 to 20",
    wrong=OBJECTIVE_WRONG,
)


# --- a picture nearer than DeepFool's -------------------------------------------------------------------------

SHARE = 0.8


def _nearer(exercise: Explore, answer: Any, notes: list[str], model: nn.Module, x: Tensor, y: Tensor) -> str:
    """A picture that the model misreads, at most a ``SHARE`` as far from x as DeepFool's."""
    x_adv = properties.images(answer, x)
    size, theirs = (L2(1).size(one - x).item() for one in (x_adv, deepfool(model, x, y)))
    if size == 0:
        raise Mistake("it is the clean picture", mend="change it until the network misreads it")
    if not properties.misread(model, x_adv, y).item():
        raise Mistake(
            f"its size is {size:.3f}, but the network still reads it rightly",
            mend="stop behind the border, not before it; ask evaluate.predict",
        )
    if size > SHARE * theirs:
        raise Mistake(
            f"it is misread, at an L2 size of {size:.3f}; DeepFool's is {theirs:.3f}, and at most "
            f"{SHARE * theirs:.3f} is asked",
            mend="an attack that goes on behind its first success, with more steps or smaller ones",
        )
    return f"misread at an L2 size of {size:.3f}, {size / theirs:.0%} of DeepFool's {theirs:.3f}"


class _Corner(nn.Module):
    """Class 1 beyond a wall that curves away from the gradient at the clean picture, so that DeepFool walks too far."""

    def forward(self, x: Tensor) -> Tensor:
        u, v = x[:, 0, 0, 0] - 0.5, x[:, 0, 0, 1] - 0.5
        z = 10 * (u + 30 * v**2 + 0.2 * v - 0.3)
        return torch.stack([torch.zeros_like(z), z], dim=1)


def _curved() -> tuple[nn.Module, Tensor, Tensor]:
    return _Corner(), torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])


def _stretched(factor: float) -> Callable[..., Tensor]:
    """DeepFool's change, longer or shorter."""
    return lambda model, x, y: (x + wide(torch.tensor([factor])) * (deepfool(model, x, y) - x)).clamp(0, 1)


SHORTER_WRONG = [
    Wrong(_stretched(1.0), "DeepFool's is"),
    Wrong(_stretched(1.5), "at an L2 size of 0.450"),
    Wrong(_stretched(0.5), "but the network still reads it rightly"),
    Wrong(lambda model, x, y: x.clone(), "it is the clean picture"),
    Wrong(lambda model, x, y: 255 * fmn(model, x, y, steps=200), "pixels reach from"),
    Wrong(lambda model, x, y: fmn(model, x, y, steps=200)[0], "the result has shape"),
    Wrong(lambda model, x, y: 0.1, "got 0.1, expected a tensor"),
    Wrong(lambda model, x, y: torch.full_like(x, torch.nan), "are NaN or infinite"),
]  # fmt: skip

shorter_way = Explore(
    name="shorter_way",
    chapter=9,
    title="Explore: a shorter way",
    points=3,
    measured=_nearer,
    example=_curved,
    right=lambda model, x, y: fmn(model, x, y, steps=200),
    wrong=SHORTER_WRONG,
)
