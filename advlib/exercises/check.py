"""Every check that a chapter calls, by chapter. A new chapter adds a file beside this one and a line here."""

from advlib.exercises.fgsm import fgm_l2, fgsm, fooling_rate, smallest_eps

__all__ = ["fgm_l2", "fgsm", "fooling_rate", "smallest_eps"]
