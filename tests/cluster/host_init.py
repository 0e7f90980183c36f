"""Pid 1 of one pretend machine, started in its own net, mount, pid, uts and ipc namespaces; see `hosts.py`.

A machine of its own means here: its own processes, network, hostname, home (which survives a power cut, like a disk), and empty
/tmp, /run and /dev/shm after every boot. Programs and libraries are those of the box. Where the Python installation lies under a
folder that is replaced (a virtual environment in /tmp, an interpreter in /root), it is put back in its place.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPLACED = ("/root", "/tmp", "/mnt", "/run", "/dev/shm")
KEPT = Path("/run/kept")
SHARED = Path("/mnt/shared")
READY = Path("/run/ready")


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def main(settings: dict[str, Any]) -> None:
    """Build the machine's file system, start sshd, and stay."""
    disk = Path(settings["disk"])
    sources = [Path(path) for path in (disk, settings["shared"], *settings["visible"])]
    socket.sethostname(settings["name"])
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for number, path in enumerate(sources):  # reachable from here when what they lie in is covered
        (KEPT / str(number)).mkdir(parents=True)
        mount("--bind", path, KEPT / str(number))
    for path, mode in (("/tmp", "1777"), ("/dev/shm", "1777"), ("/mnt", "755")):
        mount("-t", "tmpfs", "-o", f"size=2g,mode={mode}", "tmpfs", path)
    mount("--bind", KEPT / "0", "/root")
    SHARED.mkdir()
    mount("--bind", KEPT / "1", SHARED)
    for number, path in enumerate(sources[2:], start=2):
        if any(path.is_relative_to(folder) for folder in REPLACED):
            path.mkdir(parents=True, exist_ok=True)
            mount("--bind", KEPT / str(number), path)
    know_names(settings["name"])
    start_sshd()
    READY.touch()
    while True:
        os.wait()  # pid 1 inherits every orphan and must bury it


def know_names(name: str) -> None:
    """No name server answers here, and each question to one would take 20 seconds."""
    for path, content in (("/etc/hosts", f"127.0.0.1 localhost {name}\n"), ("/etc/resolv.conf", "nameserver 127.0.0.1\n")):
        own = Path("/run") / Path(path).name
        own.write_text(content)
        if Path(path).exists():
            mount("--bind", own, path)


def start_sshd() -> None:
    """Let in who has the key; the host key stays on the disk, so a rebooted machine is known again."""
    key, config = Path("/root/.host_key"), Path("/run/sshd_config")
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    Path("/run/sshd").mkdir()
    config.write_text(f"HostKey {key}\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nMaxStartups 100\n")
    with Path("/run/sshd.log").open("w") as log:
        subprocess.Popen([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=log, env={"PATH": os.environ["PATH"]})
    while not answers(22):
        time.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
