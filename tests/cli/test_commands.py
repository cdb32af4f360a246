"""``advlib models``, ``doctor`` and ``--help``, on any terminal."""

import os
import subprocess
import sys

import pytest

from advlib import cli
from advlib.cli import doctor
from advlib.models import model_names


def test_models_lists_each_with_its_figures(run):
    status, out, _ = run("models")
    assert status == 0 and "signs-cnn: 16 classes" in out and "signs-linear: 16 classes" in out
    assert "under FGSM, L∞ ≤ 8/255" in out


def test_a_healthy_installation(run):
    status, out, _ = run("doctor")
    assert status == 0 and doctor.FAILED not in out and out.endswith("all well\n")
    for name in ("python", "torch", "device", "sliders", "model signs-cnn", "mnist", "ImageNet weights"):
        assert any(line[2:].startswith(f"{name}: ") for line in out.splitlines())


def test_a_sick_installation_is_told_and_the_rest_still_checked(run, monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))

    def broken(name):
        raise ValueError("the file is broken\nor was swapped")

    monkeypatch.setattr("advlib.models.zoo.load_model", broken)
    status, out, _ = run("doctor")
    lines = out.splitlines()
    assert status == 1 and lines[-1] == f"{1 + len(model_names())} to mend"
    assert "✗ no-such-package: PackageNotFoundError" in out
    assert "✗ model signs-cnn: ValueError: the file is broken or was swapped" in lines
    assert any(line.startswith("✓ device") for line in lines)


def test_real_data_is_found_or_said_to_be_optional(run, monkeypatch, tmp_path):
    monkeypatch.setenv("ADVLIB_DATA", str(tmp_path))
    monkeypatch.setattr("advlib.data.real.cache_folder", lambda: tmp_path / "cache")
    status, out, _ = run("doctor")
    assert status == 0 and f"– cifar10: not here (ADVLIB_DATA: {tmp_path}" in out


def test_help_imports_nothing_that_only_a_command_needs():
    """0.03 s of processor time, where torch alone takes two."""
    code = (
        "import sys; from advlib.cli import main\n"
        "try: main(['attack', '--help'])\nexcept SystemExit: pass\n"
        "print({'torch', 'numpy', 'PIL', 'tqdm', 'matplotlib', 'advlib.contract'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--weights" in done.stdout and done.stdout.endswith("set()\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no count of a child's processor time")
def test_help_takes_no_time():
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "advlib", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_the_package_still_offers_its_names_and_rooms():
    code = (
        "import advlib, sys; assert 'torch' not in sys.modules\n"
        "assert advlib.device().type and advlib.attacks.pgd and advlib.models.Normalize and advlib.L2(1).eps == 1\n"
        "assert advlib.device().type and {*advlib.__all__} <= {*dir(advlib)}\n"
        "from advlib import *; assert str(Linf(8 / 255)) and device().type and load_images and load_model\n"
        "try: advlib.nothing\nexcept AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'advlib' has no attribute 'nothing'\n"


def test_python_m_advlib_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "advlib", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("advlib ")


@pytest.mark.thorough
@pytest.mark.parametrize("words", [["doctor"], ["attack", "--eps", "8/255"]], ids=lambda words: words[0])
def test_a_terminal_without_these_letters_gets_words(tmp_path, signs, words):
    if words[0] == "attack":
        words = [*words, signs[0], "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "advlib", *words],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=True,
    )
    assert done.stderr == b"" and b"?" not in done.stdout
    expected = b"\nok torch: " if words[0] == "doctor" else b"pgd, Linf <= 8/255: "
    assert expected in done.stdout


def test_a_missing_letter_without_a_word_is_a_question_mark():
    cli.main(["models"])  # registers the handler
    assert "✓ Ж ≤".encode("ascii", "advlib") == b"ok ? <="


def test_an_unknown_command(run):
    status, _, err = run("atack")
    assert status == 2 and "invalid choice: 'atack'" in err
