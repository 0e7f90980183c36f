"""Features of one's own: what is read, what is refused, and how the digest names it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import StudyWriter
from trainables.corpus import Corpus, check
from trainables.errors import RequestError
from trainables.sources.features import features_corpus


def saved(folder: Path, name: str, array: Any) -> str:
    np.save(folder / name, np.asarray(array))
    return str(folder / name)


def read(train: tuple[str, str], test: tuple[str, str] | None = None, **options: Any) -> Corpus:
    return features_corpus(train, test, **{"test_fraction": 0.25, "split_seed": 0, "standardize": False, **options})


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Eight reviews of four features; classes alternate."""
    return saved(tmp_path, "x.npy", np.arange(32.0).reshape(8, 4)), saved(tmp_path, "y.npy", ["no", "yes"] * 4)


def test_a_seeded_quarter_of_each_class_is_tested_on(files: tuple[str, str]) -> None:
    corpus = read(files)
    check(corpus)
    assert corpus.class_names == ("no", "yes")
    assert sorted(corpus.test.labels_N.tolist()) == [0, 1]
    assert corpus.num_features == 4
    assert corpus.train.features_NF is not None
    rows = corpus.train.features_NF[:, 0] // 4
    assert (corpus.train.labels_N == rows % 2).all()  # classes still belong to their reviews
    assert read(files).digest == corpus.digest
    assert len({corpus.digest, read(files, split_seed=1).digest, read(files, standardize=True).digest}) == 3


def test_standardizing_reads_the_training_reviews_alone(tmp_path: Path) -> None:
    train = saved(tmp_path, "x.npy", [[0.0, 5.0], [2.0, 5.0], [0.0, 5.0], [2.0, 5.0]]), saved(tmp_path, "y.npy", [0, 1, 0, 1])
    test = saved(tmp_path, "tx.npy", [[3.0, 7.0]]), saved(tmp_path, "ty.npy", [1])
    corpus = read(train, test, standardize=True)
    assert corpus.train.features_NF is not None
    assert corpus.test.features_NF is not None
    assert corpus.train.features_NF.tolist() == [[-1, 0], [1, 0], [-1, 0], [1, 0]]
    assert corpus.test.features_NF.tolist() == [[2, 2]]  # (3 - 1) / 1, and a feature that never varies is only shifted


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((8, 2)), np.arange(7) % 2, r"x.npy has 8 reviews, .*y.npy has 7"),
        (np.zeros(8), np.arange(8) % 2, r"shape \(8,\) and type float64; it must be \(reviews, features\)"),
        (np.full((8, 2), np.nan), np.arange(8) % 2, "8 reviews have features that are not finite in float32, the first in row 0"),
        (np.full((8, 2), 1e300), np.arange(8) % 2, "not finite in float32"),
        (np.zeros((8, 2)), np.zeros(8, dtype=int), r"one class only \(\[0\]\)"),
        (np.zeros((8, 2)), np.zeros(8), r"y.npy: shape \(8,\), type float64; it must be \(reviews,\), of whole numbers or words"),
        (np.array([["a"]] * 8), np.arange(8) % 2, "of numbers"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, x: Any, y: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read((saved(tmp_path, "x.npy", x), saved(tmp_path, "y.npy", y)))


def test_files_that_are_no_numpy_arrays_are_refused(tmp_path: Path, files: tuple[str, str]) -> None:
    (tmp_path / "text.npy").write_text("1,2,3")
    np.savez(tmp_path / "several.npz", a=np.zeros(3))
    for name, message in (("text.npy", "no NumPy file of numbers or words"), ("no.npy", "not a file"), ("several.npz", "several arrays")):
        with pytest.raises(RequestError, match=message):
            read((str(tmp_path / name), files[1]))
    other = saved(tmp_path, "wide.npy", np.zeros((2, 5))), saved(tmp_path, "ty.npy", ["no", "yes"])
    with pytest.raises(RequestError, match=r"wide.npy has 5 features a review, .*x.npy has 4"):
        read(files, other)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"classifier": "lstm"}}, "model.classifier = 'lstm' must be mlp or a plug-in for data.source features"),
        ({"data": {"test_path": "t.npy"}}, "data: test_path and test_labels must be given together"),
        ({"model": {"site_dropout": {"word": 0.5}}}, "model.site_dropout: mlp has no site word; it must be one of input, output"),
        ({"model": {"site_dropout": {"input": 0.5, "output": 0.1}}}, "model.site_dropout: one site must follow grid.dropout_rate"),
        (
            {"model": {"classifier": "mpl"}},
            "model.classifier = 'mpl' must be one of lstm, mlp, or a plug-in as package.module:name; did you",
        ),
    ],
)
def test_studies_that_cannot_be_are_refused(study_file: StudyWriter, sections: dict[str, Any], message: str) -> None:
    from sweep.study_file import load_study

    data = {"source": "features", "path": "x.npy", "labels": "y.npy"} | sections.get("data", {})
    path = study_file(**{**sections, "model": {"embedding_dim": 8, **sections.get("model", {})}})
    text = path.read_text().splitlines()
    start = next(i for i, line in enumerate(text) if line.startswith("data:"))
    end = next(i for i, line in enumerate(text) if i > start and not line.startswith(" "))
    path.write_text("\n".join([*text[:start], f"data: {data}".replace("'", ""), *text[end:]]))
    with pytest.raises(RequestError) as told:
        load_study(path)
    assert message in str(told.value)
