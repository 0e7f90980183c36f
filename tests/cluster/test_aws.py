"""A study on AWS, as far as that can be pretended: machines come when trials wait, one is taken away, and all are gone at the end."""

import time
from collections.abc import Iterator

import pytest

from tests.cluster.aws_services import IMAGE, KEY_NAME
from tests.cluster.clusters import Cluster, make_laptop
from tests.cluster.conftest import Science, Stopwatch
from tests.cluster.edited_files import aws
from tests.cluster.hosts import require_root_and_tools, wait_for
from tests.cluster.networks import Network
from tests.cluster.pretend_aws import GATEWAY, PretendAws
from tests.cluster.studies import BucketStudy, Evidence, assert_same_science

pytestmark = pytest.mark.cluster
MOST_WORKERS = 3
WORKER = "gpu_spot"


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PretendAws]:
    require_root_and_tools()
    pytest.importorskip("moto")
    network = Network(tmp_path_factory.mktemp("aws", numbered=False), GATEWAY)
    cloud = PretendAws(network)
    try:
        make_laptop(network, **cloud.environment(outside=True))
        yield cloud
    finally:
        cloud.close()
        network.close()


def test_spot_machines_come_are_taken_away_and_go(cloud: PretendAws, reference: Science, measured: Stopwatch) -> None:
    # m3.medium: one processor, so that a machine is one trial
    node = {"ImageId": IMAGE, "KeyName": KEY_NAME, "SecurityGroupIds": [cloud.group], "InstanceType": "m3.medium"}
    cluster = Cluster(cloud.network, cloud.network.hosts["laptop"], "cluster.yaml", aws(node, MOST_WORKERS))
    measured("AWS: `ray up` until the head is there", cluster.up(nodes=1))
    assert [machine["kind"] for machine in cloud.running()] == ["head"], "no worker before there is work"

    study = BucketStudy(cluster, "spot")
    began = time.monotonic()
    study.launch()
    wait_for(lambda: len(cloud.running(WORKER)) == MOST_WORKERS, f"{MOST_WORKERS} workers\n{study.output}", 120)
    assert {machine["market"] for machine in cloud.running(WORKER)} == {"spot"}
    measured(f"AWS: command until {MOST_WORKERS} spot machines were ordered", time.monotonic() - began)
    wait_for(lambda: "running" in study.output and Evidence.of(study.fetch("before"), copied=True).rounds, "a first round", 180, 3)
    measured("AWS: command until the first round", time.monotonic() - began)

    victim = cloud.running(WORKER)[0]
    cloud.take_away(victim)
    taken_at = time.monotonic()
    wait_for(lambda: cloud.name_of(victim) not in cloud.network.hosts, "the machine is taken away")
    before = Evidence.of(study.fetch("before"), copied=True)
    wait_for(lambda: len(cloud.running(WORKER)) == MOST_WORKERS, "a replacement is ordered", 120)
    measured("AWS: a spot machine is taken away until its replacement is ordered", time.monotonic() - taken_at)
    study.finish()
    measured("AWS: command until the study's end, one machine taken away", time.monotonic() - began)
    after = study.fetch("after")
    assert before.begun_again(after, copied=True) <= 1
    assert_same_science(after, reference)

    ended_at = time.monotonic()
    wait_for(lambda: not cloud.running(WORKER), "idle workers go", 180)
    measured("AWS: the study's end until no worker is left (idle_timeout_minutes: 0.5)", time.monotonic() - ended_at)
    measured("AWS: `ray down`", cluster.down())
    wait_for(lambda: not cloud.running(), "nothing is left", 30)
