"""A tournament of defences and attacks, scored against each other: submissions in, a leaderboard out.

What a class hands in is a folder of its own each::

    FOLDER/defenses/TEAM/   model.safetensors, and submission.json: {"architecture": "signs-cnn"}, or "net.py:make"
    FOLDER/attacks/TEAM/    attack.py, which defines attack(model, x, y, within) -> x_adv
    FOLDER/results/         made here: matches, scores.csv, and the leaderboard index.html

    submit_model, submit_attack    write such a folder, and try it
    play                           play the tournament, or go on with it

Every submission runs in a locked process of its own (see ``lock`` and ``warden``), which stops accidents and casual
cheating, on Linux also by compiled code, and not a determined attacker: where that matters, play in a container without
a network.
"""

from advlib.tournament.entries import submit_attack, submit_model
from advlib.tournament.matches import Match
from advlib.tournament.playing import play
from advlib.tournament.scores import Result, Score

__all__ = ["play", "submit_attack", "submit_model", "Match", "Result", "Score"]
