"""A pretend AWS: its APIs are moto's, and every EC2 instance that it is asked for becomes a machine in namespaces.

It proves the cluster file, the scaling and the failover. It does not prove AWS: nothing here checks a permission or a quota.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from tests.cluster import aws_services
from tests.cluster.hosts import wait_for
from tests.cluster.networks import Network

GATEWAY = "172.31.250.1/16"
"""In the default network of an account, where moto gives out addresses."""
TERMINATE = "import boto3, sys; boto3.client('ec2').terminate_instances(InstanceIds=sys.argv[1:])"


class PretendAws:
    """Serves until closed; `machines` is what EC2 has now."""

    def __init__(self, network: Network) -> None:
        """Ready for `ray up` when this returns."""
        self.network = network
        self.machines: list[dict[str, Any]] = []
        self.group = ""
        self._here: dict[str, str] = {}
        self._trouble: list[BaseException] = []
        services = [sys.executable, str(Path(aws_services.__file__))]
        environment = {"PYTHONWARNINGS": "ignore"}
        self._server = network.popen(*services, "server", log=network.base / "moto.log", **environment)
        public_key = network.key.with_suffix(".pub").read_text()
        self._watch = network.popen(*services, "watch", public_key, log=network.base / "watch.log", **environment)
        self._thread = threading.Thread(target=self._follow, daemon=True, name="pretend AWS")
        self._thread.start()
        wait_for(lambda: self.group, f"the pretend AWS answers (logs: {network.base}/*.log)", 60)

    def environment(self, *, outside: bool = False) -> dict[str, str]:
        """What stands in for the profile of an instance, or for a user's credentials."""
        address = f"{self.network.OUTSIDE}.1" if outside else self.network.gateway
        credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": aws_services.REGION}
        return {"AWS_ENDPOINT_URL": f"http://{address}:{aws_services.PORT}", **credentials}

    def _follow(self) -> None:
        """Boot and remove machines as EC2 has them."""
        try:
            assert self._watch.stdout is not None
            for line in self._watch.stdout:
                told = json.loads(line)
                self.group, self.machines = told["group"], told["machines"]
                for machine in self.machines:
                    self._carry_out(machine)
        except BaseException as error:  # a thread's error is otherwise seen by nobody
            self._trouble.append(error)

    def _carry_out(self, machine: dict[str, Any]) -> None:
        name = self._here.get(machine["id"])
        if machine["state"] in ("pending", "running") and not name:
            name = "head" if machine["kind"] == "head" else machine["id"][-8:]
            self._here[machine["id"]] = name
            self.network.add(name, machine["private"], public=machine["public"], **self.environment())
        elif machine["state"] not in ("pending", "running") and name in self.network.hosts:
            self.network.hosts[name].cut_link()
            self.network.remove(name)

    def running(self, kind: str | None = None) -> list[dict[str, Any]]:
        """EC2's machines that run."""
        assert not self._trouble, self._trouble
        return [machine for machine in self.machines if machine["state"] in ("pending", "running") and kind in (None, machine["kind"])]

    def name_of(self, machine: dict[str, Any]) -> str:
        return self._here[machine["id"]]

    def take_away(self, machine: dict[str, Any]) -> None:
        """As AWS takes a spot machine."""
        self.network.hosts["laptop"].python(TERMINATE, machine["id"])

    def close(self) -> None:
        for process in (self._watch, self._server):
            process.kill()
            process.wait()
        self._thread.join()
        for process in (self._watch, self._server):
            if process.stdout:
                process.stdout.close()
