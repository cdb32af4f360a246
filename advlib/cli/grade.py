"""``advlib grade``: run a class's notebooks against a chapter's checks; points as a table, feedback as pages."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from advlib.cli import printable
from advlib.grading.notebook import Chapter, chapter_of, find_chapter
from advlib.grading.results import FOLDER, Graded, Record, about, write_page, write_scores
from advlib.grading.submissions import Submission, collected

UNCONFINED = (
    "note: this machine cannot confine files and network (that takes Linux with Landlock). An answer runs as you and "
    "can read and write what you can: grade what you trust, or in a container, --container IMAGE"
)


def run(args: Namespace) -> int:
    if not hasattr(os, "fork"):
        raise ValueError("advlib grade needs Linux or macOS; on Windows run it inside WSL")
    # As in the worker: sums over several threads round otherwise. torch looks once, when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chapter = chapter_of(find_chapter(args.chapter))
    students = collected(args.submissions, chapter)
    out = Path(args.out)
    if out.resolve() == Path(args.submissions).resolve():
        raise ValueError("--out is the folder of the submissions: the results need one of their own")
    graded = _graded(args, chapter, students, out)
    write_scores(out / "scores.csv", chapter, graded)
    _table(chapter, graded)
    print(f"written: {out / 'scores.csv'} and {out / FOLDER}")
    return 1 if any(one.trouble for one in graded) else 0


def _graded(args: Namespace, chapter: Chapter, students: list[Submission], out: Path) -> list[Graded]:
    from tqdm.auto import tqdm

    from advlib.grading.judge import Judge
    from advlib.grading.limits import Limits
    from advlib.grading.originals import Originals
    from advlib.grading.supervisor import PACKAGE, Supervisor

    limits = Limits(args.seconds, args.memory)
    record = Record(out, about(chapter, limits, PACKAGE, args.own_numbers))
    judge, found = Judge(chapter.tasks, args.own_numbers), []
    originals = Originals([PACKAGE, chapter.path, *Path(args.submissions).rglob("*.ipynb")])
    with Supervisor(chapter.tasks, limits, args.container) as supervisor:
        for one in tqdm(students, unit="student"):
            if one.trouble:
                graded = Graded(one.student, trouble=one.trouble)
            elif (kept := record.get(one)) is not None:
                graded = kept
            else:
                results = [
                    judge.grade(number, supervisor, *pair, one.student)
                    for number, pair in enumerate(zip(one.answers, one.others))
                ]
                changed = [f"changed {path}, which is as it was again" for path in originals.put_back()]
                graded = Graded(one.student, tuple(results), "", (*one.remarks, *changed))
                record.put(one, graded)
                supervisor.next_student()
            write_page(out / FOLDER, chapter, graded, one.by_hand)
            found.append(graded)
        if not supervisor.confined:
            print(UNCONFINED)
    return found


def _table(chapter: Chapter, graded: list[Graded]) -> None:
    out_of = sum(task.points for task in chapter.tasks)
    width = max(len(printable(one.student)) for one in graded)
    for one in graded:
        points = f"{one.total:g} of {out_of:g}" if one.results else "not graded"
        print(f"{printable(one.student):<{width}}  {points}")
        for remark in one.every_remark:
            print(f"{'':<{width}}    {printable(remark)}")
