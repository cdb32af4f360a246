"""The directive `attack-map`: what an attacker knows × what they want, each attack with its norms and its cost."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from .cheat_sheet import chapter_link

SEES = {
    "weights": "Sees **the weights**: gradients",
    "scores": "Sees **scores** for each question",
    "labels": "Sees **labels** alone",
    "nothing": "Asks **nothing** of the victim",
    "the training data": "Writes **training data**",
}


class AttackMap(SphinxDirective):
    """Draw `advlib.attacks.facts`: a row for what is known, a cell for each goal, the cheapest attack first."""

    def run(self) -> list[nodes.Node]:
        from advlib.attacks import facts  # brings PyTorch, which the other pages do without

        self.env.note_dependency(facts.__file__)
        self.source = facts.__file__
        goals = list(dict.fromkeys(fact.goal for fact in facts.FACTS))
        box = nodes.container(classes=["attack-map"])
        box += nodes.raw("", choice({_key(norm): norm.symbol for norm in facts.ALL}), format="html")
        for knows in dict.fromkeys(fact.knows for fact in facts.FACTS):
            row = self._parsed(SEES[knows], "sees")
            for goal in goals:
                found = [fact for fact in facts.FACTS if (fact.knows, fact.goal) == (knows, goal)]
                cell = self._parsed(goal, "goal", *([] if found else ["empty"]))
                cell += [self._attack(fact) for fact in sorted(found, key=lambda fact: fact.passes)]
                row += cell
            box += row
        return [box]

    def _attack(self, fact) -> nodes.container:
        cost = f"{fact.passes:,} {'pass' if fact.passes == 1 else 'passes'}" if fact.passes else "no pass"
        lines = [
            chapter_link(self.env, fact.chapter, fact.title),
            " ".join(norm.symbol for norm in fact.norms) or "no norm",
            f"{cost}{', targeted too' if fact.targeted else ''}",
        ]
        # Its bar is as long as its cost has digits: each part more is ten times dearer.
        digits = len(str(fact.passes)) if fact.passes else 0
        takes = [f"takes-{_key(norm)}" for norm in fact.norms]
        return self._parsed("<br>".join(lines), "attack", f"digits-{digits}", *takes)

    def _parsed(self, line: str, *classes: str) -> nodes.container:
        box = nodes.container(classes=list(classes))
        self.state.nested_parse(StringList([line], self.source), self.content_offset, box)
        return box


def _key(norm: type) -> str:
    """A norm's name in the style sheet."""
    return norm.__name__.lower()


def choice(norms: dict[str, str]) -> str:
    """Radio buttons, one for each norm; the style sheet hides what does not take the one that is chosen.

    >>> choice({"l2": "L2"}).count("<input")
    2
    """
    buttons = "".join(
        f'<label><input type="radio" name="norm" value="{value}"{" checked" * (value == "any")}> {text}</label>'
        for value, text in {"any": "any norm", **norms}.items()
    )
    return f"<fieldset><legend>Show the attacks that take</legend>{buttons}</fieldset>"
