"""A cluster for the labs: what their readers have, and a shell to follow a page in.

The API server, the controller, the load tester, kubectl and `canary` are real. No container runs: the pods are ready by
themselves, and a `Bench` answers for the app, the Gateway, Prometheus and the chat. So the commands lead to other
addresses (`Reader.at_hand`), and `kubectl exec` runs beside the load tester, which is a process of this machine.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field
from urllib3.exceptions import HTTPError

from canarycore_planes.background import in_thread
from canarycore_planes.control_plane.api import Access, Api, Json, eventually
from canarycore_planes.control_plane.binaries import binaries
from canarycore_planes.control_plane.plane import Plane
from canarycore_planes.go_programs import MissingProgram
from canarycore_planes.processes import die_with_the_owner
from tests.cluster.labs import pages
from tests.cluster.labs.bench import Bench
from tests.conformance.story import POLLING
from tests.controlplane import crds
from tests.controlplane.plane import plane as started

FUNCTIONS = """
set -e
canary() { PYTHON -m canarycore_cli "$@"; }
kubectl() {
    case " $* " in
        *" exec "*) while [ "$1" != -- ]; do shift; done; shift; "$@" ;;
        *) command kubectl "$@" ;;
    esac
}
""".replace("PYTHON", shlex.quote(sys.executable))
"""The commands of a reader. No container is there for exec: its command runs beside the load tester."""

VISIT = re.compile(r"^kubectl -n (\w+) wait .*iterations}'=1 .*\nsleep .*\ncurl ", re.MULTILINE)
"""A look at the versions in the first iteration, which for a slow machine must not be over too soon."""

GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/gateways/gateways/public"
DEPLOYMENT = "/apis/apps/v1/namespaces/canarycore/deployments/canarycore"


@define
class EventLog:
    """The events of all Canaries, in the order in which the API server got them."""

    api: Api
    _events: list[tuple[str, str]] = field(factory=list)

    def begin(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def mark(self) -> int:
        return len(self._events)

    def since(self, mark: int, namespace: str) -> list[str]:
        """Return the texts since `mark` about the Canaries of a namespace, without those that repeat while waiting."""
        texts = [text for place, text in self._events[mark:] if place == namespace]
        return [text for text in texts if not any(pattern.match(text) for pattern in POLLING)]

    def _watch(self) -> None:
        with suppress(HTTPError):  # the server ends before this thread
            for event in self.api.watch("/api/v1/events", fieldSelector="involvedObject.kind=Canary"):
                body = event["object"]
                if event["type"] in {"ADDED", "MODIFIED"}:
                    text = body["message"].removeprefix("(combined from similar events): ")
                    self._events.append((body["metadata"]["namespace"], text))


@define
class InstalledController:
    """The controller of the installed Deployment, as a process: with its arguments, and under its rights."""

    plane: Plane
    folder: Path
    _arguments: list[str] = field(factory=list)
    _process: subprocess.Popen[bytes] | None = None

    def follow(self) -> None:
        """Start it, or start it again if the Deployment has other arguments."""
        wanted = self.plane.api.get(DEPLOYMENT)
        arguments = [] if wanted is None else wanted["spec"]["template"]["spec"]["containers"][0]["args"]
        if arguments == self._arguments:
            return
        self.stop()
        self._arguments = arguments
        changed = [argument.replace("$(POD_NAMESPACE)", "canarycore") for argument in arguments]
        where = [f"--kubeconfig={self._kubeconfig()}", "--port=0", "--listen=127.0.0.1"]
        command = [sys.executable, "-m", "tests.cluster.labs.quick", *changed, *where]
        with (self.folder / "controller.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=pages.ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_the_owner,  # noqa: PLW1509  it only calls the kernel
            )  # fmt: skip

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()  # it gives its lease back
            self._process.wait()

    def _kubeconfig(self) -> Path:
        account = "/api/v1/namespaces/canarycore/serviceaccounts/canarycore/token"
        request: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self.plane.api.request("POST", account, request)["status"]["token"]
        access = self.plane.api.access
        return self.plane.kubeconfig(Access(access.server, token, access.authority), "controller")


@define
class Reader:
    """A new user with a shell, who follows a page from its top to its end."""

    plane: Plane
    bench: Bench
    loadtester: str
    controller: InstalledController
    log: EventLog
    folder: Path
    _left: list[pages.Section] = field(factory=list)

    def open(self, page: str) -> None:
        self._left = pages.read(page)

    @property
    def is_done(self) -> bool:
        """Whether no command of the page is left."""
        return not self._left

    def follow(self, title: str, good: dict[str, float] | None = None) -> str:
        """Run the commands of the next section; return their output. The events are those of the page."""
        section = self._left.pop(0)
        assert section.title == title
        if section.namespace:
            self.bench.follow(section.namespace, section.events, good)
        mark = self.log.mark()
        output = "".join(self._run(block) for block in section.commands)
        if section.events:
            first, last = section.events[0], section.events[-1]
            eventually(lambda: last in self.log.since(mark, section.namespace), 20)
            events = self.log.since(mark, section.namespace)
            begin = events.index(first)  # an event of the section before may come late
            assert events[begin : events.index(last) + 1] == [*section.events]
        return output

    def at_hand(self, script: str) -> str:
        """Return the script with addresses of this machine."""
        script = re.sub(r"http://(flagger-loadtester\.\w+|127\.0\.0\.1:8080)/", f"{self.loadtester}/", script)
        script = script.replace("http://$GATEWAY/", f"http://$GATEWAY:{self.bench.port}/gateway/")
        return re.sub(r"https?://(?!127\.|\$)([\w.:-]+)", rf"{self.bench.url}/\1", script)

    def _run(self, block: str) -> str:
        if visit := VISIT.search(block):
            self.bench.hold(visit[1])
        keep = self.folder / "environment"
        before = f". {keep}\n" if keep.exists() else ""
        script = f"{FUNCTIONS}{before}{self.at_hand(block)}\ndeclare -p DEMO GATEWAY >{keep} 2>/dev/null || true\n"
        environment = {
            **os.environ,
            "PATH": binaries().path,
            "KUBECONFIG": str(self.plane.kubeconfig()),
            "NO_COLOR": "1",
            "COLUMNS": "160",
        }
        process = subprocess.run(
            ["bash", "-c", script],
            cwd=pages.ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.returncode == 0, f"{block}\n{process.stdout}\n{process.stderr}"
        self.controller.follow()
        return process.stdout


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labs")


@pytest.fixture(scope="session")
def lab_plane() -> Iterator[Plane]:
    """A plane of its own, as the shared one has Flagger's definitions; it has those that a reader has.

    kubectl installs them: it reads 2 MB of YAML in a tenth of the time that the tests' own client needs.
    """
    try:
        binaries()
    except MissingProgram as error:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
    with started(kinds=()) as running:
        files = [f"--filename={crds.FOLDER / name}.yaml" for name in ("gateway-api", "appmesh")]
        command = [str(binaries().kubectl), f"--kubeconfig={running.kubeconfig()}", "apply", "--server-side", *files]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        yield running


@pytest.fixture(scope="session")
def servers(lab_plane: Plane) -> Iterator[Bench]:
    """The app, the Gateway, Prometheus and the chat of the labs, as one HTTP server."""
    bench = Bench(lab_plane.api)
    with bench.running():
        yield bench


@pytest.fixture(scope="session")
def loadtester(lab_folder: Path) -> Iterator[str]:
    """The address of `canary loadtester`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--port={port}", f"--state-file={lab_folder / 'gates.json'}"]
    command = [sys.executable, "-m", "canarycore_cli", "loadtester", *options]
    with (lab_folder / "loadtester.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=die_with_the_owner,  # noqa: PLW1509  it only calls the kernel
        )  # fmt: skip
    try:
        eventually(lambda: _answers(f"http://127.0.0.1:{port}/healthz"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def prepared(lab_plane: Plane, servers: Bench, loadtester: str, lab_folder: Path) -> Iterator[Reader]:
    """A reader who has done the setup of the labs."""
    controller, log = InstalledController(lab_plane, lab_folder), EventLog(lab_plane.api)
    log.begin()
    reader = Reader(lab_plane, servers, loadtester, controller, log, lab_folder)
    with ExitStack() as stack:
        stack.callback(controller.stop)
        stack.enter_context(_gateway_of(lab_plane.api))
        reader.open("index.md")
        for title in ("Install the controller", "Create a Gateway", "Read the events"):
            reader.follow(title)
        assert reader.is_done
        yield reader


@pytest.fixture
def reader(prepared: Reader) -> Iterator[Reader]:
    """A reader who opens a page next."""
    prepared.bench.messages.clear()
    yield prepared
    prepared.plane.kubelet.rules()


@contextmanager
def _gateway_of(api: Api) -> Iterator[None]:
    """The implementation of the Gateway API: it gives the Gateway its address."""

    def give(over: threading.Event) -> None:
        while not over.wait(0.2):
            if api.get(GATEWAY) is not None:
                api.patch(f"{GATEWAY}/status", {"status": {"addresses": [{"type": "IPAddress", "value": "127.0.0.1"}]}})
                return

    with in_thread(give):
        yield


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        time.sleep(0.05)
        return False
