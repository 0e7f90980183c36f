"""Fetch one large file: with progress, resumed where it was cut, and checked before it counts."""

import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from trainables.errors import RequestError

IMDB_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
IMDB_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
IMDB_FILE = "aclImdb_v1.tar.gz"

ATTEMPTS = 5
BLOCK = 1 << 18
TIMEOUT_SECONDS = 30


def download(url: str, target: Path, md5: str, progress: Callable[[int, int | None], None], *, pause_seconds: float = 1.0) -> None:
    """Bring a file to `target`; a cut transfer goes on from where it stopped, also in a later call.

    Args:
        url: where it is.
        target: where it shall be; bytes that have come so far wait beside it in ``NAME.part``.
        md5: hex digest that the whole file must have.
        progress: called with the bytes that have come and their whole number, if the server told it.
        pause_seconds: wait before the second attempt; doubled before each further one.

    Raises:
        RequestError: the server cannot be reached, or the file is not the one expected.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            if _fetch_rest(url, part, progress):
                break
            reason = "the connection was closed early"
        except (OSError, HTTPException) as error:
            reason = str(error)
        if attempt == ATTEMPTS - 1:
            raise RequestError(
                f"{url}: could not be fetched ({reason}); {_size(part):,} bytes are kept and the next try goes on from there. "
                "Without a network, give data.path or IMDB_PATH a copy"
            )
        time.sleep(pause_seconds * 2**attempt)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        part.unlink()
        raise RequestError(f"{url}: the file has MD5 {found}, expected {md5}; it was removed: try again, or give data.path a copy")
    part.replace(target)


def _fetch_rest(url: str, part: Path, progress: Callable[[int, int | None], None]) -> bool:
    """Append what is missing; True if the file is then as long as the server says."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing is left beyond what is here
            return True
        raise
    with response:
        if response.status != 206:
            have = 0  # the server sends the whole file again
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                progress(have, total)
    return total is None or have >= total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
