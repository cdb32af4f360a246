"""The files that ``advlib attack`` leaves: whatever the photos are called, nothing of the person's is overwritten."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from advlib.cli import printable
from advlib.cli.results import LONGEST, stems


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_a_file_of_the_persons_own_is_not_overwritten(run, signs, chdir):
    shutil.copy(signs[0], "stop.png")
    Image.new("RGB", (60, 60), "red").save("stop-adversarial.png")  # a picture of theirs that happens to be called so
    Path("stop-figure.png").write_text("my notes")
    before = contents(chdir)
    assert run("attack", "stop.png", "--out", ".", "--attack", "fgsm")[0] == 0
    after = contents(chdir)
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["-stop-adversarial.png", "-stop-figure.png"]


def test_results_of_an_earlier_run_are_replaced(run, signs, tmp_path):
    for eps in ("8/255", "0"):
        assert run("attack", signs[0], "--eps", eps, "--attack", "fgsm")[0] == 0
        assert sorted(contents(tmp_path / "out")) == ["0-adversarial.png", "0-figure.png"]
    with Image.open(tmp_path / "out/0-adversarial.png") as last, Image.open(signs[0]) as first:
        assert last.tobytes() == first.convert("RGB").tobytes()  # ε = 0


def test_a_result_that_is_attacked_again_is_not_overwritten_before_it_is_read(run, signs, chdir):
    shutil.copy(signs[0], "a.png")
    assert run("attack", "a.png", "--out", ".", "--attack", "fgsm")[0] == 0
    before = Path("a-adversarial.png").read_bytes()
    assert run("attack", "a.png", "a-adversarial.png", "--out", ".", "--attack", "fgsm")[0] == 0
    assert Path("a-adversarial.png").read_bytes() == before
    assert Path("-a-adversarial.png").is_file() and Path("a-adversarial-adversarial.png").is_file()


@pytest.mark.parametrize("name", ["a" * 251, "é" * 125, "name\x1b[31m\nred", "tab\there", " spaces ", "日本語"])
def test_a_photo_may_be_called_anything(run, signs, chdir, name):
    try:
        shutil.copy(signs[0], f"{name}.png")
    except OSError:
        pytest.skip("not on this file system")
    status, out, err = run("attack", f"{name}.png", "--attack", "fgsm")
    assert (status, err) == (0, "") and "\x1b" not in out and len(out.splitlines()) == 5
    assert printable(name.replace("\n", "")).split("\\")[0] in out
    written = sorted(contents(chdir / "out"))
    assert len(written) == 2 and all(len(file.encode()) <= 255 for file in written)


def test_names_that_are_alike_when_cut_stay_apart():
    photos = [f"x/{'a' * 240}{k}.png" for k in range(4)]
    found = list(stems(photos, "nowhere"))
    assert len(set(found)) == 4 and all(len(stem) <= LONGEST + 2 for stem in found)


def test_errors_print_no_control_characters(run, chdir):
    for name in ("gone\x1b]0;title\x07.png", "line\nbreak.png"):
        _, _, err = run("attack", name)
        assert "\x1b" not in err and "\x07" not in err and len(err.splitlines()) == 1
