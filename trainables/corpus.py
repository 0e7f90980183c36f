"""An encoded corpus: what a trajectory sees of the data, and all it sees.

Texts become token ids once, in the launching process. The result is cached on disk by content and handed to trials as plain
arrays, which Ray keeps once per node. The vocabulary is built from the training texts alone, without their labels: reading the
unlabelled pool is what pool-based active learning allows, reading the test set is not.
"""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from trainables.arrays import Floats32, Ids
from trainables.storage import write_durably

PADDING, UNKNOWN = 0, 1
"""Token ids that stand for no word and for every word outside the vocabulary."""

ENCODER_VERSION = 1
"""Bumped when `tokens` or `encode` changes, so that no cache of older code is read."""

_WORD = re.compile(r"\w+(?:['’]\w+)*|[!?]")  # noqa: RUF001 - the curly apostrophe is meant
_BREAK = re.compile(r"<br\s*/?>")


@dataclass(frozen=True)
class Texts:
    """A data set as people know it; labels are positions in `class_names`."""

    train_texts: Sequence[str]
    train_labels: Sequence[int]
    test_texts: Sequence[str]
    test_labels: Sequence[int]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Reviews:
    """N encoded reviews; L is the longest of them."""

    token_ids_NL: Ids
    """Padded on the right with `PADDING`."""
    lengths_N: Ids
    """Real tokens of each review, at least 1."""
    labels_N: Ids
    """Class of each review."""
    features_NF: Floats32 | None = None
    """Vectors that an encoder outside has made of the reviews, where there are any. Reviews of which nothing else is known have one
    unknown word each, as a review without any word has."""

    def __len__(self) -> int:
        """The number of reviews."""
        return len(self.lengths_N)

    @property
    def num_tokens(self) -> int:
        """Real tokens of all reviews."""
        return int(self.lengths_N.sum())


@dataclass(frozen=True)
class Corpus:
    """Training and test reviews under one vocabulary."""

    source: str
    """Where the reviews come from: imdb, csv, features, synthetic, or a plug-in's name with the hash of its source."""
    train: Reviews
    test: Reviews
    class_names: tuple[str, ...]
    num_embeddings: int
    """V, rows of the embedding matrix: the words kept, padding and unknown."""

    @property
    def num_features(self) -> int:
        """F; 0 where there are none."""
        return 0 if self.train.features_NF is None else self.train.features_NF.shape[1]

    @property
    def num_bytes(self) -> int:
        """What the arrays take in memory."""
        features = [reviews.features_NF for reviews in (self.train, self.test) if reviews.features_NF is not None]
        return sum(array.nbytes for _, _, array in _arrays(self)) + sum(array.nbytes for array in features)

    @cached_property
    def digest(self) -> str:
        """The source's name and the SHA-256 of all that a trajectory can see."""
        sha = hashlib.sha256(repr((self.class_names, self.num_embeddings)).encode())
        for reviews in (self.train, self.test):
            for array in (reviews.token_ids_NL, reviews.lengths_N, reviews.labels_N):
                sha.update(repr(array.shape).encode())
                sha.update(np.ascontiguousarray(array, dtype="<i4").data)
            if reviews.features_NF is not None:
                sha.update(repr(reviews.features_NF.shape).encode())
                sha.update(np.ascontiguousarray(reviews.features_NF, dtype="<f4").data)
        return f"{self.source}:{sha.hexdigest()}"


def of_features(source: str, train: tuple[Floats32, Ids], test: tuple[Floats32, Ids], class_names: tuple[str, ...]) -> Corpus:
    """A corpus of vectors, of which the words are not known: features (N, F) and labels (N,) of both parts."""

    def reviews(features_NF: Floats32, labels_N: Ids) -> Reviews:
        N = len(labels_N)
        return Reviews(np.full((N, 1), UNKNOWN, dtype=np.int32), np.ones(N, dtype=np.int32), labels_N, features_NF)

    return Corpus(source, reviews(*train), reviews(*test), class_names, UNKNOWN + 1)


def check(corpus: Corpus) -> None:
    """Refuse a corpus that cannot be computed with; what was made elsewhere may be anything.

    Raises:
        ValueError: what is wrong with which part.
    """
    for part, reviews in (("train", corpus.train), ("test", corpus.test)):
        broken = [rule for rule, holds in _rules(corpus, reviews) if not holds]
        if broken:
            raise ValueError(f"its {part} reviews break a rule: {'; '.join(broken)}")
    if len(corpus.class_names) < 2 or (corpus.train.features_NF is None) != (corpus.test.features_NF is None):
        raise ValueError("it must have two classes or more, and features in both parts or in neither")


def _rules(corpus: Corpus, reviews: Reviews) -> Iterator[tuple[str, bool]]:
    """What must hold of a part, and whether it does."""
    arrays = (reviews.token_ids_NL, reviews.lengths_N, reviews.labels_N)
    ids_NL, lengths_N, labels_N = arrays
    shaped = ids_NL.ndim == 2 and len(ids_NL) > 0 and lengths_N.shape == labels_N.shape == ids_NL.shape[:1]
    yield "token_ids_NL (N, L), lengths_N (N,) and labels_N (N,) of one review or more", shaped
    yield "they are int32", all(array.dtype == np.int32 for array in arrays)
    if shaped:
        V, C = corpus.num_embeddings, len(corpus.class_names)
        yield f"lengths_N in 1..{ids_NL.shape[1]}", bool(lengths_N.min() >= 1 and lengths_N.max() <= ids_NL.shape[1])
        yield f"token_ids_NL in 0..{V - 1}", bool(ids_NL.min() >= 0 and ids_NL.max() < V)
        yield f"labels_N in 0..{C - 1}", bool(labels_N.min() >= 0 and labels_N.max() < C)
    x_NF = reviews.features_NF
    if x_NF is not None:
        expected = (len(ids_NL), corpus.num_features if x_NF.ndim == 2 else "F")
        yield (
            f"features_NF {expected}, float32, finite",
            x_NF.shape == expected and x_NF.dtype == np.float32 and bool(np.isfinite(x_NF).all()),
        )


def tokens(text: str) -> list[str]:
    """Lower-case words (apostrophes kept) and the marks ! and ?, with HTML line breaks removed."""
    return _WORD.findall(_BREAK.sub(" ", text).lower())


def encode(source: str, texts: Texts, *, max_tokens: int, vocabulary_size: int) -> Corpus:
    """Turn texts into a corpus: the most frequent training words, each review's first `max_tokens` tokens.

    Words of equal frequency rank by spelling, so the vocabulary does not depend on the order of the reviews. A review without any
    word counts as one unknown word, since pooling needs a token.
    """
    train_words = [tokens(text) for text in texts.train_texts]
    counts = Counter(word for words in train_words for word in words)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary_size]
    ids = {word: position for position, word in enumerate(ranked, start=UNKNOWN + 1)}
    return Corpus(
        source=source,
        train=_reviews(train_words, texts.train_labels, ids, max_tokens),
        test=_reviews((tokens(text) for text in texts.test_texts), texts.test_labels, ids, max_tokens),
        class_names=texts.class_names,
        num_embeddings=len(ids) + UNKNOWN + 1,
    )


def _reviews(word_lists: Iterable[list[str]], labels: Sequence[int], ids: dict[str, int], max_tokens: int) -> Reviews:
    rows = [[ids.get(word, UNKNOWN) for word in words[:max_tokens]] or [UNKNOWN] for words in word_lists]
    lengths_N = np.array([len(row) for row in rows], dtype=np.int32)
    token_ids_NL = np.full((len(rows), int(lengths_N.max())), PADDING, dtype=np.int32)
    for row, target_L in zip(rows, token_ids_NL, strict=True):
        target_L[: len(row)] = row
    return Reviews(token_ids_NL, lengths_N, np.array(labels, dtype=np.int32))


def save(corpus: Corpus, path: Path) -> None:
    """Write a corpus to a cache file, whole or not at all."""
    meta = np.array([corpus.source, corpus.digest, str(corpus.num_embeddings), *corpus.class_names])
    buffer = io.BytesIO()
    np.savez(buffer, meta=meta, **{f"{part}_{name}": array for part, name, array in _arrays(corpus)})  # type: ignore[arg-type]
    write_durably(path, buffer.getvalue())


def _arrays(corpus: Corpus) -> list[tuple[str, str, Ids]]:
    parts = {"train": corpus.train, "test": corpus.test}
    return [(part, name, getattr(reviews, name)) for part, reviews in parts.items() for name in ("token_ids_NL", "lengths_N", "labels_N")]


def load_cached(path: Path) -> Corpus | None:
    """A corpus from a cache file; None if there is none, or if it is not what was written there."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            source, digest, num_embeddings, *class_names = (str(item) for item in file["meta"])
            train, test = (
                Reviews(file[f"{part}_token_ids_NL"], file[f"{part}_lengths_N"], file[f"{part}_labels_N"]) for part in ("train", "test")
            )
    except (OSError, EOFError, KeyError, ValueError, BadZipFile):
        return None
    corpus = Corpus(source, train, test, tuple(class_names), int(num_embeddings))
    return corpus if corpus.digest == digest else None
