# The course's settings for nbgrader, in the folder where its commands are run. What they do, and what happens where this
# file is missing: book/for_teachers.md.
from pathlib import Path

from advlib.grading.nbgrader import configure

configure(get_config(), Path(__file__).parent)  # noqa: F821
