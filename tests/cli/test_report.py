"""``advlib report``: the card, on the screen and as files."""

import shutil
from pathlib import Path

import pytest

import advlib.models.zoo


@pytest.mark.thorough
def test_the_card_is_printed_and_written(run, tmp_path):
    words = ("report", "signs-linear", "--images", 32, "--queries", 2, "--out", tmp_path / "cards")
    status, out, _ = run(*words)
    assert status == 0 and out.startswith("Report card of signs-linear, 32 images")
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == [
        "signs-linear-report.html",
        "signs-linear-report.png",
    ]


def test_images_must_be_named_where_nobody_knows_them(run, tmp_path):
    weights = Path(advlib.models.zoo.WEIGHTS) / "signs-linear"
    for suffix in (".json", ".safetensors"):
        shutil.copy(weights.with_suffix(suffix), tmp_path)
    status, _, err = run("report", tmp_path / "signs-linear.safetensors")
    assert status == 2 and "name images with labels: --data signs, --data mnist" in err


@pytest.mark.thorough
def test_a_model_of_ones_own_sees_the_images_in_its_size(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from advlib.models import load_model\n"
        "def make():\n"
        "    return nn.Sequential(nn.Upsample(size=48, mode='bilinear'), load_model('signs-linear'))\n"
    )
    words = ("--data", "signs", "--images", 64, "--queries", 2, "--out", tmp_path)
    status, out, err = run("report", tmp_path / "mine.py:make", "--size", 40, *words)
    assert status == 0, err
    assert out.startswith(f"Report card of {tmp_path / 'mine.py:make'}, 64 images")
    assert (tmp_path / "mine-report.html").is_file()
    assert "only for a model of your own" in run("report", "signs-linear", "--size", 40)[2]
    assert "--data signs" in run("report", tmp_path / "mine.py:make", "--size", 40)[2]
