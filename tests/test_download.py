"""Fetching a file over a real connection to this machine: whole, cut half-way, resumed, wrong."""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweep.data import load_corpus
from sweep.data_sections import ImdbData
from trainables.errors import RequestError
from trainables.sources.download import download

CONTENT = os.urandom(3_000_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `CONTENT`, and cuts the first `cuts` answers half-way."""

    cuts = 0
    honours_ranges = True
    requests: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        start = int(re.findall(r"\d+", asked)[0]) if asked and self.server.honours_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(url: str, target: Path, md5: str = MD5) -> list[tuple[int, int | None]]:
    seen: list[tuple[int, int | None]] = []
    download(url, target, md5, lambda done, total: seen.append((done, total)), pause_seconds=0.01)
    return seen


def test_a_whole_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen = fetch(server.url, tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 5
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["file"]


def test_a_transfer_that_is_cut_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = 2
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1500000-", "bytes=2250000-"]


def test_a_later_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-"]


def test_a_server_without_ranges_sends_it_again(server: Server, tmp_path: Path) -> None:
    server.honours_ranges = False
    (tmp_path / "file.part").write_bytes(b"something else")
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_file_never_counts(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"MD5 {MD5}, expected 0123"):
        fetch(server.url, tmp_path / "file", "0123")
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="could not be fetched"):
        fetch("http://127.0.0.1:9/file", tmp_path / "file")


def test_a_server_that_always_cuts(server: Server, tmp_path: Path) -> None:
    server.cuts = 99
    with pytest.raises(RequestError, match=r"closed early|IncompleteRead"):
        fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size > len(CONTENT) / 2


def test_a_study_downloads_what_is_nowhere_else(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official digest is checked: random bytes in the data set's place are refused."""
    monkeypatch.setenv("AL_SWEEP_CACHE", str(tmp_path))
    monkeypatch.setenv("AL_SWEEP_IMDB_URL", server.url)
    with pytest.raises(RequestError, match="expected 7c2ac02c03563afcf9b574c7e56c153a"):
        load_corpus(ImdbData(source="imdb"), Console(quiet=True))
    assert server.requests == [None]
