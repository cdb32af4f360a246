"""Every check that a chapter calls, by chapter. A new chapter adds a file beside this one and a line here."""

from advlib.exercises.bim import bim, cheap_attack, restarts
from advlib.exercises.fgsm import fgm_l2, fgsm, fooling_rate, smallest_eps
from advlib.exercises.gradients import backprop, finite_differences, input_gradient, silent_network
from advlib.exercises.imagenet import straight_through, survivor, to_file
from advlib.exercises.loss import cross_entropy, flat_factor, logsumexp, margin_loss
from advlib.exercises.mnist import relu_gradient, robust_mlp
from advlib.exercises.norms import far_but_same, norms_by_hand, project_l1, project_l2, project_linf, steepest_l1
from advlib.exercises.targeted import every_target, targeted_bim, targeted_fgsm
from advlib.exercises.threat_models import black_box, obeys, success_rate
from advlib.exercises.why import noise_ratio, sturdier, worst_margin

__all__ = [
    "backprop",
    "bim",
    "black_box",
    "cheap_attack",
    "cross_entropy",
    "every_target",
    "far_but_same",
    "fgm_l2",
    "fgsm",
    "finite_differences",
    "flat_factor",
    "fooling_rate",
    "input_gradient",
    "logsumexp",
    "margin_loss",
    "noise_ratio",
    "norms_by_hand",
    "obeys",
    "project_l1",
    "project_l2",
    "project_linf",
    "relu_gradient",
    "restarts",
    "robust_mlp",
    "silent_network",
    "smallest_eps",
    "steepest_l1",
    "straight_through",
    "sturdier",
    "success_rate",
    "survivor",
    "targeted_bim",
    "targeted_fgsm",
    "to_file",
    "worst_margin",
]
