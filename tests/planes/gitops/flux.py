"""Flux's source-controller and kustomize-controller on a bench, and the apps that they deliver from Git.

    flux = Flux(bench, server)
    flux.start()
    delivery = flux.deliver("shop", deployment=…, canary=…)
    delivery.commit("Release v2", deployment=…)

Flux checks each app for drift every few seconds. Its requests have a user of their own, so the API server's audit log
tells them from all others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from attrs import define, evolve, field

from canarycore_planes.bench import App, Bench, DataPlane
from canarycore_planes.control_plane.api import Json
from canarycore_planes.control_plane.audit import Request
from canarycore_planes.programs import PROGRAMS, module, program
from tests.planes.gitops.git import BRANCH, GitServer, Repository

SOURCES, KUSTOMIZATIONS = "source-controller", "kustomize-controller"
"""The programs."""

SYSTEM = "flux-system"
"""The namespace of Flux."""

DRIFT = 5
"""Seconds between two checks for drift."""

PATIENCE = 120.0
"""Seconds that a step may take on a busy machine."""

CONTROLLER = "system:serviceaccount:controllers:"
"""How the user of `canary controller` begins."""

_STORAGE = "127.0.0.1:9790"
_ALL = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
_READING = frozenset({"get", "list", "watch"})


def with_flux(data_plane: DataPlane) -> DataPlane:
    """Return a data plane on whose bench Flux's definitions exist."""
    return evolve(data_plane, definitions=lambda: [*data_plane.definitions(), *_definitions()])


def _definitions() -> list[Path]:
    folders = [module(PROGRAMS[name].source) / "config" / "crd" / "bases" for name in (SOURCES, KUSTOMIZATIONS)]
    return [path for folder in folders for path in sorted(folder.glob("*.yaml"))]


@define
class Flux:
    """Flux's two controllers."""

    bench: Bench
    server: GitServer
    user: str = f"system:serviceaccount:{SYSTEM}:flux"
    """Their user."""

    def start(self) -> None:
        """Start both with all rights, as Flux's own manifests do."""
        bench = self.bench
        bench.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        access = bench.api.service_account(SYSTEM, "flux", [_ALL])
        config = bench.plane.kubeconfig(access, "flux")
        own = {
            SOURCES: (
                f"--storage-path={self._folder('artifacts')}", f"--storage-addr={_STORAGE}",
                f"--storage-adv-addr={_STORAGE}",
            ),
            KUSTOMIZATIONS: ("--requeue-dependency=2s",),
        }  # fmt: skip
        for name, arguments in own.items():
            bench.start(
                name, program(name), "--metrics-addr=0", "--health-addr=0", "--log-level=info", "--log-encoding=json",
                *arguments, KUBECONFIG=str(config), RUNTIME_NAMESPACE=SYSTEM, TMPDIR=str(self._folder(f"{name}.tmp")),
            )  # fmt: skip

    def _folder(self, name: str) -> Path:
        path = self.bench.folder / name
        path.mkdir()
        return path

    def deliver(self, app: App, **files: Json | list[Json]) -> Delivery:
        """Commit these files to a repository of the app, and let Flux apply them from now on."""
        delivery = Delivery(self, app, self.server.repository(app.name))
        revision = delivery.repository.commit("Add the app", **files)
        for body in delivery.objects():
            self.bench.api.create(body, SYSTEM)
        delivery.applies(revision)
        return delivery


@define
class Delivery:
    """An app whose objects Flux applies from a repository."""

    flux: Flux
    app: App
    repository: Repository
    positions: dict[str, int] = field(factory=dict)
    """Positions in the audit log."""

    def objects(self) -> list[Json]:
        """Return the source and the Kustomization."""
        name = {"name": self.app.name}
        source = {
            "url": f"{self.flux.server.url}/{self.app.name}",
            "ref": {"branch": BRANCH},
            "interval": "1m",
            "timeout": "30s",
        }
        kustomization = {
            "sourceRef": {"kind": "GitRepository", **name},
            "path": "./",
            "targetNamespace": self.app.name,
            "prune": True,
            "interval": f"{DRIFT}s",
            "retryInterval": f"{DRIFT}s",
            "timeout": "1m",
        }
        return [
            {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": name, "spec": source},
            {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "metadata": name,
                "spec": kustomization,
            },
        ]

    @property
    def _source(self) -> str:
        return f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{SYSTEM}/gitrepositories/{self.app.name}"

    @property
    def _kustomization(self) -> str:
        return f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{SYSTEM}/kustomizations/{self.app.name}"

    # the owner's commands ---------------------------------------------------------------------------------------------

    def commit(self, subject: str, **files: Json | list[Json] | None) -> str:
        """Commit these files, let the source fetch the commit, and return its id."""
        revision = self.repository.commit(subject, **files)
        self._fetch(revision)
        return revision

    def revert(self) -> None:
        """Revert the last commit, and wait until Flux has applied that."""
        revision = self.repository.revert()
        self._fetch(revision)
        self.applies(revision)

    def _fetch(self, revision: str) -> None:
        """Ask the source to look at the repository, as `flux reconcile source git` does."""
        annotations = {"reconcile.fluxcd.io/requestedAt": str(time.time())}
        self.flux.bench.api.patch(self._source, {"metadata": {"annotations": annotations}})
        self.flux.bench.api.eventually(self._source, lambda body: revision in str(_status(body, "artifact")), PATIENCE)

    def applies(self, revision: str) -> None:
        """Wait until Flux has applied a commit."""
        api, path = self.flux.bench.api, self._kustomization
        api.eventually(path, lambda body: revision in str(_status(body, "lastAppliedRevision")), PATIENCE)

    def suspend(self, is_suspended: bool = True) -> None:
        """Suspend the Kustomization, or resume it."""
        self.flux.bench.api.patch(self._kustomization, {"spec": {"suspend": is_suspended}})

    def ignore(self, kind: str, *paths: str) -> None:
        """Let Flux ignore these fields of the objects of a kind."""
        rules = [{"paths": list(paths), "target": {"kind": kind}}]
        self.flux.bench.api.patch(self._kustomization, {"spec": {"ignore": rules}})

    # its requests -----------------------------------------------------------------------------------------------------

    def mark(self, name: str) -> None:
        """Note the position in the audit log."""
        self.positions[name] = self.flux.bench.plane.audit.mark()

    def checks(self, begin: str) -> Counter[str]:
        """Return how often Flux has compared each object of the app with Git since a mark."""
        return Counter(_name(each) for each in self._requests(begin) if self._is_of_flux(each) and _is_dry(each))

    def writes(self, begin: str, end: str = "") -> Counter[str]:
        """Return how often Flux has written each object of the app between two marks."""
        return _count(each for each in self._requests(begin, end) if self._is_of_flux(each))

    def writes_of_controller(self, begin: str, end: str = "") -> Counter[str]:
        """Return how often `canary controller` has written each object of the app between two marks."""
        return _count(each for each in self._requests(begin, end) if each.user.startswith(CONTROLLER))

    def _is_of_flux(self, request: Request) -> bool:
        return request.user == self.flux.user

    def _requests(self, begin: str, end: str = "") -> list[Request]:
        audit = self.flux.bench.plane.audit
        later = len(audit.requests(self.positions[end], namespace=self.app.name)) if end else 0
        requests = audit.requests(self.positions[begin], namespace=self.app.name)
        return requests[: len(requests) - later]

    def checked(self, times: int = 3) -> None:
        """Wait until Flux has compared the app with Git so many times more."""
        self.mark("checked")
        end = time.monotonic() + PATIENCE
        while max(self.checks("checked").values(), default=0) < times:
            assert time.monotonic() < end, self.flux.bench.api.get(self._kustomization)
            time.sleep(1)


def _status(body: Json, name: str) -> object:
    return (body.get("status") or {}).get(name)


def _is_dry(request: Request) -> bool:
    return "dryRun=All" in request.uri


def _name(request: Request) -> str:
    return f"{request.resource} {request.name}"


def _count(requests: Iterable[Request]) -> Counter[str]:
    """Count the writes by object; events and refused requests are none."""
    return Counter(
        _name(each)
        for each in requests
        if each.verb not in _READING and not _is_dry(each) and each.code < 300 and "events" not in each.resource
    )
