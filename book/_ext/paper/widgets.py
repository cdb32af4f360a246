"""Sliders and quizzes on paper: a strip of frames, and a list of answers. Both are read from a page's stored state."""

import html
from dataclasses import dataclass

from book._ext.coursebook.stills import children, still

FRAMES = 6  # at most, in a strip


@dataclass(frozen=True)
class Slider:
    """What it is called, and what it shows at some of its places: (readout, HTML)."""

    label: str
    frames: tuple[tuple[str, str], ...]

    def strip(self) -> str:
        """The frames, each under the place of the slider that shows it."""
        drawn = (
            f"<figure><figcaption>{html.escape(f'{self.label} = {readout}')}</figcaption>{frame}</figure>"
            for readout, frame in self.frames
        )
        return f'<div class="strip">{"".join(drawn)}</div>'


@dataclass(frozen=True)
class Quiz:
    """A question as HTML, and its answers: (text, feedback as HTML)."""

    question: str
    answers: tuple[tuple[str, str], ...]

    def asked(self) -> str:
        answers = "".join(f"<li>{html.escape(answer)}</li>" for answer, _ in self.answers)
        return f'{self.question}<ol type="A">{answers}</ol>'

    def answered(self) -> str:
        said = "".join(f"<li><p>{html.escape(answer)}</p>{feedback}</li>" for answer, feedback in self.answers)
        return f'<ol type="A">{said}</ol>'


def read(models: dict, name: str) -> Slider | Quiz:
    """A slider or quiz, from the stored models of its page.

    >>> slider = {"_options_labels": ["0", "1"], "description": "ε"}
    >>> models = {"s": {"model_name": "SelectionSliderModel", "state": slider},
    ...           "f": {"model_name": "StackModel", "state": {"children": ["IPY_MODEL_a", "IPY_MODEL_b"]}},
    ...           "a": {"model_name": "HTMLModel", "state": {"value": "<p>clean</p>"}},
    ...           "b": {"model_name": "HTMLModel", "state": {"value": "<p>attacked</p>"}},
    ...           "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_s", "IPY_MODEL_f"]}}}
    >>> read(models, "box")
    Slider(label='ε', frames=(('0', '<p>clean</p>'), ('1', '<p>attacked</p>')))
    """
    parts = children(models, name)
    kinds = {models[part]["model_name"]: part for part in parts}
    shown = [still(models, one) for one in children(models, kinds["StackModel"])]
    if "RadioButtonsModel" in kinds:
        answers = models[kinds["RadioButtonsModel"]]["state"]["_options_labels"]
        return Quiz(still(models, parts[0]), tuple(zip(answers, shown, strict=True)))
    slider = models[kinds["SelectionSliderModel"]]["state"]
    frames = list(zip(slider["_options_labels"], shown, strict=True))
    return Slider(slider["description"], tuple(frames[place] for place in places(len(frames))))


def places(many: int) -> list[int]:
    """Four to six places of a slider, the first and the last among them, all if there are no more than six.

    They are evenly spaced where the number allows it.

    >>> places(5), places(10), places(11), places(12)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9], [0, 2, 4, 6, 8, 10], [0, 2, 4, 7, 9, 11])
    """
    if many <= FRAMES:
        return list(range(many))
    count = next((count for count in (6, 5, 4) if (many - 1) % (count - 1) == 0), FRAMES)
    return [round(step * (many - 1) / (count - 1)) for step in range(count)]
