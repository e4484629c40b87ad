"""The driver for the simulated cluster: a trace's inputs become what `canarycore.simulation.World` understands.

The simulated controller looks when Flagger would, once an interval, and whenever it asked to be woken in between; it
is not told of changes. So both stories have the same rhythm, and what is left are differences in what is decided. A
restart and an edit of the canary make it look at once, as a watch would.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import evolve

from canarycore import CheckKind, HookType, Routes, Status, Verdict, judge
from canarycore import Workload as Observed
from canarycore._goal import explain_unready
from canarycore.errors import ManifestError
from canarycore.manifest import AlertProvider, Canary, MetricTemplate, parse, resolve, status_to_dict
from canarycore.notices import Severity
from canarycore.phases import ACTIVE
from canarycore.questions import HookQuestion, MetricAnswer
from canarycore.simulation import (
    AT_ONCE,
    NEVER,
    Delete,
    Deploy,
    Edit,
    Pace,
    Recreate,
    RemoveTarget,
    RouteByHand,
    ScalePrimary,
    Scaler,
    ScaleTarget,
    SetPace,
    SetScaler,
    SetSources,
    SimulatedCluster,
    SimulatedPods,
    State,
    after,
    stuck,
)
from canarycore_metrics.template import render
from tests.conformance.drivers.scripts import Hooks, Prometheus, measured
from tests.conformance.objects import CANARY, Objects, canary_weight, images, patched, replicas
from tests.conformance.story import Alerted, Called, Checked, Stand, Step, Told, plain
from tests.conformance.trace import ONLINE, Json, Trace, created, url_tail

if TYPE_CHECKING:
    from canarycore import Check, Rollout
    from canarycore.errors import Problem
    from canarycore.notices import Notice
    from canarycore.simulation import CycleRecord, MetricRequest
    from tests.conformance.drivers.port import Done

START = 1000.0
"""Seconds on the simulated clock at which a trace begins."""

MOMENT = 1.3
"""Seconds after a look at which a recording's actions were carried out."""

BUSY = 100
"""Cycles at one moment that are too many."""

SECONDS = ("kubernetes", "gatewayapi")
"""Providers whose built-in latency query gives seconds; the others' give milliseconds, as a check wants them."""

BUILT_IN = {
    "istio": ("istio_requests_total", "istio_request_duration_milliseconds_bucket"),
    "linkerd": ("response_total", "response_latency_ms_bucket"),
    "osm": ("osm_request_total", "osm_request_duration_ms_bucket"),
    "appmesh": ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket"),
    "contour": ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket"),
    "gloo": ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket"),
    "kuma": ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket"),
    "knative": ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_bucket"),
    "kubernetes": ("http_request_duration_seconds_count", "http_request_duration_seconds_bucket"),
    "gatewayapi": ("http_request_duration_seconds_count", "http_request_duration_seconds_bucket"),
    "nginx": ("nginx_ingress_controller_requests", "nginx_ingress_controller_response_duration_seconds_sum"),
    "skipper": ("skipper_response_duration_seconds_bucket", "skipper_serve_route_duration_seconds_sum"),
    "traefik": ("traefik_service_request_duration_seconds_bucket",) * 2,
    "apisix": ("apisix_http_status", "apisix_http_latency_bucket"),
}
"""The texts of a provider's built-in queries (success rate, latency); other providers use those of istio."""


class WorldDriver:
    """A simulated controller and cluster, started from a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.objects = Objects(trace.objects)
        self.canary = _in_namespace(trace.canary, trace.namespace)
        self.prometheus, self.hooks, self.rules = Prometheus(trace.prom), Hooks(dict(trace.hooks)), trace.cluster
        self.queries = trace.built_in_queries()
        self.refused: tuple[Problem, ...] = ()
        self.gone = False
        self._steps: list[Step] = []
        self._round, self._failed = "", False
        self._next, self._wake = START, inf
        self._paces: dict[str, Pace] = {}
        self._images: dict[str, str] = {}
        try:
            rollout = self._resolved()
        except ManifestError as error:
            self.refused = error.problems
            return
        target = self._target()
        self.world = SimulatedCluster(
            rollout, state=State(rollout=rollout, now=START, replicas=_size(target), metrics=self._measure)
        )
        self._deploy()
        self._scaler()

    # the driver -----------------------------------------------------------------------------------------------------

    @property
    def stand(self) -> Stand:
        return _stand(self.world.state.rollout, self.world.status)

    def tick(self, done: Done) -> bool:
        if self._now(done):
            return True
        while self._wake < self._next:
            self.world.sleep(self._wake - self.world.now)
            if self._now(done):
                return True
        self.world.sleep(self._next - self.world.now)
        self._wake, self._next = self.world.now, self.world.now + self.world.state.rollout.interval
        return self._now(done)

    def settle(self) -> None:
        self._now(lambda: False)

    def take(self) -> list[Step]:
        steps, self._steps = self._steps, []
        return steps

    def act(self, action: Json) -> tuple[Problem, ...]:
        if "hooks" in action:
            self.hooks.update(action["hooks"])
        if "prom" in action:
            self.prometheus = Prometheus(tuple(action["prom"]))
        if "cluster" in action:
            self.rules = tuple(action["cluster"])
            self._set_paces()
        if action.get("restartPeer"):
            self._look_at_once()
            self.world.restart()
        if "delete" in action:
            self._delete(action["delete"]["kind"], action["delete"]["metadata"]["name"])
        try:
            if "patch" in action:
                self._patch(action["kind"], action["name"], action["patch"])
            for body in created(action):
                self._create(body)
        except ManifestError as error:
            return error.problems
        return ()

    # time -----------------------------------------------------------------------------------------------------------

    def _now(self, done: Done) -> bool:
        """Cycle at this moment until the controller wants to rest, or `done` holds."""
        for _ in range(BUSY):
            if self._wake > self.world.now:
                return False
            self._cycle()
            if done():
                return True
        raise AssertionError(f"{BUSY} cycles at one moment, the last: {self.world.history[-1]}")

    def _cycle(self) -> None:
        if self.gone:
            self._wake = inf
            return
        world = self.world
        world.do(SetSources(self._sources()))
        hooks = world.state.rollout.hooks
        upcoming = {hook.name: (self.hooks.attempts(url_tail(hook.url), hook.retries)[-1],) for hook in hooks}
        world.state = world.state.but(hooks=tuple(sorted(upcoming.items())), turns=())
        flagger_asks = self._flagger_asks_for_rollbacks()
        before = world.state
        record = world.step()
        self._pods_as_scripted()
        self._wake = inf if record.wake is None else record.wake
        self._note(record, before, flagger_asks=flagger_asks)

    def _look_at_once(self) -> None:
        self.world.sleep(min(MOMENT, self._next - self.world.now))
        self._wake = self.world.now

    # the story ------------------------------------------------------------------------------------------------------

    def _note(self, record: CycleRecord, before: State, *, flagger_asks: bool) -> None:
        for question, _ in record.answers:
            if isinstance(question, HookQuestion):
                name, told = url_tail(question.hook.url), tuple(sorted(question.hook.metadata))
                attempts = self.hooks.attempts(name, question.hook.retries)
                self._steps.extend(Called(name, question.phase.value, one.passed, told) for one in attempts)
                if flagger_asks or question.hook.type is not HookType.ROLLBACK:
                    self.hooks.used(name, len(attempts))
        if record.committed is not None:
            self._steps.append(_shown(before, record.committed))
        for notice in record.notices:
            self._steps.extend(self._told(notice))

    def _told(self, notice: Notice) -> list[Step]:
        if notice.severity is None:
            return [Told(notice.type, notice.text, notice.phase.value)]
        error = notice.severity is Severity.ERROR
        return [Alerted(to, notice.text, error) for to in self._receivers(notice.severity)]

    def _receivers(self, severity: Severity) -> list[str]:
        """Return the last parts of the receivers' URLs: the canary's own providers, or else the controller's."""
        rollout = self.world.state.rollout
        if not rollout.alerts:
            url = self.trace.flag("slack-url") or self.trace.flag("msteams-url")
            return [url_tail(url)] if url else []
        wanted = [alert.provider.name for alert in rollout.alerts if _concerns(alert.severity, severity)]
        found = [self.objects.get(AlertProvider.__name__, name) for name in wanted]
        return [self._receiver(provider) for provider in found if provider is not None]

    def _receiver(self, provider: Json) -> str:
        spec = provider["spec"]
        address = spec.get("address", "")
        if "secretRef" in spec:
            secret = self.objects.get("Secret", spec["secretRef"]["name"]) or {}
            address = _decoded(secret.get("data", {}).get("address", ""))
        tail = "/".join(urlsplit(address).path.split("/")[3:])
        return f"{tail}/slack" if spec["type"] == "discord" and not tail.endswith("/slack") else tail

    # answers --------------------------------------------------------------------------------------------------------

    def _flagger_asks_for_rollbacks(self) -> bool:
        """It does so only while it analyses, and only when both sides are ready."""
        world, rollout = self.world.observation, self.world.state.rollout
        if self.world.phase not in ACTIVE:
            return False
        return _ready(world.primary, rollout.primary_ready) and _ready(world.target, rollout.canary_ready)

    def _measure(self, asked: MetricRequest) -> MetricAnswer:
        """A scripted answer. Flagger stops at the first check that fails: what it would not ask is not used up."""
        check, rollout = asked.question.check, asked.rollout
        analysis = asked.question.key.rpartition("/metric/")[0]
        if analysis != self._round:
            self._round, self._failed = analysis, False
        use_up = not self._failed
        if check.kind is CheckKind.TEMPLATE and not check.query:
            self._failed = True
            return MetricAnswer(error=_not_found(check, rollout))
        rule, scripted = self.prometheus.ask(self._query(check, rollout), use_up=use_up)
        if use_up:
            self._steps.append(Checked(rule, plain(scripted)))
        in_seconds = check.kind is CheckKind.DURATION and rollout.provider.startswith(SECONDS)
        answer = measured(scripted, 1000.0 if in_seconds else 1.0)
        self._failed = self._failed or judge(check, answer, rollout.min_samples).verdict is not Verdict.PASS
        return answer

    def _query(self, check: Check, rollout: Rollout) -> str:
        if check.kind in (CheckKind.SUCCESS_RATE, CheckKind.DURATION):
            place = rollout.checks_in_order.index(check)
            return self.queries.get(place) or _built_in(check, rollout)
        return " ".join(render(check.query, self._words(check, rollout), dict(check.variables)).split())

    def _words(self, check: Check, rollout: Rollout) -> dict[str, str]:
        spec, target = self.canary["spec"], rollout.target.name
        return {
            "name": rollout.name,
            "namespace": rollout.namespace,
            "target": target,
            "service": spec.get("service", {}).get("name") or target,
            "ingress": spec.get("ingressRef", {}).get("name", target),
            "route": spec.get("routeRef", {}).get("name", target),
            "interval": check.window_text,
        }

    def _sources(self) -> str:
        rollout = self.world.state.rollout
        for check in rollout.checks:
            if check.kind is CheckKind.TEMPLATE and not check.query:
                return _not_found(check, rollout)
        rule, answer = self.prometheus.ask(ONLINE, use_up=False)
        found = measured(answer if rule else 1)
        if found.value == 1:
            return ""
        why = f"running query failed: {found.error}" if found.error else f"value is not 1 for query: {ONLINE}"
        return f"prometheus not avaiable: {why}"

    # outside writers ------------------------------------------------------------------------------------------------

    def _patch(self, kind: str, name: str, patch: Json) -> None:
        if kind == CANARY:
            before, self.canary = self.canary, patched(self.canary, patch)
            self._look_at_once()
            try:
                self.world.do(Edit(self._resolved()))
            except ManifestError:
                self.canary = before
                raise
            return
        self.objects.patch(kind, name, patch)
        self._react(kind, name, patch)

    def _create(self, body: Json) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        if kind == CANARY:
            self.canary, self.gone = _in_namespace(body, self.trace.namespace), False
            self._look_at_once()
            self.world.do(Recreate(), Edit(self._resolved()))
            return
        self.objects.put(body)
        self._react(kind, name, body)

    def _react(self, kind: str, name: str, patch: Json) -> None:
        """Show the simulated cluster the fields of `patch`, which an object has now."""
        rollout = self.world.state.rollout
        if (kind, name) == (rollout.target.kind, rollout.target.name):
            self._scaled(patch, ScaleTarget)
        elif (kind, name) == (rollout.target.kind, f"{rollout.target.name}-primary"):
            self._scaled(patch, ScalePrimary)
        elif kind in (MetricTemplate.__name__, AlertProvider.__name__):
            self.world.do(Edit(self._resolved()))
        elif kind in _SCALERS:
            self._scaler()
        elif kind not in _KNOWN and (weight := canary_weight(patch)) is not None:
            self.world.do(RouteByHand(evolve(self.world.state.routes or Routes(), weight=weight)))
        self._deploy()

    def _scaled(self, patch: Json, action: type[ScaleTarget | ScalePrimary]) -> None:
        wanted = patched({}, patch).get("spec", {}).get("replicas")
        if wanted is not None:
            self.world.do(action(int(wanted)))

    def _delete(self, kind: str, name: str) -> None:
        rollout = self.world.state.rollout
        self.objects.delete(kind, name)
        if kind == CANARY:
            self._look_at_once()
            self.gone = not rollout.revert_on_deletion  # without a finalizer nobody is left to act for it
            self.world.do(Delete())
        elif (kind, name) == (rollout.target.kind, rollout.target.name):
            self.world.do(RemoveTarget())
        elif (kind, name) == (rollout.target.kind, f"{rollout.target.name}-primary"):
            self.world.state = self.world.state.but(primary=None)
        elif kind in _SCALERS:
            self._scaler()
        elif kind not in _KNOWN:
            self.world.do(RouteByHand(None))

    def _resolved(self) -> Rollout:
        canary = parse(self.canary)
        assert isinstance(canary, Canary)
        templates = [
            parse(_in_namespace(found, self.trace.namespace)) for found in self.objects.of_kind(MetricTemplate.__name__)
        ]
        known = [template for template in templates if isinstance(template, MetricTemplate)]
        return resolve(canary, templates=known, provider=self.trace.flag("mesh-provider", "istio"))

    def _target(self) -> Json | None:
        reference = self.canary["spec"]["targetRef"]
        return self.objects.get(reference["kind"], reference["name"])

    def _deploy(self) -> None:
        """Return the target's revision if it has changed."""
        target = self._target()
        if target is None:
            return
        revision = self.objects.revision(target)
        self._images[revision] = images(target)
        self._set_paces()
        if self.world.state.target is None or self.world.state.target.revision != revision:
            self.world.do(Deploy(revision))
            self._pods_as_scripted()

    def _scaler(self) -> None:
        found = next((found for kind in _SCALERS for found in self.objects.of_kind(kind)), None)
        if found is not None and self.canary["spec"].get("autoscalerRef"):
            spec, paused = found["spec"], self.world.state.scaler is not None and self.world.state.scaler.paused
            low = spec.get("minReplicas", spec.get("minReplicaCount")) or 1
            high = spec.get("maxReplicas", spec.get("maxReplicaCount")) or 10
            self.world.do(SetScaler(Scaler(minimum=low, maximum=high, paused=paused)))

    # pods -----------------------------------------------------------------------------------------------------------

    def _set_paces(self) -> None:
        """The cluster's rules, for each workload and revision that is known."""
        name = self.world.state.rollout.target.name
        for revision, image in self._images.items():
            for workload, called in (("target", name), ("primary", f"{name}-primary")):
                key, pace = f"{workload}/{revision}", self._pace(called, image)
                if pace != self._paces.get(key, AT_ONCE):
                    self._paces[key] = pace
                    self.world.do(SetPace(key, pace))
        self._pods_as_scripted()

    def _pace(self, workload: str, image: str) -> Pace:
        """The first rule that fits; without one pods are ready at once."""
        fits = (rule for rule in self.rules if rule["name"] == workload and rule.get("image", "") in image)
        rule = next(fits, {"mode": "ready"})
        return _MODES[rule["mode"]](float(rule.get("after", 0)))

    def _pods_as_scripted(self) -> None:
        """The scripted cluster has no old pods: where the new ones take their time, there are none meanwhile."""
        state = self.world.state
        alone = {
            workload: evolve(pods, others=0, other="", mine=0)
            for workload in ("target", "primary")
            if isinstance(pods := getattr(state, workload), SimulatedPods)
            and pods.others
            and state.pace(workload, pods.revision) != AT_ONCE
        }
        if alone:
            self.world.state = state.but(**alone)


def _never(seconds: float) -> Pace:
    del seconds
    return NEVER


_MODES: dict[str, Callable[[float], Pace]] = {"ready": after, "never": _never, "stuck": stuck}
_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
_KNOWN = {*_SCALERS, "Deployment", "DaemonSet", "Service", "ConfigMap", "Secret", "MetricTemplate", "AlertProvider"}


def _in_namespace(given: Json, namespace: str) -> Json:
    return {**given, "metadata": {"namespace": namespace, **given["metadata"]}}


def _size(target: Json | None) -> int:
    return replicas(target) if target is not None else 1


def _shown(before: State, committed: Status) -> Stand:
    """Return the committed status, with the weight of a failover while it diverts the requests."""
    stand, routes = _stand(before.rollout, committed), before.routes
    if routes is None or routes.weight == before.status.rung.weight:
        return stand
    return evolve(stand, weight=routes.weight)


def _stand(rollout: Rollout, status: Status) -> Stand:
    written = status_to_dict(rollout, status)
    return Stand(written["phase"], written["canaryWeight"], written["iterations"], written["failedChecks"])


def _ready(side: Observed | None, threshold: int) -> bool:
    return side is not None and not explain_unready(side, threshold)


def _concerns(wanted: Severity, severity: Severity) -> bool:
    """Flagger's choice: info hears all, warn also errors."""
    return wanted in (Severity.INFO, severity) or (wanted, severity) == (Severity.WARN, Severity.ERROR)


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def _not_found(check: Check, rollout: Rollout) -> str:
    assert check.template is not None
    return f"metric template {check.template.name}.{check.template.namespace or rollout.namespace} not found"


def _built_in(check: Check, rollout: Rollout) -> str:
    """The gist of a provider's own query, for a check that the recording never reached."""
    success, latency = BUILT_IN.get(rollout.provider.partition(":")[0], BUILT_IN["istio"])
    if check.kind is CheckKind.SUCCESS_RATE:
        rate = f"sum( rate( {success}{{ }}[{check.window_text}] ) )"
        return f"{rate} / {rate} * 100"
    return f"histogram_quantile( 0.99, sum( rate( {latency}{{ }}[{check.window_text}] ) ) by (le) )"
