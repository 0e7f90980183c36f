"""Who is let in: nobody from outside but by SSH, and nobody from inside without the token, but to read metrics."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import probe
from tests.cluster.clusters import Cluster
from tests.cluster.hosts import Host
from tests.cluster.studies import ClusterStudy

pytestmark = pytest.mark.cluster
PROBE = Path(probe.__file__).read_text()
GCS = "10.77.0.11:6379"
ASK = "import sys; from ray._raylet import GcsClient; print(len(GcsClient(address=sys.argv[1]).get_all_node_info()), 'nodes')"
TOKENS = {"no token": {"RAY_AUTH_MODE": "disabled"}, "a wrong token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}}


@pytest.fixture(scope="module")
def stranger(running_cluster: Cluster) -> Iterator[Host]:
    """A machine in the cluster's network that belongs to somebody else."""
    network = running_cluster.network
    yield network.add("stranger", "10.77.0.66")
    network.remove("stranger")


@pytest.mark.parametrize("token", TOKENS)
def test_a_client_is_refused(cluster: Cluster, stranger: Host, token: str) -> None:
    assert "3 nodes" in cluster.head.python(ASK, GCS, RAY_AUTH_MODE="token").stdout
    answer = stranger.python(ASK, GCS, check=False, **TOKENS[token])
    assert answer.returncode != 0
    assert "nodes" not in answer.stdout
    assert "AuthenticationError" in answer.stderr


@pytest.mark.parametrize("token", TOKENS)
def test_a_machine_is_refused(cluster: Cluster, stranger: Host, token: str) -> None:
    settings = " ".join(f"{name}={value}" for name, value in TOKENS[token].items())
    answer = stranger.run(f"{settings} timeout 60 ray start --address={GCS} --num-cpus=1 --object-store-memory=100000000", check=False)
    assert answer.returncode != 0, answer.stdout
    assert stranger.address not in cluster.alive()
    stranger.run("ray stop --force", check=False)


def ask(on: Host, address: str, *ports: int, **environment: str) -> dict[int, dict[str, str]]:
    """What answers on these ports, or on all that are open."""
    found = json.loads(on.python(PROBE, address, *map(str, ports), **environment).stdout)
    return {int(port): answers for port, answers in found.items()}


@pytest.mark.parametrize("name", ["head", "w1"])
def test_only_ssh_is_open_to_the_outside(cluster: Cluster, name: str) -> None:
    assert ask(cluster.laptop, cluster.network.hosts[name].address) == {22: {"greeting": "SSH"}}


def test_inside_only_metrics_are_open_without_the_token(cluster: Cluster, stranger: Host) -> None:
    study = ClusterStudy(cluster, "scanned")
    study.launch()  # a trial's process has ports of its own
    study.wait_until_running_on("w1")
    token = (cluster.head.disk / ".ray" / "auth_token").read_text().strip()
    opened_by_token: set[str] = set()
    for host in (cluster.head, cluster.network.hosts["w1"]):
        without = ask(stranger, host.address)
        within = ask(stranger, host.address, *without, PROBE_TOKEN=token)
        for port, answers in without.items():
            print(f"{host.name:5} {port:5} {owner(host, port):16} {summary(answers)} | with token: {summary(within[port])}")
        assert 8265 not in without, "the dashboard"
        assert without.pop(22) == {"greeting": "SSH"}
        let_in = {port: answers for port, answers in without.items() if any(good(status) for status in answers.values())}
        assert all(set(answers.values()) == {"200 metrics"} for answers in let_in.values()), let_in
        opened_by_token |= {what for answers in within.values() for what, status in answers.items() if good(status)}
    assert {"GetAllNodeInfo", "GetNodeStats", "GetCoreWorkerStats"} <= opened_by_token, "the probe asks for less than the token opens"


def good(status: str) -> bool:
    """Whether that is what was asked for."""
    return status == "OK" or status.startswith("2")


def owner(host: Host, port: int) -> str:
    """The process that listens there."""
    lines = host.run(f"ss -Htlnp 'sport = :{port}'").stdout
    return lines.split('"')[1] if '"' in lines else "(gone)"


def summary(answers: dict[str, str]) -> str:
    """The answers of those who understood the question."""
    understood = {what: status for what, status in answers.items() if status != "UNIMPLEMENTED"}
    return ", ".join(sorted({f"{what}: {status}" for what, status in understood.items()})) or "answers nothing that was asked"
