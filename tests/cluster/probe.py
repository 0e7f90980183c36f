"""What answers on a machine's ports to somebody without a token: run as a script on another machine, prints JSON by port.

An open port is asked in three ways: it may greet (SSH), speak HTTP, or be a gRPC server of Ray, which is asked for something that
needs the token. ``refused`` stands for all that does not answer what was asked.
"""

import json
import os
import selectors
import socket
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BATCH = 16384
CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.RayletDriver/ClusterInfo",
    "/ray.rpc.ReporterService/HealthCheck",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.LogService/ListLogs",
)
PATHS = ("/", "/metrics", "/api/version", "/api/jobs/", "/api/job_agent/jobs/", "/nodes")
METRICS = b"# HELP"


def open_ports(address: str) -> list[int]:
    """All of them, by trying each of 65,535; what does not answer within a second is closed, or behind a wall."""
    found: list[int] = []
    for first in range(1, 65536, BATCH):
        found += batch(address, range(first, min(first + BATCH, 65536)))
    return found


def batch(address: str, ports: range) -> list[int]:
    selector, found = selectors.DefaultSelector(), []
    for port in ports:
        probe = socket.socket()
        probe.setblocking(False)
        probe.connect_ex((address, port))
        selector.register(probe, selectors.EVENT_WRITE, port)
    while events := selector.select(1.0):
        for key, _ in events:
            if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(key.data)
            selector.unregister(key.fileobj)
            key.fileobj.close()
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    selector.close()
    return found


def greeting(address: str, port: int) -> str:
    """The first word of who speaks first; nothing where nobody does, or where the port was closed meanwhile."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.settimeout(0.5)
            return connection.recv(20).decode(errors="replace").partition("-")[0]
    except OSError:
        return ""


def http(address: str, port: int, path: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(f"http://{address}:{port}{path}", headers=headers), timeout=2) as answer:
            return f"{answer.status} metrics" if METRICS in answer.read(1000) else str(answer.status)
    except HTTPError as error:
        return str(error.code)
    except Exception:  # no HTTP is spoken here
        return ""


def grpc_status(address: str, port: int, call: str, token: str) -> str:
    import grpc

    with grpc.insecure_channel(f"{address}:{port}") as channel:
        try:
            metadata = [("authorization", f"Bearer {token}")] if token else []
            channel.unary_unary(call)(b"", timeout=2, metadata=metadata)
            return "OK"
        except grpc.RpcError as error:
            return str(error.code().name)


def asked(address: str, port: int, token: str) -> dict[str, str]:
    """What each way of asking brought, where it brought something."""
    if greeting(address, port) == "SSH":
        return {"greeting": "SSH"}
    by_http = {path: http(address, port, path, token) for path in PATHS}
    if any(by_http.values()):
        return {path: status for path, status in by_http.items() if status}
    return {call.rpartition("/")[2]: grpc_status(address, port, call, token) for call in CALLS}


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (BATCH + 100, BATCH + 100))
    target, token = sys.argv[1], os.environ.get("PROBE_TOKEN", "")
    wanted = [int(port) for port in sys.argv[2:]] or open_ports(target)
    print(json.dumps({port: asked(target, port, token) for port in wanted}))
