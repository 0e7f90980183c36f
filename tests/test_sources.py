"""Reading data sets: the official layout in every form it comes in, one's own tables, and generated reviews."""

import io
import secrets
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainables.corpus import encode, tokens
from trainables.errors import RequestError
from trainables.sources.imdb import ImdbSource
from trainables.sources.synthetic import RARE_BAD, RARE_GOOD, SyntheticSource
from trainables.sources.table import TableSource

FILES = {
    f"aclImdb/{split}/{name}/{number}_{rating}.txt": f"{split} {name} {number}"
    for split in ("train", "test")
    for name, rating in (("neg", 2), ("pos", 9))
    for number in (0, 1, 10, 2)
} | {"aclImdb/train/unsup/0_0.txt": "no label", "aclImdb/README": "read me"}


def make_archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def make_folder(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


class TestImdb:
    def test_archive_and_folder_give_the_same_corpus(self, tmp_path: Path) -> None:
        archive = make_archive(tmp_path / "reviews.tar.gz", FILES)
        folder = make_folder(tmp_path / "folder", FILES)
        corpora = [
            encode("imdb", ImdbSource(path, reviews_per_class=4).read(), max_tokens=9, vocabulary_size=99)
            for path in (archive, folder, folder / "aclImdb")
        ]
        assert len({corpus.digest for corpus in corpora}) == 1
        assert corpora[0].class_names == ("neg", "pos")

    def test_reviews_are_ordered_by_class_and_number(self, tmp_path: Path) -> None:
        texts = ImdbSource(make_archive(tmp_path / "a.tar.gz", FILES), reviews_per_class=4).read()
        assert list(texts.train_texts) == [f"train {name} {number}" for name in ("neg", "pos") for number in (0, 1, 2, 10)]
        assert list(texts.test_labels) == [0] * 4 + [1] * 4

    def test_an_incomplete_data_set_is_told_with_counts(self, tmp_path: Path) -> None:
        files = {name: text for name, text in FILES.items() if name != "aclImdb/test/pos/10_9.txt"}
        with pytest.raises(RequestError, match=r"train/neg 4, train/pos 4, test/neg 4, test/pos 3 reviews, expected 4 in each"):
            ImdbSource(make_archive(tmp_path / "a.tar.gz", files), reviews_per_class=4).read()
        with pytest.raises(RequestError, match="train/neg 0"):
            ImdbSource(make_folder(tmp_path / "other", {"notes/x.txt": ""})).read()

    @pytest.mark.parametrize("kept", [0.3, 0.9])
    def test_a_truncated_archive(self, tmp_path: Path, kept: float) -> None:
        path = make_archive(tmp_path / "a.tar.gz", {name: secrets.token_hex(500) for name in FILES})
        whole = path.read_bytes()
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(RequestError, match=r"damaged or cut short after \d+ of 16 reviews"):
            ImdbSource(path, reviews_per_class=4).read()

    def test_a_file_that_is_no_archive(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar.gz").write_text("hello")
        with pytest.raises(RequestError, match="damaged or cut short after 0"):
            ImdbSource(tmp_path / "a.tar.gz").read()

    @pytest.mark.parametrize("name", ["../train/pos/0_9.txt", "/train/pos/0_9.txt", "aclImdb/../../x"])
    def test_a_member_that_would_escape_is_refused(self, tmp_path: Path, name: str) -> None:
        path = make_archive(tmp_path / "a.tar.gz", {name: "x"})
        with pytest.raises(RequestError, match="points outside the archive"):
            ImdbSource(path).read()
        assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]

    def test_a_review_that_is_no_text(self, tmp_path: Path) -> None:
        folder = make_folder(tmp_path, FILES)
        (folder / "aclImdb/train/pos/0_9.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(RequestError, match=r"the review train/pos/0_9\.txt is not UTF-8 text"):
            ImdbSource(folder, reviews_per_class=4).read()

    def test_a_missing_path(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="no such file or folder"):
            ImdbSource(tmp_path / "nowhere").read()

    def test_the_fingerprint_follows_the_content(self, tmp_path: Path) -> None:
        folder = make_folder(tmp_path, FILES)
        before = ImdbSource(folder).fingerprint()
        assert ImdbSource(folder).fingerprint() == before
        (folder / "aclImdb/train/pos/0_9.txt").write_text("changed")
        assert ImdbSource(folder).fingerprint() != before


class TestTable:
    def table(self, path: Path, frame: pd.DataFrame) -> TableSource:
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
        return TableSource(path, "review", "stars", None, 0.25, 0)

    def frame(self, classes: int = 3, per_class: int = 8) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "id": range(classes * per_class),
                "stars": list(range(classes)) * per_class,
                "review": [f"word{i}" for i in range(classes * per_class)],
            }
        )

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_a_seeded_split_keeps_the_classes_shares(self, tmp_path: Path, ending: str) -> None:
        source = self.table(tmp_path / f"reviews.{ending}", self.frame())
        texts = source.read()
        assert texts.class_names == ("0", "1", "2")
        assert np.bincount(texts.test_labels).tolist() == [2, 2, 2]
        assert np.bincount(texts.train_labels).tolist() == [6, 6, 6]
        assert not set(texts.train_texts) & set(texts.test_texts)
        assert source.read() == texts

    def test_another_split_seed_is_another_split_and_another_fingerprint(self, tmp_path: Path) -> None:
        source = self.table(tmp_path / "reviews.csv", self.frame())
        other = TableSource(source.path, "review", "stars", None, 0.25, 1)
        assert other.read().test_texts != source.read().test_texts
        assert other.fingerprint() != source.fingerprint()

    def test_an_own_test_file(self, tmp_path: Path) -> None:
        source = self.table(tmp_path / "train.csv", self.frame())
        self.table(tmp_path / "test.csv", self.frame(per_class=2))
        texts = TableSource(source.path, "review", "stars", tmp_path / "test.csv", 0.25, 0).read()
        assert (len(texts.train_texts), len(texts.test_texts)) == (24, 6)

    def test_words_as_classes(self, tmp_path: Path) -> None:
        frame = self.frame(2).assign(stars=lambda f: f["stars"].map({0: "poor", 1: "fine"}))
        assert self.table(tmp_path / "reviews.csv", frame).read().class_names == ("fine", "poor")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.assign(stars=1), "has one class, 1; a classifier needs at least 2"),
            (lambda f: f.drop(columns="review"), "no column 'review'; it has 'id', 'stars'"),
            (lambda f: f.assign(review=[None, None, *f["review"][2:]]), "2 of 24 rows have no 'review', the first is row 1"),
            (lambda f: f.iloc[:0], "0 reviews to train on and 0 to test on"),
        ],
    )
    def test_what_cannot_be_used_is_told(self, tmp_path: Path, change: object, message: str) -> None:
        with pytest.raises(RequestError, match=message):
            self.table(tmp_path / "reviews.csv", change(self.frame())).read()  # type: ignore[operator]

    def test_words_that_look_like_nothing_are_words(self, tmp_path: Path) -> None:
        frame = self.frame(2).assign(stars=lambda f: f["stars"].map({0: "None", 1: "NA"}), review="n/a")
        assert self.table(tmp_path / "reviews.csv", frame).read().class_names == ("NA", "None")

    def test_a_class_of_one_review(self, tmp_path: Path) -> None:
        frame = pd.concat([self.frame(2), pd.DataFrame({"id": [99], "stars": [7], "review": ["x"]})])
        with pytest.raises(RequestError, match=r"classes \[7\] have one review each"):
            self.table(tmp_path / "reviews.csv", frame).read()

    def test_a_class_that_is_only_tested(self, tmp_path: Path) -> None:
        source = self.table(tmp_path / "train.csv", self.frame(2))
        self.table(tmp_path / "test.csv", self.frame(3))
        with pytest.raises(RequestError, match=r"classes \[2\] are in the test set only"):
            TableSource(source.path, "review", "stars", tmp_path / "test.csv", 0.25, 0).read()

    def test_what_is_not_a_table(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="not a file"):
            TableSource(tmp_path / "none.csv", "a", "b", None, 0.2, 0).fingerprint()
        (tmp_path / "x.parquet").write_text("no")
        with pytest.raises(RequestError, match="cannot be read as a table"):
            TableSource(tmp_path / "x.parquet", "a", "b", None, 0.2, 0).read()
        (tmp_path / "empty.csv").write_text("")
        with pytest.raises(RequestError, match="cannot be read as a table"):
            TableSource(tmp_path / "empty.csv", "a", "b", None, 0.2, 0).read()


class TestSynthetic:
    def test_the_seed_draws_the_reviews(self) -> None:
        assert SyntheticSource(50, 10, 2, 0).read() == SyntheticSource(50, 10, 2, 0).read()
        assert SyntheticSource(50, 10, 2, 0).read() != SyntheticSource(50, 10, 2, 1).read()

    def test_training_and_test_reviews_are_drawn_apart(self) -> None:
        texts = SyntheticSource(200, 200, 2, 0).read()
        assert texts.train_texts[:50] != texts.test_texts[:50]

    @pytest.mark.parametrize("classes", [2, 3, 5])
    def test_every_class_is_there_in_like_numbers(self, classes: int) -> None:
        texts = SyntheticSource(2000, 10, classes, 0).read()
        shares = np.bincount(texts.train_labels, minlength=classes) / 2000
        assert np.abs(shares - 1 / classes).max() < 0.05
        assert len(texts.class_names) == classes

    def test_rare_verdicts_have_a_long_tail_and_one_meaning(self) -> None:
        """Each rare word belongs to one class, and most are in less than 1% of the reviews: something to ask for."""
        texts = SyntheticSource(4000, 10, 2, 0).read()
        shares = []
        for words, label in ((RARE_BAD, 0), (RARE_GOOD, 1)):
            for word in words:
                having = [y for text, y in zip(texts.train_texts, texts.train_labels, strict=True) if f" {word} " in f" {text} "]
                assert set(having) <= {label}, word
                shares.append(len(having) / 4000)
        assert np.mean(np.array(shares) < 0.01) > 0.8
        assert sum(shares) > 0.2

    def test_words_stay_few(self) -> None:
        words = {word for text in SyntheticSource(2000, 10, 2, 0).read().train_texts for word in tokens(text)}
        assert 150 < len(words) < 400
