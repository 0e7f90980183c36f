"""One cluster of own machines for all tests that can share it, mended before each; and the times that they measured."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.clusters import Cluster, make_laptop
from tests.cluster.edited_files import own_machines
from tests.cluster.hosts import require_root_and_tools
from tests.cluster.networks import Network
from tests.cluster.shared_storage import SharedStorage
from tests.cluster.studies import launch_line
from tests.launching import sealed_science

MEASURED: list[tuple[str, float]] = []
Science = dict[str, list[dict[str, Any]]]
Stopwatch = Callable[[str, float], None]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if MEASURED:
        terminalreporter.section("measured on the cluster")
    for what, seconds in MEASURED:
        terminalreporter.write_line(f"{seconds:7.1f} s  {what}")


@pytest.fixture(scope="session")
def measured() -> Stopwatch:
    """Notes a time for the end of the report."""
    return lambda what, seconds: MEASURED.append((what, seconds))


@pytest.fixture(scope="session")
def own_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Laptop, head and two workers, switched on; a shared folder that can be filled."""
    require_root_and_tools()
    network = Network(tmp_path_factory.mktemp("own", numbered=False), "10.77.0.1/24")
    storage = SharedStorage(network)
    try:
        make_laptop(network)
        for name, address in (("head", "10.77.0.11"), ("w1", "10.77.0.12"), ("w2", "10.77.0.13")):
            network.add(name, address)
        yield network
    finally:
        network.close()
        storage.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, measured: Stopwatch) -> Science:
    """Science columns of the undisturbed study, run on one machine that is in no cluster."""
    require_root_and_tools()
    network = Network(tmp_path_factory.mktemp("alone", numbered=False), "10.77.0.1/24")
    try:
        alone = make_laptop(network)
        began = time.monotonic()
        alone.run(launch_line("reference", "/root/results"), seconds=240)
        measured("one machine, no cluster: the whole study", time.monotonic() - began)
        return sealed_science(alone.disk / "results" / "reference")
    finally:
        network.close()


@pytest.fixture(scope="session")
def running_cluster(own_network: Network, reference: Science, measured: Stopwatch) -> Iterator[Cluster]:
    """The cluster of ``cluster.onprem.yaml``, brought up once and taken down at the end."""
    del reference  # before the cluster is there: it would only be slower
    config = own_machines("10.77.0.11", ["10.77.0.12", "10.77.0.13"])
    cluster = Cluster(own_network, own_network.hosts["laptop"], "cluster.onprem.yaml", config)
    measured("own machines: `ray up` until three machines are there", cluster.up(nodes=3))
    yield cluster
    measured("own machines: `ray down`", cluster.down())
    assert cluster.head.run("pgrep -c 'raylet|gcs_server'", check=False).stdout.strip() == "0", "Ray still runs on the head"


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """The running cluster, whole again whatever the test before did to it."""
    mend(running_cluster)
    yield running_cluster
    stop_launches(running_cluster)


def mend(cluster: Cluster) -> None:
    """Power, links, storage and Ray as they were at the beginning."""
    SharedStorage.of(cluster.network).mend()
    for host in cluster.network.hosts.values():
        if not host.is_on:
            host.power_on()
        host.send_all(signal.SIGCONT)
        host.restore_link()
    if not cluster.alive():
        cluster.up(nodes=3)
    cluster.wait_for_nodes(3)


def stop_launches(cluster: Cluster) -> None:
    """End what a failed test left running, so that it does not take the next one's processors."""
    if cluster.head.is_on:
        cluster.head.run("tmux kill-server; sleep 0.5; pkill -KILL -f '[s]weep.launch'", check=False)
