"""Every exercise keeps its word: the right answer passes, and every known wrong one gets its own words."""

import functools

import pytest

from advlib.exercises import check
from advlib.exercises.frame import Exercise, Explore, Formula, Number
from advlib.exercises.guarded import Failed
from tests.exercises.verdicts import verdict

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}
# An open exercise attacks or trains a network for each answer.
MARKS = {name: [pytest.mark.thorough] * isinstance(exercise, Explore) for name, exercise in EXERCISES.items()}
NAMES = [pytest.param(name, marks=MARKS[name]) for name in EXERCISES]
# Of a list of wrong answers `make test` tries each third one, `make test-all` every one.
WRONG = [
    pytest.param(name, i, marks=[pytest.mark.thorough] if i % 3 else MARKS[name])
    for name, one in EXERCISES.items()
    for i in range(len(one.wrong))
]


@functools.cache
def example(name: str) -> tuple:
    return EXERCISES[name].example()


def answer(exercise: Exercise, wrong):
    """What a learner would hand in."""
    if isinstance(exercise, Formula):
        return exercise.function(wrong)
    given = example(exercise.name)
    if isinstance(exercise, Number) and isinstance(wrong.way, dict):
        return exercise.right(*given) | {name: way(*given) for name, way in wrong.way.items()}
    return wrong.way(*given)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_passes(capsys, name):
    exercise = EXERCISES[name]
    right = exercise.right if isinstance(exercise, Formula) else exercise.right(*example(name))
    said = verdict(capsys, exercise, right, *example(name))
    assert said.startswith("✓") and "Note:" not in said, said


@pytest.mark.parametrize(("name", "number"), WRONG)
def test_every_known_wrong_answer_gets_its_own_words(capsys, name, number):
    exercise, wrong = EXERCISES[name], EXERCISES[name].wrong[number]
    said = verdict(capsys, exercise, answer(exercise, wrong), *example(name))
    words = [wrong.seen] if isinstance(exercise, Explore) else [wrong.seen, wrong.cause, wrong.mend]
    assert said.startswith("✗") and all(" ".join(text.split()) in said for text in words), said


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name, one in EXERCISES.items() if isinstance(one, Formula)])
def test_a_known_wrong_function_fails_only_where_it_is_meant_to(name):
    exercise = EXERCISES[name]
    for wrong in exercise.wrong:
        results = [result for result, _ in exercise.results(exercise.function(wrong), exercise.cases())]
        assert all(isinstance(result, Failed) for result in results) == wrong.raises, (wrong.seen, results[0])


@pytest.mark.parametrize("name", EXERCISES)
def test_at_least_six_wrong_answers_are_known_and_no_two_say_the_same(name):
    exercise = EXERCISES[name]
    assert exercise.name == name
    words = [(wrong.seen, wrong.cause) for wrong in exercise.wrong]
    assert len(words) >= (6 if isinstance(exercise, Formula) else 4) and len(set(words)) == len(words)
