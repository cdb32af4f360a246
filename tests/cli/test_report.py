"""``advlib report``: the card, on the screen and as files."""

import shutil
from pathlib import Path

import advlib.models.zoo


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
