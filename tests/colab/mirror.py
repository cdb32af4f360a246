"""A source on this machine: what ADVLIB_DATA and TORCH_HOME have, served by file name, as a class's mirror does."""

import contextlib
import hashlib
import http.server
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path


def files() -> dict[str, Path]:
    """Every file of the two folders by its name; none where neither is set."""
    folders = [Path(os.environ[name]) for name in ("ADVLIB_DATA", "TORCH_HOME") if os.environ.get(name)]
    return {path.name: path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}


def stand_ins(known: dict[str, Path]) -> dict[str, Path]:
    """The weights among them that are not what was published under their name: a fetch rightly refuses them."""
    named = {name: re.search(r"-([0-9a-f]{8})\.pth$", name) for name in known}
    return {
        name: known[name]
        for name, found in named.items()
        if found and not hashlib.sha256(known[name].read_bytes()).hexdigest().startswith(found[1])
    }


@contextlib.contextmanager
def served(known: dict[str, Path]) -> Iterator[str]:
    """The address under which the files can be fetched while the block runs."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            return str(known.get(path.rpartition("/")[2], Path("there is no such file")))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
