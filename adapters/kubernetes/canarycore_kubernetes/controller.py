"""The controller: it runs the rollouts of a cluster's Canaries until it is cancelled.

    async with connect(options.kubeconfig) as client:
        await run_controller(client, options, version="0.1.0")

It runs the caches, the server for probes and metrics, the leader election, and the runner while this replica leads. A
replica that loses the Lease stops its runner, and its fenced writes fail from that moment on. It then waits for its
next election.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from canarycore.errors import WorldError
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.leader_election import LeaderElection
from canarycore_kubernetes.page import ClusterPageSource, TokenDoor
from canarycore_kubernetes.providers.alerts import Alerts, default_receiver
from canarycore_kubernetes.providers.metrics import TemplateSources
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.resources.claims import Claims
from canarycore_kubernetes.resources.events import EventNotifier, Events, event_source
from canarycore_kubernetes.resources.flagger_status import AdoptingStore
from canarycore_kubernetes.resources.new_targets import NewTargetStore
from canarycore_kubernetes.resources.refusals import BlockedRollouts
from canarycore_kubernetes.resources.store import CanaryStore
from canarycore_kubernetes.routing.partition_router import TargetRouter
from canarycore_kubernetes.telemetry import logs
from canarycore_kubernetes.telemetry.calls import MeasuredHooks, ignore_call
from canarycore_kubernetes.telemetry.lateness import LatenessTracker
from canarycore_kubernetes.telemetry.probes import serve_probes
from canarycore_kubernetes.telemetry.prometheus import Exporter
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from canarycore_runtime import Adapters, Limits, Runner, load
from canarycore_runtime.http import origin_of
from canarycore_runtime.page.server import serve_page
from canarycore_runtime.plugins import SchemeHooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from canarycore import Rollout
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.options import Options
    from canarycore_kubernetes.telemetry.calls import ProviderReport
    from canarycore_runtime import CycleReport
    from canarycore_runtime.ports import Clock

START_SPREAD = 30.0
"""Longest time over which the first cycles after the start are spread, in seconds."""

START_PACE = 100.0
"""First cycles per second, if that is faster than START_SPREAD: each cycle may write, and the cycles stay as far apart
as at first."""

RESYNC_INTERVAL = 300.0
"""Time between cycles of a rollout at rest without a change, in seconds. The caches report every change before."""

WAKE_STEP = 0.25
"""Time within which due cycles begin together, in seconds: with many Canaries a wake-up costs as much as its cycles."""

LONGEST_LISTING = 10.0
"""Longest time that the line about the resources watched waits for their lists, in seconds."""

COUNT_INTERVAL = 15.0
"""Time between counts of the Canaries, in seconds."""

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

    Args:
        client: The client of the cluster.
        options: The options of the controller.
        version: The version of the controller, for its metrics.
        mesh: The client of the cluster with the routing objects, if it is another one.
        listening: Called with the port of probes and metrics.
    """
    exporter = Exporter(version=version, provider=options.mesh_provider)
    log_start(client, options, version=version, mesh=mesh)
    client = client.reporting(exporter.record_request)
    mesh = None if mesh is None else mesh.reporting(exporter.record_request)

    def count_lost_alert(rollout: Rollout) -> None:
        if canaries.has(f"{rollout.namespace}/{rollout.name}"):  # otherwise its series would stay for ever
            exporter.count_lost_alert(rollout)

    leader = _leader(client, options)

    def make_cluster(unfenced: Client) -> Cluster:
        return Cluster(unfenced if leader is None else unfenced.fenced(leader.fence), namespace=options.namespace)

    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(make_cluster(client))
        routes = None if mesh is None else await stack.enter_async_context(make_cluster(mesh))
        canaries = make_canaries(cluster, options)
        canaries.follow(lambda key, canary: exporter.forget(key) if canary is None else None)
        lateness, refusals = LatenessTracker(), BlockedRollouts(cluster.wake)

        def measure(report: CycleReport) -> None:
            if canaries.has(report.key):  # otherwise its series would stay for ever
                exporter.record_cycle(report)
                exporter.record_trouble(report.key, refusals.reason(report.key) if refusals.text(report.key) else "")

        watchers = (lateness.record_cycle, refusals.record_cycle, measure, logs.CycleLog().write)
        parts = await stack.enter_async_context(
            open_adapters(
                cluster,
                canaries,
                options,
                routes=routes,
                lateness=lateness,
                refusals=refusals,
                given_up=count_lost_alert,
                report=exporter.record_call,
            )
        )

        def unready() -> str:
            return (leader.obstacle if leader else "") or cluster.unsynced_kinds()

        served = serve_probes(options.listen or None, options.port, exporter.registry, unready)
        listening(await stack.enter_async_context(served))
        if options.page_port:
            bare = await stack.enter_async_context(client.without_credentials())
            await stack.enter_async_context(
                serve_page(
                    ClusterPageSource(cluster, canaries),
                    TokenDoor(bare),
                    host=options.listen or None,
                    port=options.page_port,
                    hosts=options.page_hosts,
                )
            )
        async with asyncio.TaskGroup() as group, leader or nullcontext():
            group.create_task(_count(canaries, exporter), name="counting canaries")
            group.create_task(_freeze(canaries, cluster), name="waiting for the caches")
            group.create_task(_log_connection(canaries, cluster, parts, options), name="trying the servers")
            await _lead(leader, canaries, parts, options, exporter, watchers)


def log_start(client: Client, options: Options, *, version: str, mesh: Client | None) -> None:
    """Log the beginning of a controller, or of an observer."""
    logs.log_start(
        version=version,
        provider=options.mesh_provider,
        api_server=client.server,
        mesh_api_server="" if mesh is None else mesh.server,
        metrics_server=origin_of(options.metrics_server),
        namespace=options.namespace,
    )


async def _log_connection(canaries: Canaries, cluster: Cluster, parts: Adapters, options: Options) -> None:
    """Log the servers reached and the resources watched, once all Canaries are listed."""
    keys = None
    while keys is None:
        try:
            keys = await canaries.keys()
        except WorldError:  # the cache logs it
            await asyncio.sleep(COUNT_INTERVAL)
    trouble = await parts.metrics.server_trouble() if isinstance(parts.metrics, TemplateSources) else ""
    with suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_LISTING):
            while cluster.unsynced_kinds():  # noqa: ASYNC110 - a cycle may add kinds meanwhile
                await asyncio.sleep(WAKE_STEP)
    logs.log_connection(
        api_server=cluster.client.server,
        metrics_server=origin_of(options.metrics_server),
        trouble=trouble,
        canaries=len(keys),
        kinds=cluster.watched_kinds(),
    )


async def _lead(
    leader: LeaderElection | None,
    canaries: Canaries,
    parts: Adapters,
    options: Options,
    exporter: Exporter,
    watchers: tuple[Callable[[CycleReport], None], ...],
) -> None:
    """Run rollouts whenever this replica leads, and call the watchers after each cycle."""

    def notify(report: CycleReport) -> None:
        for watcher in watchers:
            watcher(report)

    limits = Limits(
        cycles=options.threadiness, spread=START_SPREAD, pace=START_PACE, resync=RESYNC_INTERVAL, step=WAKE_STEP
    )
    while True:
        if leader is not None:
            await leader.elected()
        exporter.set_leader(True)
        await _fill_caches(canaries, parts)
        if isinstance(parts.router, TargetRouter):
            await parts.router.find_leftovers()
        async with Runner(parts, limits, refuse=None, on_cycle=notify):
            await (asyncio.Event().wait() if leader is None else leader.deposed())
        exporter.set_leader(False)


async def _fill_caches(canaries: Canaries, parts: Adapters) -> None:
    """List the objects of all rollouts before the first cycle.

    Otherwise all cycles that wait for the same list would begin at once, and again at once after each interval, because
    an interval counts from the last analysis.
    """
    with suppress(WorldError):  # here and below: the cycles report the same error
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
            _log.debug("cannot count the canaries: %s", error)
        await asyncio.sleep(COUNT_INTERVAL)


async def _freeze(canaries: Canaries, cluster: Cluster) -> None:
    """Freeze the caches out of the garbage collector after the start: they live as long as the process.

    With 10,000 Canaries each collection would otherwise stop the controller for more than a quarter of a second.
    """
    with suppress(WorldError):
        await canaries.keys()
    await asyncio.sleep(2 * START_SPREAD)  # all rollouts have had a cycle by then, and their kinds are being listed
    while cluster.unsynced_kinds():  # noqa: ASYNC110 - a cycle may add kinds meanwhile
        await asyncio.sleep(1.0)
    gc.freeze()


def make_canaries(cluster: Cluster, options: Options) -> Canaries:
    """Return the Canaries of a cluster under the options."""
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
    report: Callable[[ProviderReport], None] = ignore_call,
) -> AsyncGenerator[Adapters, None]:
    """Open the adapters of a controller.

    Args:
        cluster: The open cluster.
        canaries: Its Canaries.
        options: The options of the controller.
        routes: The cluster with the routing objects, if it is another one.
        clock: The clock of decisions and events, in seconds since 1970.
        lateness: The rollouts with missed intervals.
        refusals: The blocked rollouts.
        given_up: Called with the rollout of an alert that the controller has given up on.
        report: Called with the report of each query, hook and alert.
    """
    across = not options.no_cross_namespace_refs
    events, claims = Events(cluster.client, clock), Claims(canaries)
    notifier = EventNotifier(events, canaries)
    reading = ReadingOptions(
        labels=options.selector_labels, tracked=options.enable_config_tracking, secrets=cluster.reads_secrets
    )
    router = TargetRouter(
        cluster,
        canaries,
        reading,
        mesh_cluster=routes,
        ingress_prefix=options.ingress_annotations_prefix,
        ingress_class=options.ingress_class,
        events=notifier,
        claims=claims,
        refusals=refusals,
    )
    workload = ClusterWorkloads(
        cluster,
        canaries,
        reading,
        prefixes=options.include_label_prefix,
        router=router,
        events=notifier,
        claims=claims,
        refusals=refusals,
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
            report=report,
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
            links=options.alert_links,
            cross_namespace=across,
            allowed=options.allowed_hosts,
            warn=notifier.warn,
            given_up=given_up,
            report=report,
        )
        yield Adapters(
            store=NewTargetStore(
                AdoptingStore(
                    CanaryStore(cluster, canaries, events, lateness, workload.tracked, refusals, router.diverted),
                    canaries,
                    workload,
                    router,
                ),
                workload,
            ),
            workload=workload,
            router=router,
            metrics=await stack.enter_async_context(metrics),
            hooks=await stack.enter_async_context(
                SchemeHooks(hooks, options.allowed_hosts, wrap=lambda scheme, port: MeasuredHooks(port, report, scheme))
            ),
            notifiers=(
                notifier,
                await stack.enter_async_context(alerts),
                load("notifiers", "webhook")(
                    hooks,
                    options.event_webhook,
                    event_source=partial(event_source, options.cluster_name) if options.cloud_events else None,
                ),
            ),
            clock=clock,
            changes=(cluster,) if routes is None else (cluster, routes),
        )
