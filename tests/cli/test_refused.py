"""``advlib attack``: what goes wrong is said in a line, and loses nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from advlib.cli import attack


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_bad_photos_get_a_line_each_and_the_others_are_still_done(run, signs, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    status, out, err = run(
        "attack", tmp_path / "text.jpg", signs[0], tmp_path / "tiny.png", tmp_path / "missing.png", tmp_path, signs[1]
    )
    assert status == 1
    lines = err.splitlines()
    assert len(lines) == 4
    for line, name, reason in zip(
        lines,
        ("text.jpg", "tiny.png", "missing.png", str(tmp_path)),
        ("is not an image", "is 9×9 pixels", "there is no such file", "is a folder"),
    ):
        assert line.startswith("advlib attack: ") and name in line and reason in line
    assert "of 2 fooled; 4 of 6 photos could not be attacked" in out
    assert files(tmp_path / "out") == [f"{k}-{kind}.png" for k in (0, 1) for kind in ("adversarial", "figure")]


def test_if_no_photo_is_good_there_is_no_table(run, tmp_path):
    status, out, err = run("attack", tmp_path / "missing.png")
    assert status == 1 and "clean" not in out and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_a_photo_lost_is_noted_on_one_line(run, tmp_path):
    Image.new("RGBA", (60, 60), (255, 0, 0, 100)).save(tmp_path / "a.png")
    status, _, err = run("attack", tmp_path / "a.png")
    assert status == 0 and err.startswith("note: ") and "laid on white" in err and len(err.splitlines()) == 1


def test_a_target_that_is_read_already_is_an_error_of_that_photo(run, signs):
    status, out, err = run("attack", *signs[:2], "--target", "30 km/h", "--attack", "pgd", "--eps", "16/255")
    assert status == 1 and "is read as '30 km/h' already; choose another --target" in err and "of 1 read as" in out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--eps", "8"], "did you mean --eps 8/255"),
        (["--eps", "-8/255"], "expected one argument|negative"),
        (["--eps=-0.1"], "negative"),
        (["--eps", "lots"], "write 8/255 or 0.03"),
        (["--eps", "8/0"], "write 8/255 or 0.03"),
        (["--eps", "nan"], "write 8/255 or 0.03"),
        (["--eps", "inf"], "write 8/255 or 0.03"),
        (["--norm", "l2"], "for example --norm l2 --eps 0.5"),
        (["--norm", "l7"], "invalid choice"),
        (["--norm", "l0", "--eps", "2.5"], "a whole number"),
        (["--attack", "pdg"], "did you mean 'pgd'"),
        (["--attack", "ascend"], "unknown attack"),
        (["--attack", "universal"], "unknown attack 'universal'. Known: fgsm"),
        (["--epsilon", "8/255"], "unknown: --epsilon 8/255; did you mean --eps?"),
        (["--tagret=stop"], "did you mean --target?"),
        (["--frobnicate"], "unknown: --frobnicate; Known|unknown: --frobnicate; --help"),
        (["--target", "80"], "did you mean '80 km/h'"),
        (["--model", "signs-cnn", "--size", "48"], "--size: only for a model of your own"),
        (["--weights", "w.safetensors"], "--weights: only for a model of your own"),
        (["--largest", "0"], "not from 1 to 178"),
        (["--size", "32x48"], "no side of a square picture"),
        (["--steps", "5", "--attack", "fgsm"], "fgsm takes no --steps"),
        (["--steps", "0", "--attack", "pgd"], "steps is 0"),
        (["--model", "sings-cnn"], "did you mean 'signs-cnn'"),
        (["--model", "nowhere.safetensors"], "nowhere.json is missing"),
        (["--model", "imagenet:resnt18"], "did you mean 'resnet18'"),
        (["--target", "stpo"], "did you mean 'Stop'"),
        (["--target", "16"], "0 to 15"),
        (["--label", "stop", "--target", "7"], "both 'Stop'"),
        (["--device", "toaster"], "toaster"),
    ],
)
def test_what_cannot_start_says_why(run, signs, tmp_path, options, message):
    status, out, err = run("attack", signs[0], *options)
    assert status == 2 and out == ""
    assert any(part in err for part in message.split("|")) and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(run, signs, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run("attack", signs[0], "--out", tmp_path / "file")
    assert status == 2 and "file" in err and "Traceback" not in err


def test_an_ambiguous_class_asks_for_the_number():
    with pytest.raises(ValueError, match="several classes 'crane'; give the number: 0, 2"):
        attack.class_index("crane", ["crane", "dog", "crane"])
    assert attack.class_index("2", ["crane", "dog", "crane"]) == 2


def test_no_guess_is_better_than_a_far_one():
    with pytest.raises(ValueError, match=r"unknown class 'avocado'\. \(or"):
        attack.class_index("avocado", ["volcano", *(f"thing {k}" for k in range(40))])
    with pytest.raises(ValueError, match="did you mean 'Persian cat'. Also close: Siamese cat"):
        attack.class_index("cat", ["Persian cat", "catamaran of the seas", "Siamese cat", *"abcdefghijklmnopqrstuvw"])


def test_a_target_that_is_read_already_is_none_whatever_the_label(run, signs):
    status, out, err = run("attack", signs[0], "--label", "stop", "--target", "30 km/h", "--eps", "0")
    assert status == 1 and "is read as '30 km/h' already" in err and "0 of 0 read as" in out


# -- stopped midway --------------------------------------------------------------------------------------------------


def test_the_table_survives_an_interrupt(run, signs, monkeypatch):
    real, seen = attack.load_photo, []

    def stop(photo, **limits):
        seen.append(photo)
        if str(photo) == signs[1]:
            raise KeyboardInterrupt
        return real(photo, **limits)

    monkeypatch.setattr(attack, "load_photo", stop)
    status, out, err = run("attack", *signs)
    assert status == 130 and err == "stopped after 1 of 3 photos\n"
    assert signs[0] in out and "of 1 fooled" in out and signs[2] not in seen


@pytest.mark.thorough
def test_sigint_ends_a_real_run_with_130_and_its_table(signs, tmp_path):
    code = (
        "import os, signal, sys, advlib.cli.attack as attack\n"
        "from advlib.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background is started deaf to it
        "real = attack.read\n"
        "def read(photo, *rest):\n"
        "    if photo == sys.argv[2]: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(photo, *rest)\n"
        "attack.read = read\n"
        "sys.exit(main(['attack', *sys.argv[1:], '--attack', 'fgsm']))"
    )
    words = [sys.executable, "-c", code, *signs, "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", env=os.environ | {"PYTHONUTF8": "1"})
    assert done.returncode == 130 and done.stderr == "stopped after 1 of 3 photos\n" and signs[0] in done.stdout


def test_a_full_disk_loses_no_table(run, signs, monkeypatch):
    real = attack.save

    def full(image, path):
        if path.name.startswith("1"):
            raise OSError(28, "No space left on device")
        real(image, path)

    monkeypatch.setattr(attack, "save", full)
    status, out, err = run("attack", *signs)
    assert status == 2 and "No space left" in err and "of 1 fooled" in out and signs[0] in out
