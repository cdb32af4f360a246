"""Files from the network: whole, with the published hash, from the first of several sources that gives them."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from advlib.files import replacing
from advlib.progress import progress

# An address below which files lie by their names alone: of a class, or of a room without network.
MIRROR = "ADVLIB_MIRROR"
PATIENCE = 20.0  # seconds of silence until a source is given up
SLOWEST = 2_000  # bytes per second, on average, that a source has to give once its time is up
PART = 2**16  # bytes read at once


class NotFetched(OSError):
    """No source has given the file; the message names each of them and says why not."""


@dataclass(frozen=True)
class Remote:
    """A file on the network: its addresses, tried in turn, and its hash as published, or how that begins."""

    urls: tuple[str, ...]
    digest: str
    kind: str = "md5"  # as torchvision publishes its data sets; of weights, the name holds how a "sha256" begins


def fetch(remote: Remote, path: str | os.PathLike) -> None:
    """Download a file to `path` under a progress bar, from ``ADVLIB_MIRROR`` if that is set, else from its sources.

    A source that refuses, falls silent, or gives other bytes is left for the next one. The file appears at `path` once
    its hash is right; before, and where no source has it, nothing is there.

    Raises `NotFetched` (an `OSError`) with the reason of each source.
    """
    path = Path(path)
    reasons = []
    for url in sources(remote.urls, path.name):
        try:
            with replacing(path) as temporary:
                _download(url, temporary, remote)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reasons.append(f"{urlsplit(url).netloc or url}: {' '.join(str(error).split()) or type(error).__name__}")
        else:
            return
    raise NotFetched("; ".join(reasons))


def sources(urls: Iterable[str], name: str) -> list[str]:
    """Where to ask for a file, in this order; what the person at the machine named comes first.

    >>> sources(["https://example.org/data/digits.gz"], "digits.gz")[-1]
    'https://example.org/data/digits.gz'
    """
    mirror = os.environ.get(MIRROR, "").strip().rstrip("/")
    return [*([f"{mirror}/{name}"] if mirror else []), *urls]


def _download(url: str, path: Path, remote: Remote) -> None:
    digest, begun, received = hashlib.new(remote.kind, usedforsecurity=False), time.monotonic(), 0
    request = urllib.request.Request(url, headers={"User-Agent": "advlib"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer, path.open("wb") as file:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        with progress(total=total, unit="B", unit_scale=True, desc=f"{path.name} from {urlsplit(url).netloc}") as bar:
            # `read1` returns what has come: `read` would wait for all, and never notice that it trickles.
            while part := answer.read1(PART):
                file.write(part)
                digest.update(part)
                received += len(part)
                bar.update(len(part))
                spent = time.monotonic() - begun
                if spent > PATIENCE and received < SLOWEST * spent:
                    raise TimeoutError(f"{received:,} bytes in {spent:.0f} s are too few to wait for")
    if total is not None and received < total:
        raise ValueError(f"cut short, {received:,} of {total:,} bytes")
    if not digest.hexdigest().startswith(remote.digest):
        raise ValueError(f"not the published file, its {remote.kind} begins {digest.hexdigest()[:8]}")
