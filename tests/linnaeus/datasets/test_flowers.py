"""The flowers from a web server on this machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from linnaeus.datasets import DATASETS, flowers
from linnaeus.errors import LinnaeusError

FILES = {
    "flower_photos/LICENSE.txt": b"licence",
    "flower_photos/daisy/1.jpg": b"d" * 700_000,
    "flower_photos/roses/2.jpg": b"r" * 3000,
    "flower_photos/../3.jpg": b"evil",
}


def archive() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=0) as files:
        for name, content in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            files.addfile(entry, io.BytesIO(content))
    return data.getvalue()


@contextmanager
def serving(body: bytes, announced: int, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/flower_photos.tgz"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return lambda url: monkeypatch.setenv("LINNAEUS_FLOWERS_URL", url)


def test_photographs_come_with_their_folders_as_labels(use: Callable[[str], None]):
    body = archive()
    with serving(body, len(body)) as url:
        use(url)
        samples = list(DATASETS["flowers"].samples())
    assert [(sample.name, sample.label, len(sample.data)) for sample in samples] == [
        ("daisy/1.jpg", "daisy", 700_000),
        ("roses/2.jpg", "roses", 3000),
    ]


def test_another_archive_at_the_usual_address_is_an_error(monkeypatch: pytest.MonkeyPatch):
    assert flowers.URL.startswith("https://")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    body = archive()
    with serving(body, len(body)) as url:
        monkeypatch.setattr(flowers, "URL", url)
        with pytest.raises(LinnaeusError, match="not the archive that it was"):
            list(DATASETS["flowers"].samples())
        monkeypatch.setattr(flowers, "SHA256", hashlib.sha256(body).hexdigest())
        assert len(list(DATASETS["flowers"].samples())) == 2


@pytest.mark.parametrize("kept", [0, 300_000, 702_100, 702_300, 704_000])
def test_a_download_that_ends_early_is_an_error(use: Callable[[str], None], kept: int):
    body = archive()
    with serving(body[:kept], len(body)) as url:
        use(url)
        with pytest.raises(LinnaeusError, match="cannot download the flowers"):
            list(DATASETS["flowers"].samples())


def test_an_answer_that_is_no_archive_is_an_error(use: Callable[[str], None]):
    with serving(b"<html>", 6) as url:
        use(url)
        with pytest.raises(LinnaeusError, match="LINNAEUS_FLOWERS_URL"):
            list(DATASETS["flowers"].samples())


def test_without_internet_the_message_is_one_line_with_the_way_on(use: Callable[[str], None]):
    with serving(b"", 0) as url:
        pass
    use(url)
    with pytest.raises(LinnaeusError, match="--dataset solar-cells needs none") as raised:
        list(DATASETS["flowers"].samples())
    assert "\n" not in str(raised.value)
