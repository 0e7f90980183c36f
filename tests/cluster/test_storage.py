"""The shared storage fails in the middle of a study: the launch says so and ends, nothing is harmed, and the same command goes on."""

import json
import time
from collections.abc import Callable

import pytest

from tests.cluster.clusters import Cluster
from tests.cluster.conftest import Science, Stopwatch
from tests.cluster.shared_storage import SharedStorage
from tests.cluster.studies import RESULTS, ClusterStudy, Evidence, assert_same_science

pytestmark = pytest.mark.cluster
END_SECONDS = 90.0
"""Time for every trial to run out of patience once, in turns."""

BREAKS: dict[str, Callable[[SharedStorage], None]] = {
    "read-only": SharedStorage.make_read_only,
    "full": SharedStorage.fill,
    "gone": lambda storage: storage.vanish("head", "w1", "w2"),
    "gone on one worker": lambda storage: storage.vanish("w1"),
}


@pytest.fixture(scope="module")
def study(running_cluster: Cluster) -> ClusterStudy:
    """One study for all failures, one after the other."""
    return ClusterStudy(running_cluster, "storage")


@pytest.mark.parametrize("what", BREAKS)
def test_the_storage_fails_and_the_launch_says_so(cluster: Cluster, study: ClusterStudy, measured: Stopwatch, what: str) -> None:
    storage = SharedStorage.of(cluster.network)
    earlier = Evidence.of(study.folder)
    study.launch()
    study.wait_for_rounds(len(earlier.rounds) + 2)
    BREAKS[what](storage)
    broken_at = time.monotonic()
    code = study.wait(END_SECONDS)
    measured(f"own machines: storage {what} until the launch ended", time.monotonic() - broken_at)
    strays = storage.strays()
    storage.mend()
    for place in Evidence.of(study.folder).rounds:
        json.loads((study.folder / place).read_text())
    earlier.begun_again(study.folder)
    assert code == 1, study.output
    assert_says_so(study)
    assert not strays, "written where nobody finds it"


def test_after_all_that_the_same_command_goes_on(cluster: Cluster, study: ClusterStudy, reference: Science) -> None:
    before = Evidence.of(study.folder)
    study.launch()
    study.finish()
    before.begun_again(study.folder)
    assert_same_science(study.folder, reference)


def assert_says_so(study: ClusterStudy) -> None:
    """The place is named, and each failed trial has a line about the storage."""
    assert RESULTS in study.output
    failed = [line for line in study.output.splitlines() if line.startswith("failed ")]
    assert all("storage" in line for line in failed), study.output
    assert failed or "storage" in study.output, study.output
