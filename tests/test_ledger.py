"""The ledger: what is committed stays, what is torn or foreign is never used, and a crash at any instant loses one round at most."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SpecFactory
from tests.test_trajectory import science
from trainables.corpus import Corpus
from trainables.errors import LedgerError, SupersededError
from trainables.ledger import SEALED, Ledger
from trainables.rounds import Round, Row, schema
from trainables.spec import Execution, TrajectorySpec
from trainables.storage import LocalStorage, ObjectStorage, Storage, open_storage
from trainables.trajectory import rounds


def execute(storage: Storage, spec: TrajectorySpec, corpus: Corpus) -> None:
    """What a trial does: read, go on, seal."""
    ledger = Ledger(storage, spec)
    finished = ledger.read()
    attempt = ledger.begin_attempt("launch", {})
    for done in rounds(spec, corpus, finished, Execution()):
        ledger.append(done, attempt)
    ledger.seal()


def sealed_science(storage: Storage) -> list[dict[str, object]]:
    table = pq.read_table(io.BytesIO(storage.read(SEALED)))
    places = [name for name in table.column_names if name.endswith("seconds") or name in ("tokens_per_second", "device")]
    return list(table.drop_columns(places).to_pylist())


@pytest.fixture(params=["local", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return LocalStorage(tmp_path / "ledger")
    return ObjectStorage(pafs.LocalFileSystem(), PurePosixPath(tmp_path) / "ledger", "mock://ledger")


def test_rounds_come_back_as_they_were_written(storage: Storage, spec: SpecFactory, corpus: Corpus) -> None:
    tiny = spec(acquisition="bald", mc_passes=3)
    execute(storage, tiny, corpus)
    fresh = list(rounds(tiny, corpus, [], Execution()))
    assert science(Ledger(storage, tiny).read()) == science(fresh)
    assert storage.names() == ["attempts", "predictions", "rounds", "spec.json", SEALED]
    assert storage.names("rounds") == ["0000.json", "0001.json", "0002.json", "0003.json"]
    assert storage.names("predictions") == ["0003.npz"]
    with np.load(io.BytesIO(storage.read("predictions/0003.npz"))) as predictions:
        for mode in ("deterministic", "mc"):
            assert (predictions[mode] == fresh[3].predictions[mode]).all()


def test_the_sealed_table_holds_all_rounds(storage: Storage, spec: SpecFactory, corpus: Corpus) -> None:
    execute(storage, spec(), corpus)
    table = pq.read_table(io.BytesIO(storage.read(SEALED)))
    assert table.schema == schema()
    assert table["num_labelled"].to_pylist() == [10, 20, 30, 40]
    assert [len(batch) for batch in table["acquired"].to_pylist()] == [10, 10, 10, 0]
    assert table["accuracy_mc"].null_count == 3
    assert table["mc_passes"].null_count == 4


def test_floats_round_trip_exactly(storage: Storage, spec: SpecFactory, corpus: Corpus) -> None:
    execute(storage, spec(), corpus)
    in_json = [r.row.nll_deterministic for r in Ledger(storage, spec()).read()]
    in_parquet = pq.read_table(io.BytesIO(storage.read(SEALED)))["nll_deterministic"].to_pylist()
    assert in_json == in_parquet


class PowerCutError(BaseException):
    """The process is gone: no handler of the code under test may see it as an error."""


class FailingStorage(LocalStorage):
    """Storage on which the power is cut at the n-th write, before it, half-way, or after it."""

    def __init__(self, root: Path, writes: int, moment: str) -> None:
        super().__init__(root)
        self.writes_left, self.moment = writes, moment

    def _maybe_cut(self, name: str, data: bytes, write: Callable[[], bool | None]) -> bool | None:
        self.writes_left -= 1
        if self.writes_left >= 0:
            return write()
        if self.moment == "half-way":
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / f".{path.name}.12345678.tmp").write_bytes(data[: len(data) // 2])
        if self.moment == "after":
            write()
        raise PowerCutError

    def write(self, name: str, data: bytes) -> None:
        self._maybe_cut(name, data, lambda: super(FailingStorage, self).write(name, data))

    def create(self, name: str, data: bytes) -> bool:
        return bool(self._maybe_cut(name, data, lambda: super(FailingStorage, self).create(name, data)))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["before", "half-way", "after"])), min_size=1, max_size=4))
def test_power_cuts_at_any_write_lose_at_most_the_round_in_flight(
    tmp_path_factory: pytest.TempPathFactory, spec: SpecFactory, corpus: Corpus, cuts: list[tuple[int, str]]
) -> None:
    tiny = spec(acquisition="entropy", mc_passes=2, min_steps=3, eval_mc_budgets=(20, 40))
    root = tmp_path_factory.mktemp("cut")
    undisturbed = LocalStorage(root / "undisturbed")
    execute(undisturbed, tiny, corpus)
    folder = root / "disturbed"
    seen: dict[str, tuple[int, int]] = {}
    for writes, moment in cuts:
        with suppress(PowerCutError):
            execute(FailingStorage(folder, writes, moment), tiny, corpus)
        for path in (folder / "rounds").glob("*.json"):
            stamp = (path.stat().st_ino, path.stat().st_mtime_ns)
            assert seen.setdefault(path.name, stamp) == stamp, "a finished round was written again"
    execute(LocalStorage(folder), tiny, corpus)
    assert sealed_science(LocalStorage(folder)) == sealed_science(undisturbed)


class TestWhatCannotBeTrusted:
    @pytest.fixture
    def folder(self, tmp_path: Path, spec: SpecFactory, corpus: Corpus) -> Path:
        execute(LocalStorage(tmp_path / "ledger"), spec(), corpus)
        return tmp_path / "ledger"

    @pytest.mark.parametrize("content", [b"", b"{", b'{"row": {}}', b"[]", b"\xff\xfe"])
    def test_a_torn_round_is_refused_by_name(self, folder: Path, spec: SpecFactory, content: bytes) -> None:
        path = folder / "rounds" / "0001.json"
        path.write_bytes(content)
        with pytest.raises(LedgerError, match=r"rounds/0001\.json is not a finished round: it cannot be read .* move this file away"):
            Ledger(LocalStorage(folder), spec()).read()
        assert path.read_bytes() == content

    def test_an_altered_number_is_refused(self, folder: Path, spec: SpecFactory) -> None:
        path = folder / "rounds" / "0002.json"
        content = json.loads(path.read_text())
        content["row"]["accuracy_deterministic"] = 0.99
        path.write_text(json.dumps(content))
        with pytest.raises(LedgerError, match=r"0002\.json is not a finished round: its content does not match its digest"):
            Ledger(LocalStorage(folder), spec()).read()

    def test_a_moved_round_lets_the_trajectory_go_on_before_it(self, folder: Path, spec: SpecFactory, corpus: Corpus) -> None:
        before = sealed_science(LocalStorage(folder))
        (folder / "rounds" / "0001.json").unlink()
        assert len(Ledger(LocalStorage(folder), spec()).read()) == 1
        assert sorted(p.name for p in (folder / "rounds").iterdir()) == ["0000.json", "0002.json.unchained-1", "0003.json.unchained-1"]
        execute(LocalStorage(folder), spec(), corpus)
        assert sealed_science(LocalStorage(folder)) == before

    def test_a_round_of_another_history_is_set_aside(self, folder: Path, tmp_path: Path, spec: SpecFactory, corpus: Corpus) -> None:
        """Another arm's round is whole, but it does not chain."""
        other = tmp_path / "other"
        execute(LocalStorage(other), spec(acquisition="entropy", mc_passes=2), corpus)
        (folder / "rounds" / "0002.json").write_bytes((other / "rounds" / "0002.json").read_bytes())
        assert len(Ledger(LocalStorage(folder), spec()).read()) == 2
        assert (folder / "rounds" / "0002.json.unchained-1").exists()

    def test_another_spec_in_the_folder_is_refused(self, folder: Path, spec: SpecFactory) -> None:
        (folder / "spec.json").write_text(spec(seed=9).canonical_json())
        with pytest.raises(LedgerError, match=r"spec\.json is not the spec"):
            Ledger(LocalStorage(folder), spec()).read()

    @pytest.mark.parametrize("content", [None, b"", b"not a zip"])
    def test_predictions_that_are_not_those_of_the_round_are_refused(self, folder: Path, spec: SpecFactory, content: bytes | None) -> None:
        path = folder / "predictions" / "0003.npz"
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(LedgerError, match=r"predictions/0003\.npz is missing or is not what round 3 was committed with"):
            Ledger(LocalStorage(folder), spec()).read()


class TestTwoWriters:
    def test_the_first_to_commit_wins_and_an_equal_round_is_adopted(self, tmp_path: Path, spec: SpecFactory, corpus: Corpus) -> None:
        one, two = (Ledger(LocalStorage(tmp_path), spec()) for _ in range(2))
        one.read(), two.read()
        attempts = [one.begin_attempt("a", {}), two.begin_attempt("a", {})]
        assert attempts == [1, 2]
        mine, theirs = (next(rounds(spec(), corpus, [], Execution())) for _ in range(2))
        one.append(mine, attempts[0])
        stamp = (tmp_path / "rounds" / "0000.json").stat().st_mtime_ns
        two.append(theirs, attempts[1])
        assert (tmp_path / "rounds" / "0000.json").stat().st_mtime_ns == stamp
        assert two.num_rounds == 1

    def test_a_different_result_makes_the_later_writer_read_again(self, tmp_path: Path, spec: SpecFactory, corpus: Corpus) -> None:
        one, two = (Ledger(LocalStorage(tmp_path), spec()) for _ in range(2))
        one.read(), two.read()
        done = next(rounds(spec(), corpus, [], Execution()))
        one.append(done, one.begin_attempt("a", {}))
        other = Round(replace(done.row, train_loss=0.5), done.acquired)
        with pytest.raises(SupersededError, match="committed by another writer with a different result"):
            two.append(other, two.begin_attempt("b", {}))
        assert science(Ledger(LocalStorage(tmp_path), spec()).read()) == science([done])


def test_a_failure_is_recorded_and_removed_by_a_later_success(storage: Storage, spec: SpecFactory, corpus: Corpus) -> None:
    ledger = Ledger(storage, spec())
    ledger.read()
    try:
        raise ValueError("broken")
    except ValueError as error:
        ledger.record_failure(error, {"host": "here"})
    record = json.loads(storage.read("failure.json"))
    assert record["error"] == "ValueError: broken"
    assert "test_ledger.py" in record["traceback"]
    assert record["round"] == 0
    execute(storage, spec(), corpus)
    assert not storage.exists("failure.json")


def test_row_names_every_column_of_the_contract() -> None:
    contract = (
        "trajectory_id seed acquisition dropout_rate mc_passes round num_labelled accuracy_deterministic accuracy_mc nll_deterministic "
        "nll_mc brier_deterministic brier_mc ece_deterministic ece_mc acquired_class_balance train_loss gradient_steps train_seconds "
        "score_seconds evaluate_seconds tokens_per_second device initial_set_hash initial_weights_hash"
    )
    assert set(contract.split()) <= set(Row.__annotations__)


class TestStorage:
    def test_creation_never_overwrites(self, storage: Storage) -> None:
        assert storage.create("a/b", b"first")
        assert not storage.create("a/b", b"second")
        assert storage.read("a/b") == b"first"
        storage.write("a/b", b"third")
        assert storage.read("a/b") == b"third"

    def test_names_leave_temporary_files_out(self, storage: Storage) -> None:
        storage.write("a/.x.tmp", b"")
        storage.write("a/b", b"")
        assert storage.names("a") == ["b"]
        assert storage.names("nowhere") == []

    def test_moving_and_removing(self, storage: Storage) -> None:
        storage.write("a", b"1")
        storage.rename("a", "b")
        assert not storage.exists("a")
        assert storage.read("b") == b"1"
        storage.remove("b")
        storage.remove("b")
        assert not storage.exists("b")
        with pytest.raises(FileNotFoundError):
            storage.read("b")

    def test_a_failed_write_leaves_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(OSError, match="file"):
            LocalStorage(tmp_path / "file").write("a", b"x")
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_locations(self, tmp_path: Path) -> None:
        assert open_storage(str(tmp_path)).location == str(tmp_path)
        assert isinstance(open_storage(f"file://{tmp_path}"), LocalStorage)
        with pytest.raises(ValueError, match="Unrecognized filesystem type"):
            open_storage("what://is/this")
