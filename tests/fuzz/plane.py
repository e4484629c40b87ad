"""The whole controller on the API server in memory: mutated objects in some namespaces, honest Canaries in another.

The controller is the command that users run, in a process of its own. A thread writes mutated objects, a few each
second, and looks at what the controller logs, whether it answers on /healthz, what it holds in memory, and whether the
honest Canaries go on: each rolls out one image after another.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field

from bench.cluster_parts import canary, controller, megabytes, prometheus, target
from bench.fakeapi import api_server
from canarycore_planes.control_plane.api import Api, RequestError, define_kinds
from tests.controlplane import crds
from tests.controlplane.in_memory.server import daemon_set_status, deployment_status
from tests.fuzz import samples
from tests.fuzz.findings import Finding
from tests.fuzz.mutation import mutate, to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.cluster_parts import Controller

Json = dict[str, Any]

NAME = "controller"
"""The name under which its findings are filed."""

NAMESPACES, OBJECTS_AT_ONCE, HONEST = 8, 4, 3
PAUSE = 0.7
"""Seconds between two handfuls of objects."""

STILL, SILENT, LARGEST = 90.0, 2.0, 512.0
"""Seconds without a step of an honest Canary, seconds without an answer, MiB: each is a finding."""

_LAST_LINES = 60
"""Lines of the log that are kept of a controller that ended."""

_KINDS = ("flagger", "istio", "keda", "knative")


@contextmanager
def running(seed: int, objects: Sequence[Json] | None = None) -> Iterator[Plane]:
    """A controller under mutated objects, until the context closes; then its `findings` are complete.

    objects: write these, and no others.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        metrics = stack.enter_context(prometheus())
        server = stack.enter_context(api_server())
        crds.install(server.api, *_KINDS)
        define_kinds(server.api, crds.argos())
        port = _free_port()
        run = stack.enter_context(controller(server.kubeconfig, metrics, folder, f"-port={port}"))
        plane = Plane(api=server.api, run=run, port=port, random=Random(f"{seed}/controller"), objects=objects)
        plane.begin()
        thread = threading.Thread(target=plane.work)
        thread.start()
        try:
            yield plane
        finally:
            plane.over.set()
            thread.join()


def replay(case: Json) -> int:
    """Write the objects of a finding once more, to a new controller; 1 where it shows something."""
    with running(0, objects=case["objects"]) as plane:
        plane.over.wait(5.0)
    for finding in plane.findings.values():
        sys.stdout.write(f"{finding.about}\n")
    return int(bool(plane.findings))


@define
class Plane:
    """One running controller, and what was seen of it."""

    api: Api
    run: Controller
    port: int
    random: Random
    objects: Sequence[Json] | None = None
    over: threading.Event = field(factory=threading.Event)
    findings: dict[str, Finding] = field(factory=dict)
    written: int = 0
    """Mutated objects that the server took."""
    promoted: int = 0
    """Images that the honest Canaries have rolled out."""
    _read: int = 0
    _steps: dict[str, tuple[float, Json]] = field(factory=dict)

    def __str__(self) -> str:
        return f"controller: {self.written:,} mutated objects, {self.promoted} promotions of {HONEST} honest Canaries"

    def begin(self) -> None:
        """Create the honest Canaries."""
        for number in range(HONEST):
            self.api.create(target("honest", f"app-{number}"))
            self.api.create(canary("honest", f"app-{number}", step=50, most=50))

    def work(self) -> None:
        """Write and look until it is over."""
        for number in count():
            if self.over.is_set():
                break
            batch = self._batch()
            self.written += sum(self._write(body, part) for body, part in batch)
            self.over.wait(PAUSE)
            self._look(batch, number)

    def _batch(self) -> list[tuple[Json, str]]:
        if self.objects is None:
            return [self._draw() for _ in range(OBJECTS_AT_ONCE)]
        return [(one["body"], one["part"]) for one in self.objects]

    # writes ------------------------------------------------------------------------------------------------------

    def _draw(self) -> tuple[Json, str]:
        """An object, and the subresource that is written of it."""
        kind = self.random.choice((*samples.OBJECTS, *["Canary"] * 6))
        sample = samples.OBJECTS[kind]
        if kind == "Canary" and self.random.random() < 0.3:
            return self._placed(mutate(self.random, sample, within="status"), sample), "status"
        return self._placed(mutate(self.random, sample, within="spec"), sample), ""

    def _placed(self, body: Any, sample: Json) -> Json:
        """The object in one of the namespaces, with metadata that an API server takes."""
        given = body if isinstance(body, dict) else {}
        metadata = given.get("metadata") if isinstance(given.get("metadata"), dict) else {}
        namespace = f"hostile-{self.random.randrange(NAMESPACES)}"
        kept = {name: _texts(metadata.get(name)) for name in ("labels", "annotations")}
        place = {"name": sample["metadata"]["name"], "namespace": namespace, **kept}
        return {**given, "apiVersion": sample["apiVersion"], "kind": sample["kind"], "metadata": place}

    def _write(self, body: Json, part: str) -> bool:
        text = to_text(body)
        try:
            if body["kind"] in _STATUSES:  # the server's own stand-in reads these
                _STATUSES[body["kind"]]({**json.loads(text), "metadata": {"generation": 1}})
            path = self.api.path(body)
            if part:
                self._send("PATCH", f"{path}/{part}", text)
            elif self.api.get(path) is None:
                self._send("POST", self.api.path(body, named=False), text)
            else:
                self._send("PATCH", path, text)
        except (RequestError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
            return False
        return True

    def _send(self, method: str, path: str, text: str) -> None:
        """As `Api.request`, with a text that Python's own values may not be able to hold."""
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(f"{self.api.access.server}{path}", text.encode(), method=method)
        request.add_header("Content-Type", content)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
        except OSError as error:
            raise ValueError(str(error)) from error

    # checks ------------------------------------------------------------------------------------------------------

    def _look(self, batch: list[tuple[Json, str]], number: int) -> None:
        case = {"batch": number, "objects": [{"part": part, "body": body} for body, part in batch]}
        for about, where in self._exceptions():
            self._note(f"{about} {where}", f"{about} in {where}", case)
        if self.run.process.poll() is not None:
            said = self.run.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            about = f"the controller ended with {self.run.process.returncode}: {said[-1] if said else ''}"
            self._note("ended", about, case | {"log": said})
            self.over.set()
            return
        if number % 3 == 0:
            self._look_at_process(case)
            self._look_at_honest(case)

    def _exceptions(self) -> Iterator[tuple[str, str]]:
        """Type and place of each traceback that the log has got since."""
        with self.run.log.open("rb") as log:
            log.seek(self._read)
            lines = log.read().rpartition(b"\n")[0]
        self._read += len(lines) + 1 if lines else 0
        for line in lines.decode(errors="replace").splitlines():
            text = json.loads(line).get("exception", "") if line.startswith("{") and line.endswith("}") else line
            if "Traceback" in text:
                yield _innermost(text)

    def _look_at_process(self, case: Json) -> None:
        started = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=SILENT) as answer:
                answer.read()
        except OSError as error:
            if time.time() - self.run.started > 20:
                waited = time.monotonic() - started
                self._note("silent", f"/healthz: {type(error).__name__} after {waited:.1f} s", case)
        held = megabytes(self.run.process.pid, "VmHWM")
        if held > LARGEST:
            self._note("memory", f"the controller held {held:.0f} MiB", case)

    def _look_at_honest(self, case: Json) -> None:
        now = time.monotonic()
        for found in self.api.list("/apis/flagger.app/v1beta1/namespaces/honest/canaries"):
            name, status = found["metadata"]["name"], found.get("status") or {}
            step = {key: status.get(key) for key in ("phase", "canaryWeight", "lastPromotedSpec", "iterations")}
            since, before = self._steps.get(name, (now, {}))
            self._steps[name] = (since, before) if step == before else (now, step)
            if step == before and now - since > STILL:
                self._note("still", f"an honest Canary stands still for {now - since:.0f} s in {step}", case)
            if step != before and status.get("phase") in {"Initialized", "Succeeded"}:
                self.promoted += status["phase"] == "Succeeded"
                self._roll_out(name)

    def _roll_out(self, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/honest/deployments/{name}"
        found = self.api.get(path)
        assert found is not None
        (container,) = found["spec"]["template"]["spec"]["containers"]
        container["image"] = f"podinfo:{self.random.randrange(10**6)}"
        self.api.patch(path, {"spec": {"template": {"spec": {"containers": [container]}}}})

    def _note(self, signature: str, about: str, case: Json) -> None:
        if signature not in self.findings:
            self.findings[signature] = Finding(target=NAME, signature=signature, about=about, case=case)
        else:
            self.findings[signature] = self.findings[signature].again()


_STATUSES = {"Deployment": deployment_status, "DaemonSet": daemon_set_status}


def _innermost(text: str) -> tuple[str, str]:
    """The type of an exception, and the innermost frame of the project, of the first traceback in a text."""
    block = text.partition("Traceback (most recent call last):")[2].partition("Traceback (most recent call last):")[0]
    frames = re.findall(r'File "[^"]*/(canarycore\w*/[^"]*)", line (\d+), in ([\w<>]+)', block)
    raised = next((line.partition(":")[0] for line in block.splitlines() if line and not line.startswith(" ")), "")
    if not frames:
        return raised or "an exception", "no frame of the project"
    file, line, function = frames[-1]
    return raised or "an exception", f"{'/'.join(file.split('/')[-2:])}:{line} {function}"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _texts(value: Any) -> dict[str, str]:
    items = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in items if isinstance(text, str)}
