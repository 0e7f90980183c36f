"""From a study's ``data`` section to an encoded corpus: found, read and encoded once, then cached by content."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from sweep.data_sections import Data, FeaturesData, ImdbData, PluginData, SyntheticData, TableData
from trainables.cache import cache_folder
from trainables.corpus import ENCODER_VERSION, Corpus, check, encode, load_cached, save
from trainables.errors import RequestError
from trainables.plugins import load, named_source
from trainables.sources import Source
from trainables.sources.download import IMDB_FILE, IMDB_MD5, IMDB_URL, download
from trainables.sources.features import features_corpus
from trainables.sources.imdb import ImdbSource
from trainables.sources.synthetic import SyntheticSource


def load_corpus(data: Data, console: Console) -> Corpus:
    """The corpus that a ``data`` section describes.

    Raises:
        RequestError: the data are missing, malformed or have one class only.
    """
    if isinstance(data, PluginData):
        return _plugin_corpus(data, console)
    if isinstance(data, FeaturesData):
        test = (data.test_path, data.test_labels) if data.test_path and data.test_labels else None
        return features_corpus(
            (data.path, data.labels), test, test_fraction=data.test_fraction, split_seed=data.split_seed, standardize=data.standardize
        )
    source = _source(data, console)
    key = hashlib.sha256(f"{ENCODER_VERSION}\n{source.name}\n{source.fingerprint()}\n{data.max_tokens}\n{data.vocabulary_size}".encode())
    path = cache_folder() / "corpora" / f"{key.hexdigest()[:32]}.npz"
    cached = load_cached(path)
    if cached is not None:
        return cached
    with console.status(f"reading and encoding the {source.name} reviews (once: the result is cached)"):
        corpus = encode(source.name, source.read(), max_tokens=data.max_tokens, vocabulary_size=data.vocabulary_size)
    try:
        save(corpus, path)
    except OSError as error:
        console.print(f"[yellow]The encoded corpus is not cached:[/] {escape(str(path))}: {error.strerror}")
    return corpus


def _plugin_corpus(data: PluginData, console: Console) -> Corpus:
    """What a data source of one's own returns, named after it and its source; it is asked at each launch."""
    name = data.source
    try:
        function: Any = load(name, object, "function")
        with console.status(f"asking {name} for its corpus"):
            corpus = function(**data.options)
        if not isinstance(corpus, Corpus):
            raise ValueError(f"it returned {type(corpus).__name__}, no trainables.corpus.Corpus")
        check(corpus)
    except ImportError as error:
        raise RequestError(f"data.source: {error}") from error
    except Exception as error:
        raise RequestError(f"data.source = {name}, options {data.options}: {type(error).__name__}: {error}; mend the plug-in") from error
    return replace(corpus, source=named_source(name))


def _source(data: ImdbData | TableData | SyntheticData, console: Console) -> Source:
    match data:
        case ImdbData():
            return ImdbSource(_imdb_path(data.path, lambda target: _download_imdb(target, console)))
        case TableData():
            from trainables.sources.table import TableSource  # pandas with it: half of what a dry run imports

            test_path = Path(data.test_path) if data.test_path else None
            return TableSource(Path(data.path), data.text, data.label, test_path, data.test_fraction, data.split_seed)
        case SyntheticData():
            return SyntheticSource(data.train_size, data.test_size, data.num_classes, data.seed)


def _imdb_path(given: str | None, fetch: Callable[[Path], None]) -> Path:
    """``data.path``, else ``IMDB_PATH``, else the cache, filled by a download if need be."""
    named = given or os.environ.get("IMDB_PATH")
    if named:
        return Path(named)
    target = cache_folder() / IMDB_FILE
    if not target.exists():
        fetch(target)
    return target


def _download_imdb(target: Path, console: Console) -> None:
    url = os.environ.get("AL_SWEEP_IMDB_URL", IMDB_URL)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as display:
        task = display.add_task("downloading the IMDB reviews", total=None)
        try:
            download(url, target, IMDB_MD5, lambda done, total: display.update(task, completed=done, total=total))
        except OSError as error:
            raise RequestError(
                f"{target}: the download cannot be kept here ({error.strerror}); set AL_SWEEP_CACHE to another folder"
            ) from error
