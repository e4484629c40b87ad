"""Canary resources as rollouts: what is held of each, and what the other parts ask about it.

A Canary that cannot be used, because its manifest is wrong or asks for what can never advance, is held with what is
wrong with it. A manifest is read once per generation: the many writes of a status cost no reading of manifests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import frozen

from canarycore import Command, CommandKind, Rollout, Status
from canarycore._phases import UNDER_WAY
from canarycore.errors import ManifestError, Problem, WorldError
from canarycore.manifest import Canary, MetricTemplate, check_namespaces, parse, resolve
from canarycore_kubernetes.cache import View
from canarycore_kubernetes.hosts import forbidden_hosts
from canarycore_kubernetes.kinds import CANARY
from canarycore_kubernetes.statuses import read
from canarycore_kubernetes.templates import TEMPLATES
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.ports import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from canarycore_kubernetes.client import Client
    from canarycore_kubernetes.cluster import Cluster
    from canarycore_runtime.mesh import Json

COMMAND = "canarycore/command"
"""The annotation with an operator's newest command: `<kind>[ <weight>] <anything unique>`; all of it is its id."""

NOISE = frozenset({COMMAND, "kubectl.kubernetes.io/last-applied-configuration"})
"""Annotations that are no part of the manifest."""

VALID = "Valid"
"""The type of the condition that says why a Canary cannot be used; it is there as long as that is so."""


@frozen(kw_only=True)
class Held:
    """What is held of a Canary that can be used.

    canary: its manifest, without the status. rollout: what it asks for, but for the queries of MetricTemplates. status:
    where it stands; flaggers: Flagger wrote that, nothing of ours is in it. conditions: those of its status, if one of
    them still says that it cannot be used; else none. tracked: the configs that its status names. unknown: the text of
    a command that is none.
    """

    uid: str
    generation: int
    canary: Canary
    rollout: Rollout
    status: Status
    flaggers: bool = False
    conditions: tuple[Json, ...] = ()
    tracked: tuple[str, ...] = ()
    command: Command | None = None
    unknown: str = ""
    deleted: bool = False
    finalizers: tuple[str, ...] = ()


@frozen(kw_only=True)
class Broken:
    """What is held of a Canary that cannot be used. conditions: those of its status.

    stands: where its rollout was when that happened, in words; empty when none is under way.
    """

    uid: str
    generation: int
    problems: tuple[Problem, ...]
    conditions: tuple[Json, ...] = ()
    stands: str = ""


class Canaries:
    """The cluster's Canaries. Made while the cluster is open.

    provider: of a Canary that names none. across: whether they may refer to other namespaces. shared_gateways: the
    namespaces whose gateways they may use even if not. allowed: the hosts of hooks and metrics servers that they may
    name. metrics_server: the controller's own.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        provider: str = "istio",
        across: bool = True,
        shared_gateways: Iterable[str] = (),
        allowed: AllowedHosts | None = None,
        metrics_server: str = "",
    ) -> None:
        self._cluster = cluster
        self._provider = provider
        self._across = across
        self._shared_gateways = frozenset(shared_gateways)
        self._allowed = allowed or AllowedHosts()
        self._metrics_server = metrics_server
        self._cache = cluster.cache(View(kind=CANARY, project=self._hold))
        self._cache.subscribe(lambda namespace, name: cluster.tell(f"{namespace}/{name}"))
        self._resolved: dict[str, tuple[Rollout, tuple[object, ...], Rollout]] = {}

    async def keys(self) -> tuple[str, ...]:
        """All Canaries, `namespace/name`, also those that cannot be used."""
        cache = await self._cache.ready()
        return tuple(f"{namespace}/{name}" for (namespace, name), _ in cache.all())

    async def kinds(self) -> tuple[Rollout, ...]:
        """A rollout of each mesh and kind of target that there are."""
        found = (held.rollout for _, held in (await self._cache.ready()).all() if isinstance(held, Held))
        return tuple({(rollout.provider, rollout.target.kind): rollout for rollout in found}.values())

    def follow(self, callback: Callable[[str, Held | Broken | None], None]) -> None:
        """Tell each state of each Canary from now on, by its key; None when it is gone."""

        def changed(namespace: str, name: str) -> None:
            callback(f"{namespace}/{name}", self._cache.get(namespace, name))

        self._cache.subscribe(changed)

    async def find(self, key: str) -> Held | Broken | None:
        """What is held of a Canary, by its key."""
        namespace, _, name = key.partition("/")
        return (await self._cache.ready()).get(namespace, name)

    def version(self, key: str) -> str:
        """The resourceVersion of what is held; "" if there is nothing."""
        namespace, _, name = key.partition("/")
        return self._cache.version(namespace, name)

    def held(self, rollout: Rollout) -> Held:
        """The Canary behind a rollout that was loaded. Raises WorldError when it is gone or cannot be used any more."""
        held = self._cache.get(rollout.namespace, rollout.name)
        if not isinstance(held, Held):
            raise WorldError(f"canary {rollout.full_name} is gone, or cannot be used any more")
        return held

    async def load(self, key: str) -> Stored | None:
        """As the port StatusStore says; a Canary that cannot be used is none. Nothing is written, nobody is asked."""
        held = await self.find(key)
        if not isinstance(held, Held):
            self._resolved.pop(key, None)
            return None
        version = self.version(key)  # of what was found: nothing may come in between
        return Stored(
            rollout=await self._with_queries(key, held),
            status=held.status,
            version=version,
            command=held.command,
            deleted=held.deleted,
        )

    async def _with_queries(self, key: str, held: Held) -> Rollout:
        """The rollout with the queries of its templates; it is looked at again when one of them changes."""
        wanted = dict.fromkeys(check.template for check in held.rollout.checks if check.template is not None)
        if not wanted:
            return held.rollout
        cache = await self._cluster.cache(TEMPLATES).ready()
        templates = tuple(
            cache.look(reference.namespace or held.rollout.namespace, reference.name, key) for reference in wanted
        )
        before, found, resolved = self._resolved.get(key, (None, (), held.rollout))
        if before is not held.rollout or not _are_same(found, templates):
            known = [template for template in templates if isinstance(template, MetricTemplate)]
            resolved = resolve(held.canary, templates=known, provider=self._provider)
            self._resolved[key] = (held.rollout, templates, resolved)
        return resolved

    # what is held -----------------------------------------------------------------------------------------------

    def _hold(self, body: Json, before: Held | Broken | None) -> Held | Broken:
        metadata, status = body["metadata"], body.get("status") or {}
        uid, generation = metadata["uid"], metadata.get("generation", 0)
        conditions = tuple(status.get("conditions") or ())
        try:
            canary, rollout = self._read(_manifest(body), generation, before)
            stands, flaggers = read(rollout, status)
        except ManifestError as error:
            return Broken(
                uid=uid, generation=generation, problems=error.problems, conditions=conditions, stands=_stands(status)
            )
        said = (metadata.get("annotations") or {}).get(COMMAND, "")
        command = _command(said)
        return Held(
            uid=uid,
            generation=generation,
            canary=canary,
            rollout=rollout,
            status=stands,
            flaggers=flaggers,
            conditions=conditions if any(condition["type"] == VALID for condition in conditions) else (),
            command=command,
            tracked=tuple(status.get("trackedConfigs") or ()),
            unknown=said if command is None else "",
            deleted="deletionTimestamp" in metadata,
            finalizers=tuple(metadata.get("finalizers") or ()),
        )

    def _read(self, manifest: Json, generation: int, before: Held | Broken | None) -> tuple[Canary, Rollout]:
        """The manifest and what it asks for; as they were read before, if nothing has changed in them."""
        if isinstance(before, Held) and before.generation == generation and _says(before.canary, manifest["metadata"]):
            return before.canary, before.rollout
        canary = parse(manifest)
        assert isinstance(canary, Canary), "the API server lists Canaries"
        forbidden = () if self._across else check_namespaces(canary, gateways=self._shared_gateways)
        forbidden += tuple(forbidden_hosts(canary, self._allowed, self._metrics_server))
        if forbidden:
            raise ManifestError(forbidden)
        return canary, resolve(canary, provider=self._provider)


def _stands(status: Json) -> str:
    """Where a rollout is that is under way."""
    phase = status.get("phase", "")
    if phase not in _UNDER_WAY:
        return ""
    return f"its rollout stands still in {phase}, with canary weight {status.get('canaryWeight', 0)}"


_UNDER_WAY = frozenset(phase.value for phase in UNDER_WAY)


def _manifest(body: Json) -> Json:
    """What the owner wrote."""
    metadata = body["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in NOISE}
    return {
        "apiVersion": CANARY.api_version,
        "kind": CANARY.kind,
        "metadata": {**kept, "annotations": annotations},
        "spec": body.get("spec"),
    }


def _says(canary: Canary, metadata: Json) -> bool:
    """Whether the manifest that was read has these labels and annotations; the generation tells about the rest."""
    found = canary.metadata
    return (dict(found.labels), dict(found.annotations)) == (metadata.get("labels", {}), metadata["annotations"])


def _command(said: str) -> Command | None:
    """The command that an annotation gives; None if it gives none."""
    kind, *rest = said.split(" ")
    weight = rest[0] if len(rest) == 2 else "0"
    if kind not in _COMMANDS or len(rest) not in {1, 2} or not rest[-1] or not weight.isdecimal():
        return None
    return Command(id=said, kind=_COMMANDS[kind], weight=int(weight))


_COMMANDS = {kind.value: kind for kind in CommandKind}


def _are_same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


async def give(client: Client, namespace: str, name: str, kind: CommandKind, weight: int = 0) -> str:
    """Give a command to the rollout of a Canary; returns its id. `weight` (percent) is for skip-to."""
    said = " ".join((kind.value, *([str(weight)] if kind is CommandKind.SKIP_TO else []), uuid4().hex[:8]))
    await client.merge(CANARY, namespace, name, {"metadata": {"annotations": {COMMAND: said}}})
    return said
