"""What can be known, without an account, about what docs/cluster.md has a user set up on AWS: IAM policies and commands.

`policy_problems` and `document_problems` return sentences, none if all is well.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name

from tests.cluster_files import shell_error

# What the head's machine asks of AWS: first to scale the cluster, then to end it (`ray exec --stop`) and to look up the image.
HEAD_ACTIONS = {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "ec2:DescribeInstances", "iam:PassRole"}
HEAD_ACTIONS |= {"ec2:DescribeInstanceTypes", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ssm:GetParameters"}
BUCKET_ACTIONS = {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


def policy_problems(path: Path) -> list[str]:
    """All that is wrong with an IAM policy, before its placeholders are filled in."""
    try:
        statements = json.loads(path.read_text())["Statement"]
    except (ValueError, KeyError) as error:
        return [f"{path.name}: not a policy: {error!r}"]
    found = [sentence for statement in statements for sentence in _statement_problems(statement)]
    granted = {action for statement in statements for action in _listed(statement.get("Action", []))}
    needed = BUCKET_ACTIONS | HEAD_ACTIONS if path.name.startswith("head") else BUCKET_ACTIONS
    found += [f"{action} is needed, and not granted" for action in sorted(needed - granted)]
    if not path.name.startswith("head"):
        found += [f"{action}: workers need the bucket, and nothing else" for action in sorted(granted) if not action.startswith("s3:")]
    return [f"{path.name}: {sentence}" for sentence in found]


def _statement_problems(statement: dict[str, Any]) -> Iterator[str]:
    place, actions, resources = statement.get("Sid", "?"), _listed(statement.get("Action", [])), _listed(statement.get("Resource", []))
    if {"NotAction", "NotResource"} & statement.keys() or not actions or not resources:
        yield f"{place}: must list its actions and resources"
    yield from (f"{place}: {action} is too wide" for action in actions if "*" in action)
    for resource in resources:
        if resource == "*" and not all(action.startswith("ec2:Describe") for action in actions):
            yield f"{place}: only ec2:Describe... may be granted on everything"
        if resource.startswith("arn:aws:s3:::") and resource.removesuffix("/*") != "arn:aws:s3:::BUCKET":
            yield f"{place}: {resource} is more than the bucket"
    if "iam:PassRole" in actions and resources != ["arn:aws:iam::ACCOUNT:role/al-sweep-worker"]:
        yield f"{place}: only the workers' role may be passed"
    conditions = json.dumps(statement.get("Condition", {}))
    instances = any(resource.endswith(":instance/*") for resource in resources)
    if instances and not re.search(r"/ray-cluster-name\"|ec2:CreateAction", conditions):
        yield f"{place}: machines of other clusters must be out of reach"


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def document_problems(text: str) -> list[str]:
    """All that is wrong with the shell commands of a page: their grammar, what they open, and words that the AWS CLI does not know."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        error = shell_error(block)
        if error:
            found.append(f"bash cannot read {block!r}: {error}")
        if "0.0.0.0" in block or "::/0" in block or "FullAccess" in block:
            found.append(f"opens too much: {block!r}")
        for service, operation, rest in re.findall(r"\baws (\w[\w-]*) ([\w-]+)((?:[^\n|;&]|\\\n)*)", block):
            found += _unknown_words(service, operation, re.findall(r"--([\w-]+)", rest))
    return found


# Options that the AWS CLI has beside the members of an operation's input.
OPTIONS_OF_ALL = {"region", "query", "output"}
OPTIONS_OF_ONE = {"authorize-security-group-ingress": {"protocol", "port", "cidr", "source-group"}}


def _unknown_words(service: str, operation: str, options: list[str]) -> Iterator[str]:
    if service in ("s3", "configure"):  # commands that are no operations
        return
    model = _service_model(service)
    names = {xform_name(name).replace("_", "-"): name for name in model.operation_names}
    if operation not in names:
        yield f"aws {service} has no {operation}"
        return
    members = model.operation_model(names[operation]).input_shape
    known = {xform_name(name).replace("_", "-") for name in (members.members if members else ())}
    for option in options:
        if option not in known | OPTIONS_OF_ALL | OPTIONS_OF_ONE.get(operation, set()):
            yield f"aws {service} {operation} has no --{option}"


@lru_cache
def _service_model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)
