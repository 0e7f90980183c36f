"""A Ray cluster as its user has it: a laptop that holds the token, the key and the cluster file, and gives commands from there."""

import shlex
import shutil
import time
from typing import Any

import yaml

from tests.cluster.hosts import Host, wait_for
from tests.cluster.networks import Network

CHECKOUT = "/root/al-sweep"
ALIVE = """
import sys
from ray._raylet import GcsClient
nodes = GcsClient(address=sys.argv[1]).get_all_node_info().values()
print(*sorted(node.node_manager_address for node in nodes if node.state == 0))
"""


def make_laptop(network: Network, **environment: str) -> Host:
    """A machine outside the cluster's network, with the checkout and the key to the others; its ssh asks nothing."""
    laptop = network.add("laptop", f"{network.OUTSIDE}.10", **environment)
    shutil.copytree(network.checkout, laptop.disk / "al-sweep", symlinks=True)
    key = laptop.disk / ".ssh" / "cluster_key"
    shutil.copy(network.key, key)
    key.chmod(0o600)
    laptop.run("ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token")
    return laptop


class Cluster:
    """What a user does to a cluster."""

    def __init__(self, network: Network, laptop: Host, file_name: str, config: dict[str, Any]) -> None:
        """Nothing runs before `up`."""
        self.network = network
        self.laptop = laptop
        self.file = f"{CHECKOUT}/{file_name}"
        (laptop.disk / "al-sweep" / file_name).write_text(yaml.safe_dump(config, sort_keys=False))

    @property
    def head(self) -> Host:
        return self.network.hosts["head"]

    def ray(self, line: str, *, check: bool = True, seconds: float = 300.0) -> str:
        """A command of `ray` on the laptop; its output."""
        done = self.laptop.run(f"cd {CHECKOUT} && ray {line} 2>&1", check=check, seconds=seconds)
        return done.stdout

    def up(self, *, nodes: int) -> float:
        """``ray up``, until so many machines are there; the seconds that it took."""
        began = time.monotonic()
        self.ray(f"up -y {self.file}")
        self.wait_for_nodes(nodes)
        return time.monotonic() - began

    def down(self) -> float:
        began = time.monotonic()
        self.ray(f"down -y {self.file}")
        return time.monotonic() - began

    def start(self, line: str) -> None:
        """Start a line on the head so that it outlives the connection."""
        self.ray(f"exec {self.file} --tmux {shlex.quote(line)}")

    def alive(self) -> list[str]:
        """Addresses of the machines that the head counts as alive."""
        if not self.head.is_on:
            return []
        found = self.head.python(ALIVE, f"{self.head.address}:6379", check=False, RAY_AUTH_MODE="token")
        return found.stdout.split()

    def wait_for_nodes(self, number: int, seconds: float = 120.0) -> None:
        wait_for(lambda: len(self.alive()) == number, f"{number} machines in the cluster", seconds, 1.0)
