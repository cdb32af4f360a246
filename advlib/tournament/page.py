"""The leaderboard as one HTML page."""

from __future__ import annotations

import html

from advlib.data.images import Images

__all__ = ["page"]


def page(result, images: Images) -> str:
    words = html.escape(str(result))
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Tournament</title><pre>{words}</pre></html>'
