"""What can be known about a cluster file without a cluster: Ray's own check, and the many mistakes that it lets through.

`problems` returns sentences, none if all is well.
"""

import copy
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
import ray
import yaml
from botocore.model import Shape
from botocore.validate import ParamValidator
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent
TOKEN = "~/.ray/auth_token"
END_OF_EDITS = re.compile(r"^# -+ Nothing below needs an edit", flags=re.MULTILINE)

# What Ray reads in `provider`. Its schema lets any key pass there.
ANY_PROVIDER = {"type", "use_internal_ips", "use_external_head_ip", "disable_node_updaters", "disable_launch_config_check"}
ANY_PROVIDER |= {"foreground_node_launch", "worker_liveness_check"}
PROVIDER_KEYS = {
    "aws": ANY_PROVIDER
    | {"region", "availability_zone", "cache_stopped_nodes", "security_group", "key_pair", "aws_credentials", "cloudwatch"},
    "local": ANY_PROVIDER | {"head_ip", "worker_ips", "external_head_ip", "coordinator_address"},
}


@dataclass(frozen=True)
class ClusterFile:
    """A cluster file as written, and as Ray completes it with its defaults."""

    text: str
    written: dict[str, Any]
    complete: dict[str, Any]
    root: Path

    @property
    def provider(self) -> str:
        return self.complete["provider"]["type"]

    def node_types(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The types of machine that the file itself describes, by place."""
        for name, node_type in self.written.get("available_node_types", {}).items():
            yield f"available_node_types.{name}", node_type

    def commands(self, *sections: str) -> Iterator[tuple[str, str]]:
        """Every shell command that Ray would run, by place."""
        for section in sections or ("initialization_commands", "head_setup_commands", "worker_setup_commands", HEAD_START, WORKER_START):
            for number, command in enumerate(self.complete[section]):
                yield f"{section}[{number}]", command


HEAD_START, WORKER_START = "head_start_ray_commands", "worker_start_ray_commands"


def problems(path: Path, root: Path = ROOT) -> list[str]:
    """All that is wrong with a cluster file; `root` is the checkout that `ray up` is given from."""
    text = path.read_text()
    try:
        written = yaml.safe_load(text)
        complete = prepare_config(copy.deepcopy(written))
        validate_config(complete)
    except (Exception, SystemExit) as error:  # Ray has many ways to say no, and one of them is to leave
        return [f"Ray refuses the file: {getattr(error, 'message', '') or error!r}"]
    file = ClusterFile(text, written, complete, root)
    found = [sentence for check in (_provider, _node_configs) for sentence in check(file)]
    return found or [sentence for check in CHECKS for sentence in check(file)]


def _provider(file: ClusterFile) -> Iterator[str]:
    for key in file.written["provider"].keys() - PROVIDER_KEYS[file.provider]:
        yield f"provider.{key}: Ray reads no such key"
    if file.written.get("cluster_name") != "al-sweep":
        yield "cluster_name must be al-sweep: docs/aws/head-policy.json lets the head touch machines of that name only"
    if file.provider == "aws" and file.written["provider"].get("cache_stopped_nodes") is not False:
        yield "provider.cache_stopped_nodes must be false: stopped machines go on costing their disks"


@lru_cache
def _run_instances() -> Shape:
    """What EC2 takes for a new machine, from the model that comes with botocore."""
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def _node_configs(file: ClusterFile) -> Iterator[str]:
    if file.provider != "aws":
        return
    for place, node_type in file.node_types():
        config = {key: value for key, value in node_type["node_config"].items() if key != "SubnetIds"}  # Ray's own
        report = ParamValidator().validate(config | {"MinCount": 1, "MaxCount": 1}, _run_instances())
        if report.has_errors():
            yield f"{place}.node_config: {report.generate_report()}"
        else:
            yield from _not_in_enum(config, _run_instances(), f"{place}.node_config")


def _not_in_enum(value: Any, shape: Any, place: str) -> Iterator[str]:
    """Words that EC2 does not know; botocore's validator looks at types only."""
    if shape.type_name == "structure":
        for key, inner in value.items():
            yield from _not_in_enum(inner, shape.members[key], f"{place}.{key}")
    elif shape.type_name == "list":
        for number, inner in enumerate(value):
            yield from _not_in_enum(inner, shape.member, f"{place}[{number}]")
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{place}: EC2 knows no {value!r}"


def _machines(file: ClusterFile) -> Iterator[str]:
    if file.provider != "aws":
        return
    if not 0 < file.complete["idle_timeout_minutes"] <= 10:
        yield "idle_timeout_minutes: idle machines must go after a few minutes"
    head = f"available_node_types.{file.written['head_node_type']}"
    for place, node_type in file.node_types():
        config = node_type["node_config"]
        spot = config.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        if place == head:
            if node_type["resources"].get("CPU") != 0 or node_type["resources"].get("GPU", 0) != 0:
                yield f"{place}.resources: the head must have no CPU and no GPU to give to trials"
            if spot:
                yield f"{place}: the head must not be a spot machine"
        else:
            if not spot:
                yield f"{place}.node_config.InstanceMarketOptions: workers must be spot machines"
            if node_type.get("min_workers") != 0:
                yield f"{place}.min_workers must be 0: nothing may cost while nothing runs"
        yield from _hardening(config, f"{place}.node_config")


def _hardening(config: dict[str, Any], place: str) -> Iterator[str]:
    if not config.get("SecurityGroupIds"):
        yield f"{place}.SecurityGroupIds is missing: Ray would make a group that opens SSH to 0.0.0.0/0"
    if not config.get("IamInstanceProfile", {}).get("Name", "").startswith("al-sweep-"):
        yield f"{place}.IamInstanceProfile must be the project's own: Ray's may do anything with EC2 and S3"
    if config.get("MetadataOptions", {}).get("HttpTokens") != "required":
        yield f"{place}.MetadataOptions.HttpTokens must be required (IMDSv2)"
    disks = [mapping.get("Ebs", {}) for mapping in config.get("BlockDeviceMappings", [])]
    if not disks or any(disk.get("Encrypted") is not True for disk in disks):
        yield f"{place}.BlockDeviceMappings: every disk must be encrypted"
    if not disks or disks[0].get("VolumeSize", 0) < 50:
        yield f"{place}.BlockDeviceMappings: the system's disk must have 50 GB at least: torch with CUDA is large"


def _mounts(file: ClusterFile) -> Iterator[str]:
    mounts = file.complete["file_mounts"]
    if mounts.get("~/al-sweep") != ".":
        yield "file_mounts: ~/al-sweep must be the checkout (.)"
    if mounts.get(TOKEN) != TOKEN:
        yield f"file_mounts: {TOKEN} must bring the token"
    for target, source in mounts.items():
        if source.startswith("~"):
            if source != TOKEN:
                yield f"file_mounts.{target}: {source} is in the user's home, and may be absent"
        elif not (file.root / source).exists():
            yield f"file_mounts.{target}: {source} does not exist"


def _excludes(file: ClusterFile) -> Iterator[str]:
    if {"/.git", ".git", ".git/", "/.git/"} & set(file.complete["rsync_exclude"]):
        yield "rsync_exclude: without .git no machine knows its commit"
    for name in ("results/", ".venv/"):
        if not {name, f"/{name}"} & set(file.complete["rsync_exclude"]):
            yield f"rsync_exclude: {name} must stay at home"


def _shell(file: ClusterFile) -> Iterator[str]:
    for place, command in file.commands():
        # As Ray wraps it: what opens a comment or a quotation and does not close it swallows the bracket.
        error = shell_error(f"export RAY_HEAD_IP=192.0.2.1; export OMP_NUM_THREADS=1 && ({command})")
        if error:
            yield f"{place}: bash cannot read it: {error}"
        if "://" in command or "--index-url" in command or "--find-links" in command:
            yield f"{place}: names a place to install from; leave that to the machine's own settings"


@lru_cache(maxsize=1000)
def shell_error(script: str) -> str:
    return subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False).stderr.strip()


def _ports(file: ClusterFile) -> Iterator[str]:
    for place, command in file.commands():
        if "0.0.0.0" in command:
            yield f"{place}: a port is opened on 0.0.0.0"
        for host in re.findall(r"--dashboard-host[= ](\S+)", command):
            if host != "127.0.0.1":
                yield f"{place}: the dashboard must listen on 127.0.0.1, not on {host}"
        if "ray start --head" in command and "--dashboard-host" not in command:
            yield f"{place}: --dashboard-host=127.0.0.1 is missing"
    for rule in file.complete["provider"].get("security_group", {}).get("IpPermissions", []):
        if {"0.0.0.0/0", "::/0"} & {cidr for entry in [*rule.get("IpRanges", []), *rule.get("Ipv6Ranges", [])] for cidr in entry.values()}:
            yield "provider.security_group: a rule is open to 0.0.0.0/0"


def _token(file: ClusterFile) -> Iterator[str]:
    for section in (HEAD_START, WORKER_START):
        starts = [(place, command) for place, command in file.commands(section) if "ray start" in command]
        if not starts:
            yield f"{section}: nothing starts Ray"
        for place, command in starts:
            if "RAY_AUTH_MODE=token" not in command.split("ray start")[0]:
                yield f"{place}: Ray is started without RAY_AUTH_MODE=token"
    for section in ("head_setup_commands", "worker_setup_commands"):
        setup = "\n".join(command for _, command in file.commands(section))
        if f"chmod 600 {TOKEN}" not in setup:
            yield f"{section}: the token's file must get mode 600"
        if not re.search(r"RAY_AUTH_MODE=token.*~/\.bashrc", setup):
            yield f"{section}: RAY_AUTH_MODE=token must stand in ~/.bashrc, or commands given later are refused"


def _autoscaler(file: ClusterFile) -> Iterator[str]:
    start = next((command for _, command in file.commands(HEAD_START) if "ray start" in command), "")
    if file.provider == "local" and not re.search(r"export .*RAY_enable_autoscaler_v2=0.*ray start", start, flags=re.DOTALL):
        yield f"{HEAD_START}: RAY_enable_autoscaler_v2=0 is missing: one worker too few would be started"
    if "--autoscaling-config=" not in start:
        yield f"{HEAD_START}: --autoscaling-config is missing: no worker would be started"


def _install(file: ClusterFile) -> Iterator[str]:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (file.root / "constraints.txt").read_text(), flags=re.MULTILINE)).get("ray")
    if pinned != ray.__version__:
        yield f"constraints.txt has ray {pinned}, and this file was checked by the schema of {ray.__version__}"
    for name in re.findall(r'"(ray\[.*)"', (file.root / "pyproject.toml").read_text()):
        if pinned not in Requirement(name).specifier:
            yield f"pyproject.toml asks for {name}, constraints.txt has {pinned}"
    for section in ("head_setup_commands", "worker_setup_commands"):
        installs = [(place, command) for place, command in file.commands(section) if "pip install" in command]
        if not installs:
            yield f"{section}: nothing installs the project"
        for place, command in installs:
            if "-c constraints.txt" not in command or "'.[cluster]'" not in command or "cd ~/al-sweep" not in command:
                yield f"{place}: must install ~/al-sweep with its extra `cluster`, under constraints.txt"


def _edited_first(file: ClusterFile) -> Iterator[str]:
    """What a user must edit stands above the line, each with a comment."""
    line = END_OF_EDITS.search(file.text)
    if not line:
        yield "the line `Nothing below needs an edit` is missing"
        return
    last = file.text[: line.start()].count("\n")
    lines = file.text.splitlines()
    document = yaml.compose(file.text)
    for place in _to_edit(file):
        node = document
        for key in place:
            node = node.value[key] if isinstance(key, int) else next(value for name, value in node.value if name.value == key)
        number = node.start_mark.line  # of an alias: that of its anchor
        if number >= last:
            yield f"{'.'.join(map(str, place))} must be edited, and stands below the line (line {number + 1})"
        elif "#" not in lines[number]:
            yield f"{'.'.join(map(str, place))} must be edited, and has no comment (line {number + 1})"


def _to_edit(file: ClusterFile) -> Iterator[tuple[str | int, ...]]:
    yield "auth", "ssh_private_key"
    if file.provider == "local":
        yield from (("provider", "head_ip"), ("provider", "worker_ips"), ("auth", "ssh_user"))
        return
    yield from (("provider", "region"), ("max_workers",))
    for name, node_type in file.written["available_node_types"].items():
        config: tuple[str, ...] = ("available_node_types", name, "node_config")
        yield from ((*config, key) for key in ("KeyName",) if key in node_type["node_config"])
        yield from ((*config, "SecurityGroupIds", number) for number in range(len(node_type["node_config"].get("SecurityGroupIds", []))))
        if name != file.written["head_node_type"]:
            yield from (("available_node_types", name, "max_workers"), (*config, "InstanceType"))


CHECKS = (_machines, _mounts, _excludes, _shell, _ports, _token, _autoscaler, _install, _edited_first)
