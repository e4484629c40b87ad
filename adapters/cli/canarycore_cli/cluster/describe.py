"""canary describe: where one Canary stands, why, and what would come next.

The next decision is computed here from what the cluster holds, by the same code as the controller's. Nobody is asked
for metrics and no hook is called: where the decision needs their answers, they are named. Nothing is written.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from canarycore import converge, goal
from canarycore.driver import deliberate
from canarycore.errors import ManifestError
from canarycore_cli.cluster.connect import one
from canarycore_cli.cluster.overview import ClusterView
from canarycore_cli.console import OK, format_timespan, out, print_json
from canarycore_cli.describe import described
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.controller import open_adapters
from canarycore_kubernetes.observer.observer import describe_question
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.canaries import ValidCanary
from canarycore_kubernetes.resources.status_codec import MEMORY
from canarycore_runtime.observation import observe_rollout

if TYPE_CHECKING:
    from canarycore import Decision, Observation, Status
    from canarycore_cli.cluster.connect import Where
    from canarycore_cli.cluster.overview import CanaryOverview, EventLine
    from canarycore_cli.console import Json
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.ports import StoredRollout


@frozen(kw_only=True)
class Next:
    """What comes next. because: why, if that can be told without asking. asked: what would be asked first.

    effects: what the cluster lacks of what the status wants. wake: in how many seconds it is looked at again.
    """

    explanation: str = ""
    asked: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    wake: float | None = None


def describe(where: Where, name: str, *, last: int, as_json: bool) -> int:
    """Print it."""
    asyncio.run(_described(where, name, last=last, as_json=as_json))
    return OK


async def _described(where: Where, name: str, *, last: int, as_json: bool) -> None:
    options = Options(mesh_provider=where.provider)
    async with where.canaries() as (cluster, canaries), open_adapters(cluster, canaries, options) as parts:
        key, held = await one(canaries, where, name)
        if not isinstance(held, ValidCanary):
            raise ManifestError(held.problems)
        stored = await canaries.load(key)
        assert stored is not None, "it can be used"
        look = ClusterView(where, cluster, canaries, parts.workload, key)
        (stand,) = await look.stands()
        following = _next(stored, await observe_rollout(parts, stored, now=parts.clock()))
        conditions = await _conditions(cluster, key)
        events = (await look.events(key))[-last:]
    if as_json:
        told = {"conditions": conditions, "events": [attrs.asdict(event) for event in events]}
        print_json({**attrs.asdict(stand), "next": attrs.asdict(following), **told})
    else:
        _print(stored, stand, following, conditions, events)


def _next(stored: StoredRollout, world: Observation) -> Next:
    rollout, status = stored.rollout, stored.status
    wanted = () if rollout.suspend else converge(goal(rollout, status), world).effects
    effects = tuple(map(repr, wanted))
    thinking = deliberate(rollout, status, world)
    try:
        ask = next(thinking)
    except StopIteration as stop:
        decision: Decision = stop.value
        wake = None if decision.wake is None else max(0.0, decision.wake - world.now)
        return Next(explanation=str(decision.explanation), effects=effects, wake=wake)
    thinking.close()
    return Next(asked=tuple(map(describe_question, ask.questions)), effects=effects)


async def _conditions(cluster: Cluster, key: str) -> list[Json]:
    """As they are stored, but for what the controller keeps there for itself."""
    namespace, _, name = key.partition("/")
    body = await cluster.get(CANARY, namespace, name) or {}
    found = (body.get("status") or {}).get("conditions") or ()
    return [condition for condition in found if condition["type"] != MEMORY]


def _print(
    stored: StoredRollout, stand: CanaryOverview, following: Next, conditions: list[Json], events: list[EventLine]
) -> None:
    console = out()

    def section(title: str, lines: list[str]) -> None:
        if lines:
            console.print(title, style="bold", markup=False)
            for text in lines:
                console.print(f"  {text}", markup=False)

    section(stand.key, [described(stored.rollout), stand.words, *_since(stored.status)])
    pods = [pods for pods in (stand.primary, stand.canary) if pods is not None]
    section("Pods", [f"{one.name}: {one.ready} of {one.desired} ready" for one in pods])
    section("Next", _next_words(following))
    section("Conditions", [_condition(condition) for condition in conditions])
    section("Events", [f"{told.at}  {told.text}{f' (x{told.count})' if told.count > 1 else ''}" for told in events])


def _condition(condition: Json) -> str:
    return f"{condition['type']} {condition['status']} {condition.get('reason', '')}: {condition.get('message', '')}"


def _since(status: Status) -> list[str]:
    return [] if status.since is None else [f"for {format_timespan(max(0.0, time.time() - status.since))}"]


def _next_words(following: Next) -> list[str]:
    lines = [following.explanation] if following.explanation else []
    if following.asked:
        lines.append(f"would ask: {', '.join(following.asked)}")
    if following.effects:
        lines.append(f"not yet as wanted: {', '.join(following.effects)}")
    if following.wake is not None:
        lines.append(f"looked at again in {format_timespan(following.wake)}")
    return lines
