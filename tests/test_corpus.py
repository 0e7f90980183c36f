"""Encoding: what a word is, which words are kept, and a cache that never lies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.corpus import PADDING, UNKNOWN, Corpus, Texts, encode, load_cached, save, tokens

TEXTS = Texts(["b b a", "a c"], [0, 1], ["c d a a", "..."], [1, 0], ("bad", "good"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's GREAT!<br /><br />Not.", ["it's", "great", "!", "not"]),
        ("Größe, naïve 10/10?", ["größe", "naïve", "10", "10", "?"]),
        ("<br>", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_encoding_by_hand() -> None:
    """A and b come twice and rank by spelling: a is 2, b is 3; c is cut by the vocabulary's size, d was never in training."""
    corpus = encode("csv", TEXTS, max_tokens=3, vocabulary_size=2)
    assert corpus.train.token_ids_NL.tolist() == [[3, 3, 2], [2, UNKNOWN, PADDING]]
    assert corpus.test.token_ids_NL.tolist() == [[UNKNOWN, UNKNOWN, 2], [UNKNOWN, PADDING, PADDING]]
    assert corpus.test.lengths_N.tolist() == [3, 1]
    assert corpus.num_embeddings == 4
    assert corpus.train.num_tokens == 5


def test_the_test_set_never_enters_the_vocabulary() -> None:
    with_other_test = replace(TEXTS, test_texts=["d d d d", "d"])
    assert (
        encode("csv", TEXTS, max_tokens=3, vocabulary_size=9).train.token_ids_NL.tolist()
        == encode("csv", with_other_test, max_tokens=3, vocabulary_size=9).train.token_ids_NL.tolist()
    )


def test_the_digest_names_the_content() -> None:
    corpus = encode("csv", TEXTS, max_tokens=3, vocabulary_size=9)
    assert corpus.digest == "csv:69e0dd0ee465fe62da1371011d24536ef66680162c165cadd161045899c7885b"
    assert encode("csv", TEXTS, max_tokens=2, vocabulary_size=9).digest != corpus.digest
    assert encode("csv", replace(TEXTS, train_labels=[1, 0]), max_tokens=3, vocabulary_size=9).digest != corpus.digest
    assert encode("csv", replace(TEXTS, class_names=("no", "yes")), max_tokens=3, vocabulary_size=9).digest != corpus.digest


def test_the_cache_gives_back_what_was_saved(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "corpus.npz"
    save(corpus, path)
    loaded = load_cached(path)
    assert loaded is not None
    assert loaded.digest == corpus.digest
    assert loaded.class_names == corpus.class_names
    assert (loaded.train.token_ids_NL == corpus.train.token_ids_NL).all()


def test_a_damaged_cache_is_no_cache(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "corpus.npz"
    assert load_cached(path) is None
    save(corpus, path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a zip file"):
        path.write_bytes(damaged)
        assert load_cached(path) is None
    other = Corpus(corpus.source, corpus.train, corpus.test, corpus.class_names, corpus.num_embeddings)
    other.__dict__["digest"] = "synthetic:wrong"
    save(other, path)
    assert load_cached(path) is None


def test_token_ids_stay_in_range(corpus: Corpus) -> None:
    for reviews in (corpus.train, corpus.test):
        assert reviews.token_ids_NL.min() >= PADDING
        assert reviews.token_ids_NL.max() < corpus.num_embeddings
        is_padding = np.arange(reviews.token_ids_NL.shape[1]) >= reviews.lengths_N[:, None]
        assert ((reviews.token_ids_NL == PADDING) == is_padding).all()
