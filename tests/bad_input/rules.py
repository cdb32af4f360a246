"""Which kind a parameter is of, by its annotation and its name; and the few exceptions, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from inspect import Parameter

from matplotlib.figure import Figure

from advlib.attacks import Views
from advlib.attacks.poisoning import Trigger
from tests.bad_input import kinds as k
from tests.bad_input.kinds import INF

# (annotation, name, kind), both patterns; the first row that fits is the one.
RULES: list[tuple[str, str, Callable]] = [
    (r"nn\.Module \| Sequence", "substitutes", k.models),
    (r"Iterable\[nn.Module\]", "models", k.models),
    (r"nn\.Module|Model", "model|teacher|student", k.model),
    (r"Callable\[\[Tensor\], Tensor\]", "victim", k.victim),
    (r"type\[Ball\]|Callable\[\[float\], Ball\]", "norm", k.norm),
    (r"Ball|L0", "within", k.ball),
    (r"Images", "images", k.images_value),
    (r"bool \| str", "fast", k.fast),
    (r"bool", ".*", k.flag),
    (r"Generator", "generator", k.generator),
    (r"Trigger", "trigger", k.value_of(Trigger)),
    (r"Views", "views", k.value_of(Views)),
    (r"Figure", "figure", k.value_of(Figure)),
    # tensors
    (r"int \| Tensor", "target", k.target),
    (r"int \| Tensor", "size", k.one_of(k.whole())),
    (r"float \| Tensor", "eps", k.epsilon),
    (r"float \| Tensor", "radius", k.one_of(k.number())),
    (r"float \| Tensor", "rotation|turn", k.number(-INF)),
    (r"float \| Tensor", "scale", k.number(positive=True)),
    (r"Tensor", "mask", k.mask),
    (r"Tensor", "delta|grad", k.delta),
    (r"Tensor", "reached", k.margins),
    (r"Tensor", "logits", k.logits),
    (r"Tensor", "y|target", k.labels),
    (r"Tensor", "x|x_adv|start", k.pictures),
    (r"Tensor", "index", k.labels),
    (r"", "delta|grad", k.delta),
    (r"", "generator", k.generator),
    (r"", "mask", k.mask),
    (r"", "radius", k.one_of(k.number())),
    (r"", "factor", k.number()),
    (r"^$", "x", k.pictures),
    (r"Tensor", "image", k.picture_of_one),
    (r"Any", "image", k.shown_image),
    (r"Any", "images", k.images_to_show),
    (r"Sequence\[Sequence\[Panel", "rows", k.rows_of_panels),
    (r"Mapping\[str, Any", "lines", k.lines),
    (r"Any", "line", k.line),
    (r"Sequence\[Any", "labels", k.captions),
    (r"Sequence\[Any", "frames", k.frames),
    (r"Sequence\[Any", "values", k.readouts),
    (r"Mapping\[str, str", "answers", k.answers),
    (r"str \| Collection", "correct", k.right_answer),
    (r"str", "pictures", k.pieces),
    # numbers
    (r"int", "target|source|label", k.class_index),
    (r"int", "seed", k.whole(0)),
    (r"int", "successes|start", k.whole(0)),
    (r"int", "levels|classes", k.whole(2)),
    (r"int", "quality", k.whole(1, 95)),
    (r"int", "bits", k.whole(1, 8)),
    (r"int", "samples|steps|restarts|queries|batch_size|n|n0|epochs|size|width|channels|columns|pixels", k.whole()),
    (r"int", "passes|rounds|world", k.whole()),
    (r"int", "rank|workers", k.whole(0)),
    (r"int", "memory", k.whole(1, 10**6)),
    (r"float", "seconds", k.number(most=86_400, positive=True)),
    (r"int", "binary_search_steps|candidates|population|probes|most_pixels|most_decoded|digits", k.whole()),
    (r"float", "momentum|overshoot|confidence|gan|hinge|weight_decay|beta|z|factor", k.number()),
    (r"float", "step|lr|initial_const|gamma|sigma|temperature|amplify|width|fontsize|hope", k.number(positive=True)),
    (r"float", "p", k.share(positive=True)),
    (r"float", "alpha|inertia|diversity|opacity|fraction|average|kappa|chance|probability|t|warmup|ramp", k.share()),
    (r"float", "rotation", k.number(0, 180)),
    (r"float", "turn", k.number(0, 60)),
    (r"float", "shift", k.number(0, 0.5)),
    (r"float", "brightness|noise", k.share()),
    (r"tuple", "scale", k.pair),
    (r"tuple", "centre", k.place),
    (r"Sequence\[int\]", "onto", k.size),
    (r"Sequence\[int\]", "seeds", k.seeds),
    (r"Sequence\[float\]", "eps", k.epsilons),
    (r"Sequence\[float\]", "mean|std", k.per_channel),
    # words, functions, files
    (r"str", "team", k.team),
    (r"str", "architecture|name|split|keep|place|pattern|average|method|intermediate", k.word),
    (r"str \| os\.PathLike", "path|checkpoint|folder|root", k.path),
    (r"str \| torch\.device", "device", k.where),
    (r"str", "caption|heading|xlabel|ylabel", k.text),
    (r"^.?str", "alt|label|question", k.words),
    (r"tuple\[str|Sequence\[str\]", "classes", k.texts),
    (r"Sequence\[str\]", "alt", k.texts),
    (r"Callable", "loss", k.loss),
    (r"Loss", "loss", k.loss),
    (r".*", "gradient|score|tick|watch|callback|transform|substitute|perturb|attack|at|objective", k.function),
    (r".*", "preprocess", k.function),
    (r"", "schedule", k.value_of(type(None))),
    (r"dict", "card", k.card),
]  # fmt: skip


# Methods that each step of an attack calls look at what kind of tensor it is, and at no pixel.
IN_A_LOOP = [(r"", "x|delta|grad", k.delta), (r"", "mask", k.boolean_mask)]
# Models that are only kept, or changed, and asked later.
ONLY_KEPT = [(r"nn\.Module|Model", "model", k.kept_model), (r"Iterable", "models", k.models)]
EXACT = {
    **dict.fromkeys(
        ("attacks.eot", "attacks.bpda", "defenses.JPEG", "defenses.BitDepth", "defenses.Quantize"), ONLY_KEPT
    ),
    **dict.fromkeys(("defenses.ResizePad", "defenses.Smoothed", "defenses.Ensemble", "defenses.heat"), ONLY_KEPT),
    "models.save_model": ONLY_KEPT,
    "distillation.Taught": [(r"Module", "teacher", k.kept_model)],
    **{
        name: [(r"", "x", k.delta_of_some)]
        for name in ("attacks.warp", "attacks.Views.__call__", "attacks.Views.light")
        + ("defenses.ResizePad.transform", "defenses.Smoothed.transform")
    },
    **{
        f"{room}.{name}": [(r"Tensor", "x|x_adv", k.shown_batch)]
        for room, name in (("plots", "triptych"), ("widgets", "triptych"), ("panels", "triptych_panels"))
    },
    "defenses.Quantize.transform": [(r"", "x", k.floats)],
    "defenses.fit": [(r"Loss", "loss", k.mean_loss)],
    "attacks.nes": [(r"int", "samples", k.also(k.whole(2), {"an odd number": 5}))],
    "attacks.one_pixel": [(r"int", "population", k.whole(5))],
    "attacks.worst_case": [(r"int", "queries", k.whole(0))],
    "attacks.climb": [(r"Tensor", "start", k.delta), (r"int", "steps", k.whole(0))],
    **{
        f"norms.{ball}.{method}": IN_A_LOOP
        for ball in ("Ball", "Linf", "L2", "L1", "L0")
        for method in ("size", "project", "steepest", "sample", "eps_for", "factor")
    },
    **{f"losses.{loss}": [(r"Tensor", "target", k.labels)] for loss in ("cross_entropy", "log_odds", "margin", "dlr")},
    "attacks.Patch": [(r"Tensor", "mask", k.shape_of_patch)],
    "norms.Ball.rows": [(r"Tensor", "index", k.rows_of)],
    "norms.L0": [(r"", "eps", k.also(k.epsilon, {"half a pixel": 2.5}))],
    "norms.Linf": [(r"", "eps", k.also(k.epsilon, {"of 8 bits": 8}))],
    "norms.readable": [(r"", "eps", k.one_of(k.number()))],
    "data.on_disk": [(r"", "name", k.word)],
    "tournament.play": [(r"int", "images", k.whole()), (r"int", "photos", k.whole(0))],
    "tournament.submit_model": ONLY_KEPT,
    "signs.render": [(r"", "labels", k.sign_labels)],
    "signs.draw": [(r"", "label", k.also(k.class_index, {"no class": 16}))],
    "photos.to_8bit": [(r"", "x", k.floats)],
    "photos.fit_square": [(r"", "x", k.delta_of_some)],
    "intervals.interval_over_runs": [(r"", "successes", k.counts)],
    "report_card.report_card": [
        (r"", "eps", k.budgets),
        (r"", "proofs", k.methods),
        (r"", "name", k.words),
        (r"", "queries", k.whole(0)),
        (r"", "images", k.images_for_model),
    ],
    "panels.points_of": [(r"", "name", k.nothing)],
}


def kind_of(name: str, parameter: Parameter, others: Collection[str] = ()) -> Callable | None:
    annotation = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
    of_model = [(r"Tensor", "x", k.for_model), (r"Tensor", "y", k.labels_of_classes)] if "model" in others else []
    for written, called, kind in [*EXACT.get(name, ()), *of_model, *RULES]:
        if re.search(written, annotation) and re.fullmatch(called, parameter.name):
            return kind
    return None


# Public names that are under no table, and why.
APART = {
    **dict.fromkeys(
        ("attacks.AdvGAN.forward", "models.Normalize.forward", "defenses.Ensemble.forward"),
        "a layer's pass: a check of every pixel would be made in each step of each attack",
    ),
    **dict.fromkeys(
        (f"defenses.{name}.__call__" for name in ("Climb", "Reseeded", "Noise", "Divergence", "Trades", "IBP")),
        "called by `fit`, with batches of images that it has checked",
    ),
    "defenses.Climb.up": "what `Climb` and `Divergence` share",
    **{f"norms.Ball.{name}": "of no norm: raises" for name in ("size", "project", "steepest", "sample", "scaled")},
    **dict.fromkeys(
        ("tournament.Match", "tournament.Score", *(f"tournament.Result{m}" for m in ("", ".of", ".table", ".csv"))),
        "made by `play`",
    ),
    **{
        f"report_card.ReportCard{m}": "made by `report_card`"
        for m in ("", ".of_parts", ".sections", ".page", ".figure")
    },
    **{f"distillation.{name}.__call__": "called by `fit`" for name in ("AtTemperature", "Taught")},
    "signs.SignClass": "a row of `signs.CLASSES`",
    "progress.progress": "a bar of tqdm's, with its settings",
    "evaluate.Report": "made by `report`, not by people",
    "evaluate.Report.rows": "made by `report`",
    "evaluate.Curve": "made by `curve`; `plots.curves` checks what it draws",
    "plots.Picture": "a matplotlib figure",
    "plots.Picture.set": "matplotlib's",
    "widgets.Html": "a text",
    "panels.Panel": "made by the library; what draws panels checks them",
}

# Bad values that are answered otherwise, and why: (function, parameter, value).
ALLOWED: dict[tuple[str, ...], str] = {
    ("data.save_png", "x", "without a batch"): "one image may come without",
    ("data.load_photo", "path", "empty"): "the folder that one is in, which is said",
    ("data.load_photo", "path", "a null byte"): "a file that is not there, which is said",
    ("data.Images.to", "device", "None"): "torch takes it for where the tensor is",
    **{
        (f"losses.{loss}", "y", "negative"): "not read where there is a target"
        for loss in ("cross_entropy", "log_odds", "margin")
    },
}
