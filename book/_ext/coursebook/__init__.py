"""The book's one Sphinx extension: offline, light pages, one address, links, folds, stills, buttons, maps, the lab."""

from sphinx.application import Sphinx

from . import (
    assets,
    attack_map,
    bundles,
    cheat_sheet,
    course_map,
    figures,
    folds,
    formulas,
    icons,
    lab,
    launch,
    mentions,
    repository,
    search,
    stills,
    tables,
)


def setup(app: Sphinx) -> dict:
    formulas.add_renderer(app)
    app.connect("config-inited", repository.use_one_address)
    app.connect("config-inited", assets.serve_locally)
    app.connect("builder-inited", assets.copy_to_build)
    app.connect("builder-inited", icons.draw_in_style)
    app.connect("build-finished", icons.leave_out_script)
    app.connect("build-finished", bundles.bundle, priority=900)  # when the theme has written its colours of code
    app.connect("env-get-outdated", assets.pages_to_draw_again)
    app.connect("doctree-read", figures.mark_captions)
    app.connect("doctree-read", folds.mark_folds)
    app.connect("doctree-read", folds.name_hidden_code)
    app.connect("doctree-read", tables.set_tables)
    app.connect("doctree-read", mentions.link_chapters)
    app.connect("doctree-read", search.name_what_is_taught)
    app.connect("html-page-context", lab.load_on_its_page_alone)
    app.connect("html-page-context", stills.show_stills, priority=400)  # before MyST-NB adds the page's scripts
    app.connect("html-page-context", formulas.draw_formulas)
    app.connect("html-page-context", launch.show_buttons)
    app.add_post_transform(folds.CodeBelow)
    app.add_post_transform(figures.DrawnFigures)
    app.add_directive("attack-map", attack_map.AttackMap)
    app.add_directive("course-map", course_map.CourseMap)
    app.add_directive("cheat-sheet", cheat_sheet.CheatSheet)
    app.add_directive("lab", lab.Lab)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
