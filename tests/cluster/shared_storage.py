"""The folder that all machines share, standing in for NFS: small enough to be filled, and each machine can lose it."""

import subprocess
from pathlib import Path
from typing import ClassVar

from tests.cluster.hosts import Host
from tests.cluster.networks import Network

MEGABYTES = 64
INSIDE = "/mnt/shared"
FILLER = "filler"


class SharedStorage:
    """A file system of its own, mounted where the network's machines look for it."""

    _of: ClassVar[dict[Path, "SharedStorage"]] = {}

    def __init__(self, network: Network) -> None:
        """Mounted on the box, before any machine is switched on."""
        self.network = network
        self.path = network.shared
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(self.path)], check=True)
        self._of[network.base] = self

    @classmethod
    def of(cls, network: Network) -> "SharedStorage":
        return cls._of[network.base]

    def _hosts(self) -> list[Host]:
        return [host for name, host in self.network.hosts.items() if name != "laptop" and host.is_on]

    def make_read_only(self) -> None:
        for host in self._hosts():
            host.run(f"mount -o remount,bind,ro {INSIDE}")

    def fill(self) -> None:
        """Write until there is no room, not even for a small file."""
        with (self.path / FILLER).open("wb", buffering=0) as filler:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        filler.write(b"\0" * size)
                except OSError:
                    continue

    def vanish(self, *names: str) -> None:
        """Unmount it on some machines: an empty folder of the machine's own disk remains, as where a mount is gone."""
        for name in names:
            self.network.hosts[name].run(f"umount --lazy {INSIDE}")

    def strays(self) -> list[str]:
        """Files on the machines' own disks where the storage should be."""
        unmounted = f"mountpoint -q {INSIDE} || find {INSIDE} -type f"
        return [f"{host.name}: {line}" for host in self._hosts() for line in host.run(unmounted).stdout.splitlines()]

    def mend(self) -> None:
        (self.path / FILLER).unlink(missing_ok=True)
        for host in self._hosts():
            host.run(
                f"mountpoint -q {INSIDE} || {{ rm -rf {INSIDE}/*; mount --bind /run/kept/1 {INSIDE}; }}; mount -o remount,bind,rw {INSIDE}"
            )

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=False)
