"""Honest Canaries alone, and then beside a hostile tenant, under one controller: how they fare.

    trial = run(plane, folder)
    trial.beside.lateness, trial.beside.stories == trial.alone.stories, trial.memory, …

The steps, on a control plane that is running:

1. The honest team's Canaries are initialised, and a revision of each is rolled out. Nobody disturbs them.
2. Another team's objects are made in the tenant's namespace, then the tenant's Canaries with all that belongs to them.
3. The controller is stopped and started again: it has to read all of it at once.
4. A revision of every target is rolled out, the tenant's first, and the tenant goes on to change its Canaries. The
   honest team's have to end as they did alone.

`canary controller` is a process of its own with the rights that it is installed with and Flagger's definitions, which
have none of our bounds.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from attrs import Factory, define, field, frozen

from canarycore.phases import FINISHED
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS
from canarycore_planes.background import in_thread
from canarycore_planes.control_plane.api import Api, RequestError
from canarycore_planes.control_plane.plane import Plane
from tests.controlplane import rights
from tests.hostile.honest import (
    GOOGLE_TOKEN,
    SECRET,
    TEAM,
    Receiver,
    Stories,
    events,
    objects,
    prometheus,
    receiving,
    stories,
)
from tests.hostile.kinds import (
    KINDS,
    NEW,
    OWN_SECRET,
    SHARED,
    Kind,
    Tenant,
    deployment,
    foreign_objects_of,
    names,
    objects_of,
)
from tests.hostile.server import LOOPBACK, ROOT, RemoteServers, free_port, hostile_servers

Json = dict[str, Any]

HONEST, HOSTILE, CONTROLLER = "honest", "hostile", "controllers"
"""Namespaces."""

COUNT = 300
"""The tenant's Canaries."""

FINISHED_NAMES = [phase.value for phase in FINISHED]
PATIENCE = 300.0
"""Seconds that a step may take at most, with controllers that do poorly."""

AT_ONCE = 8
"""Requests to the API server that the tenant makes at once."""

UNREST = 0.2
"""Seconds between two changes of the tenant's Canaries."""

QUIET = 3.0
"""Seconds within which the last events of a rollout are written."""

LONGEST = 60.0
"""Seconds that an answer of /healthz is waited for, and that count where there is none."""

SETTLED = 8.0
"""Seconds for which the tenant's Canaries are at work before the honest team rolls out."""


@frozen(kw_only=True)
class Part:
    """How the honest Canaries fared, alone or beside the tenant's."""

    stories: dict[str, list[tuple[str, int]]]
    """The phases and weights that each went through."""
    told: Counter[tuple[str, str]]
    """How often each event was told about each."""
    calls: Counter[str]
    """How often each hook and the chat were called about each."""
    lateness: list[float]
    """Seconds between the moment that each decision was due and the one at which the controller turned to it."""
    delays: list[float]
    """Seconds by which the steps that a watch saw took longer than the interval, the API server's part included."""
    seconds: float
    """How long the rollouts took, from the first new revision to the last end."""


@define(kw_only=True)
class Trial:
    """The figures of one trial, alone and beside the tenant."""

    alone: Part
    beside: Part
    memory: list[float]
    """The most that each process of the controller held (MiB)."""
    health: list[float]
    """Seconds of each answer of /healthz."""
    busy: list[float]
    """Seconds of the processor that the controller's event loop took during each of these answers. A machine that
    stalls makes an answer late, and takes none."""
    reference: list[float]
    """Seconds of each answer of a server that nobody troubles: what this machine holds up by itself."""
    requests: int
    """How many requests the hostile servers got."""
    leaks: list[str]
    """The credentials that they got and must not get."""
    foreign: list[str]
    """The paths of other teams' objects."""
    harmed: list[str]
    """Those of them that changed."""
    vanished: list[str]
    """The tenant's Canaries about which nothing is told."""
    refused: list[str]
    """The API server's words about the objects that it refused."""
    seconds: dict[str, float]
    """How long each step took."""

    def __str__(self) -> str:
        """The figures in a few lines."""
        lines = [f"{self.requests} requests to hostile servers; the API server refused {len(self.refused)} objects"]
        for name, part in (("alone", self.alone), ("beside", self.beside)):
            lines.append(
                f"{name}: {part.seconds:.0f} s, {len(part.lateness)} decisions, lateness p50 "
                f"{percentile(part.lateness, 50):.3f} s, p99 {percentile(part.lateness, 99):.3f} s, worst "
                f"{max(part.lateness, default=0):.3f} s; from outside, p99 {percentile(part.delays, 99):.3f} s"
            )
        lines.append(", ".join(f"{step} {seconds:.0f} s" for step, seconds in self.seconds.items()))
        worst, usual = max(self.health, default=0), max(self.reference, default=0)
        memory = ", ".join(f"{one:.0f}" for one in self.memory)
        busiest = max(self.busy, default=0)
        lines.append(f"memory {memory} MiB; /healthz at most {worst:.3f} s, {busiest:.2f} s of them busy")
        lines.append(f"a reference at most {usual:.3f} s")
        return "\n".join(lines)


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def run(plane: Plane, folder: Path, *, count: int = COUNT, kinds: tuple[str, ...] = tuple(KINDS)) -> Trial:
    """All steps. count, kinds: of the tenant's Canaries. Raises MissingPrometheus."""
    with ExitStack() as stack:
        servers = stack.enter_context(hostile_servers(folder))
        receiver = stack.enter_context(receiving())
        address = stack.enter_context(_honest_team(plane.api, receiver, folder))
        seen = stack.enter_context(stories(plane.api, HONEST))
        stage = Stage(plane=plane, folder=folder, seen=seen, receiver=receiver, metrics=address)
        tenant = Tenant(namespace=HOSTILE, servers=servers)
        return stage.run(tenant, [*names(count, kinds)])


@contextmanager
def _honest_team(api: Api, receiver: Receiver, folder: Path) -> Iterator[str]:
    """The team's namespace with all that is in it; gives the Prometheus that measures it."""
    with prometheus([(HONEST, name, kind.fails) for name, kind in TEAM.items()], folder) as address:
        _make_namespace(api, HONEST)
        for body in objects(receiver.address, address):
            api.create(body, HONEST)
        yield address


@frozen(kw_only=True)
class Stage:
    """The state that all steps share."""

    plane: Plane
    folder: Path
    seen: Stories
    receiver: Receiver
    metrics: str

    def run(self, tenant: Tenant, canaries: list[tuple[str, Kind]]) -> Trial:
        api, steps = self.plane.api, Steps()
        access, environment = self._credentials()
        with self._controller(environment) as first:
            self._until(lambda: all(self.seen.phase(name) == "Initialized" for name in TEAM), "honest are at rest")
            steps.end("begin")
            time.sleep(QUIET)
            alone = self._rolled_out(first, "app:2")
            steps.end("alone")
            foreign, refused = _apply(api, tenant, canaries)
            time.sleep(SETTLED)
            steps.end("apply")
        with self._controller(environment) as second:
            time.sleep(SETTLED)
            steps.end("start again")
            with _unrest(api, tenant):
                _bring_all(api, tenant, NEW)
                time.sleep(SETTLED)
                steps.end("roll out")
                beside = self._rolled_out(second, "app:3")
            steps.end("beside")
        return Trial(
            alone=alone,
            beside=beside,
            memory=[first.memory, second.memory],
            health=[*first.health, *second.health],
            busy=[*first.busy, *second.busy],
            reference=[*first.reference, *second.reference],
            requests=len(tenant.servers.requests),
            foreign=[*foreign],
            leaks=[*_leaks(tenant.servers, {"the service account's token": access, "Google's token": GOOGLE_TOKEN})],
            harmed=[path for path, version in foreign.items() if _version(api, path) != version],
            vanished=[*_vanished(api, tenant)],
            refused=refused,
            seconds=steps.seconds,
        )

    # the controller ---------------------------------------------------------------------------------------------

    def _credentials(self) -> tuple[str, dict[str, str]]:
        """The token of the controller's account, and the environment of a pod that has it."""
        api = self.plane.api
        _make_namespace(api, CONTROLLER)
        access = rights.installed(api, CONTROLLER, ROUTING_RIGHTS)
        account = self.folder / "account"
        account.mkdir()
        (account / "token").write_text(access.token)
        google = _google_key(self.folder, self.receiver.address)
        config = self.plane.kubeconfig(access, "hostile-controller")
        given = {"POD_ACCOUNT": str(account), "GOOGLE_APPLICATION_CREDENTIALS": str(google), "KUBECONFIG": str(config)}
        return access.token, os.environ | given

    @contextmanager
    def _controller(self, environment: dict[str, str]) -> Iterator[Controller]:
        """A controller at work, once it answers."""
        port = free_port()
        log = self.folder / f"controller-{port}.log"
        flags = (f"-kubeconfig={environment['KUBECONFIG']}", f"-metrics-server={self.metrics}", f"-port={port}")
        command = (sys.executable, "-m", "tests.hostile.controller", "-listen=127.0.0.1", *flags)
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        controller = Controller(
            process=process, log=log, url=f"http://{LOOPBACK}:{port}/healthz", other=f"{self.metrics}/-/ready"
        )
        try:
            with controller.watched():
                yield controller
        finally:
            process.kill()
            process.wait()

    # the honest team --------------------------------------------------------------------------------------------

    def _rolled_out(self, controller: Controller, image: str) -> Part:
        """Bring a revision of each honest target, and wait for the rollouts' end."""
        api, begin = self.plane.api, time.time()
        told, calls = events(api, HONEST), self.receiver.calls.copy()
        for name in TEAM:
            _bring(api, HONEST, name, image)
        with suppress(TimeoutError):  # how they have ended is compared
            self._until(lambda: all(self._has_ended(name, begin) for name in TEAM), "honest have ended")
        seconds = time.time() - begin
        time.sleep(QUIET)
        return Part(
            stories={name: self.seen.since(name, begin) for name in TEAM},
            told=events(api, HONEST) - told,
            calls=self.receiver.calls - calls,
            lateness=controller.lateness(f"{HONEST}/", begin),
            delays=self.seen.delays(begin),
            seconds=seconds,
        )

    def _has_ended(self, name: str, begin: float) -> bool:
        story = self.seen.since(name, begin)
        return len(story) > 1 and story[-1][0] in FINISHED_NAMES

    def _until(self, look: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not look():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
            time.sleep(0.25)


@define
class Steps:
    """How long each step took (seconds)."""

    seconds: dict[str, float] = Factory(dict)
    _begun: float = Factory(time.monotonic)

    def end(self, step: str) -> None:
        """The step has ended, and the next one begins."""
        now = time.monotonic()
        self.seconds[step], self._begun = now - self._begun, now


@define
class Controller:
    """A controller's process."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    """Where it answers for its health."""
    other: str
    """Where a server answers that nobody troubles."""
    memory: float = 0.0
    """The most that it held (MiB)."""
    health: list[float] = Factory(list)
    """Seconds of each answer of `url`."""
    busy: list[float] = Factory(list)
    """Seconds of the processor that its event loop took meanwhile."""
    reference: list[float] = Factory(list)
    """Seconds of each answer of `other`."""
    _over: threading.Event = field(factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Ask for its health all the time, from the first answer on; a minute without one counts as an answer."""
        end = time.monotonic() + LONGEST
        while _seconds_of(self.url) >= LONGEST and time.monotonic() < end:
            time.sleep(0.1)
        thread = threading.Thread(target=self._probe, daemon=True)
        thread.start()
        yield
        self._over.set()
        thread.join()
        assert self.process.poll() is None, f"the controller ended: {self.log.read_text()[-2000:]}"

    def lateness(self, prefix: str, begin: float) -> list[float]:
        """Return the lateness of each decision about these Canaries since then, by the controller's own log."""
        found = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [
            line["late"]
            for line in found
            if line.get("event") == "decision" and line["canary"].startswith(prefix) and _epoch(line["ts"]) >= begin
        ]

    def _probe(self) -> None:
        while not self._over.wait(0.1):
            self.reference.append(_seconds_of(self.other))
            before = _processor_of(self.process.pid)
            self.health.append(_seconds_of(self.url))
            self.busy.append(_processor_of(self.process.pid) - before)
            with suppress(OSError, ValueError):
                self.memory = max(self.memory, _mebibytes(self.process.pid))


# ------------------------------------------------------------------------------------------------- the tenant's objects


def _apply(api: Api, tenant: Tenant, canaries: list[tuple[str, Kind]]) -> tuple[dict[str, str], list[str]]:
    """Make all objects; returns the versions of others' objects by their paths, and what the API server refused."""
    _make_namespace(api, tenant.namespace)
    api.create(deployment(SHARED), tenant.namespace)
    others = [body for name, kind in canaries for body in foreign_objects_of(kind, tenant, name)]
    paths = [api.path(api.create(body)) for body in others]
    foreign = {path: _settled(api, path) for path in paths}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        refused = pool.map(lambda pair: _make(api, tenant, *pair), canaries)
        return foreign, [why for each in refused for why in each]


def _make(api: Api, tenant: Tenant, name: str, kind: Kind) -> list[str]:
    """Make the objects of one Canary; returns what was refused."""
    refused = []
    for body in objects_of(kind, tenant, name):
        try:
            api.request("POST", api.path(body, named=False), body, fieldValidation="Ignore")
            if body["kind"] == "Canary" and kind.status is not None:
                api.patch(f"{api.path(body)}/status", {"status": kind.status(name)})
        except RequestError as error:
            refused.append(f"{name}: {body['kind']}: {str(error)[:200]}")
    return refused


@contextmanager
def _unrest(api: Api, tenant: Tenant) -> Iterator[None]:
    """Meanwhile the tenant goes on to change its Canaries, one after the other."""
    root = f"/apis/flagger.app/v1beta1/namespaces/{tenant.namespace}/canaries"
    paths = [f"{root}/{body['metadata']['name']}" for body in api.list(root)]

    def change(over: threading.Event) -> None:
        for number, path in enumerate(cycle(paths)):
            if over.wait(UNREST):
                return
            with suppress(RequestError):
                api.patch(path, {"metadata": {"annotations": {"unrest": str(number)}}})

    with in_thread(change):
        yield


def _bring_all(api: Api, tenant: Tenant, image: str) -> None:
    root = f"/apis/apps/v1/namespaces/{tenant.namespace}/deployments"
    found = [body["metadata"]["name"] for body in api.list(root)]
    targets = [name for name in found if not name.endswith("-primary")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        deque(pool.map(lambda name: _bring(api, tenant.namespace, name, image), targets), maxlen=0)


def _bring(api: Api, namespace: str, name: str, image: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    body = api.get(path)
    assert body is not None, path
    containers = body["spec"]["template"]["spec"]["containers"]
    api.patch(path, {"spec": {"template": {"spec": {"containers": [{**containers[0], "image": image}]}}}})


def _settled(api: Api, path: str) -> str:
    """The version of an object once nothing changes it any more: a Deployment gets a status at first."""
    api.eventually(path, lambda body: body["kind"] != "Deployment" or body.get("status", {}).get("observedGeneration"))
    before = ""
    while before != (now := _version(api, path)):
        before = now
        time.sleep(0.3)
    return now


def _version(api: Api, path: str) -> str:
    body = api.get(path)
    return "" if body is None else str(body["metadata"]["resourceVersion"])


def _make_namespace(api: Api, name: str) -> None:
    if api.get(f"/api/v1/namespaces/{name}") is None:
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


# ---------------------------------------------------------------------------------------------------- what is looked at


def _leaks(servers: RemoteServers, ours: dict[str, str]) -> Iterator[str]:
    """Credentials that a hostile server got: ours and the honest team's anywhere, the tenant's own after a redirect."""
    ours = ours | {"a Secret of the honest team": SECRET, "a Secret of another team": "FOREIGN-SECRET"}
    for name, secret in ours.items():
        if any(one in request for one in _spellings(secret) for request in servers.requests):
            yield f"{name} reached a hostile server"
    for request in servers.elsewhere.requests:
        if any(one in request for one in _spellings(OWN_SECRET)):
            yield f"a Secret of a template was sent through a redirect: {request[:300]!r}"


def _spellings(secret: str) -> tuple[bytes, ...]:
    """As it is, and in base64 at each of the three offsets that it may have in there."""
    text = secret.encode()
    packed = (base64.b64encode(b"x" * offset + text)[4 if offset else 0 : -4] for offset in range(3))
    return (text, *packed)


def _vanished(api: Api, tenant: Tenant) -> Iterator[str]:
    """Canaries without a phase, about which nothing is told either."""
    told = {event["involvedObject"]["name"] for event in api.list(f"/api/v1/namespaces/{tenant.namespace}/events")}
    for body in api.list(f"/apis/flagger.app/v1beta1/namespaces/{tenant.namespace}/canaries"):
        status, name = body.get("status") or {}, body["metadata"]["name"]
        if not status.get("conditions") and name not in told:
            yield name


def _google_key(folder: Path, server: str) -> Path:
    """The key of a Google account whose tokens `server` gives out."""
    key = folder / "google.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    account = {
        "type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": key.read_text(),
        "client_email": "controller@p.test", "client_id": "1", "token_uri": f"{server}/token",
    }  # fmt: skip
    path = folder / "google.json"
    path.write_text(json.dumps(account))
    return path


def _seconds_of(url: str) -> float:
    """How long the answer takes; LONGEST without one."""
    began = time.monotonic()
    try:
        urllib.request.urlopen(url, timeout=LONGEST).close()
    except (urllib.error.URLError, OSError):
        return LONGEST
    return time.monotonic() - began


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _processor_of(pid: int) -> float:
    """Return the processor time of a process's first thread, which has the event loop (seconds); 0 if it has ended."""
    with suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _mebibytes(pid: int) -> float:
    """Return the peak of a process's memory."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
