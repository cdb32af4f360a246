"""A file comes from the first source that gives the right bytes; else there is none, and every source's reason."""

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision

from advlib import load_images, load_model
from advlib.data import fetch as fetching
from advlib.data import real
from advlib.data.fetch import MIRROR, NotFetched, Remote, fetch
from advlib.models import imagenet
from tests.colab import mirror
from tests.data.test_real import write_mnist

CONTENT = bytes(range(256)) * 1_000


def well(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(len(CONTENT)))
    answer.end_headers()
    answer.wfile.write(CONTENT)


def refuses(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.send_error(503)


def hangs(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.server.over.wait(20)


def falls_silent(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(len(CONTENT)))
    answer.end_headers()
    answer.wfile.write(CONTENT[:1000])
    answer.server.over.wait(20)


def trickles(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.end_headers()
    while not answer.server.over.wait(0.05):
        answer.wfile.write(b".")


def other_bytes(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.end_headers()
    answer.wfile.write(b"<html>Sign in to this network first.</html>")


def cut_short(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(len(CONTENT)))
    answer.end_headers()
    answer.wfile.write(CONTENT[:1000])


def not_http(answer: http.server.BaseHTTPRequestHandler) -> None:
    answer.wfile.write(b"220 some other server\r\n")


FAILURES = {
    refuses: "HTTP Error 503",
    hangs: "timed out",
    falls_silent: "timed out",
    trickles: "too few to wait for",
    other_bytes: "not the published file",
    cut_short: "cut short, 1,000 of 256,000 bytes",
    not_http: "220 some other server",
}


class Server(http.server.ThreadingHTTPServer):
    """Answers every request in one way, and remembers what was asked for."""

    daemon_threads = True

    def __init__(self, way):
        self.asked: list[str] = []
        self.over = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.server.asked.append(self.path)
                way(self)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}/digits.gz"

    def handle_error(self, *_: object) -> None:
        """The client has gone: what some of these tests are about."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """`serve(way)`: a server on this machine that answers so."""
    monkeypatch.setattr(fetching, "PATIENCE", 0.4)
    monkeypatch.delenv(MIRROR, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running: list[Server] = []

    def start(way) -> Server:
        running.append(Server(way))
        return running[-1]

    yield start
    for server in running:
        server.over.set()
        server.shutdown()
        server.server_close()


def remote(*servers: Server, content: bytes = CONTENT, kind: str = "md5") -> Remote:
    return Remote(tuple(server.url for server in servers), hashlib.new(kind, content).hexdigest(), kind)


def test_the_first_source_that_works_is_the_only_one_asked(serve, tmp_path: Path) -> None:
    first, second = serve(well), serve(well)
    fetch(remote(first, second), tmp_path / "deep" / "digits.gz")
    assert (tmp_path / "deep" / "digits.gz").read_bytes() == CONTENT
    assert first.asked == ["/digits.gz"] and second.asked == []


@pytest.mark.parametrize("way", FAILURES)
def test_where_the_first_is_down_the_second_is_used(serve, tmp_path: Path, way) -> None:
    begun = time.monotonic()
    fetch(remote(serve(way), serve(well)), tmp_path / "digits.gz")
    assert (tmp_path / "digits.gz").read_bytes() == CONTENT
    assert time.monotonic() - begun < 5, "it waited for a source that gives nothing"


@pytest.mark.parametrize("way", FAILURES)
def test_where_all_are_down_nothing_is_left_and_each_has_its_reason(serve, tmp_path: Path, way) -> None:
    first, second = serve(way), serve(refuses)
    with pytest.raises(NotFetched) as error:
        fetch(remote(first, second), tmp_path / "digits.gz")
    assert f"{first.host}: " in str(error.value) and FAILURES[way] in str(error.value)
    assert f"{second.host}: HTTP Error 503" in str(error.value)
    assert not list(tmp_path.iterdir()), "a part of the file, or a temporary folder, is left"


def test_a_name_that_does_not_resolve_is_no_more_than_a_source_that_is_down(serve, tmp_path: Path) -> None:
    working = serve(well)
    fetch(Remote(("http://does-not-exist.invalid/digits.gz", working.url), remote().digest), tmp_path / "digits.gz")
    assert working.asked == ["/digits.gz"]


def test_the_beginning_of_a_hash_is_compared_as_such(serve, tmp_path: Path) -> None:
    server, right = serve(well), hashlib.sha256(CONTENT).hexdigest()[:8]
    fetch(Remote((server.url,), right, "sha256"), tmp_path / "digits.gz")
    with pytest.raises(NotFetched, match=f"its sha256 begins {right}"):
        fetch(Remote((server.url,), "00000000", "sha256"), tmp_path / "other")
    assert [file.name for file in tmp_path.iterdir()] == ["digits.gz"]


def test_what_is_there_stays_until_the_new_file_is_right(serve, tmp_path: Path) -> None:
    (tmp_path / "digits.gz").write_bytes(b"old")
    with pytest.raises(NotFetched):
        fetch(remote(serve(other_bytes)), tmp_path / "digits.gz")
    assert (tmp_path / "digits.gz").read_bytes() == b"old"


def test_the_mirror_that_a_person_names_is_asked_first_by_the_name_alone(serve, tmp_path: Path, monkeypatch) -> None:
    mirror, published = serve(well), serve(well)
    monkeypatch.setenv(MIRROR, f"http://{mirror.host}/class/")
    fetch(remote(published), tmp_path / "digits.gz")
    assert mirror.asked == ["/class/digits.gz"] and published.asked == []


def test_a_mirror_with_other_bytes_is_not_believed(serve, tmp_path: Path, monkeypatch) -> None:
    mirror, published = serve(other_bytes), serve(well)
    monkeypatch.setenv(MIRROR, f"http://{mirror.host}")
    fetch(remote(published), tmp_path / "digits.gz")
    assert (tmp_path / "digits.gz").read_bytes() == CONTENT and published.asked == ["/digits.gz"]


def test_a_bar_counts_the_bytes(serve, tmp_path: Path, monkeypatch) -> None:
    bars = []

    class Bar:
        def __init__(self, **settings: object):
            self.settings, self.done = settings, 0
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, more: int) -> None:
            self.done += more

    monkeypatch.setattr(fetching, "progress", Bar)
    server = serve(well)
    fetch(remote(server), tmp_path / "digits.gz")
    assert [(bar.settings["total"], bar.done) for bar in bars] == [(len(CONTENT), len(CONTENT))]
    assert bars[0].settings["desc"] == f"digits.gz from {server.host}"


# --- what chapters fetch ------------------------------------------------------------------------------------------


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has nothing on disk, and a folder of files for a second source."""
    monkeypatch.delenv("ADVLIB_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(real, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "source").mkdir()
    return tmp_path


@pytest.mark.parametrize("way", [refuses, hangs, other_bytes])
def test_digits_come_from_the_second_source_and_are_kept(serve, empty: Path, monkeypatch, way) -> None:
    write_mnist(empty / "source", monkeypatch)
    files = {path.name: path for path in (empty / "source").rglob("*.gz")}
    first = serve(way)
    with mirror.served(files) as second:
        monkeypatch.setattr(real, "MNIST_SOURCES", (f"http://{first.host}/", f"{second}/"))
        assert len(load_images("mnist")) == 12
    assert len(first.asked) == 4
    assert len(load_images("mnist", "train")) == 12  # from the cache: both sources are gone, or down


def test_without_any_source_of_digits_it_says_what_to_do_and_leaves_nothing(serve, empty: Path, monkeypatch) -> None:
    first, second = serve(refuses), serve(other_bytes)
    monkeypatch.setattr(real, "MNIST_SOURCES", tuple(f"http://{one.host}/" for one in (first, second)))
    with pytest.raises(FileNotFoundError) as error:
        load_images("mnist")
    said = str(error.value)
    assert f"{first.host}: HTTP Error 503" in said and f"{second.host}: not the published file" in said
    assert "To get it:" in said and "ADVLIB_DATA" in said and MIRROR in said
    assert not list((empty / "cache").iterdir())


@pytest.mark.parametrize("way", [refuses, other_bytes, cut_short])
def test_weights_come_from_the_second_source_if_their_hash_is_in_their_name(serve, empty, monkeypatch, way) -> None:
    torch.manual_seed(0)
    made = empty / "source" / "made.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), made)
    name = f"squeezenet1_1-{hashlib.sha256(made.read_bytes()).hexdigest()[:8]}.pth"
    first = serve(way)
    theirs = torchvision.models.get_model_weights("squeezenet1_1").IMAGENET1K_V1
    monkeypatch.setattr(theirs.value, "url", f"http://{first.host}/{name}")
    with mirror.served({name: made}) as second:
        monkeypatch.setattr(imagenet, "SECOND_SOURCE", f"{second}/")
        model = load_model("imagenet:squeezenet1_1")
    assert len(first.asked) == 1 and len(model.classes) == 1000
    kept = empty / "torch" / "hub" / "checkpoints"
    assert [path.name for path in kept.iterdir()] == [name] and (kept / name).read_bytes() == made.read_bytes()
    monkeypatch.setattr(imagenet, "SECOND_SOURCE", "http://does-not-exist.invalid/")
    (kept / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"(?s){first.host}: .*does-not-exist.invalid: .*To get them: .*{MIRROR}"
    ):
        load_model("imagenet:squeezenet1_1")
    assert not list(kept.iterdir())
