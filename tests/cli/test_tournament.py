"""``advlib tournament``: what it prints and writes, and what it refuses."""

import pytest


@pytest.mark.slow
def test_a_tournament_of_the_house_alone(run, tmp_path):
    status, out, err = run("tournament", tmp_path, "--images", 2, "--eps", "40/255", "--seed", 5)
    assert status == 0 and "signs-robust" in out and "worst_case" in out and "L∞ ≤ 40/255, 2 signs" in out, err
    assert out.endswith(f"written: {tmp_path / 'results' / 'scores.csv'}\n")
    assert (tmp_path / "results" / "index.html").is_file()


@pytest.mark.parametrize(
    "words, said",
    [
        (["no-such-folder"], "folder is 'no-such-folder'; expected one that is there"),
        ([".", "--images", "0"], "images is 0; expected a whole number ≥ 1"),
        ([".", "--norm", "l2"], "--eps"),
        ([".", "--seconds", "-1"], "seconds is -1"),
        ([".", "--rounds", "0"], "rounds is 0"),
    ],
)
def test_what_is_refused(run, words, said):
    status, _, err = run("tournament", *words)
    assert status == 2 and said in err
