"""The book's one Sphinx extension: pages without a network, one repository address, folds, map, cheat sheet, lab."""

from sphinx.application import Sphinx

from . import assets, cheat_sheet, course_map, folds, lab, repository


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", repository.use_one_address)
    app.connect("config-inited", assets.serve_locally)
    app.connect("builder-inited", assets.copy_to_build)
    app.connect("env-get-outdated", assets.pages_to_draw_again)
    app.connect("doctree-read", folds.mark_folds)
    app.connect("html-page-context", lab.load_on_its_page_alone)
    app.add_directive("course-map", course_map.CourseMap)
    app.add_directive("cheat-sheet", cheat_sheet.CheatSheet)
    app.add_directive("lab", lab.Lab)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
