"""The cluster files, the IAM policies and the page about them are right, as far as that shows offline; and every check can fail."""

import re
from pathlib import Path

import pytest
import ray.autoscaler
import yaml

from tests.aws_setup import document_problems, policy_problems
from tests.cluster_files import PROVIDER_KEYS, ROOT, problems

AWS, ON_PREMISES = "cluster.yaml", "cluster.onprem.yaml"
POLICIES = ("head-policy.json", "worker-policy.json")
PAGE = (ROOT / "docs" / "cluster.md").read_text()


@pytest.mark.parametrize("name", [AWS, ON_PREMISES])
def test_the_shipped_files(name: str) -> None:
    assert problems(ROOT / name) == []


@pytest.mark.parametrize("name", POLICIES)
def test_the_shipped_policies(name: str) -> None:
    assert policy_problems(ROOT / "docs" / "aws" / name) == []


def test_the_page() -> None:
    assert document_problems(PAGE) == []


def planted(name: str, old: str, new: str, folder: Path) -> Path:
    """A copy of a file of the checkout with one fault."""
    text = (ROOT / name).read_text()
    assert old in text, "the fault cannot be planted any more"
    path = folder / Path(name).name
    path.write_text(text.replace(old, new))
    return path


AWS_FAULTS = [
    ("cluster_name: al-sweep", "cluster_name: al-sweep\nmax_wrokers: 3", "'max_wrokers' was unexpected"),
    ("cluster_name: al-sweep", "", "cluster_name must be al-sweep"),
    ("head_node_type: head", "head_node_type: haed", "`head_node_type` must be one of"),
    ("  cache_stopped_nodes:", "  cache_stoped_nodes:", "provider.cache_stoped_nodes: Ray reads no such key"),
    ("cache_stopped_nodes: false", "cache_stopped_nodes: true", "provider.cache_stopped_nodes must be false"),
    ("KeyName: *key_name", "KeyNmae: *key_name", 'Unknown parameter in input: "KeyNmae"'),
    ("VolumeSize: 150", "VolumeSiez: 150", 'Unknown parameter in BlockDeviceMappings[0].Ebs: "VolumeSiez"'),
    ("VolumeSize: 150", "VolumeSize: big", "Invalid type for parameter BlockDeviceMappings[0].Ebs.VolumeSize"),
    ("MarketType: spot", "MarketType: spott", "EC2 knows no 'spott'"),
    ("worker_machine g4dn.2xlarge", "worker_machine g4dn.2xlrage", "EC2 knows no 'g4dn.2xlrage'"),
    ("resources: {CPU: 0}", "resources: {}", "the head must have no CPU and no GPU"),
    ("resources: {CPU: 0}", "resources: {CPU: 0, GPU: 1}", "the head must have no CPU and no GPU"),
    ("      InstanceMarketOptions: {MarketType: spot}\n", "", "workers must be spot machines"),
    (
        "InstanceType: m6i.large",
        "InstanceType: m6i.large\n      InstanceMarketOptions: {MarketType: spot}",
        "the head must not be a spot machine",
    ),
    ("min_workers: 0\n    max_workers: *most_workers", "min_workers: 1\n    max_workers: *most_workers", "gpu_spot.min_workers must be 0"),
    ("idle_timeout_minutes: 5", "idle_timeout_minutes: 120", "idle machines must go"),
    ("idle_timeout_minutes: 5", "idle_timeout_minutes: 0", "idle machines must go"),
    ("      SecurityGroupIds: [*security_group]\n", "", "Ray would make a group that opens SSH to 0.0.0.0/0"),
    ("      IamInstanceProfile: {Name: al-sweep-head}\n", "", "head.node_config.IamInstanceProfile must be the project's own"),
    ("HttpTokens: required", "HttpTokens: optional", "HttpTokens must be required"),
    ("VolumeSize: 60, VolumeType: gp3, Encrypted: true", "VolumeSize: 60, VolumeType: gp3", "every disk must be encrypted"),
    ("VolumeSize: 150", "VolumeSize: 20", "gpu_spot.node_config.BlockDeviceMappings: the system's disk must have 50 GB"),
    (
        "cache_stopped_nodes: false",
        "cache_stopped_nodes: false\n  security_group: {IpPermissions: [{FromPort: 22, IpProtocol: tcp, IpRanges: [{CidrIp: 0.0.0.0/0}]}]}",
        "a rule is open to 0.0.0.0/0",
    ),
    ("region: *region", "region: us-east-1", "provider.region must be edited, and stands below the line"),
    ("KeyName: *key_name", "KeyName: mine", "KeyName must be edited, and stands below the line"),
    ("SecurityGroupIds: [*security_group]", "SecurityGroupIds: [sg-1]", "SecurityGroupIds.0 must be edited, and stands below the line"),
    ("InstanceType: *worker_machine", "InstanceType: g4dn.xlarge", "InstanceType must be edited, and stands below the line"),
]

FAULTS_OF_BOTH = [
    ("  ~/al-sweep: .\n", "  ~/al-sweep: .\n  ~/reviews: not-there\n", "file_mounts.~/reviews: not-there does not exist"),
    ("  ~/al-sweep: .\n", "  ~/al-sweep: .\n  ~/reviews: ~/reviews\n", "~/reviews is in the user's home"),
    ("  ~/al-sweep: .\n", "", "~/al-sweep must be the checkout"),
    ("  ~/.ray/auth_token: ~/.ray/auth_token\n", "", "~/.ray/auth_token must bring the token"),
    ("/results/, ", "", "results/ must stay at home"),
    ("/results/, ", "/results/, .git/, ", "without .git no machine knows its commit"),
    ("chmod 700 ~/.ray && chmod 600", "chmod 700 ~/.ray && (chmod 600", "bash cannot read it"),
    ("- test -x ~/venv/bin/pip || python3 -m venv ~/venv\n", "- 'python3 -m venv ~/venv # once'\n", "bash cannot read it"),
    ("-e '.[cluster]'", "-e '.[cluster]' --index-url https://packages.example", "names a place to install from"),
    ("-c constraints.txt -e", "-e", "under constraints.txt"),
    ("-e '.[cluster]'", "-e '.[dev]'", "with its extra `cluster`"),
    ("-e '.[cluster]'", "'ray[default]'", "with its extra `cluster`"),
    ("chmod 600 ~/.ray/auth_token", "chmod 644 ~/.ray/auth_token", "the token's file must get mode 600"),
    (" RAY_AUTH_MODE=token  # al-sweep", "  # al-sweep", "RAY_AUTH_MODE=token must stand in ~/.bashrc"),
    ("; export RAY_AUTH_MODE=token; ray start", "; ray start", "worker_start_ray_commands[1]: Ray is started without RAY_AUTH_MODE=token"),
    ("ray start --address", "ray up --address", "worker_start_ray_commands: nothing starts Ray"),
    ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "a port is opened on 0.0.0.0"),
    ("--dashboard-host=127.0.0.1", "--dashboard-host=::", "the dashboard must listen on 127.0.0.1, not on ::"),
    ("--dashboard-host=127.0.0.1 ", "", "--dashboard-host=127.0.0.1 is missing"),
    (" --autoscaling-config=~/ray_bootstrap_config.yaml", "", "--autoscaling-config is missing"),
    ("# ---- Nothing below", "# ---- Little below", "the line `Nothing below needs an edit` is missing"),
    ("ssh_private_key:", "ssh_privat_key:", "'ssh_privat_key' was unexpected"),
]

FAULTS = [(AWS, *fault) for fault in AWS_FAULTS + FAULTS_OF_BOTH]
FAULTS += [(ON_PREMISES, *fault) for fault in FAULTS_OF_BOTH]
FAULTS += [
    (AWS, "token RAY_AUTOSCALER", " RAY_AUTOSCALER", "head_start_ray_commands[1]: Ray is started without RAY_AUTH_MODE=token"),
    (AWS, "head_start_ray_commands:", "metadata_of_mine:", "'metadata_of_mine' was unexpected"),
    (AWS, "    # its private half on your computer", "", "auth.ssh_private_key must be edited, and has no comment"),
    (ON_PREMISES, "  worker_ips:", "  worker_ip:", "Ray refuses the file"),
    (ON_PREMISES, "  type: local", "  type: local\n  extern_head_ip: 1.2.3.4", "provider.extern_head_ip: Ray reads no such key"),
    (ON_PREMISES, "export RAY_enable_autoscaler_v2=0 ", "export ", "RAY_enable_autoscaler_v2=0 is missing"),
    (ON_PREMISES, "=0 RAY_AUTH_MODE=token;", "=0;", "head_start_ray_commands[1]: Ray is started without RAY_AUTH_MODE=token"),
    (
        ON_PREMISES,
        "# the machine that leads; the others must reach it under this address",
        "",
        "provider.head_ip must be edited, and has no",
    ),
]


@pytest.mark.parametrize(("name", "old", "new", "sentence"), FAULTS, ids=lambda value: value[:40].strip())
def test_a_planted_fault_is_named(name: str, old: str, new: str, sentence: str, tmp_path: Path) -> None:
    found = problems(planted(name, old, new, tmp_path))
    assert any(sentence in problem for problem in found), found


@pytest.mark.parametrize("section", ["setup_commands", "head_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"])
def test_what_ray_fills_in_is_checked_too(section: str, tmp_path: Path) -> None:
    """A section that is left out is Ray's: a wheel from elsewhere, a dashboard for everybody, no token."""
    config = yaml.safe_load((ROOT / AWS).read_text())
    del config[section]
    (tmp_path / AWS).write_text(yaml.safe_dump(config))
    assert any("commands" in problem for problem in problems(tmp_path / AWS))


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("constraints.txt", "ray==2.60.0", "ray==2.59.0", "constraints.txt has ray 2.59.0"),
        ("pyproject.toml", "ray[default]>=2.60,<2.61", "ray[default]>=2.61,<2.62", "pyproject.toml asks for ray[default]>=2.61,<2.62"),
    ],
)
def test_the_ray_that_gets_installed_is_the_tested_one(name: str, old: str, new: str, sentence: str, tmp_path: Path) -> None:
    for file in ("constraints.txt", "pyproject.toml"):
        (tmp_path / file).write_text((ROOT / file).read_text())
    planted(name, old, new, tmp_path)
    assert any(sentence in problem for problem in problems(ROOT / AWS, root=tmp_path))


@pytest.mark.parametrize("provider", PROVIDER_KEYS)
def test_ray_reads_every_key_that_is_allowed_in_provider(provider: str) -> None:
    autoscaler = Path(ray.autoscaler.__file__).parent
    folders = [autoscaler / "_private" / provider, autoscaler / "v2"]
    sources = [path for folder in folders for path in folder.rglob("*.py")] + list((autoscaler / "_private").glob("*.py"))
    text = "\n".join(path.read_text() for path in sources)
    assert {key for key in PROVIDER_KEYS[provider] if f'"{key}"' not in text} == set()


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("head-policy.json", '"ec2:RunInstances"', '"ec2:*"', "ec2:* is too wide"),
        ("head-policy.json", '"iam:PassRole"', '"*"', "* is too wide"),
        ("head-policy.json", "role/al-sweep-worker", "role/*", "only the workers' role may be passed"),
        (
            "head-policy.json",
            '"Resource": "arn:aws:ssm:REGION::parameter/aws/service/deeplearning/*"',
            '"Resource": "*"',
            "LookUpTheImage: only ec2:Desc",
        ),
        ("head-policy.json", "aws:ResourceTag/ray-cluster-name", "aws:ResourceTag/ray-name", "machines of other clusters"),
        ("head-policy.json", ', "ec2:TerminateInstances"', "", "ec2:TerminateInstances is needed"),
        ("head-policy.json", '"ssm:GetParameters"', '"ssm:GetParameter"', "ssm:GetParameters is needed"),
        ("worker-policy.json", "arn:aws:s3:::BUCKET", "arn:aws:s3:::*", "arn:aws:s3:::* is more than the bucket"),
        ("worker-policy.json", '"s3:PutObject"', '"ec2:RunInstances"', "workers need the bucket, and nothing else"),
        ("worker-policy.json", '"s3:PutObject"', '"s3:PutObjectAcl"', "s3:PutObject is needed"),
        ("worker-policy.json", '"Action"', '"NotAction"', "must list its actions"),
        ("worker-policy.json", '"Statement": [', '"Statement": ', "not a policy"),
    ],
)
def test_a_fault_planted_in_a_policy_is_named(name: str, old: str, new: str, sentence: str, tmp_path: Path) -> None:
    found = policy_problems(planted(f"docs/aws/{name}", old, new, tmp_path))
    assert any(sentence in problem for problem in found), found


@pytest.mark.parametrize(
    ("commands", "sentence"),
    [
        ("echo 'open\n", "bash cannot read"),
        ("aws ec2 authorize-security-group-ingress --group-id x --protocol tcp --port 22 --cidr 0.0.0.0/0\n", "opens too much"),
        ("aws ec2 create-secutity-group --group-name x\n", "aws ec2 has no create-secutity-group"),
        ("aws iam create-role --role-name x --assume-role-polic y\n", "aws iam create-role has no --assume-role-polic"),
        ("aws iam attach-role-policy --role-name x --policy-arn arn:aws:iam::aws:policy/AmazonS3FullAccess\n", "opens too much"),
    ],
)
def test_a_fault_planted_in_the_page_is_named(commands: str, sentence: str) -> None:
    found = document_problems(f"Text.\n\n```\n{commands}```\n")
    assert any(sentence in problem for problem in found), found


def test_files_policies_and_page_speak_of_the_same_things() -> None:
    config = yaml.safe_load((ROOT / AWS).read_text())
    policies = {name: (ROOT / "docs" / "aws" / name).read_text() for name in POLICIES}
    assert set(re.findall(r'/ray-cluster-name": "([^"]+)"', policies["head-policy.json"])) == {config["cluster_name"]}
    assert {node["node_config"]["IamInstanceProfile"]["Name"] for node in config["available_node_types"].values()} == {
        "al-sweep-head",
        "al-sweep-worker",
    }
    for placeholder in set(re.findall(r"\b(?:ACCOUNT|BUCKET|GROUP|REGION)\b", "".join(policies.values()))):
        assert f"s/{placeholder}/" in PAGE, f"the page does not say how to fill in {placeholder}"
    for key in config["metadata"]:
        assert f"`{key}`" in PAGE, f"the page does not speak of {key}"
    for name in (AWS, ON_PREMISES, *(f"docs/aws/{policy}" for policy in POLICIES)):
        assert name in PAGE
