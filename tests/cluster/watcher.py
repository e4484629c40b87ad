"""A watcher that checks the promises of a controller from outside, over all versions of all objects.

    with watching(plane.api.access) as watcher:
        ...
        await watcher.comes(namespace, lambda stand: stand.status.phase is Phase.SUCCEEDED)
        assert watcher.violations(namespace) == []

An API server numbers its writes, whatever they change, so the versions of all objects are in one order. They are taken
up as watches tell them, replayed in that order, and each step from one to the next is held to the promises I1 to I14
(canarycore.simulation.invariants), as far as they can be told from objects alone:

    table  a status that changes goes where the table of phases leads
    I1     requests are sent to a side with available pods; the canary's pods go after its requests, and the drain
    I2     routes are those of the status that is stored, or the primary alone; rungs follow the ladder
    I3     more requests only for the revision under test; a rung is left by a pass that the metrics server gave
    I4     the primary's revision is the one that the status names, and its pods run just that
    I5     nothing is done that the stored status does not ask for; what was rejected is not promoted
    I6     after a rollback requests go to a primary whose pods are all of the promoted revision
    I7     the final state is that of an undisturbed rollout: `looks`, for tests to compare
    I8     a world at rest is settled
    I9     failed checks rise by one at most, an interval apart, and never fall within an analysis
    I10    what a status has to tell is an Event before the status forgets it
    I11    no answer, or none that is finite, is no pass
    I12    each write changes something: `idle_writes`, of writes that a proxy has seen; nothing at rest: for tests
    I13    a new revision first takes the requests away
    I14    at rest the status knows the target's revision

The primary's failover is no part of it: no test that uses this takes all of its pods away.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property

import aiohttp
from attrs import define, evolve, field, frozen

from canarycore import Phase, Rollout, Status
from canarycore._ladder import INITIAL_RUNG
from canarycore.manifest import Canary, parse, resolve
from canarycore.notices import Channel
from canarycore.phases import ACTIVE, IDLE, PROMOTED, PROMOTION, TRANSITIONS
from canarycore_kubernetes.api.metadata import KEPT_REVISIONS, REVISION, get_annotation, get_annotation_list
from canarycore_kubernetes.resources.status_codec import read_status
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_facts, revisions
from canarycore_planes.background import in_background
from canarycore_planes.control_plane.api import Access, Json
from tests.controlplane.proxy import Passage

NAME = "podinfo"
"""The target, the Canary and the apex of every rollout that is watched."""

PATIENCE = 120.0
Owed = dict[str, frozenset[str]]
"""The keys of all notices that a status has held so far, by their text."""

_SLACK = 0.05
"""Seconds by which clocks that are compared may differ."""

_ISTIO = "/apis/networking.istio.io/v1beta1"
_PATHS = {
    "/apis/flagger.app/v1beta1/canaries": "Canary",
    "/apis/apps/v1/deployments": "Deployment",
    "/apis/apps/v1/controllerrevisions": "ControllerRevision",
    "/api/v1/services": "Service",
    f"{_ISTIO}/virtualservices": "VirtualService",
    f"{_ISTIO}/destinationrules": "DestinationRule",
    "/api/v1/events": "Event",
    "/apis/coordination.k8s.io/v1/leases": "Lease",
}
"""The watched kinds, by path."""


@frozen(kw_only=True)
class Version:
    """One version of one object. number: in the order of all writes. at: when it was heard of (seconds since 1970)."""

    number: int
    kind: str
    body: Json = field(repr=False)
    at: float = 0.0
    gone: bool = False

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])


@frozen(kw_only=True)
class Answered:
    """An answer of the metrics server about a namespace's rollout."""

    at: float
    value: float | None


@frozen(kw_only=True)
class Stand:
    """How things stand after a write. weight: percent of requests for the canary; None where nothing routes.

    told: of each Event its text and how often it was told. kept: the revisions that the primary can go back to.
    """

    canary: Json | None = None
    target: Json | None = None
    primary: Json | None = None
    splits: Json | None = None
    status: Status = Status()
    rollout: Rollout | None = None
    weight: int | None = None
    whole: bool = True
    told: Mapping[str, tuple[str, int]] = field(factory=dict)
    kept: frozenset[str] = frozenset()

    @property
    def tested(self) -> str:
        """The revision of the target."""
        if self.target is None:
            return ""
        facts = [None if body is None else pod_facts(ReadingOptions(), body) for body in (self.target, self.primary)]
        return revisions(facts[0], facts[1], {}, {})[0]

    @property
    def carried(self) -> str:
        """The revision of the primary."""
        return "" if self.primary is None else get_annotation(self.primary, REVISION)

    @cached_property
    def times_told(self) -> Counter[str]:
        """How often each text was told."""
        times: Counter[str] = Counter()
        for text, count in self.told.values():
            times[text] += count
        return times

    @property
    def settled(self) -> bool:
        """Whether nothing is under way, and all was told."""
        status = self.status
        told = all(self.times_told[notice.text] for notice in status.outbox if notice.channel is Channel.EVENT)
        return status.phase in IDLE and status.is_settled and bool(self.canary) and told


@frozen(kw_only=True)
class Step:
    """One write: how things stood before it and after, and when it was heard of."""

    version: Version
    before: Stand
    after: Stand
    owed: Owed = field(factory=dict)

    @property
    def commits(self) -> bool:
        return self.version.kind == "Canary" and self.before.status != self.after.status


@frozen(kw_only=True)
class Promise:
    """A promise about every step. `broken` returns the problem or None; it gets the metrics server's answers too."""

    name: str
    broken: Callable[[Step, Sequence[Answered]], str | None] = field(repr=False)


# ------------------------------------------------------------------------------------------------------- the replay


def violations(versions: Iterable[Version], answers: Sequence[Answered] = ()) -> list[str]:
    """Return the violations of a history, in order; each begins with the promise's name. The history ends at rest."""
    found: list[str] = []
    last, owed = Stand(), Owed()
    for step in steps(versions):
        broken = ((promise.name, promise.broken(step, answers)) for promise in PROMISES)
        where = f"{step.version.kind} {step.version.name} at {step.version.number}"
        found += [f"{name}: {wrong} ({where})" for name, wrong in broken if wrong]
        last, owed = step.after, _owed(step.owed, step.after)
    return found + list(_at_rest(last, owed))


def steps(versions: Iterable[Version]) -> Iterator[Step]:
    """The history, write by write."""
    stand, owed = Stand(), Owed()
    for version in sorted(versions, key=lambda one: one.number):
        after = _after(stand, version)
        yield Step(version=version, before=stand, after=after, owed=owed)
        stand, owed = after, _owed(owed, after)


def _owed(owed: Owed, stand: Stand) -> Owed:
    told = [notice for notice in stand.status.outbox if notice.channel is Channel.EVENT]
    return owed | {one.text: owed.get(one.text, frozenset()) | {one.key} for one in told}


def _after(stand: Stand, version: Version) -> Stand:
    body = None if version.gone else version.body
    match version.kind, version.name:
        case "Canary", _:
            return _with_canary(stand, body)
        case "Deployment", name if name == NAME:
            return evolve(stand, target=body)
        case "Deployment", name if name == f"{NAME}-primary":
            return evolve(stand, primary=body)
        case "VirtualService", _:
            return _with_splits(stand, body)
        case "ControllerRevision", name:
            return evolve(stand, kept=stand.kept - {name} if body is None else stand.kept | {name})
        case "Event", name if body is not None:
            return evolve(stand, told={**stand.told, name: (body["message"], body.get("count", 1))})
    return stand


def _with_canary(stand: Stand, body: Json | None) -> Stand:
    if body is None:
        return evolve(stand, canary=None)
    metadata = {name: body["metadata"][name] for name in ("name", "namespace")}
    canary = parse({key: body[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata})
    assert isinstance(canary, Canary)
    rollout = resolve(canary, provider="istio")
    return evolve(stand, canary=body, rollout=rollout, status=read_status(rollout, body.get("status") or {})[0])


def _with_splits(stand: Stand, body: Json | None) -> Stand:
    if body is None:
        return evolve(stand, splits=None, weight=None)
    shares = {one["destination"]["host"]: one.get("weight", 100) for one in body["spec"]["http"][-1]["route"]}
    return evolve(stand, splits=body, weight=shares.get(f"{NAME}-canary", 0), whole=sum(shares.values()) == 100)


# ----------------------------------------------------------------------------------------------------- the promises


def _table(step: Step, _: Sequence[Answered]) -> str | None:
    before, after = step.before.status.phase, step.after.status.phase
    known = {(source, before if goal is None else goal) for source, _, goal in TRANSITIONS if source is before}
    return f"{before.value} went to {after.value}" if step.commits and (before, after) not in known else None


def _requests_go_to_ready_pods(step: Step, _: Sequence[Answered]) -> str | None:
    before, after = _moved(step)
    if after > before and not _available(step.before.target):
        return f"the canary got {after}% of the requests, none of its pods is available"
    if after < before and not _available(step.before.primary):
        return f"the primary got {100 - after}% of the requests, none of its pods is available"
    return None


def _pods_go_after_their_requests(step: Step, _: Sequence[Answered]) -> str | None:
    before, after = (_replicas(stand.target) for stand in (step.before, step.after))
    if not before or after != 0 or step.after.target is None:
        return None
    if step.before.weight:
        return f"the canary was scaled down while it got {step.before.weight}% of the requests"
    if step.version.at < step.before.status.drain_until - _SLACK:
        return "the canary was scaled down before it had drained"
    return None if _available(step.before.primary) else "the canary was scaled down, no pod of the primary is available"


def _routes_are_the_statuses(step: Step, _: Sequence[Answered]) -> str | None:
    status, weight = step.before.status, step.after.weight
    if step.version.kind != "VirtualService" or weight is None:
        return None
    if not step.after.whole:
        return "the weights do not add up to 100"
    wanted = status.rung.weight if status.phase in ACTIVE | PROMOTION else 0
    return None if weight in {0, wanted} else f"{weight}% in {status.phase.value} at {status.rung.weight}%"


def _rungs_follow_the_ladder(step: Step, _: Sequence[Answered]) -> str | None:
    before, after, rollout = step.before.status.rung, step.after.status.rung, step.before.rollout
    if not step.commits or rollout is None:
        return None
    back = rollout.ladder.back(before)
    allowed = {before, INITIAL_RUNG, rollout.ladder.after(before), back}
    return None if after in allowed else f"from rung {before.weight}% to {after.weight}%"


def _only_the_revision_under_test(step: Step, _: Sequence[Answered]) -> str | None:
    before, after = _moved(step)
    tested, applied = step.before.tested, step.before.status.applied
    return f"{after}% went to {tested}, not {applied}" if after > before and tested != applied else None


def _a_rung_is_left_by_a_pass(step: Step, answers: Sequence[Answered]) -> str | None:
    before, after = step.before.status, step.after.status
    climbs = after.rung.weight > before.rung.weight > 0 or (before.phase in ACTIVE and after.phase in PROMOTION)
    if not step.commits or not climbs or step.before.rollout is None:
        return None
    if after.analysed_at - before.analysed_at < step.before.rollout.interval - _SLACK:
        return f"the rung was left {after.analysed_at - before.analysed_at:.2f} s after the last analysis"
    said = [one for one in answers if before.analysed_at <= one.at <= step.version.at]
    return None if said and _passes(step.before.rollout, said[-1]) else f"the rung was left on {said[-1:] or 'nothing'}"


def _no_data_is_no_pass(step: Step, answers: Sequence[Answered]) -> str | None:
    wrong = _a_rung_is_left_by_a_pass(step, answers)
    said = [one for one in answers if step.before.status.analysed_at <= one.at <= step.version.at]
    without = bool(said) and (said[-1].value is None or not math.isfinite(said[-1].value))
    return f"{wrong}, which is no data" if wrong and without else None


def _the_primary_is_what_the_status_names(step: Step, _: Sequence[Answered]) -> str | None:
    before, after, status = step.before.carried, step.after.carried, step.before.status
    if step.after.primary is None or step.after.primary is step.before.primary:
        return None
    if before != after:
        wanted = status.promoted if status.phase in ACTIVE | {Phase.FAILED} else status.applied
        settled = status.phase in PROMOTED and status.is_settled
        if settled or status.phase not in ACTIVE | PROMOTION | IDLE | {Phase.INITIALIZING} or after != wanted:
            return f"the primary became {after} in {status.phase.value} of {status.applied} after {status.promoted}"
        if status.phase in PROMOTION | {Phase.INITIALIZING} and _image(step.after.primary) != _image(
            step.before.target
        ):
            return f"the primary runs {_image(step.after.primary)}, the target {_image(step.before.target)}"
    elif step.before.primary is not None and _image(step.before.primary) != _image(step.after.primary):
        return f"the primary runs {_image(step.after.primary)} under the name {after}"
    return None


_SCALES = {"up": ACTIVE | PROMOTION, "down": IDLE}


def _the_status_comes_first(step: Step, _: Sequence[Answered]) -> str | None:
    status = step.before.status
    if step.commits and status.phase is Phase.FAILED and step.after.status.phase in PROMOTION | {Phase.SUCCEEDED}:
        return f"Failed went to {step.after.status.phase.value}"
    before, after = (_replicas(stand.target) for stand in (step.before, step.after))
    if step.before.target is not None and step.after.target is not None and (before == 0) != (after == 0):
        way = "down" if after == 0 else "up"
        return None if status.phase in _SCALES[way] else f"the canary was scaled {way} in {status.phase.value}"
    fresh = step.before.primary is None and step.after.primary is not None
    return f"a primary was made in {status.phase.value}" if fresh and status.phase is not Phase.INITIALIZING else None


def _back_to_what_was_promoted(step: Step, _: Sequence[Answered]) -> str | None:
    before, after = _moved(step)
    status, primary = step.before.status, step.before.primary
    if status.phase is not Phase.FAILED or after >= before or primary is None:
        return None
    pods = primary.get("status") or {}
    others = pods.get("replicas", 0) - pods.get("updatedReplicas", 0)
    if step.before.carried != status.promoted or others:
        return f"requests went back to {step.before.carried} with {others} pods of another revision"
    return None


def _failed_checks_never_fall(step: Step, _: Sequence[Answered]) -> str | None:
    before, after, rollout = step.before.status, step.after.status, step.before.rollout
    same = before.applied == after.applied and {before.phase, after.phase} <= ACTIVE
    if not step.commits or not same or rollout is None or after.failed_checks == before.failed_checks:
        return None
    early = after.analysed_at - before.analysed_at < rollout.interval - _SLACK
    if after.failed_checks != before.failed_checks + 1 or early:
        return f"failed checks went from {before.failed_checks} to {after.failed_checks}{' too early' * early}"
    return None


def _what_was_to_be_told_was_told(step: Step, _: Sequence[Answered]) -> str | None:
    kept = {notice.key for notice in step.after.status.outbox}
    gone = {text: keys - kept for text, keys in step.owed.items()}
    return next(_untold(step.before, gone), None) if step.commits else None


def _untold(stand: Stand, owed: Owed) -> Iterator[str]:
    for text, keys in owed.items():
        if stand.times_told[text] < len(keys):
            yield f"{text!r} was told {stand.times_told[text]} times, was to be told {len(keys)} times"


def _requests_are_taken_away_first(step: Step, _: Sequence[Answered]) -> str | None:
    status, (had, gets) = step.before.status, _moved(step)
    if (
        status.phase is not Phase.PROGRESSING
        or status.rung != INITIAL_RUNG
        or not had
        or not _available(step.before.primary)
    ):
        return None
    changes = {
        "the routes": gets not in {0, had},
        "the primary": _spec(step.before.primary) != _spec(step.after.primary),
        "the canary's pods": _replicas(step.before.target) > _replicas(step.after.target),
    }
    changed = [what for what, happened in changes.items() if happened]
    return f"{', '.join(changed)} changed while a new revision got {had}%" if changed else None


PROMISES = (
    Promise(name="table", broken=_table),
    Promise(name="I1", broken=_requests_go_to_ready_pods),
    Promise(name="I1", broken=_pods_go_after_their_requests),
    Promise(name="I2", broken=_routes_are_the_statuses),
    Promise(name="I2", broken=_rungs_follow_the_ladder),
    Promise(name="I3", broken=_only_the_revision_under_test),
    Promise(name="I3", broken=_a_rung_is_left_by_a_pass),
    Promise(name="I4", broken=_the_primary_is_what_the_status_names),
    Promise(name="I5", broken=_the_status_comes_first),
    Promise(name="I6", broken=_back_to_what_was_promoted),
    Promise(name="I9", broken=_failed_checks_never_fall),
    Promise(name="I10", broken=_what_was_to_be_told_was_told),
    Promise(name="I11", broken=_no_data_is_no_pass),
    Promise(name="I13", broken=_requests_are_taken_away_first),
)


def _at_rest(stand: Stand, owed: Owed) -> Iterator[str]:
    status = stand.status
    if status.phase not in IDLE or not status.is_settled:
        yield f"I8: it rests in {status.phase.value} (pending: {status.pending})"
    yield from (f"I10: {wrong}, at rest" for wrong in _untold(stand, owed))
    if stand.tested != status.applied:
        yield f"I14: the target carries {stand.tested}, the status knows {status.applied}"


# ------------------------------------------------------------------------------------- what only writes can tell (I12)


def idle_writes(versions: Iterable[Version], writes: Iterable[Passage]) -> list[str]:
    """Writes that were answered with a version that they did not make: what they ask for was so already."""
    made: dict[str, str] = {}
    told = {version.number for version in versions}
    found = []
    for write in writes:
        if not write.number or write.version not in told:
            continue
        if write.version in made:
            found.append(f"I12: {write.method} {write.path} changed nothing since {made[write.version]}")
        made[write.version] = f"{write.method} {write.path}"
    return found


def usurped(versions: Iterable[Version], writes: Mapping[str, Iterable[Passage]]) -> list[str]:
    """Writes of controllers, by their names, that were carried out while somebody else held the lease."""
    terms = [(one.number, str(one.body["spec"].get("holderIdentity"))) for one in versions if one.kind == "Lease"]
    found = []
    for name, passages in writes.items():
        for write in passages:
            if write.version and "/leases" not in write.path:
                holder = max((term for term in terms if term[0] < write.version), default=(0, "nobody"))[1]
                if holder.partition("_")[0] != name:
                    found.append(f"{name} wrote {write.path} at {write.version}, the lease was {holder}'s")
    return found


# ------------------------------------------------------------------------------------------------ the final state (I7)


def looks(stand: Stand) -> dict[str, object]:
    """Return the state that equal ends share: without times, versions, and the name of the new image."""
    status = stand.status
    return {
        "phase": status.phase,
        "reason": status.reason,
        "rung": status.rung,
        "failed checks": status.failed_checks,
        "canaryWeight": (stand.canary or {}).get("status", {}).get("canaryWeight"),
        "pending": status.pending,
        "the target is applied": status.applied == stand.tested,
        "the primary is promoted": status.promoted == stand.carried,
        "the primary is as the target": _image(stand.primary) == _image(stand.target),
        "target": _replicas(stand.target),
        "primary": _without_names(_spec(stand.primary)),
        "routes": _spec(stand.splits),
        "lost": frozenset(_kept_by_name(stand)) - stand.kept,
        "left over": stand.kept - frozenset(_kept_by_name(stand)),
    }


def _kept_by_name(stand: Stand) -> Iterator[str]:
    for revision in () if stand.primary is None else get_annotation_list(stand.primary, KEPT_REVISIONS):
        yield f"{NAME}-primary-{revision}"


def _without_names(spec: Json | None) -> object:
    """A workload's spec, but for what tells its revision."""
    if spec is None:
        return None
    copy = json.loads(json.dumps(spec))
    copy["template"]["metadata"].pop("annotations", None)
    for container in copy["template"]["spec"]["containers"]:
        container.pop("image")
    return copy


# ------------------------------------------------------------------------------------------------------ small words


def _moved(step: Step) -> tuple[int, int]:
    """The canary's share before and after."""
    return step.before.weight or 0, step.after.weight or 0


def _spec(body: Json | None) -> Json | None:
    return None if body is None else body["spec"]


def _replicas(body: Json | None) -> int:
    return 0 if body is None else int(body["spec"].get("replicas", 1))


def _available(body: Json | None) -> int:
    return 0 if body is None else int((body.get("status") or {}).get("availableReplicas", 0))


def _image(body: Json | None) -> str:
    return "" if body is None else str(body["spec"]["template"]["spec"]["containers"][0]["image"])


def _passes(rollout: Rollout, said: Answered) -> bool:
    (check,) = rollout.checks
    if said.value is None or not math.isfinite(said.value):
        return False
    return check.minimum is None or said.value >= check.minimum


# --------------------------------------------------------------------------------------------------------- the watch


@define
class Watcher:
    """All versions there were since it began, by namespace."""

    access: Access
    paths: Mapping[str, str] = field(factory=lambda: _PATHS)
    """The watched kinds, by path."""
    _versions: dict[str, list[Version]] = field(factory=dict, init=False)
    _stands: dict[str, Stand] = field(factory=dict, init=False)
    _watches: list[asyncio.Task[None]] = field(factory=list, init=False)

    def versions(self, namespace: str) -> list[Version]:
        """In the order in which they were written."""
        return sorted(self._versions.get(namespace, ()), key=lambda one: one.number)

    def stand(self, namespace: str) -> Stand:
        """How things stand, as far as is known."""
        return self._stands.get(namespace, Stand())

    async def comes(self, namespace: str, wanted: Callable[[Stand], bool], seconds: float = PATIENCE) -> Stand:
        """How things stand as soon as they are as wanted."""
        end = time.monotonic() + seconds
        while not wanted(stand := self.stand(namespace)):
            self.works()
            if time.monotonic() > end:
                at = f"{stand.status.phase} at {stand.status.rung.weight}%, routes {stand.weight}%; {stand.times_told}"
                raise AssertionError(f"{namespace}: not within {seconds:g} s; it stands in {at}")
            await asyncio.sleep(0.05)
        return stand

    def works(self) -> None:
        """Raises what has made a watch end, if one has."""
        for watch in self._watches:
            if watch.done():
                watch.result()

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        context = ssl.create_default_context(cafile=self.access.authority) if self.access.authority else True
        headers = {"Authorization": f"Bearer {self.access.token}"}
        whole = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            self.access.server,
            connector=aiohttp.TCPConnector(ssl=context),
            headers=headers,
            timeout=whole,
            read_bufsize=2**21,
        ) as session:
            began = [asyncio.Event() for _ in self.paths]
            self._watches = [
                asyncio.create_task(self._watch(session, path, event))
                for path, event in zip(self.paths, began, strict=True)
            ]
            await asyncio.gather(*(event.wait() for event in began))
            try:
                yield
            finally:
                for watch in self._watches:
                    watch.cancel()
                await asyncio.gather(*self._watches, return_exceptions=True)

    async def _watch(self, session: aiohttp.ClientSession, path: str, began: asyncio.Event) -> None:
        """Without a gap: a watch that ends goes on where it ended."""
        about = {"fieldSelector": "involvedObject.kind=Canary"} if self.paths[path] == "Event" else {}
        async with session.get(path, params={"limit": "1"}) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        while True:
            query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, **about}
            async with session.get(path, params=query) as answer:
                if answer.status in {429, 504}:  # it has just begun, or does not know of that version yet
                    await asyncio.sleep(0.1)
                    continue
                answer.raise_for_status()
                began.set()
                async for line in answer.content:
                    event = json.loads(line)
                    assert event["type"] != "ERROR", event
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._take(self.paths[path], event["object"], gone=event["type"] == "DELETED")

    def _take(self, kind: str, body: Json, *, gone: bool) -> None:
        metadata = body["metadata"]
        metadata.pop("managedFields", None)
        version = Version(number=int(metadata["resourceVersion"]), kind=kind, body=body, at=time.time(), gone=gone)
        namespace = metadata.get("namespace", "")
        self._versions.setdefault(namespace, []).append(version)
        self._stands[namespace] = _after(self._stands.get(namespace, Stand()), version)


@contextmanager
def watching(access: Access, paths: Mapping[str, str] = _PATHS) -> Iterator[Watcher]:
    """A watcher in a thread of its own."""
    watcher = Watcher(access, paths)
    with in_background(watcher._serve):
        yield watcher
