"""One call of each public function that is right: what the table of bad input is made from, value by value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from advlib import (
    attacks,
    data,
    defenses,
    evaluate,
    intervals,
    models,
    norms,
    panels,
    plots,
    report_card,
    tournament,
    widgets,
)
from advlib import losses as loss_functions
from advlib.attacks.ascent import Linear
from advlib.data import Images, photos, signs
from advlib.defenses import distillation
from advlib.evaluate import Curve
from advlib.models import nets, zoo
from advlib.norms import L0, L2, Linf


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


X = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
MODEL = network()
Y = MODEL(X).argmax(1)  # on other images there is nothing to attack
TARGET = (Y + 1) % 3
NAMES = ("a", "b", "c")
IMAGES = Images(torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 3, NAMES)
TAKEN_FOR_TARGET = attacks.pgd(MODEL, X, Y, Linf(1.0), target=TARGET)
MASK = torch.ones(4, 4)
VIEWS = attacks.Views(rotation=5)
PATCH = attacks.Patch(torch.rand(3, 2, 2), torch.ones(1, 2, 2))
DELTA = 0.3 * (X - 0.5)
LOGITS = MODEL(X).detach()
PANEL = panels.Panel(panels.pixels_of(X[0]), "heading", "caption", "alt")
CURVE = Curve((0.0, 0.1), (0.9, 0.1), (0.8, 0.0), (1.0, 0.2))

Call = Callable[[Path], dict]


def call(**given) -> Call:
    return lambda folder: dict(given)


def attack(**given) -> Call:
    return call(x=X, y=Y, **given)


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


IN = Linf(0.1)
ASCENT = dict(model=MODEL, within=IN, target=TARGET, loss=loss_functions.margin, mask=MASK, batch_size=2)
STEPS = ASCENT | dict(steps=2, step=0.05, early_stop=True, fast=False, callback=lambda iterate: None)
BOX = dict(victim=MODEL, target=TARGET, queries=20, seed=0, batch_size=2, return_queries=True)
VIEW = dict(rotation=5.0, scale=1.0, turn=0.0, centre=(0.5, 0.5))


CLIMB = dict(
    gradient=lambda adv, rows: (adv.mean((1, 2, 3)), adv.mean((1, 2, 3)) - 1, torch.ones_like(adv)),
    score=lambda adv, rows: adv.mean((1, 2, 3)) - 1,
)

GOOD: dict[str, Call] = {
    # ------------------------------------------------------------------------------------ advlib
    "advlib.device": call(),
    # ----------------------------------------------------------------------------------- attacks
    "attacks.fgsm": attack(**ASCENT),
    "attacks.bim": attack(**STEPS, keep="best"),
    "attacks.pgd": attack(**STEPS, keep="best", restarts=1, random_start=True, momentum=0.3, seed=0),
    "attacks.mifgsm": attack(**STEPS, keep="best", momentum=1.0),
    "attacks.apgd": attack(
        **{k: v for k, v in STEPS.items() if k != "step"}, restarts=1, random_start=True, seed=0
    ),
    "attacks.ascend": attack(
        **{k: v for k, v in STEPS.items() if k != "step"},
        schedule=Linear(), momentum=0.3, inertia=0.2, random_start=True, restarts=1, keep="best", seed=0,
    ),
    "attacks.climb": call(
        x=X, start=X, within=IN, steps=2, schedule=Linear(), momentum=0.3, inertia=0.2, keep="best", early_stop=True,
        tick=lambda: None, watch=lambda *_: None, **CLIMB,
    ),
    "attacks.worst_case": attack(model=MODEL, within=IN, target=TARGET, queries=2, seed=0, batch_size=2),
    "attacks.deepfool": attack(model=MODEL, norm=L2, steps=2, overshoot=0.02, candidates=2, batch_size=2),
    "attacks.carlini_wagner": attack(
        model=MODEL, target=TARGET, confidence=0.0, binary_search_steps=1, steps=2, lr=0.1, initial_const=1.0,
        batch_size=2,
    ),
    "attacks.fmn": attack(model=MODEL, norm=L2, target=TARGET, steps=2, step=1.0, gamma=0.05, batch_size=2),
    "attacks.jsma": attack(model=MODEL, within=L0(2), target=TARGET, batch_size=2),
    "attacks.one_pixel": attack(**BOX, pixels=1, population=5),
    "attacks.sparse_rs": attack(**BOX, within=L0(2), alpha=0.8),
    "attacks.square": attack(**BOX, within=IN, p=0.8, start=X, hope=4, reached=torch.zeros(len(X)), ahead=False),
    "attacks.nes": attack(**BOX, within=IN, samples=4, sigma=0.01, momentum=0.9),
    "attacks.hop_skip_jump": attack(**BOX | dict(queries=40), norm=L2, start=TAKEN_FOR_TARGET, probes=4),
    "attacks.transfer": attack(
        substitutes=[MODEL], within=IN, target=TARGET, steps=2, step=0.05, loss=loss_functions.margin, momentum=1.0,
        diversity=0.5, keep="last", early_stop=False, seed=0, batch_size=2,
    ),
    "attacks.substitute_labels": call(victim=MODEL, x=X, batch_size=2),
    "attacks.universal": attack(model=MODEL, within=IN, target=TARGET, steps=2, seed=0, batch_size=2),
    "attacks.patch": attack(
        model=MODEL, size=2, target=TARGET, views=VIEWS, steps=2, samples=1, seed=0, batch_size=2
    ),
    "attacks.Patch": call(image=PATCH.image, mask=PATCH.mask),
    "attacks.Patch.apply": call(self=PATCH, x=X, **VIEW),
    "attacks.Patch.scatter": call(self=PATCH, x=X, views=VIEWS, seed=0),
    "attacks.eot": call(model=MODEL, transform=VIEWS, samples=2, seed=0),
    "attacks.bpda": call(model=MODEL, transform=torch.round, substitute=torch.clone),
    "attacks.Views": call(rotation=5.0, scale=(0.9, 1.1), turn=0.0, shift=0.1, brightness=0.1, noise=0.1),
    "attacks.Views.__call__": lambda folder: dict(self=VIEWS, x=X, generator=draw()),
    "attacks.Views.draw": lambda folder: dict(self=VIEWS, n=2, generator=draw()),
    "attacks.Views.light": lambda folder: dict(self=VIEWS, x=X, generator=draw()),
    "attacks.warp": call(x=X, **VIEW, onto=(4, 4)),
    "attacks.AdvGAN": call(within=IN, channels=3, width=2, seed=0),
    "attacks.AdvGAN.attack": lambda folder: dict(self=attacks.AdvGAN(IN, width=2), x=X, batch_size=2),
    "attacks.AdvGAN.fit": lambda folder: dict(
        self=attacks.AdvGAN(IN, width=2), model=MODEL, images=IMAGES, target=0, epochs=1, lr=0.01, batch_size=4,
        gan=0.1, hinge=0.1, confidence=1.0, seed=0,
    ),
    "attacks.AdvGAN.save": lambda folder: dict(self=attacks.AdvGAN(IN, width=2), path=folder / "gan.safetensors"),
    "attacks.AdvGAN.load": lambda folder: dict(path=saved_gan(folder), device="cpu"),
    "attacks.backdoor": call(
        images=IMAGES, trigger=attacks.sticker(2), target=1, fraction=0.5, clean_label=False, perturb=lambda x, y: x,
        seed=0,
    ),
    "attacks.label_flip": call(images=IMAGES, fraction=0.5, source=0, target=1, seed=0),
    "attacks.sticker": call(size=2, place="centre", pattern="white", opacity=0.5),
    "attacks.apply_trigger": call(x=X, trigger=attacks.sticker(2)),
    # ------------------------------------------------------------------------------ norms, losses
    **{f"norms.{kind.__name__}": call(eps=2 if kind is L0 else 0.5) for kind in (norms.Ball, Linf, L2, norms.L1, L0)},
    **{
        f"norms.{type(ball).__name__}.{method}": lambda folder, ball=ball, given=given: dict(self=ball, **given())
        for ball in (IN, L2(0.5), norms.L1(1.0), L0(2))
        for method, given in {
            "size": lambda: dict(delta=DELTA),
            "project": lambda: dict(delta=DELTA, x=X, radius=None),
            "steepest": lambda: dict(grad=DELTA, x=X, radius=None),
            "sample": lambda: dict(x=X, generator=draw(), mask=None),
            "scaled": lambda: dict(factor=0.5),
        }.items()
        if method in vars(type(ball))
    },
    "norms.Ball.rows": call(self=IN, index=torch.tensor([0, 1])),
    "norms.Ball.eps_for": call(self=IN, x=X),
    "norms.Ball.factor": call(self=IN, x=X),
    "norms.readable": call(eps=0.5, digits=3),
    **{f"losses.{name}": call(logits=LOGITS.repeat(1, 2), y=Y, target=TARGET) for name in loss_functions.__all__},
    # --------------------------------------------------------------------------------- evaluation
    "evaluate.predict": call(model=MODEL, x=X, batch_size=2),
    "evaluate.accuracy": attack(model=MODEL, batch_size=2),
    "evaluate.robust_accuracy": attack(model=MODEL, within=IN, attack=attacks.fgsm, batch_size=2),
    "evaluate.Share": call(successes=1, n=2),
    "evaluate.interval": call(successes=1, n=2, z=1.96),
    "evaluate.report": attack(model=MODEL, x_adv=X, target=TARGET, batch_size=2),
    "evaluate.curve": attack(
        model=MODEL, attack=attacks.pgd, eps=[0, 0.1], norm=Linf, seeds=[0], batch_size=2, steps=1
    ),
    "intervals.interval_over_runs": call(successes=[1, 2], n=2),
    "report_card.report_card": lambda folder: dict(
        model=MODEL, images=Images(MANY, MODEL(MANY).argmax(1), NAMES), name="one", eps={Linf: (0.1,)},
        proofs=("interval",), queries=2, seed=0, batch_size=20,
    ),
    "evaluate.sanity_checks": lambda folder: dict(
        model=MODEL, x=MANY, y=MODEL(MANY).argmax(1), within=IN, steps=1, queries=2, seed=0, batch_size=20
    ),
    # ------------------------------------------------------------------------------ data, models
    "data.Folder": lambda folder: dict(
        root=photo_folder(folder), classes=NAMES, preprocess=halved, n=1, seed=0, size=1, workers=0
    ),
    "data.Folder.share": lambda folder: dict(self=data.Folder(photo_folder(folder), NAMES, halved), rank=0, world=1),
    "data.Images": attack(classes=NAMES),
    "data.Images.to": call(self=IMAGES, device="cpu"),
    "data.Images.batches": call(self=IMAGES, size=2),
    "data.Images.show": call(self=IMAGES, n=1, columns=2),
    "data.load_images": call(name="signs", split="test", n=1, seed=0),
    "data.load_photo": lambda folder: dict(path=saved_photo(folder), most_pixels=2000, most_decoded=3000),
    "data.on_disk": call(name="mnist"),
    "data.save_png": lambda folder: dict(x=X[:1], path=folder / "one.png"),
    "photos.fit_square": call(x=X, size=2),
    "photos.to_8bit": call(x=X),
    "photos.to_8bit_within": call(x=X, x_adv=X, within=IN),
    "photos.to_jpeg": call(x=X, quality=75),
    "signs.draw": call(label=7, size=8),
    "signs.render": call(labels=[0, 7], seed=1, size=8, device="cpu"),
    "models.Normalize": call(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]),
    "models.load_model": call(name="signs-linear", device="cpu"),
    "models.model_names": call(),
    **{
        f"nets.{name}": call(classes=3) if name.startswith("signs") else call()
        for name in vars(nets)
        if name.split("_")[0] in ("signs", "mnist")
    },
    "zoo.read_card": call(name="signs-linear"),
    "models.save_model": lambda folder: dict(model=MODEL, card=CARD, folder=folder),
    # ---------------------------------------------------------------------------------- defences
    "defenses.fit": lambda folder: dict(
        model=network(), images=IMAGES, epochs=1, lr=0.01, batch_size=4, perturb=lambda model, x, y: x, seed=0,
        weight_decay=0.01, loss=nn.functional.cross_entropy, objective=None, average=0.5, amp=False,
        checkpoint=None, progress=False,
    ),
    "defenses.Scheduled": call(at=lambda t: None),
    "defenses.Climb": call(within=IN, steps=1, step=1.25),
    "defenses.Divergence": call(within=IN, steps=1, step=1.25),
    "defenses.Reseeded": call(attack=attacks.pgd, within=IN),
    "defenses.Noise": call(sigma=0.1),
    "defenses.Trades": call(beta=6.0),
    "defenses.distill": lambda folder: dict(
        teacher=MODEL, student=network(), images=IMAGES, temperature=10.0, epochs=1, progress=False
    ),
    "distillation.AtTemperature": call(temperature=10.0),
    "distillation.Taught": call(teacher=MODEL, temperature=10.0),
    "defenses.heat": lambda folder: dict(model=network(), temperature=2.0),
    "defenses.Ensemble": call(models=[MODEL, MODEL], average="logits"),
    "defenses.JPEG": call(model=MODEL, quality=75),
    "defenses.JPEG.transform": call(self=defenses.JPEG(MODEL), x=X),
    "defenses.BitDepth": call(model=MODEL, bits=2),
    "defenses.Quantize": call(model=MODEL, levels=2),
    "defenses.Quantize.transform": call(self=defenses.Quantize(MODEL, 2), x=X),
    "defenses.ResizePad": call(model=MODEL, scale=(0.8, 1.0), onto=(4, 4)),
    "defenses.ResizePad.transform": lambda folder: dict(self=defenses.ResizePad(MODEL), x=X, generator=draw()),
    "defenses.interval_bounds": call(model=MODEL, x=X, within=IN, batch_size=2),
    "defenses.crown_bounds": call(model=MODEL, x=X, within=IN, intermediate="crown", batch_size=2),
    "defenses.margin_bounds": attack(model=MODEL, within=IN, method="crown", batch_size=2),
    "defenses.certified": attack(model=MODEL, within=IN, method="crown", batch_size=2),
    "defenses.certified_accuracy": attack(model=MODEL, within=IN, method="interval", batch_size=2),
    "defenses.IBP": call(within=IN, kappa=0.5),
    "defenses.IBP.at": call(self=defenses.IBP(IN), t=0.5, warmup=0.0, ramp=0.5),
    "defenses.Smoothed": call(model=MODEL, sigma=0.1),
    "defenses.Smoothed.transform": lambda folder: dict(self=defenses.Smoothed(MODEL, 0.1), x=X, generator=draw()),
    "defenses.Smoothed.predict": call(self=defenses.Smoothed(MODEL, 0.1), x=X, n=2, alpha=0.01, seed=0),
    "defenses.Smoothed.certify": call(self=defenses.Smoothed(MODEL, 0.1), x=X, n0=2, n=2, alpha=0.01, seed=0),
    "defenses.Smoothed.largest_radius": call(self=defenses.Smoothed(MODEL, 0.1), n=2, alpha=0.01),
    # -------------------------------------------------------------------------------- tournament
    "tournament.play": lambda folder: dict(
        folder=folder, images=1, within=Linf(0.2), seed=0, seconds=20.0, passes=100, memory=1000, photos=0, rounds=1,
        progress=False,
    ),
    "tournament.submit_model": lambda folder: dict(
        folder=folder, team="ada", model=nets.signs_linear(), architecture="signs-linear"
    ),
    "tournament.submit_attack": lambda folder: dict(
        folder=folder, team="ada", attack="def attack(model, x, y, within): return x"
    ),
    # ----------------------------------------------------------------------------- what people see
    "plots.png_of": lambda folder: dict(figure=plots.draw_panels([[PANEL]])),
    "plots.svg_of": lambda folder: dict(figure=plots.draw_panels([[PANEL]])),
    "plots.style": call(),
    "plots.draw_panels": call(rows=[[PANEL]], width=1.0, fontsize=10),
    "plots.triptych": call(x=X[:1], x_adv=X[:1], model=MODEL, classes=NAMES, amplify=2.0),
    "plots.grid": call(images=X[:2], labels=[0, 1], columns=2, classes=NAMES),
    "plots.curves": call(lines={"one": CURVE}, xlabel="ε", ylabel="accuracy", chance=0.1),
    "panels.percent": call(probability=0.5),
    "panels.pixels_of": call(image=X[0]),
    "panels.encode": call(image=X[0], quality=75),
    "panels.class_name": call(label=1, classes=NAMES),
    "panels.triptych_panels": call(x=X[:1], x_adv=X[:1], model=MODEL, classes=NAMES, amplify=2.0),
    "panels.points_of": call(name="one", line=([0, 0.1], [0.9, 0.1])),
    "panels.describe": call(rows=[[PANEL]]),
    "widgets.picture": call(image=X[0], caption="caption", alt="alt", heading="heading", width=100, quality=75),
    "widgets.row": call(pictures=("<p>a</p>",)),
    "widgets.triptych": call(x=X[:1], x_adv=X[:1], model=MODEL, classes=NAMES, amplify=2.0, width=100),
    "widgets.slider_over": call(frames=["<p>a</p>", "<p>b</p>"], values=["0", "1"], label="ε", alt=["a", "b"], start=0),
    "widgets.quiz": call(question="?", answers={"a": "right", "b": "wrong"}, correct="a"),
}  # fmt: skip

MANY = torch.rand(24, 3, 4, 4, generator=torch.Generator().manual_seed(2))
CARD = {"name": "one", "net": "signs-linear", "input": [3, 4, 4], "classes": list(NAMES)}


def saved_gan(folder: Path) -> Path:
    path = folder / "saved.safetensors"
    if not path.exists():
        attacks.AdvGAN(IN, width=2).save(path)
    return path


def photo_folder(folder: Path) -> Path:
    """Photos by class, one of each."""
    for name in NAMES[: 0 if (folder / "photos").exists() else None]:
        data.save_png(torch.rand(3, 20, 20), folder / "photos" / name / "one.png")
    return folder / "photos"


def halved(photo: torch.Tensor) -> torch.Tensor:
    return photo[..., :10, :10]


def saved_photo(folder: Path) -> Path:
    path = folder / "photo.png"
    if not path.exists():
        data.save_png(torch.rand(3, 20, 20), path)
    return path


MODULES = {
    "attacks": attacks, "norms": norms, "losses": loss_functions, "evaluate": evaluate, "intervals": intervals,
    "report_card": report_card, "data": data, "photos": photos, "signs": signs, "models": models, "nets": nets,
    "zoo": zoo, "defenses": defenses, "distillation": distillation, "plots": plots, "panels": panels,
    "widgets": widgets, "tournament": tournament,
}  # fmt: skip
