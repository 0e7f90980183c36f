"""A ledger in an object store: S3 as moto's server speaks it, through the same client as in production."""

import json
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sweep.folder import StudyFolder
from sweep.plan import make_plan
from sweep.status import main
from sweep.study import Study
from tests.conftest import TINY_STUDY, SpecFactory
from tests.test_ledger import execute, sealed_science
from trainables.corpus import Corpus
from trainables.errors import StorageError
from trainables.ledger import Ledger
from trainables.patience import Patient, open_patiently
from trainables.spec import Execution
from trainables.trajectory import rounds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def uri(server: ThreadedMotoServer) -> str:
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="sweeps")
    return f"s3://sweeps/results/study?scheme=http&endpoint_override={host}:{port}&region=us-east-1"


@pytest.fixture
def storage(uri: str) -> Patient:
    return open_patiently(uri, 1.0, must_exist=True)


def test_the_four_things_that_a_ledger_needs(storage: Patient) -> None:
    folder = storage.folder("trajectories/1")
    assert folder.names() == []
    assert folder.create("spec.json", b"{}")
    assert not folder.create("spec.json", b"other")
    folder.write("rounds/0000.json", b"0")
    folder.rename("rounds/0000.json", "rounds/0000.json.unchained-1")
    assert folder.names("rounds") == ["0000.json.unchained-1"]
    assert folder.names() == ["rounds", "spec.json"]
    folder.remove("spec.json")
    assert not folder.exists("spec.json")
    with pytest.raises(FileNotFoundError):
        folder.read("spec.json")


def test_a_folders_location_opens_the_folder(storage: Patient) -> None:
    storage.folder("trajectories/1").write("a", b"there")
    assert open_patiently(storage.folder("trajectories").folder("1").location, 1.0).read("a") == b"there"


def test_a_ledger_goes_on_from_what_is_there(storage: Patient, spec: SpecFactory, corpus: Corpus) -> None:
    one = spec()
    folder = storage.folder(one.trajectory_id)
    ledger = Ledger(folder, one)
    computed = rounds(one, corpus, ledger.read(), Execution())
    ledger.append(next(computed), ledger.begin_attempt("launch", {}))
    execute(folder, one, corpus)
    assert folder.names("rounds") == [f"{number:04}.json" for number in range(one.num_rounds)]
    assert [row["round"] for row in sealed_science(folder)] == list(range(one.num_rounds))
    assert json.loads(folder.read("attempts/0002.json"))["first_round"] == 1


def test_a_store_that_does_not_answer_is_told_as_what_it_is(storage: Patient, server: ThreadedMotoServer) -> None:
    storage.write("a", b"1")
    server.stop()
    with pytest.raises(StorageError, match=r"storage s3://sweeps/results/study\?.*still after 1 s"):
        storage.write("a", b"2")


def test_the_status_of_a_study(uri: str, corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study.model_validate(TINY_STUDY)
    folder = StudyFolder(open_patiently(uri, 1.0))
    plan = make_plan(study, corpus)
    folder.save(study, plan, corpus)
    one = next(iter(plan.specs.values()))
    execute(folder.trajectory(one.trajectory_id), one, corpus)
    assert main([uri, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["trajectories"]["done"], found["rounds"]) == (1, one.num_rounds)
    assert main([uri, "--disk", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["rounds"]["files"] == one.num_rounds
