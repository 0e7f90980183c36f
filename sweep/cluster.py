"""The connection to Ray, and the preflight: every machine is asked, before the first trial, whether it can run this launch's trials.

Ray says nothing at launch of a storage path that only the head can see, nor of a worker that imports older code: the first shows as
trials that are retried, the second not at all. So each machine answers for itself here, and what fails is named by machine, with the
remedy. Machines that join later are asked by their worker processes (``trainables/node.py``).
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.markup import escape

from sweep.sections import Resources
from sweep.study import Study
from trainables.errors import RequestError
from trainables.node import TrialContext, drawbacks, plugin_problems, problems
from trainables.spec import Precision

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean in a trial what they mean in the launch
    "RAY_AIR_NEW_OUTPUT": "0",  # progress is shown by `Progress`
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the ledger is the record; for views of it see ``trackers.py``
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C reaches the launch, which then stops Ray
    "TUNE_MAX_PENDING_TRIALS_PG": "64",  # trials that wait for a place, and so what an autoscaler is asked for at once
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # Tune's state is never restored
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

ANSWER_SECONDS = 120
"""How long a machine may take to answer: it starts a process and imports torch where GPUs are asked for."""

TRIAL_BYTES = 500_000_000
"""Memory of a trial's process before it has computed anything: torch and Ray, measured."""


@contextmanager
def ray_cluster(address: str | None) -> Iterator[dict[str, float]]:
    """A connection to a cluster, or a local Ray for the time of the block; gives the cluster's resources.

    Raises:
        RequestError: no cluster at the address.
    """
    os.environ.update(QUIET)
    import ray
    from ray import tune  # noqa: F401 - two seconds of imports, while Ray's processes are not yet asking for the cores

    try:
        if address:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            # "local": a cluster of `ray start` that happens to run here is not taken unless it was asked for
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise RequestError(f"--address {address}: no Ray cluster answers there ({error}); start one, or leave --address out") from error
    try:
        yield ray.cluster_resources()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise ConnectionError at once where nothing listens; Ray would try for more than a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto", say: Ray finds out
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(str(error)) from error


def check_resources(resources: Resources, available: dict[str, float]) -> None:
    """Refuse trials that no machine here could ever start.

    Raises:
        RequestError: a trial asks for more than the whole local machine has.
    """
    for kind, wanted, unit in (("CPU", resources.cpu, "cores"), ("GPU", resources.gpu, "GPUs")):
        if wanted > available.get(kind, 0):
            raise RequestError(
                f"resources.{kind.lower()} = {wanted}: this machine has {available.get(kind, 0):g} {unit}; ask for at most that"
            )


def places(resources: Resources) -> int:
    """Trials that the machines of the connected cluster can hold beside each other."""
    return sum(_places(node["Resources"], resources) for node in _alive())


def _places(has: Mapping[str, float], resources: Resources) -> int:
    """On one machine; what its trials do not share, a core or a GPU, is never split between two of them."""
    on_cores = int(has.get("CPU", 0) / resources.cpu)
    if not resources.gpu:
        return on_cores
    gpus = has.get("GPU", 0)
    return min(
        on_cores, int(gpus) * int(1 / resources.gpu) + int(gpus % 1 / resources.gpu) if resources.gpu < 1 else int(gpus / resources.gpu)
    )


def preflight(context: TrialContext, study: Study, corpus_bytes: int, output: Console) -> None:
    """Ask every machine of the connected cluster whether it can run the launch's trials.

    Args:
        context: of the launch, which holds the study's lease.
        study: whose trials are to run.
        corpus_bytes: what the corpus takes in each machine's object store.
        output: told of what was checked, of machines that are slower than they could be, and if no machine can hold a trial yet.

    Raises:
        RequestError: a line for each machine and problem.
    """
    nodes, resources = _alive(), study.resources
    able = [node for node in nodes if _places(node["Resources"], resources)]
    found = [(node, text) for node in nodes for text in _memory_problems(node, corpus_bytes, node in able)]
    answers = _ask(nodes, able, context, study)
    found += answers.problems
    still_there = {node["NodeID"] for node in _alive()}
    found = [(node, text) for node, text in found if node["NodeID"] in still_there]  # one that died meanwhile is no obstacle
    if found:
        lines = [f"  {_name(node)}: {text}" for node, text in found]
        raise RequestError("these machines of the cluster cannot run the study:\n" + "\n".join(lines))
    output.print(f"{len(nodes)} machines, {len(able)} of them for trials: storage, code and memory are in order", style="dim")
    for node, text in answers.drawbacks:
        output.print(f"[yellow]slower than it could be:[/] {_name(node)}: {escape(text)}", highlight=False, soft_wrap=True)
    if not able:
        wanted = f"{resources.cpu:g} CPU" + (f" and {resources.gpu:g} GPU" if resources.gpu else "")
        output.print(
            f"[yellow]No machine can hold a trial ({wanted}) yet:[/] waiting for one to join, as an autoscaled cluster's will. "
            "Otherwise stop with Ctrl-C, and ask for less (resources.cpu, resources.gpu)",
            soft_wrap=True,
        )


def _alive() -> list[dict[str, Any]]:
    """The cluster's machines, as Ray knows them."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _memory_problems(node: dict[str, Any], corpus_bytes: int, for_trials: bool) -> list[str]:
    has = node["Resources"]
    texts = []
    if has.get("object_store_memory", 0) < corpus_bytes:
        texts.append(
            f"its object store holds {has.get('object_store_memory', 0) / 1e6:,.0f} MB, the corpus takes {corpus_bytes / 1e6:,.0f} MB; "
            "start Ray there with a larger --object-store-memory, or lower data.max_tokens"
        )
    if for_trials and has.get("memory", 0) < TRIAL_BYTES:
        texts.append(f"has {has.get('memory', 0) / 1e6:,.0f} MB for processes, a trial takes {TRIAL_BYTES / 1e6:,.0f} MB and more")
    return texts


@dataclass
class _Answers:
    """What machines said of themselves, each text with its machine."""

    problems: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    drawbacks: list[tuple[dict[str, Any], str]] = field(default_factory=list)


def _inspect(context: TrialContext, network: tuple[str, Precision] | None) -> tuple[list[str], list[str]]:
    """On a machine: its problems; if it is to run trials, of what plug-ins and network (classifier, precision) too, and its drawbacks."""
    lacking = problems(context)
    if network:
        lacking += plugin_problems(context)
    return lacking, drawbacks(context.execution, *network) if network and not lacking else []


def _ask(nodes: Sequence[dict[str, Any]], able: Sequence[dict[str, Any]], context: TrialContext, study: Study) -> _Answers:
    """What each machine says of itself; only those that are able to hold a trial are asked about GPUs and speed."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(_inspect)
    without_gpu = replace(context, execution=replace(context.execution, device="cpu"))
    tasks = {}
    for node in nodes:
        # a GPU is asked for because Ray hides those that were not; no core is, so that a busy machine answers too
        network = (study.classifier, study.model.precision) if node in able else None
        asked, num_gpus = (context, study.resources.gpu) if network else (without_gpu, 0)
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        tasks[remote.options(num_cpus=0, num_gpus=num_gpus, max_retries=0, scheduling_strategy=there).remote(asked, network)] = node
    answered, silent = ray.wait(list(tasks), num_returns=len(tasks), timeout=ANSWER_SECONDS)
    answers = _Answers([(tasks[task], f"did not answer within {ANSWER_SECONDS} s; is it busy with another study?") for task in silent])
    for task in answered:
        node = tasks[task]
        try:
            lacking, slower = ray.get(task)
        except ray.exceptions.RayError as error:
            lacking, slower = [f"cannot run this project's code ({_cause(error)}); install the project there as on the head"], []
        answers.problems += [(node, text) for text in lacking]
        answers.drawbacks += [(node, text) for text in slower]
    return answers


def _cause(error: Exception) -> str:
    """The last line of an error that came from another machine."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _name(node: dict[str, Any]) -> str:
    name, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return name if name == address else f"{name} ({address})"
