"""A tournament from a folder of submissions to its scores."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import torch

from advlib import contract
from advlib.data import Images, load_images
from advlib.files import replacing
from advlib.norms import Ball, Linf
from advlib.progress import progress as bar
from advlib.progress import switched_off
from advlib.tournament import schedule
from advlib.tournament.entries import Entry, entries
from advlib.tournament.matches import Match, Organiser, Rules, secret
from advlib.tournament.page import page
from advlib.tournament.scores import FLOOR, Result, Score, score_attack, score_defense
from advlib.tournament.warden import Warden

__all__ = ["play"]

WITHIN = Linf(8 / 255)
LONGEST = 86_400  # seconds for a match
MOST_MEMORY = 10**6  # MB


def play(
    folder: str | os.PathLike,
    *,
    images: int = 100,
    within: Ball = WITHIN,
    seed: int = 0,
    seconds: float = 60,
    passes: int | None = None,
    memory: int = 2000,
    photos: int = 0,
    rounds: int | None = None,
    progress: bool = True,
) -> Result:
    """Play all submissions below ``folder`` and the house's against each other; write and return the scores.

    Every match, an attack on a defence, runs in processes of its own with limits, on the CPU. What a submission does
    wrong costs itself points, with the reason, and nobody else's. Finished matches are kept in ``folder/results``
    and not played again, unless a submission or a rule has changed; ``scores.csv`` and ``index.html`` are there, too.
    One that failed is finished as well: where a machine was to blame, delete its file in ``results/matches``.

    images    how many signs, drawn afresh; the same for all.
    within    the ball of the attacks, with one ε.
    seed      decides the signs: a number that no team knows. The same seed gives the same scores.
    seconds   of processor time for each match; the house's attacks may take ten times as long.
    passes    of the model for each image that a team's attack may take; None for any number. They are counted beside
              the attack, so that only an honest attack is kept to them; ``seconds`` binds all.
    memory    in MB, beyond what Python has taken; kept on Linux.
    photos    how many real photos of signs besides (GTSRB, see ``load_images("gtsrb-signs")``), scored apart.
    rounds    None for all against all; else so many rounds in which like meets like (see ``schedule.pair``), after
              each has met the house.
    progress  whether to show a bar.

    A defence's score is its worst-case accuracy: the share of signs that it reads rightly clean and after every attack
    that it met; one that reads less than 80 % clean scores zero. An attack's is the share it makes a defence misread of
    those that it read rightly, averaged over the defences it met. The cheaper of two equal ones comes first: fewer
    milliseconds for a defence, fewer passes for an attack.

    Raises
        TypeError, ValueError: settings out of range, and a folder that is not there.
        FileNotFoundError: ``photos`` are asked for, and none are here.
    """
    contract.check_path(folder, "folder")
    contract.check_count(images, "images")
    contract.check_ball(within)
    contract.check_one_eps(within, "a tournament")
    contract.check_seed(seed)
    contract.check_number(seconds, "seconds", positive=True, most=LONGEST)
    if passes is not None:
        contract.check_count(passes, "passes")
    contract.check_count(memory, "memory", most=MOST_MEMORY)
    contract.check_count(photos, "photos", least=0)
    if rounds is not None:
        contract.check_count(rounds, "rounds")
    contract.check_flag(progress, "progress")
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}; expected one that is there, with defenses/ and attacks/ in it.")
    rules = Rules(images, photos, str(within), seed, seconds, passes, memory)
    defenses, attacks = entries(folder, "defense"), entries(folder, "attack")
    shown = _images(rules)
    with Warden() as warden, bar(unit="match", disable=not progress or switched_off()) as ticks:
        organiser = Organiser(folder, rules, within, shown, warden)
        clean = {one.team: organiser.clean(one) for one in defenses if not one.problem}
        matches = _matches(organiser, defenses, attacks, clean, rounds, ticks)
    scores = tuple(_ranked(_scores(defenses, attacks, clean, matches, images)))
    result = Result(folder, rules, scores, tuple(matches))
    for name, text in (("scores.csv", result.csv()), ("index.html", page(result, shown))):
        with replacing(folder / "results" / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return result


def _images(rules: Rules) -> Images:
    signs = load_images("signs", "test", n=rules.images, seed=secret(rules.seed, "images"))
    if not rules.photos:
        return signs
    photos = load_images("gtsrb-signs", "sample", n=rules.photos, seed=secret(rules.seed, "photos"))
    return Images(torch.cat([signs.x, photos.x]), torch.cat([signs.y, photos.y]), signs.classes)


def _matches(organiser: Organiser, defenses: list[Entry], attacks: list[Entry], clean, rounds, ticks) -> list[Match]:
    images = organiser.rules.images
    readers = {one.team: one for one in defenses if one.team in clean and _reads(clean[one.team], images)}
    attackers = {one.team: one for one in attacks if not one.problem}
    matches: list[Match] = []

    def meet(pairs: Iterable[schedule.Pair]) -> None:
        pairs = list(pairs)
        ticks.expect(len(matches) + len(pairs))
        for defense, attack in pairs:
            matches.append(organiser.play(readers[defense], attackers[attack]))
            ticks.update()

    everybody = schedule.everyone(readers, attackers)
    if rounds is None:
        meet(everybody)
        return matches
    meet((d, a) for d, a in everybody if readers[d].house or attackers[a].house)
    for _ in range(rounds):
        scores = _scores(list(readers.values()), list(attackers.values()), clean, matches, images)
        so_far = {side: {one.team: one.score for one in scores if one.side == side and not one.house}
                  for side in ("defense", "attack")}  # fmt: skip
        pairs = schedule.pair(so_far["defense"], so_far["attack"], {(m.defense, m.attack) for m in matches})
        if not pairs:
            break
        meet(pairs)
    return matches


def _reads(clean: Match, images: int) -> bool:
    return not clean.outcome and sum(clean.right[:images]) >= FLOOR * images


def _scores(defenses: list[Entry], attacks: list[Entry], clean: dict[str, Match], matches: list[Match], images: int):
    by = lambda side, team: [match for match in matches if getattr(match, side) == team]
    return [
        *(score_defense(one, clean.get(one.team), by("defense", one.team), images) for one in defenses),
        *(score_attack(one, [(clean[m.defense], m) for m in by("attack", one.team)], images) for one in attacks),
    ]


def _ranked(scores: list[Score]) -> list[Score]:
    cost = lambda one: (one.ms_per_image if one.side == "defense" else one.passes_per_image) or float("inf")
    order = sorted(scores, key=lambda one: (one.side != "defense", -one.score, cost(one), one.team))
    return [
        replace(one, place=place)
        for _, side in groupby(order, key=lambda one: one.side)
        for place, one in enumerate(side, 1)
    ]
