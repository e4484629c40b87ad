"""The controller: what a cluster's Canaries ask for is decided and carried out, until somebody stops it.

    async with connect(options.kubeconfig) as client:
        await control(client, options)

One task group holds everything: the caches, the server for probes and metrics, the election, and the runner while this
replica leads. A replica that loses its lease ends, as its writes are refused from that moment on; whoever started it
starts it again, to wait for its turn.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from canarycore.errors import WorldError
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.leader_election import LeaderElection
from canarycore_kubernetes.providers.alerts import Alerts, default_receiver
from canarycore_kubernetes.providers.metrics import TemplateSources
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.claims import Claims
from canarycore_kubernetes.resources.events import EventNotifier, Events
from canarycore_kubernetes.resources.flagger_status import AdoptingStore
from canarycore_kubernetes.resources.refusals import BlockedRollouts
from canarycore_kubernetes.resources.store import CanaryStore
from canarycore_kubernetes.routing.router import MeshRouter
from canarycore_kubernetes.telemetry import logs
from canarycore_kubernetes.telemetry.lateness import LatenessTracker
from canarycore_kubernetes.telemetry.probes import serve_probes
from canarycore_kubernetes.telemetry.prometheus import Exporter
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from canarycore_runtime import Adapters, Limits, Runner, load

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from canarycore import Rollout
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.options import Options
    from canarycore_runtime import CycleReport
    from canarycore_runtime.ports import Clock

SPREAD, PACE = 30.0, 100.0
"""The rollouts found at the start are first looked at over so many seconds at most, and so many of them a second where
they are fewer: each look may be a write, and their moments stay as far apart as they were at first."""

RESYNC = 300.0
"""Seconds after which a rollout at rest is looked at though nobody told a change: the caches tell all of them."""

STEP = 0.25
"""Seconds within which looks are begun together: of many Canaries each wake-up costs as much as what is done in it."""

COUNTED = 15.0
"""Seconds between counts of the Canaries there are."""

_log = logging.getLogger("canarycore.controller")


async def run_controller(
    client: Client,
    options: Options,
    *,
    version: str,
    mesh: Client | None = None,
    listening: Callable[[int], None] = lambda _: None,
) -> None:
    """Control a cluster until cancelled.

    mesh: of the cluster that the routing objects are in, if that is another one. listening: is told the port of probes
    and metrics.
    """
    exporter = Exporter(version=version, provider=options.mesh_provider)

    def given_up(rollout: Rollout) -> None:
        if canaries.has(f"{rollout.namespace}/{rollout.name}"):  # or its series would stay for ever
            exporter.count_lost_alert(rollout)

    leader = _leader(client, options)

    def opened(to: Client) -> Cluster:
        return Cluster(to if leader is None else to.fenced(leader.fence), namespace=options.namespace)

    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(opened(client))
        routes = None if mesh is None else await stack.enter_async_context(opened(mesh))
        canaries = make_canaries(cluster, options)
        canaries.follow(lambda key, held: exporter.forget(key) if held is None else None)
        lateness, refusals = LatenessTracker(), BlockedRollouts(cluster.wake)

        def measure(report: CycleReport) -> None:
            if canaries.has(report.key):  # or its series would stay for ever
                exporter.record_cycle(report)

        watchers = (measure, lateness.record_cycle, refusals.record_cycle, logs.CycleLog().write)
        parts = await stack.enter_async_context(
            open_adapters(
                cluster,
                canaries,
                options,
                routes=routes,
                lateness=lateness,
                refusals=refusals,
                given_up=given_up,
            )
        )
        served = serve_probes(options.listen or None, options.port, exporter.registry, cluster.unsynced_kinds)
        listening(await stack.enter_async_context(served))
        async with asyncio.TaskGroup() as group, leader or nullcontext():
            group.create_task(_count(canaries, exporter), name="counting canaries")
            group.create_task(_freeze(canaries, cluster), name="waiting for the caches")
            await _lead(leader, canaries, parts, options, exporter, watchers)


async def _lead(
    leader: LeaderElection | None,
    canaries: Canaries,
    parts: Adapters,
    options: Options,
    exporter: Exporter,
    watchers: tuple[Callable[[CycleReport], None], ...],
) -> None:
    """Run rollouts whenever this replica leads. watchers: are told each cycle."""

    def told(report: CycleReport) -> None:
        for watcher in watchers:
            watcher(report)

    limits = Limits(cycles=options.threadiness, spread=SPREAD, pace=PACE, resync=RESYNC, step=STEP)
    while True:
        if leader is not None:
            await leader.elected()
        exporter.set_leader(True)
        await _look_around(canaries, parts)
        async with Runner(parts, limits, on_cycle=told):
            await (asyncio.Event().wait() if leader is None else leader.deposed())
        exporter.set_leader(False)


async def _look_around(canaries: Canaries, parts: Adapters) -> None:
    """Have listed what the Canaries look at before any is due: all that wait for a list come at once when it is there.

    They would go on to come at once, as each interval counts from the last analysis.
    """
    with suppress(WorldError):  # here and below: whoever looks later is told again
        for rollout in await canaries.kinds():
            for port in (parts.workload, parts.router):
                with suppress(WorldError):
                    await port.observe(rollout)


def _leader(client: Client, options: Options) -> LeaderElection | None:
    if not options.enable_leader_election:
        return None
    namespace = options.namespace or options.leader_election_namespace
    return LeaderElection(client, namespace=namespace, identity=options.identity or socket.gethostname())


async def _count(canaries: Canaries, exporter: Exporter) -> None:
    while True:
        try:
            exporter.set_totals(Counter(key.partition("/")[0] for key in await canaries.keys()))
        except WorldError as error:
            _log.debug("the canaries cannot be counted: %s", error)
        await asyncio.sleep(COUNTED)


async def _freeze(canaries: Canaries, cluster: Cluster) -> None:
    """What is held after the start is held for long: the garbage collector need not go through all of it each time.

    With 10,000 canaries each time is a good quarter of a second in which nothing else happens.
    """
    with suppress(WorldError):
        await canaries.keys()
    await asyncio.sleep(2 * SPREAD)  # all have been looked at by then, and what they need is being listed
    while cluster.unsynced_kinds():  # noqa: ASYNC110 - more kinds may be asked for meanwhile
        await asyncio.sleep(1.0)
    gc.freeze()


def make_canaries(cluster: Cluster, options: Options) -> Canaries:
    """The cluster's Canaries, read as the options have it."""
    return Canaries(
        cluster,
        provider=options.mesh_provider,
        across=not options.no_cross_namespace_refs,
        shared_gateways=options.shared_gateway_namespaces,
        allowed=options.allowed_hosts,
        metrics_server=options.metrics_server,
    )


@asynccontextmanager
async def open_adapters(
    cluster: Cluster,
    canaries: Canaries,
    options: Options,
    *,
    routes: Cluster | None = None,
    clock: Clock = time.time,
    lateness: LatenessTracker | None = None,
    refusals: BlockedRollouts | None = None,
    given_up: Callable[[Rollout], None] = lambda _: None,
) -> AsyncGenerator[Adapters, None]:
    """The adapters that the options ask for, open.

    routes: where routing objects are, if that is another cluster. lateness: what is noted of intervals not kept.
    refusals: what holds rollouts up. given_up: is told whose alert did not reach a chat.
    """
    across = not options.no_cross_namespace_refs
    events, claims = Events(cluster.client, clock), Claims(canaries)
    notifier = EventNotifier(events, canaries)
    reading = ReadingOptions(
        labels=options.selector_labels, tracked=options.enable_config_tracking, secrets=cluster.reads_secrets
    )
    router = MeshRouter(
        cluster,
        canaries,
        reading,
        mesh_cluster=routes,
        ingress_prefix=options.ingress_annotations_prefix,
        ingress_class=options.ingress_class,
        events=notifier,
        claims=claims,
    )
    workload = ClusterWorkloads(
        cluster,
        canaries,
        reading,
        prefixes=options.include_label_prefix,
        router=router,
        events=notifier,
        claims=claims,
    )

    async with AsyncExitStack() as stack:
        hooks = await stack.enter_async_context(load("hooks", "http")(options.allowed_hosts))
        metrics = TemplateSources(
            cluster,
            canary=canaries.manifest,
            mesh=router.mesh,
            query_variables=router.query_variables,
            metrics_server=options.metrics_server,
            mesh_provider=options.mesh_provider,
            cross_namespace=across,
            allowed=options.allowed_hosts,
            secrets=cluster.reads_secrets,
        )
        alerts = Alerts(
            cluster,
            canary=canaries.manifest,
            default_receiver=default_receiver(
                slack_url=options.slack_url,
                slack_token=options.slack_token,
                slack_proxy_url=options.slack_proxy_url,
                slack_user=options.slack_user,
                slack_channel=options.slack_channel,
                msteams_url=options.msteams_url,
                msteams_proxy_url=options.msteams_proxy_url,
            ),
            cluster_name=options.cluster_name,
            cross_namespace=across,
            allowed=options.allowed_hosts,
            warn=notifier.warn,
            given_up=given_up,
        )
        yield Adapters(
            store=AdoptingStore(
                CanaryStore(cluster, canaries, events, lateness, workload.tracked, refusals), canaries, workload
            ),
            workload=workload,
            router=router,
            metrics=await stack.enter_async_context(metrics),
            hooks=hooks,
            notifiers=(
                notifier,
                await stack.enter_async_context(alerts),
                load("notifiers", "webhook")(hooks, options.event_webhook),
            ),
            clock=clock,
            changes=(cluster,) if routes is None else (cluster, routes),
        )
