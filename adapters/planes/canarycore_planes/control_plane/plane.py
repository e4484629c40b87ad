"""The start and stop of a control plane.

    with run_control_plane() as cluster:
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}})

All files are in one temporary folder, and the servers end with their owner: the kernel kills each server when the
thread that started it is gone. Each has a process group of its own, so that Ctrl-C reaches only the owner. Nothing is
durable. The CRDs exist before the controller manager starts: its garbage collector looks
for new kinds only every 30 s.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import urllib3
from attrs import define, field, frozen

from canarycore.errors import CanaryError
from canarycore_planes.control_plane.api import Access, Api, Json, define_kinds
from canarycore_planes.control_plane.audit import Audit
from canarycore_planes.control_plane.binaries import Binaries, binaries
from canarycore_planes.control_plane.kubelet import Kubelet
from canarycore_planes.processes import die_with_the_owner

ADMIN = "admin"

_LOOPBACK = "127.0.0.1"
_USERS = {
    ADMIN: "system:masters",
    "kubelet": "system:masters",
    "system:kube-controller-manager": "system:masters",
}
"""The users with a token from the start, and their groups."""

_CONTROLLERS = (
    "deployment-controller", "replicaset-controller", "daemonset-controller", "statefulset-controller",
    "disruption-controller", "endpointslice-controller", "garbage-collector-controller", "namespace-controller",
    "serviceaccount-controller", "clusterrole-aggregation-controller",
)  # fmt: skip
"""The controllers that run. There is no autoscaler."""

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "kubelet", "system:kube-controller-manager"]},
        {"level": "Metadata"},
    ],
}
_PATIENCE = 90.0
_GRACE = 10.0


@frozen(kw_only=True)
class Plane:
    """A running control plane. `api` sends requests as its administrator."""

    folder: Path
    api: Api
    audit: Audit
    kubelet: Kubelet

    def kubeconfig(self, access: Access | None = None, name: str = ADMIN) -> Path:
        """Return a file for clients, by default that of the administrator."""
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps((access or self.api.access).kubeconfig))
        return path


@contextmanager
def run_control_plane(
    definitions: Iterable[Json] = (), *, pods: bool = True, node: Callable[[Access], Kubelet] = Kubelet
) -> Iterator[Plane]:
    """Run a control plane with these CustomResourceDefinitions. Raises MissingProgram, and Broken if a part ends.

    pods: without them there is the API server alone, and nobody writes the status of a workload. node: makes its
    kubelet.
    """
    programs = binaries()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="controlplane-")))
        servers = stack.enter_context(_stopped_at_the_end(folder))
        tokens = _write_tokens(folder)
        etcd = _start_etcd(servers, programs)
        access = _start_apiserver(servers, programs, etcd, tokens)
        api = Api(access)
        define_kinds(api, definitions)
        manager = Access(access.server, tokens["system:kube-controller-manager"], access.authority)
        kubelet = node(Access(access.server, tokens["kubelet"], access.authority))
        if pods:
            _start_manager(servers, programs, manager)
            stack.enter_context(kubelet.running())
        yield Plane(folder=folder, api=api, audit=Audit(folder / "audit.jsonl", api), kubelet=kubelet)


# ------------------------------------------------------------------------------------------------------- the servers


def _start_etcd(servers: _Servers, programs: Binaries) -> str:
    client, peer = (f"http://{_LOOPBACK}:{port}" for port in _free_ports(2))
    flags = {
        "data-dir": servers.folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",
        "logger": "zap",
        "log-level": "warn",
    }
    servers.start("etcd", programs.etcd, flags)
    servers.wait("etcd", f"{client}/health")
    return client


def _start_apiserver(servers: _Servers, programs: Binaries, etcd: str, tokens: dict[str, str]) -> Access:
    folder = servers.folder
    key = folder / "accounts.key"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    (folder / "audit.json").write_text(json.dumps(_AUDIT))
    (port,) = _free_ports(1)
    server = f"https://{_LOOPBACK}:{port}"
    flags = {
        "etcd-servers": etcd,
        "bind-address": _LOOPBACK,
        "advertise-address": _LOOPBACK,
        "secure-port": port,
        "cert-dir": folder / "tls",  # it makes its own certificate there
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": server,
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.96.0.0/12",
        "enable-admission-plugins": "OwnerReferencesPermissionEnforcement",  # as some distributions do
        "disable-admission-plugins": "ServiceAccount",  # else pods wait for their namespace's account
        "audit-policy-file": folder / "audit.json",
        "audit-log-path": folder / "audit.jsonl",
        "audit-log-maxsize": 100_000,  # MB: no rotation
        "endpoint-reconciler-type": "none",
        "profiling": "false",
    }
    servers.start("kube-apiserver", programs.apiserver, flags)
    authority = folder / "tls" / "apiserver.crt"
    servers.wait("kube-apiserver", f"{server}/readyz", authority, tokens[ADMIN])
    return Access(server, tokens[ADMIN], str(authority))


def _start_manager(servers: _Servers, programs: Binaries, access: Access) -> None:
    config = servers.folder / "manager.kubeconfig"
    config.write_text(json.dumps(access.kubeconfig))
    flags = {
        "kubeconfig": config,
        "controllers": ",".join(_CONTROLLERS),
        "leader-elect": "false",
        "secure-port": 0,
        "kube-api-qps": 1000,
        "kube-api-burst": 2000,
        "concurrent-deployment-syncs": 20,
        "concurrent-replicaset-syncs": 20,
        "concurrent-statefulset-syncs": 20,
        "profiling": "false",
    }
    servers.start("kube-controller-manager", programs.manager, flags)


# ---------------------------------------------------------------------------------------------------------- helpers


class Broken(CanaryError):
    """A server of the control plane ended, or did not get ready. The text shows the end of its log."""


@define
class _Servers:
    """A stack of processes: the last one started stops first."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(factory=dict)

    def start(self, name: str, program: Path, flags: dict[str, object]) -> None:
        command = [str(program), *(f"--{key}={value}" for key, value in flags.items())]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={**os.environ, "GOGC": "400"},  # a fifth less CPU, for memory that the machine has
                process_group=0, preexec_fn=die_with_the_owner,  # noqa: PLW1509  it only calls the kernel
            )  # fmt: skip

    def wait(self, name: str, url: str, authority: Path | None = None, token: str = "") -> None:
        end = time.monotonic() + _PATIENCE
        while not _answers(url, authority, token):
            if self.processes[name].poll() is not None or time.monotonic() > end:
                log = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-20:]
                raise Broken("\n".join([f"{name} did not get ready; its log ends with:", *log]))
            time.sleep(0.05)

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGKILL)  # its data is temporary
            process.wait(timeout=_GRACE)


@contextmanager
def _stopped_at_the_end(folder: Path) -> Iterator[_Servers]:
    servers = _Servers(folder)
    try:
        yield servers
    finally:
        servers.stop()


def _write_tokens(folder: Path) -> dict[str, str]:
    tokens = {user: secrets.token_urlsafe() for user in _USERS}
    lines = [f'{tokens[user]},{user},{user},"{group}"' for user, group in _USERS.items()]
    (folder / "tokens.csv").write_text("\n".join(lines))
    return tokens


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_LOOPBACK, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _answers(url: str, authority: Path | None, token: str) -> bool:
    if authority is not None and not authority.exists():
        return False
    pool = urllib3.PoolManager(ca_certs=str(authority) if authority else None, retries=False)
    try:
        return pool.request("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False
