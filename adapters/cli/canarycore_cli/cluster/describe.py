"""canary describe: print one Canary of a cluster: its trouble first, its next step, and its events.

The next step comes from the controller's own code and the present state of the cluster. The command queries no metric
and calls no hook: where the next decision needs their answers, it names them. It writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import attrs

from canarycore.codec import to_data
from canarycore.driver import preview
from canarycore.errors import ManifestError, WorldError
from canarycore.policy import describe_policy
from canarycore.questions import describe_question
from canarycore.text import format_timespan
from canarycore_cli.cluster.connect import deleted, find_key
from canarycore_cli.console import OK, out, print_json
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.overview import ClusterOverview
from canarycore_kubernetes.resources.canaries import Canaries, InvalidCanary
from canarycore_kubernetes.resources.flagger_status import adopt
from canarycore_kubernetes.resources.new_targets import begin_anew
from canarycore_kubernetes.resources.status_codec import MEMORY
from canarycore_runtime.ports import observe_rollout

if TYPE_CHECKING:
    from canarycore import Observation, Status
    from canarycore.driver import NextStep
    from canarycore_cli.cluster.connect import ClusterOptions
    from canarycore_cli.console import Json
    from canarycore_kubernetes.overview import CanaryEvent, CanaryOverview
    from canarycore_runtime.ports import Adapters, StoredRollout


def describe(options: ClusterOptions, name: str, *, last: int, as_json: bool) -> int:
    """Print the Canary called `name`, and its last events."""
    asyncio.run(_describe(options, name, last=last, as_json=as_json))
    return OK


async def _describe(options: ClusterOptions, name: str, *, last: int, as_json: bool) -> None:
    settings = Options(mesh_provider=options.provider)
    async with (
        options.client() as client,
        Cluster(client.read_only("describe"), namespace=options.selected_namespace) as cluster,
    ):
        canaries = Canaries(cluster, provider=options.provider)
        async with open_adapters(cluster, canaries, settings) as adapters:
            key = await find_key(canaries, options, name)
            canary = await canaries.find(key)
            if isinstance(canary, InvalidCanary):
                raise ManifestError(canary.problems)
            overview = ClusterOverview(cluster, canaries, adapters.workload)
            stored, state = await canaries.load(key), await overview.read(key)
            if stored is None or state is None:
                raise deleted(key)
            following = _NOTHING
            try:
                stored, observation = await observe_canary(adapters, canaries, key)
                following = _next_json(preview(stored.rollout, stored.status, observation), observation.now)
            except WorldError as error:  # the trouble comes first, and the conditions and events still help
                state = attrs.evolve(state, trouble=state.trouble or str(error))
            conditions = await _read_conditions(cluster, key)
            events = (await overview.events(key))[-last:]
    if as_json:
        details = {"conditions": conditions, "events": [attrs.asdict(event) for event in events]}
        results = {"last_analysis": to_data(stored.status.analysis), "last_end": to_data(stored.status.end)}
        print_json({**attrs.asdict(state), "next": following, **results, **details})
    else:
        _print(stored, state, following, conditions, events)


async def observe_canary(adapters: Adapters, canaries: Canaries, key: str) -> tuple[StoredRollout, Observation]:
    """Return a rollout as the controller decides from it, and the cluster. Raise BadInput if the Canary is gone."""
    stored = await canaries.load(key)
    if stored is None:
        raise deleted(key)
    observation = await observe_rollout(adapters, stored, now=adapters.clock())
    stored = adopt(
        stored,
        canaries.require(stored.rollout),
        target=observation.target,
        primary=observation.primary,
        routes=observation.routes,
    )
    return await begin_anew(stored, observation.primary, adapters.workload), observation


def _next_json(step: NextStep, now: float) -> dict[str, Any]:
    """Return the next step as plain data; `wake` is in how many seconds the controller looks again."""
    wake = None if step.decision is None else step.decision.wake
    return {
        "explanation": "" if step.explanation is None else str(step.explanation),
        "questions": list(map(describe_question, step.questions)),
        "effects": list(map(repr, step.effects)),
        "wake": None if wake is None else max(0.0, wake - now),
    }


_NOTHING: dict[str, Any] = {"explanation": "", "questions": [], "effects": [], "wake": None}
"""The next step of a rollout that cannot be observed."""


async def _read_conditions(cluster: Cluster, key: str) -> list[Json]:
    """Return the conditions of a Canary's status, without the one that holds the controller's own memory."""
    namespace, _, name = key.partition("/")
    body = await cluster.get(CANARY, namespace, name) or {}
    conditions = (body.get("status") or {}).get("conditions") or ()
    return [condition for condition in conditions if condition["type"] != MEMORY]


def _print(
    stored: StoredRollout,
    state: CanaryOverview,
    following: Json,
    conditions: list[Json],
    events: list[CanaryEvent],
) -> None:
    console = out()

    def section(title: str, lines: list[str]) -> None:
        if lines:
            console.print(title, style="bold", markup=False)
            for line in lines:
                console.print(f"  {line}", markup=False)

    section("Trouble", [state.trouble] if state.trouble else [])
    section(state.key, [describe_policy(stored.rollout), state.describe(), *_age(stored.status)])
    pods = [counts for counts in (state.primary, state.canary) if counts is not None]
    section("Pods", [f"{counts.name}: {counts.ready} of {counts.desired} ready" for counts in pods])
    section("Next", _next_lines(following))
    for title, lines in describe_results(stored.status):
        section(title, lines)
    section("Conditions", [_format_condition(condition) for condition in conditions])
    section("Events", [_format_event(event) for event in events])


def describe_results(status: Status) -> list[tuple[str, list[str]]]:
    """Return the refused command, the last analysis and the end of the last rollout as titled lines, if they exist."""
    analysis, end = status.analysis, status.end
    results: list[tuple[str, list[str]]] = []
    if status.refusal:
        results.append(("Refused command", [f"{status.handled}: {status.refusal}"]))
    if analysis is not None:
        results.append(("Last analysis", [str(analysis)]))
    if end is not None:
        results.append(("Last rollout", [str(end), *([str(end.analysis)] if end.analysis is not None else [])]))
    return results


def _format_condition(condition: Json) -> str:
    return f"{condition['type']} {condition['status']} {condition.get('reason', '')}: {condition.get('message', '')}"


def _format_event(event: CanaryEvent) -> str:
    return f"{event.at}  {event.text}{f' (x{event.count})' if event.count > 1 else ''}"


def _age(status: Status) -> list[str]:
    return [] if status.since is None else [f"for {format_timespan(max(0.0, time.time() - status.since))}"]


def _next_lines(following: Json) -> list[str]:
    lines = [following["explanation"]] if following["explanation"] else []
    if following["questions"]:
        lines.append(f"asks first: {', '.join(following['questions'])}")
    if following["effects"]:
        lines.append(f"missing on the cluster: {', '.join(following['effects'])}")
    if following["wake"] is not None:
        lines.append(f"next look in {format_timespan(following['wake'])}")
    return lines
