"""The honest team beside a hostile tenant: its Canaries, its metrics, and how their rollouts go.

    for body in objects(receiver, prometheus): api.create(body, "honest")
    with stories(api, "honest") as told: …           # the phases and weights of each Canary, as a watch sees them

Each Canary is of a kind of `HONEST`, which says how its rollout has to end. The metrics are those of a real Prometheus,
which has samples for the whole time of the test: of some Canaries they say that a quarter of all requests fail.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import urllib3
from aiohttp import web
from attrs import define, field, frozen

from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Api, RequestError
from tests.hostile.kinds import canary, deployment, flaggers, hook, metric, secret
from tests.hostile.server import LOOPBACK, free_port

Json = dict[str, Any]

COUNT = 20
INTERVAL = 10.0
SECRET = "honest-teams-credential"
"""The value in the Secrets of the team. It may reach its own servers and nothing else."""

GOOGLE_TOKEN = "token-of-the-controllers-google-account"
"""The token that the receiver gives out, as Google does to the account that the controller runs as."""

STEP, PAST, AHEAD = 15, 600, 1800
"""Seconds: between two samples of the metrics, and for how long there are some."""

WAITING = ("waiting for rollout to finish", "not ready", "Initialization done")
"""Parts of events that depend on how fast pods start, which is none of the controller's doing."""


@frozen(kw_only=True)
class HonestKind:
    """How some of the team's Canaries are written."""

    analysis: Callable[[str], Json]
    """Their analysis, by the address of the team's receiver."""
    ending: str = "Succeeded"
    """The phase that their rollouts end in."""
    fails: bool = False
    """Whether a quarter of their requests fail."""


_RATE = {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}
_BY_TEMPLATE = metric("rate", templateRef={"name": "rate"}, thresholdRange={"min": 99})
_ALERT = {"name": "room", "severity": "info", "providerRef": {"name": "room"}}

HONEST: tuple[HonestKind, ...] = (
    HonestKind(analysis=lambda _: {"metrics": [_RATE]}),
    HonestKind(analysis=lambda _: {"metrics": [_RATE], "threshold": 2}, ending="Failed", fails=True),
    HonestKind(
        analysis=lambda url: {
            "metrics": [_RATE],
            "webhooks": [hook(f"{url}/gate", type="confirm-rollout"), hook(f"{url}/load", name="load")],
            "alerts": [_ALERT],
        }
    ),
    HonestKind(analysis=lambda _: {"metrics": [_RATE, _BY_TEMPLATE]}),
)
"""All kinds; the team has a few Canaries of each."""


TEAM: dict[str, HonestKind] = {f"shop-{number}": HONEST[number % len(HONEST)] for number in range(COUNT)}
"""The team's Canaries by their names."""


def objects(receiver: str, prometheus: str) -> Iterator[Json]:
    """All objects of the team, in the order in which they are applied. The addresses are of its own servers."""
    provider = {"type": "prometheus", "address": prometheus, "secretRef": {"name": "provider"}}
    room = {"type": "slack", "channel": "c", "username": "u", "secretRef": {"name": "chat"}}
    yield secret("provider", username="shop", password=SECRET)
    yield secret("chat", address=f"{receiver}/chat", token=SECRET)
    yield secret("settings", password=SECRET)
    yield flaggers("MetricTemplate", "rate", provider=provider, query=QUERY)
    yield flaggers("AlertProvider", "room", **room)
    for name, kind in TEAM.items():
        target = deployment(name)
        target["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"secretRef": {"name": "settings"}}]
        yield target
        yield canary(name, **kind.analysis(receiver))


QUERY = """
100 * sum(rate(istio_requests_total{destination_workload="{{ target }}",response_code!~"5.*"}[{{ interval }}]))
/ sum(rate(istio_requests_total{destination_workload="{{ target }}"}[{{ interval }}]))
"""


# ------------------------------------------------------------------------------------------------------------- metrics


class MissingPrometheus(Exception):
    """There is no Prometheus on this machine. The text says what to do."""


@contextmanager
def prometheus(canaries: Iterable[tuple[str, str, bool]], folder: Path) -> Iterator[str]:
    """A real Prometheus; gives its address. canaries: (namespace, name, whether requests fail) of each Canary."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            raise MissingPrometheus(f"{program}: found none on the PATH; install it (Debian: prometheus)")
    (folder / "samples").write_text("\n".join([*_samples(canaries), "# EOF", ""]))
    (folder / "prometheus.yml").write_text("{}")
    fill = ("promtool", "tsdb", "create-blocks-from", "openmetrics", "samples", "data")
    subprocess.run(fill, cwd=folder, check=True, capture_output=True)
    address = f"{LOOPBACK}:{free_port()}"
    options = ("--config.file=prometheus.yml", f"--web.listen-address={address}", "--storage.tsdb.path=data")
    process = subprocess.Popen(("prometheus", *options), cwd=folder, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://{address}/-/ready")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def _samples(canaries: Iterable[tuple[str, str, bool]]) -> Iterator[str]:
    times = range(int(time.time()) - PAST, int(time.time()) + AHEAD, STEP)
    yield "# TYPE istio_requests counter"
    for namespace, name, fails in canaries:
        labels = f'reporter="destination",destination_workload_namespace="{namespace}",destination_workload="{name}"'
        for code, each in (("200", 3), ("503", int(fails))):
            for number, at in enumerate(times):
                yield f'istio_requests_total{{{labels},response_code="{code}"}} {number * each} {at}'


def _wait_for(url: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.1)
        else:
            return


# ------------------------------------------------------------------------------------------------- hooks and a chat


@define
class Receiver:
    """The team's hooks, which all pass, and its chat."""

    address: str = ""
    calls: Counter[str] = field(factory=Counter)
    """How often each was called about each Canary."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/token", self._give_token)
        app.router.add_post("/{what}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, 0).start()
        self.address = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
        yield
        await runner.cleanup()

    async def _give_token(self, _: web.Request) -> web.Response:
        """As Google does, to the account that the controller runs as."""
        return web.json_response({"access_token": GOOGLE_TOKEN, "expires_in": 3600, "token_type": "Bearer"})

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        about = body.get("name") or body["attachments"][0]["author_name"]
        self.calls[f"{request.match_info['what']} {about}"] += 1
        return web.Response(text="ok")


@contextmanager
def receiving() -> Iterator[Receiver]:
    """In a thread of its own."""
    receiver = Receiver()
    with in_background(receiver.serving):
        yield receiver


# ------------------------------------------------------------------------------------------------------------- stories


@frozen(kw_only=True)
class Moment:
    """A state of a Canary."""

    at: float
    """When it was first seen (seconds since the epoch)."""
    phase: str
    weight: int


@define
class Stories:
    """The states of each Canary of a namespace, as a watch saw them."""

    moments: dict[str, list[Moment]] = field(factory=dict)
    """By its name, the states that differ from the one before."""

    def phase(self, name: str) -> str:
        known = self.moments.get(name)
        return known[-1].phase if known else ""

    def since(self, name: str, start: float) -> list[tuple[str, int]]:
        """The phases and weights from that moment on."""
        return [(one.phase, one.weight) for one in self.moments.get(name, ()) if one.at >= start]

    def delays(self, start: float) -> list[float]:
        """Seconds by which the steps between two weights took longer than the interval."""
        steps = [
            after.at - before.at - INTERVAL
            for moments in self.moments.values()
            for before, after in pairwise(moments)
            if before.at >= start and before.phase == after.phase == "Progressing" and 0 < before.weight < after.weight
        ]
        return [max(0.0, one) for one in steps]

    def see(self, body: Json) -> None:
        status = body.get("status") or {}
        now = Moment(at=time.time(), phase=status.get("phase", ""), weight=int(status.get("canaryWeight", 0)))
        known = self.moments.setdefault(body["metadata"]["name"], [])
        if not known or (known[-1].phase, known[-1].weight) != (now.phase, now.weight):
            known.append(now)


@contextmanager
def stories(api: Api, namespace: str) -> Iterator[Stories]:
    """A watch in a thread of its own."""
    seen, over = Stories(), threading.Event()

    def follow() -> None:
        while not over.is_set():
            try:
                for event in api.watch(f"/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries", timeoutSeconds=5):
                    seen.see(event["object"])
            except (RequestError, urllib3.exceptions.HTTPError, ValueError):
                time.sleep(0.1)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    yield seen
    over.set()
    thread.join()


def events(api: Api, namespace: str) -> Counter[tuple[str, str]]:
    """How often each text was told about each Canary, but for those that depend on how fast pods start."""
    told = Counter[tuple[str, str]]()
    for event in api.list(f"/api/v1/namespaces/{namespace}/events"):
        about = event["involvedObject"]
        if about["kind"] == "Canary" and not any(part in event["message"] for part in WAITING):
            told[about["name"], event["message"]] += event.get("count") or 1
    return told
