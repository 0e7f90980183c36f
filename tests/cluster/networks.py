"""Networks of pretend machines on one box, each behind a router that lets only SSH in.

Nothing is added to the box's own network: bridges and router are in a namespace, too, and lead nowhere. Namespaces are named after
the process that made them, so a run that was killed leaves nothing that the next one does not recognise and remove; the machines
themselves die with that process.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.edited_files import ROOT
from tests.cluster.hosts import PREFIX, Host, ip, remove_namespace


def remove_leftovers() -> None:
    """Remove the namespaces of runs whose process is gone."""
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        kind, _, rest = name.partition("-")
        if kind == PREFIX and not Path(f"/proc/{rest.partition('-')[0]}").exists():
            remove_namespace(name)


def clone_checkout(target: Path) -> None:
    """A clone with what git would commit now: a cluster must not change because somebody edits the real checkout meanwhile."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(target)], check=True)
    list_files = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in filter(None, subprocess.run(list_files, check=True, capture_output=True, text=True).stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, target / name)


class Network:
    """Two bridges with a router between them that lets only SSH in: the machines are inside, and their user's laptop is outside.

    This is the wall that `docs/cluster.md` asks for: a security group on AWS, the network or a firewall elsewhere.
    """

    OUTSIDE = "198.51.100"

    def __init__(self, base: Path, gateway: str) -> None:
        """`gateway` is the router's address inside and the prefix length, as in 10.77.0.1/24."""
        remove_leftovers()
        self.base = base
        self.gateway, _, self.prefix_length = gateway.partition("/")
        self.hosts: dict[str, Host] = {}
        self.checkout = base / "checkout"
        clone_checkout(self.checkout)
        self.shared = base / "shared"
        self.shared.mkdir()
        self.key = base / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.namespace = f"{PREFIX}-{os.getpid()}-{base.name}"
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        for bridge, address in (("inside", gateway), ("outside", f"{self.OUTSIDE}.1/24")):
            ip("-n", self.namespace, "link", "add", bridge, "type", "bridge")
            ip("-n", self.namespace, "address", "add", address, "dev", bridge)
            ip("-n", self.namespace, "link", "set", bridge, "up")
        self._let_only_ssh_in()

    def _let_only_ssh_in(self) -> None:
        rule = ("-n", self.namespace, "rule", "add", "iif", "outside")
        ip(*rule, "ipproto", "tcp", "dport", "22", "lookup", "main", "priority", "10")
        ip(*rule, "prohibit", "priority", "20")
        subprocess.run(["ip", "netns", "exec", self.namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)

    def popen(self, *command: str, log: Path, **environment: str) -> subprocess.Popen[str]:
        """Start a program of the box on the router; it dies with this process. Its standard output is a pipe."""
        arguments = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.namespace, *command]
        with log.open("w") as errors:
            return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | environment)

    def add(self, name: str, address: str, *, public: str | None = None, **environment: str) -> "Host":
        """Make a machine and switch it on; `environment` goes to the top of its ~/.bashrc."""
        host = Host(self, name, address, public, environment)
        self.hosts[name] = host
        host.power_on()
        return host

    def remove(self, name: str) -> None:
        """Take a machine away for good."""
        host = self.hosts.pop(name)
        host.switch_off()
        remove_namespace(host.namespace)

    def close(self) -> None:
        for name in list(self.hosts):
            self.remove(name)
        remove_namespace(self.namespace)
