"""The process inside the namespaces: it starts the bench, plays the rollout, and writes the story to stdout.

    python -m canarycore_planes.rehearsal.stage MOUNT       by `rehearse`, with the plan as a line of stdin

The lines are those of `canary rehearse --json`, with these differences:

    weight     phase too                  mirrored and matched are always false: the manifest says what they are
    split      phase, versions (answers of each) too; measured is the percentage that the newest version answered
    objects    phase, weight, objects: the routing objects that the controller wrote
    error      text of what ended the rehearsal
    the last   answered (by a pod) and lost (by no pod) too
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from attrs import define, field
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from canarycore.errors import CanaryError
from canarycore.foreign import get_text, get_value
from canarycore_planes.bench import CONTROLLERS, URL, Bench, bench
from canarycore_planes.clients import Log, requests
from canarycore_planes.control_plane.api import Json, RequestError
from canarycore_planes.control_plane.audit import read
from canarycore_planes.data_planes.catalog import DATA_PLANES
from canarycore_planes.network import set_up
from canarycore_planes.rehearsal.manifest import HOOKS
from canarycore_planes.rehearsal.plan import IMAGE, RehearsalPlan

_TICK = 0.5
_SETTLED = 3.0
"""Seconds of requests before a version comes."""
_FOLLOWED = 10.0
"""Seconds of requests after the last end, within which the proxies follow the last routes."""
_READY = 180.0
"""Seconds within which the Canary gets ready with the first version."""
_PATIENCE = 30.0
_REMINDER = 15.0
"""Seconds without a line after which a remark says what the rehearsal waits for."""
_ENDS = ("Succeeded", "Failed")
_ROUTING_GROUPS = frozenset({"networking.k8s.io", "projectcontour.io", "gateway.networking.k8s.io"})
_BAD = 500
_OVERLAP = 1 << 16
"""Bytes of the audit log to read again: its last line may not have been complete."""
_LONGEST_LOG = 2_000

Emit = Callable[[Json], None]
State = tuple[float, str, int]
"""A moment, and the phase and the weight from then on."""


@define
class Play:
    """A rehearsal on a running bench."""

    plan: RehearsalPlan
    running: Bench
    emit: Emit
    started: float
    logs: list[Log] = field(factory=list)
    states: list[State] = field(factory=list)
    """Each phase and weight of the Canary."""
    splits: list[Json] = field(factory=list)
    _events: dict[str, int] = field(factory=dict)
    """The counts of the events that have lines, by their names."""
    _mark: int = 0
    """The position in the audit log up to which the objects are known."""
    _paths: dict[str, None] = field(factory=dict)
    """The paths of the routing objects."""
    _objects: list[Json] = field(factory=list)
    """The routing objects, as read last."""
    _label: str = ""
    """The version that was deployed last."""
    _spoken: float = field(factory=time.monotonic)

    @property
    def namespace(self) -> str:
        """The namespace of the Canary."""
        return str(self.plan.canary["metadata"]["namespace"])

    @property
    def path(self) -> str:
        """The path of the Canary."""
        return self.running.api.path(self.plan.canary)

    def line(self, kind: str, **data: object) -> None:
        """Add a line to the story."""
        self._spoken = time.monotonic()
        self.emit({"seconds": self.seconds, "kind": kind, **data})

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - self.started, 3)

    # the way --------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Apply the manifest, roll out all versions, and end the story."""
        first, *others = self.plan.versions
        self._apply(first)
        self._wait(lambda: self._phase() in ("Initialized", *_ENDS), f"{first} to get ready", _READY)
        self._wait(self._is_reachable, f"an answer for {self.plan.host}", _READY)
        self.line("start", canary=f"{self.namespace}/{self.plan.canary['metadata']['name']}", policy=self.plan.policy,
                  versions=list(self.plan.descriptions), speed=1, rps=self.plan.rate, address=URL)  # fmt: skip
        with self._traffic():
            for label in others:
                self._settle(_SETTLED)
                self._deploy(label)
                self._wait(lambda: self._phase() in _ENDS, "the end of the rollout")
            self._settle(_FOLLOWED)
        self._close_split()
        self._write_objects()
        self._write_end()

    def _apply(self, first: str) -> None:
        api = self.running.api
        for name in self.plan.namespaces:
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self._label = first
        for body in (*self.plan.objects, self._target(first), self.plan.canary):
            try:
                api.apply(body)
            except RequestError as error:
                name = f"{body['kind']} {body['metadata']['name']}"
                raise CanaryError(f"{name}: the API server refused it: {error}") from None

    def _target(self, label: str) -> Json:
        body: Json = json.loads(json.dumps(self.plan.deployment))
        (container,) = body["spec"]["template"]["spec"]["containers"]
        container["image"] = f"{IMAGE}:{label}"
        return body

    def _deploy(self, label: str) -> None:
        self.line("remark", text=f"deploying {label}")
        self._label = label
        template = self._target(label)["spec"]["template"]
        self.running.api.patch(self.running.api.path(self.plan.deployment), {"spec": {"template": template}})
        before = len(self.states)
        self._wait(lambda: len(self.states) > before, f"the controller to notice {label}")

    def _phase(self) -> str:
        return self.states[-1][1] if self.states else ""

    def _is_reachable(self) -> bool:
        stream = self.plan.streams[0]
        with PoolManager(retries=False) as pool, suppress(HTTPError):
            answer = pool.request("GET", f"{URL[:-1]}{stream.path}", headers={"Host": self.plan.host}, timeout=2)
            return bool(answer.headers.get("X-Version"))
        return False

    def _settle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._wait(lambda: time.monotonic() > end, "the last requests")

    def _wait(self, is_over: Callable[[], bool], what: str, seconds: float = float("inf")) -> None:
        """Watch the Canary until a condition holds. Raises CanaryError after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            self._watch()
            if is_over():
                return
            if time.monotonic() > end:
                raise CanaryError(f"waited {seconds:g} s for {what}; {self._describe_trouble()}")
            if time.monotonic() - self._spoken > _REMINDER:
                self.line("remark", text=f"waiting for {what}")
            time.sleep(_TICK)

    def _describe_trouble(self) -> str:
        log = (self.running.folder / "controller.log").read_text(errors="replace")[-_LONGEST_LOG:]
        return f"the Canary's phase is {self._phase() or 'empty'}. The controller's log ends with:\n{log}"

    # the Canary -------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Add lines for new events, and for a new phase or weight."""
        for event in self.running.api.list(f"/api/v1/namespaces/{self.namespace}/events"):
            name, count = event["metadata"]["name"], int(event.get("count") or 1)
            if get_text(event, "involvedObject", "kind") == "Canary" and self._events.get(name, 0) < count:
                self._events[name] = count
                self.line("event", type=event.get("type"), text=event.get("message"), phase=self._phase())
        status = get_value(self.running.api.get(self.path), "status") or {}
        state = str(status.get("phase") or ""), int(status.get("canaryWeight") or 0)
        if not self.states or self.states[-1][1:] != state:
            self._close_split()
            self._write_objects()
            self.states.append((time.time(), *state))
            self._spoken = time.monotonic()
            self.line("weight", weight=state[1], mirrored=False, matched=False, phase=state[0])
        self._read_objects()

    def _close_split(self) -> None:
        """Add a line with the answers at the last weight."""
        if not self.states or not self.logs:
            return
        begin, phase, weight = self.states[-1]
        entries = [entry for log in self.logs for entry in log.between(begin).entries]
        versions = Log(entries).versions()
        total = versions.total()
        split = {
            "weight": weight,
            "mirrored": False,
            "matched": False,
            "phase": phase,
            "measured": round(100 * versions[self._label] / total, 2) if total else None,
            "versions": dict(sorted(versions.items())),
            "requests": len(entries),
            "bad": sum(_is_bad(entry.status) for entry in entries),
        }
        self.splits.append(split)
        if entries:
            self.line("split", **split)

    # the routing objects --------------------------------------------------------------------------------------------

    def _read_objects(self) -> None:
        """Read the routing objects that the controller wrote: the audit log names them."""
        account = f"system:serviceaccount:{CONTROLLERS}:{self.plan.installation.account}"
        log = self.running.plane.audit.path
        size = log.stat().st_size
        for request in read(log, self._mark):
            if request.user != account:
                continue
            plural, _, group = request.resource.partition(".")
            if request.verb in ("create", "patch", "update") and group in _ROUTING_GROUPS and request.code < 400:
                self._paths[_path_of(request.uri, plural, request.name)] = None
        self._mark = max(0, size - _OVERLAP)
        found = (self.running.api.get(path) for path in self._paths)
        self._objects = [_without_bookkeeping(body) for body in found if body is not None]

    def _write_objects(self) -> None:
        """Add a line with the routing objects at the last weight."""
        if self.states and self._objects:
            _, phase, weight = self.states[-1]
            self.line("objects", phase=phase, weight=weight, objects=self._objects)

    # requests -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _traffic(self) -> Iterator[None]:
        with ExitStack() as stack:
            for stream in self.plan.streams:
                url = f"{URL[:-1]}{stream.path}"
                sending = requests(url, self.plan.host, stream.rate, stream.headers)
                self.logs.append(stack.enter_context(sending))
            yield

    def _write_end(self) -> None:
        """Add the last line, which has no kind."""
        entries = [entry for log in self.logs for entry in log.entries]
        whole = Log(entries)
        unanswered = len(whole.unanswered())
        by_version = dict(whole.versions()) | ({"unanswered": unanswered} if unanswered else {})
        self.emit(
            {
                "outcome": self._phase(),
                "reason": "",
                "seconds": self.seconds,
                "requests": len(entries),
                "answered": len(entries) - unanswered,
                "lost": unanswered,
                "bad_requests": sum(_is_bad(entry.status) for entry in entries),
                "requests_by_version": by_version,
                "splits": [split for split in self.splits if split["requests"]],
            }
        )


def _is_bad(status: int) -> bool:
    return status == 0 or status >= _BAD


def _path_of(uri: str, plural: str, name: str) -> str:
    """Return the path of the object of a request."""
    path = uri.partition("?")[0]
    return path if path.endswith(f"/{name}") else f"{path[: path.index(plural) + len(plural)]}/{name}"


def _without_bookkeeping(body: Json) -> Json:
    """Return an object as its writer means it."""
    metadata = {key: value for key, value in body["metadata"].items()
                if key in ("name", "namespace", "labels", "annotations")}  # fmt: skip
    kept = {key: value for key, value in body.items() if key not in ("status", "metadata", "apiVersion", "kind")}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, **kept}


# ------------------------------------------------------------------------------------------------------------- process


class _Hooks(http.server.BaseHTTPRequestHandler):
    """The answers to webhooks: the path says whether a gate is open."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_open = self.path.startswith("/open")
        self.send_response(HTTPStatus.OK if is_open else HTTPStatus.FORBIDDEN)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing."""
        del format, args


def main() -> None:
    """Play the plan of stdin."""
    plan = RehearsalPlan.load(sys.stdin.readline())
    threading.Thread(target=_end_with_the_owner, daemon=True).start()
    started = time.monotonic()

    def emit(line: Json) -> None:
        sys.stdout.write(json.dumps(line, allow_nan=False) + "\n")
        sys.stdout.flush()

    def report(text: str) -> None:
        emit({"seconds": round(time.monotonic() - started, 3), "kind": "remark", "text": text})

    try:
        folder = _mount(Path(sys.argv[1]))
        set_up()
        hooks = http.server.ThreadingHTTPServer(("127.0.0.1", HOOKS), _Hooks)
        threading.Thread(target=hooks.serve_forever, daemon=True).start()
        commands = {f"{IMAGE}:{label}": _in_a_sidecar(command) for label, command in plan.versions.items()}
        data_plane = DATA_PLANES[plan.plane]
        with bench(data_plane, folder, plan.installation, commands=commands, report=report) as running:
            Play(plan, running, emit, started).play()
            os._exit(0)  # the kernel ends all others, sooner than one after the other
    except (CanaryError, RequestError, HTTPError, OSError, AssertionError, subprocess.SubprocessError) as error:
        emit({"kind": "error", "text": str(error)})
        os._exit(1)


def _in_a_sidecar(command: tuple[str, ...] | list[str] | Any) -> tuple[str, ...]:
    return (sys.executable, "-m", "canarycore_planes.sidecar", *command)


def _mount(place: Path) -> Path:
    """Mount a file system in memory, for all files of the bench."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", str(place)], check=True, capture_output=True)
    os.environ["TMPDIR"] = str(place)
    return place / "bench"


def _end_with_the_owner() -> None:
    """End this process, and so all others, when its input ends."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
