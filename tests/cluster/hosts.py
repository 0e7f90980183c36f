"""Pretend machines on one box, which can lose their power or their link, can be stopped, and have a console."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.networks import Network

PREFIX = "alsw"
TOOLS = ("ip", "unshare", "nsenter", "setpriv", "mount", "sshd", "ssh", "ssh-keygen", "rsync", "tmux", "git")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS = 30.0


def require_root_and_tools() -> None:
    """Skip, with the reason, where no machines can be made."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a cluster of namespaces needs Linux and root")
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=SYSTEM_PATH)]
    if missing:
        pytest.skip(f"a cluster of namespaces needs {', '.join(missing)} (Debian: iproute2 util-linux openssh-server rsync tmux git)")
    own = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    tried = subprocess.run(own, capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"namespaces cannot be made here, although this is root: {tried.stderr.strip()}")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0, pause: float = 0.2) -> None:
    """Look now and then until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)


def ip(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True).stdout


def remove_namespace(name: str) -> None:
    for pid in ip("netns", "pids", name, check=False).split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    ip("netns", "delete", name, check=False)


class Host:
    """One machine."""

    def __init__(self, network: "Network", name: str, address: str, public: str | None, environment: Mapping[str, str]) -> None:
        """Not switched on yet. `public` is a second address, under which the outside knows it."""
        self.network = network
        self.name = name
        self.address = address
        self.is_inside = not address.startswith(f"{network.OUTSIDE}.")
        self.namespace = f"{network.namespace}-{name}"
        self.disk = network.base / "disks" / name
        """What is /root inside: the only thing that survives a power cut."""
        self._process: subprocess.Popen[bytes] | None = None
        self._write_home(environment)
        self._lay_cable(public)

    def _lay_cable(self, public: str | None) -> None:
        router, plug = self.network.namespace, f"to-{self.name}"[:15]
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        ip("-n", self.namespace, "link", "add", "eth0", "type", "veth", "peer", "name", plug, "netns", router)
        ip("-n", router, "link", "set", plug, "master", "inside" if self.is_inside else "outside", "up")
        length = self.network.prefix_length if self.is_inside else "24"
        ip("-n", self.namespace, "address", "add", f"{self.address}/{length}", "dev", "eth0")
        if public:
            ip("-n", self.namespace, "address", "add", f"{public}/32", "dev", "eth0")
            ip("-n", router, "route", "replace", f"{public}/32", "dev", "inside")

    def _write_home(self, environment: Mapping[str, str]) -> None:
        """A home as an administrator would hand it over: the key is let in, and what a cluster file installs is there."""
        for folder in (".ssh", "venv"):
            (self.disk / folder).mkdir(parents=True, mode=0o700)
        shutil.copy(self.network.key.with_suffix(".pub"), self.disk / ".ssh" / "authorized_keys")
        for path in Path(sys.prefix).iterdir():
            (self.disk / "venv" / path.name).symlink_to(path)
        sums = [
            f"{hashlib.sha256((self.network.checkout / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("pyproject.toml", "constraints.txt")
        ]
        (self.disk / "venv" / "installed").write_text("".join(sums))
        exports = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": "/root/al-sweep", **environment}
        lines = [f'export {name}="{value}"' for name, value in exports.items()]
        (self.disk / ".bashrc").write_text("\n".join(lines) + "\n")
        (self.disk / ".bash_profile").write_text("source ~/.bashrc\n")

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def power_on(self) -> None:
        """Boot: link up, empty /tmp, sshd; returns once sshd answers."""
        settings = {
            "name": self.name,
            "disk": str(self.disk),
            "shared": str(self.network.shared),
            "visible": [sys.prefix, sys.base_prefix],
        }
        self.restore_link()
        inside = [sys.executable, str(Path(__file__).parent / "host_init.py"), json.dumps(settings)]
        own = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc=/proc", *inside]
        with (self.network.base / f"{self.name}.boot.log").open("ab") as log:
            command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.namespace, *own]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: self.inside("/run/ready").exists(), f"{self.name} boots", BOOT_SECONDS, 0.05)

    def _pid_1(self) -> int:
        """Its pid as the box counts."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        wait_for(lambda: self._process.poll() is not None or children.read_text().strip(), f"{self.name} has a pid 1", 5, 0.02)
        return int(children.read_text().split()[0])

    def inside(self, path: str) -> Path:
        """A path on the machine, as the box sees it."""
        return Path(f"/proc/{self._pid_1()}/root{path}")

    def command(self, line: str) -> list[str]:
        """Arguments that run a line as on the machine's console: no SSH, works without a link."""
        environment = ["env", "-i", "HOME=/root", "USER=root", "TERM=dumb", "SHELL=/bin/bash", f"PATH={SYSTEM_PATH}"]
        enter = ["nsenter", "--target", str(self._pid_1()), "--mount", "--pid", "--uts", "--ipc", "--net"]
        return [*enter, *environment, "bash", "-l", "-c", f"cd /root; export PATH=/root/venv/bin:$PATH; {line}"]

    def run(self, line: str, *, check: bool = True, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a line on the console, to its end."""
        done = subprocess.run(self.command(line), capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{self.name}: {line}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, program: str, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a Python program on the console."""
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        return self.run(f"{settings} python -c {shlex.quote(program)} {shlex.join(arguments)}", check=check)

    def cut_link(self) -> None:
        """Silence: neither side is told."""
        ip("-n", self.namespace, "link", "set", "eth0", "down")

    def restore_link(self) -> None:
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        router = self.network.gateway if self.is_inside else f"{self.network.OUTSIDE}.1"
        ip("-n", self.namespace, "route", "replace", "default", "via", router)

    def power_cut(self) -> None:
        """Everything on the machine ends at once, and nothing says goodbye on the network."""
        self.cut_link()
        self.switch_off()

    def switch_off(self) -> None:
        if self.is_on:
            os.kill(self._pid_1(), signal.SIGKILL)
            assert self._process is not None
            self._process.wait()

    def pids(self) -> list[int]:
        """Everything that runs there but pid 1 and sshd, as the box counts."""
        keep = {self._pid_1(), *self._sshd()}
        return [pid for pid in map(int, ip("netns", "pids", self.namespace).split()) if pid not in keep and pid != self._process.pid]

    def _sshd(self) -> list[int]:
        children = Path(f"/proc/{self._pid_1()}/task/{self._pid_1()}/children").read_text().split()
        return [int(pid) for pid in children if "sshd" in Path(f"/proc/{pid}/comm").read_text()]

    def send_all(self, number: signal.Signals) -> None:
        """Signal everything that runs there, as a hypervisor that stops (SIGSTOP) and goes on (SIGCONT) does."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
