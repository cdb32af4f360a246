"""The leaderboard in a real browser, from a file: sorted by a click or a key, and no name is more than text."""

from pathlib import Path

import pytest

from advlib.data import load_images
from advlib.tournament.matches import Match, Rules, png
from advlib.tournament.page import page
from advlib.tournament.scores import Result, Score
from tests.book.test_accessibility import AXE

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
REASON = 'it failed: "><svg onload=alert(3)>'


@pytest.fixture(scope="module")
def leaderboard(tmp_path_factory) -> Path:
    images = load_images("signs", "test", n=4)
    score = lambda place, side, team, share, **more: Score(
        place, side, team, more.pop("house", False), share, share / 2, (1 + share) / 2, 0.9, None, None, 1.5 * place,
        None if side == "defense" else 10.0 / place, 2, more.pop("notes", ()),
    )  # fmt: skip
    scores = (
        score(1, "defense", "Ωmega", 0.5),
        score(2, "defense", "signs-cnn", 0.25, house=True),
        score(3, "defense", EVIL, 0.0, notes=(REASON,)),
        score(1, "attack", "pgd", 0.75, house=True),
        score(2, "attack", EVIL, 0.5),
    )
    picture = {"image": 1, "read": 3, "png": png(images.x[1])}
    matches = tuple(
        Match(one.team, EVIL, (True, False, True, True), 1.0, 8, 4, pictures=(picture,)) for one in scores[:2]
    )
    path = tmp_path_factory.mktemp("results") / "index.html"
    rules = Rules(4, 0, "L∞ ≤ 8/255", 0, 10, None, 500)
    path.write_text(page(Result(path.parent, rules, scores, matches), images), encoding="utf-8")
    return path


@pytest.fixture
def opened(leaderboard, browser):
    view = browser.new_page(viewport={"width": 375, "height": 800}, color_scheme="dark")
    view.faults = []
    view.on("console", lambda said: view.faults.append(said.text) if said.type in ("error", "warning") else None)
    view.on("pageerror", lambda error: view.faults.append(str(error)))
    view.on("dialog", lambda dialog: (view.faults.append(dialog.message), dialog.dismiss()))
    view.goto(leaderboard.as_uri())
    yield view
    assert view.faults == []
    view.close()


def teams(view, table=0) -> list[str]:
    return view.locator("table").nth(table).locator("tbody tr td:nth-child(2)").all_inner_texts()


@pytest.mark.slow
def test_a_click_sorts_and_another_turns_it_round(opened):
    assert teams(opened) == ["Ωmega", "signs-cnn (house)", EVIL]
    head = opened.locator("th", has_text="Worst case")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and teams(opened)[0] == "Ωmega"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and teams(opened) == [EVIL, "signs-cnn (house)", "Ωmega"]
    assert opened.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 2  # one in each table


@pytest.mark.slow
def test_keys_sort_as_well(opened):
    opened.locator("table").nth(1).get_by_role("button", name="Team").focus()
    opened.keyboard.press("Enter")
    assert teams(opened, 1) == [EVIL, "pgd (house)"]
    opened.keyboard.press("Space")
    assert teams(opened, 1) == ["pgd (house)", EVIL]


@pytest.mark.slow
def test_it_fits_a_phone_and_shows_pictures_and_reasons(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") <= 375
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert opened.locator("figure img").count() == 4
    assert opened.evaluate("[...document.images].every(one => one.naturalWidth === 48 && one.alt)")
    assert REASON in opened.locator("main").inner_text() and "Nothing fooled it" not in opened.content()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(leaderboard, browser, scheme):
    if not AXE.is_file():
        pytest.skip("axe-core is installed with the book's extension")
    view = browser.new_page(color_scheme=scheme, bypass_csp=True)
    view.goto(leaderboard.as_uri())
    view.add_script_tag(path=str(AXE))
    found = view.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    assert [one["id"] for one in found] == []
    view.close()


def test_the_seed_is_on_no_page(leaderboard):
    assert "seed" not in leaderboard.read_text("utf-8")
