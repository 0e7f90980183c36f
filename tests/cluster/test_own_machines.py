"""A study on own machines outlives the loss of any process, machine or link, and its results are those of one undisturbed machine."""

import json
import signal
import time

import pytest

from sweep.lease import STALE_SECONDS
from tests.cluster.clusters import Cluster
from tests.cluster.conftest import Science, Stopwatch
from tests.cluster.edited_files import CPUS
from tests.cluster.hosts import wait_for
from tests.cluster.studies import TRAJECTORIES, ClusterStudy, Evidence, assert_same_science

pytestmark = pytest.mark.cluster
RUNNING = 3 * CPUS
"""Trials at a time: the head computes, too."""


def test_a_killed_trial_a_killed_driver_and_a_second_launch(cluster: Cluster, reference: Science, measured: Stopwatch) -> None:
    study = ClusterStudy(cluster, "killed")
    began = time.monotonic()
    study.launch()
    study.wait_for_rounds(1)
    measured("own machines: command until the first round", time.monotonic() - began)

    study.wait_until_running_on("w1")
    before = Evidence.of(study.folder)
    _, victim = study.running_on("w1")[0]
    cluster.network.hosts["w1"].run(f"kill -KILL {victim['pid']}")
    second = ClusterStudy(cluster, "killed", by="another")
    second.launch()
    assert second.wait() == 2
    assert "is being run by root on head" in second.output
    assert study.exit_code is None, "the trial's death, or the second launch, ended the first"
    study.wait_for_rounds(len(before.rounds) + 4)
    assert "lost a worker" in study.output
    assert before.begun_again(study.folder) <= 1

    study.kill_driver()
    assert study.wait() == 128 + signal.SIGKILL
    before = Evidence.of(study.folder)
    assert len(before.rounds) < 42
    study.launch()
    study.finish()
    assert before.begun_again(study.folder) <= RUNNING
    assert_same_science(study.folder, reference)


def test_one_worker_loses_its_power_and_another_its_link(cluster: Cluster, reference: Science, measured: Stopwatch) -> None:
    """The cut-off one stands still, too, so that it wakes up in the middle of a round that its replacement has finished meanwhile."""
    study = ClusterStudy(cluster, "cut")
    study.launch()
    study.wait_until_running_on("w1")
    study.wait_until_running_on("w2")
    powerless, cut_off = cluster.network.hosts["w1"], cluster.network.hosts["w2"]
    in_flight = len(study.running_on("w1")) + len(study.running_on("w2"))
    cut_off.cut_link()
    cut_off.send_all(signal.SIGSTOP)
    powerless.power_cut()
    cut_at, before = time.monotonic(), Evidence.of(study.folder)
    for losses, which in ((1, "the first"), (in_flight, "the last")):
        wait_for(lambda losses=losses: study.output.count("lost a worker") >= losses, f"{losses} losses are noticed", 120)
        measured(f"own machines: silence of two workers until {which} of their trials was lost", time.monotonic() - cut_at)
    powerless.power_on()
    began = time.monotonic()
    study.finish()
    assert 1 <= before.begun_again(study.folder) <= in_flight
    finished = Evidence.of(study.folder)

    cut_off.send_all(signal.SIGCONT)
    time.sleep(5)
    assert Evidence.of(study.folder) == finished, "what came late changed something"
    cut_off.restore_link()
    cluster.wait_for_nodes(3)
    measured("own machines: power on of a worker, and link of another, until all are in the cluster again", time.monotonic() - began)
    assert Evidence.of(study.folder) == finished
    assert_same_science(study.folder, reference)


def test_the_head_is_lost_and_rebuilt(cluster: Cluster, reference: Science, measured: Stopwatch) -> None:
    study = ClusterStudy(cluster, "headloss")
    study.launch()
    study.wait_for_rounds(6)
    cluster.head.power_cut()
    lost_at = time.monotonic()
    time.sleep(5)
    cluster.head.power_on()
    measured("own machines: `ray up` after the loss of the head", cluster.up(nodes=3))
    before = Evidence.of(study.folder)
    assert len(before.rounds) < 42
    time.sleep(max(0.0, STALE_SECONDS + 2 - (time.monotonic() - lost_at)))  # until then the lost launch might be alive somewhere
    study.launch()
    study.finish()
    measured("own machines: loss of the head until the study's end", time.monotonic() - lost_at)
    assert before.begun_again(study.folder) <= RUNNING
    assert_same_science(study.folder, reference)
    outcomes = [json.loads(path.read_text())["outcome"] for path in sorted(study.folder.glob("launches/*.json"))]
    assert outcomes == ["running", "finished"], "a launch that lost its machine cannot write its end; the next one does"
    assert len(list(study.folder.glob("trajectories/*/trajectory.parquet"))) == TRAJECTORIES
