"""Before the first trial, a machine that cannot run the study is named with what it lacks, and nothing is computed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.clusters import Cluster
from tests.cluster.hosts import Host
from tests.cluster.shared_storage import SharedStorage
from tests.cluster.studies import ClusterStudy

pytestmark = pytest.mark.cluster


@contextmanager
def other_code(cluster: Cluster, worker: Host) -> Iterator[None]:
    source = worker.disk / "al-sweep" / "trainables" / "model.py"
    shipped = source.read_text()
    source.write_text(f"{shipped}\n# another version\n")
    yield
    source.write_text(shipped)


@contextmanager
def no_storage(cluster: Cluster, worker: Host) -> Iterator[None]:
    SharedStorage.of(cluster.network).vanish(worker.name)
    yield
    SharedStorage.of(cluster.network).mend()


LACKS: dict[str, tuple[Callable[..., object], str]] = {
    "othercode": (other_code, r"has other code: [0-9a-f]{12} \+ changes, the launch has [0-9a-f]{12}"),
    "nostorage": (no_storage, r"does not see the launch's storage at /mnt/shared/results/nostorage \(found nothing there\)"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_a_worker_is_refused_by_name(cluster: Cluster, lack: str) -> None:
    study, worker = ClusterStudy(cluster, lack), cluster.network.hosts["w1"]
    make, message = LACKS[lack]
    with make(cluster, worker):
        study.launch()
        assert study.wait(120) == 2, study.output
    refused = [line for line in study.output.splitlines() if line.startswith("  w")]
    assert len(refused) == 1, study.output
    assert re.match(rf"  w1 \({re.escape(worker.address)}\): {message}", refused[0])
    assert not list(study.folder.glob("trajectories/*"))
