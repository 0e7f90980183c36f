"""The project's own cluster files, with what a user edits replaced.

Everything else is tested as it is shipped: the tokens, the set-up (on machines where everything is installed already), the start
commands, the mounts, the scaling.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
SSH = {"ssh_user": "root", "ssh_private_key": "~/.ssh/cluster_key"}
OBJECT_STORE_BYTES = 150_000_000
CPUS = 1
"""That each pretend machine declares: all of them together share the processors of one box."""


def own_machines(head: str, workers: list[str]) -> dict[str, Any]:
    """``cluster.onprem.yaml`` for these addresses."""
    config = _small(yaml.safe_load((ROOT / "cluster.onprem.yaml").read_text()), "head", "worker")
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    return config | {"auth": dict(SSH)}


def aws(node: Mapping[str, Any], most_workers: int) -> dict[str, Any]:
    """``cluster.yaml`` with every machine made of `node`: what belongs to an account or a region."""
    config = _small(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    for kind in config["available_node_types"].values():
        kind["node_config"] |= node
        kind["max_workers"] = min(kind["max_workers"], most_workers)
    return config | {"auth": dict(SSH), "max_workers": most_workers, "idle_timeout_minutes": 0.5}


def _small(config: dict[str, Any], *declaring: str) -> dict[str, Any]:
    """With object stores that fit many times on one box, and few processors where the kinds named declare what they find."""
    for kind in ("head", "worker"):
        key = f"{kind}_start_ray_commands"
        options = f"--object-store-memory={OBJECT_STORE_BYTES}" + (f" --num-cpus={CPUS}" if kind in declaring else "")
        config[key] = [re.sub(r"\bray start\b", f"ray start {options}", line) for line in config[key]]
    return config
