"""Every check that a chapter calls, by chapter. A new chapter adds a file beside this one and a line here."""

from advlib.exercises import progress as _progress
from advlib.exercises.adversarial_training import harder, rs_fgsm, trades
from advlib.exercises.bim import bim, cheap_attack, restarts
from advlib.exercises.capstone import attack_points, entry
from advlib.exercises.certified import interval_layer, provable, relu_lines, vote_certificate
from advlib.exercises.distillation import divisor, softmax_at, unrounded
from advlib.exercises.ensembles import mean_of_probabilities, outvoted, rho
from advlib.exercises.evaluation import mcnemar, robust_accuracy
from advlib.exercises.exercise import Exercise, wrapped
from advlib.exercises.fgsm import fgm_l2, fgsm, smallest_eps
from advlib.exercises.generative import common_share, gan_loss, ghosts
from advlib.exercises.gradients import backprop, finite_differences, input_gradient, silent_network
from advlib.exercises.imagenet import straight_through, survivor, to_file
from advlib.exercises.judged import verdicts
from advlib.exercises.loss import cross_entropy, flat_factor, log_odds, logsumexp
from advlib.exercises.masking import bpda_gradient, eot_gradient, through_guard
from advlib.exercises.minimal import boundary_distance, cw_objective, shorter_way
from advlib.exercises.mnist import relu_gradient, robust_mlp
from advlib.exercises.norms import far_but_same, norms_by_hand, project_l1, project_l2, project_linf, steepest_l1
from advlib.exercises.physical import lasting_sticker, one_step_for_all, paste_sticker
from advlib.exercises.poisoning import purged, spectral_scores, trigger_success
from advlib.exercises.progress import forget
from advlib.exercises.queries import label_normal, nes_estimate, under_limit
from advlib.exercises.sparse import fewer_pixels, pixel_gains, sticker_corner
from advlib.exercises.targeted import every_target, targeted_bim, targeted_fgsm
from advlib.exercises.threat_models import black_box, obeys, success_rate
from advlib.exercises.transfer import agreement, ensemble_attack, unseen
from advlib.exercises.unmasked import unmask
from advlib.exercises.why import noise_ratio, sturdier, worst_margin

# In the order in which their files, and so the chapters, list them.
_ALL = sorted(
    (value for value in vars().values() if isinstance(value, Exercise)), key=lambda one: (one.chapter, one.order)
)
__all__ = [*(exercise.name for exercise in _ALL), "forget", "progress"]


def progress(chapter: int | None = None) -> None:
    """Print what is solved of a chapter: by default the one whose check ran last, or else all with something solved.

    The record stands in one small file (`advlib.exercises.progress.file`), and nowhere else; ``forget()`` deletes it.
    """
    done, chapter = _progress.solved(), chapter if chapter is not None else _progress.latest
    known = sorted({exercise.chapter for exercise in _ALL})
    if chapter is not None and chapter not in known:
        raise ValueError(f"chapter {chapter!r} has no exercises; these have: {', '.join(map(str, known))}")
    shown = [chapter] if chapter is not None else [n for n in known if any(number == n for number, _ in done)]
    for number in shown:
        exercises = [exercise for exercise in _ALL if exercise.chapter == number]
        solved = [exercise for exercise in exercises if (number, exercise.name) in done]
        print(
            f"Chapter {number}: {len(solved)} of {len(exercises)} exercises solved, "
            f"{sum(exercise.points for exercise in solved)} of {sum(exercise.points for exercise in exercises)} points"
        )
        for exercise in exercises:
            mark = "✓" if exercise in solved else "○"
            points = f"{exercise.points} point{'s' * (exercise.points != 1)}"
            print(wrapped(f"  {mark} {exercise.title} · {points}"))
    if not shown:
        print("○ no exercise solved yet: check.progress(6) lists those of chapter 6")
