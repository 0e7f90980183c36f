"""Programs of the pretend AWS, run on the router: ``server`` answers for EC2, IAM and S3 (moto), ``watch`` tells what EC2 should run.

This file is run as a script and knows nothing of the tests.
"""

import json
import sys
import time
from typing import Any

PORT = 5000
REGION = "us-west-2"
BUCKET = "al-sweep-results"
KEY_NAME, IMAGE = "al-sweep", "ami-12c6146b"
ACCOUNT = {"endpoint_url": f"http://127.0.0.1:{PORT}", "region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "x"}


def server() -> None:
    """Moto, which grants MinCount machines where EC2, with enough of them, grants MaxCount."""
    from moto.ec2.responses.instances import InstanceResponse
    from moto.server import main

    run_instances = InstanceResponse.run_instances

    def run_all_instances(self: Any) -> Any:
        parameter = self._get_param
        self._get_param = lambda name, *rest, **named: parameter("MaxCount" if name == "MinCount" else name, *rest, **named)
        return run_instances(self)

    InstanceResponse.run_instances = run_all_instances
    main(["--host", "0.0.0.0", "--port", str(PORT)])


def watch(public_key: str) -> None:
    """Do once what docs/cluster.md has the user do, then print EC2's machines as a line of JSON now and then."""
    import boto3

    ec2 = boto3.client("ec2", **ACCOUNT)
    group = retried(lambda: set_up(boto3, ec2, public_key))
    while True:
        reservations = ec2.describe_instances()["Reservations"]
        machines = [described(instance) for reservation in reservations for instance in reservation["Instances"]]
        print(json.dumps({"group": group, "machines": machines}), flush=True)
        time.sleep(0.5)


def retried(action: Any) -> Any:
    """The server needs a few seconds to start."""
    from botocore.exceptions import EndpointConnectionError

    for _ in range(100):
        try:
            return action()
        except EndpointConnectionError:
            time.sleep(0.2)
    raise TimeoutError("the pretend AWS does not answer")


def set_up(boto3: Any, ec2: Any, public_key: str) -> str:
    """Key pair, security group, profiles and bucket; the group's id."""
    ec2.import_key_pair(KeyName=KEY_NAME, PublicKeyMaterial=public_key.encode())
    group = ec2.create_security_group(GroupName="al-sweep", Description="al-sweep")["GroupId"]
    iam = boto3.client("iam", **ACCOUNT)
    for name in ("al-sweep-head", "al-sweep-worker"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    boto3.client("s3", **ACCOUNT).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return str(group)


def described(instance: dict[str, Any]) -> dict[str, Any]:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return {
        "id": instance["InstanceId"],
        "state": instance["State"]["Name"],
        "private": instance.get("PrivateIpAddress"),
        "public": instance.get("PublicIpAddress"),
        "type": instance["InstanceType"],
        "market": instance.get("InstanceLifecycle", "on demand"),
        "kind": tags.get("ray-user-node-type"),
    }


if __name__ == "__main__":
    server() if sys.argv[1] == "server" else watch(sys.argv[2])
