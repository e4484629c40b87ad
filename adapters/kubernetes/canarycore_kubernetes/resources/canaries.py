"""Canary resources as rollouts: what is held of each, and what the other parts ask about it.

A Canary that cannot be used, because its manifest is wrong or asks for what can never advance, is held with what is
wrong with it. So is one that cannot be read at all, for whatever reason: no Canary vanishes, and none costs the others
more than its budget. A manifest is read once per generation: the many writes of a status cost no reading of manifests.
"""

from __future__ import annotations

import logging
from types import NoneType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import evolve, frozen

from canarycore import TOTAL_WEIGHT, Command, CommandKind, Rollout, Status
from canarycore.errors import ManifestError, Problem, WorldError
from canarycore.foreign import get_list, get_mapping, get_text, get_texts
from canarycore.manifest import Canary, MetricTemplate, check_namespaces, parse, resolve
from canarycore.phases import UNDER_WAY
from canarycore.text import describe_state, describe_traffic, escape_controls
from canarycore_kubernetes.api.budget import UNREADABLE, BoundExceeded, demand_whole
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.resources.hosts import find_forbidden_hosts
from canarycore_kubernetes.resources.references import TEMPLATE_VIEW
from canarycore_kubernetes.resources.refusals import BLOCKED
from canarycore_kubernetes.resources.status_codec import conditions_of, read_status
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.ports import StoredRollout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

COMMAND = "canarycore/command"
"""The annotation with an operator's newest command: `<kind>[ <weight>] <anything unique>`; all of it is its id."""

NOISE = frozenset({COMMAND, "kubectl.kubernetes.io/last-applied-configuration"})
"""Annotations that are no part of the manifest."""

LONGEST_COMMAND = 256
"""Characters of a command: its id is part of the status."""

MOST_PROBLEMS = 10
LONGEST_PART = 300
"""Problems of a Canary that are held and told, and characters of each part of one."""

VALID = "Valid"
"""The type of the condition that says why a Canary cannot be used; it is there as long as that is so."""

_log = logging.getLogger("canarycore.kubernetes")


@frozen(kw_only=True)
class ValidCanary:
    """What is held of a Canary that can be used.

    canary: its manifest, without the status. rollout: what it asks for, but for the queries of MetricTemplates. status:
    where it stands; flaggers: Flagger wrote that, nothing of ours is in it. conditions: those of its status, if one of
    them still says that it cannot be used; else none. blocked: what its condition of that type says, empty where it has
    none. tracked: the configs that its status names. unknown: the text of a command that is none. created: when it was
    made, as the API server writes it.
    """

    uid: str
    generation: int
    manifest: Canary
    rollout: Rollout
    status: Status
    is_flagger_status: bool = False
    conditions: tuple[Json, ...] = ()
    block_reason: str = ""
    tracked_configs: tuple[str, ...] = ()
    command: Command | None = None
    unknown_command: str = ""
    is_deleted: bool = False
    finalizers: tuple[str, ...] = ()
    created_at: str = ""


@frozen(kw_only=True)
class InvalidCanary:
    """A Canary that cannot be used.

    problems: the first of what is wrong with it. conditions: those of its status; None where they cannot be read.
    stands: where its rollout was when that happened, in words; empty when none is under way.
    """

    uid: str
    generation: int
    problems: tuple[Problem, ...]
    conditions: tuple[Json, ...] | None = ()
    rollout_summary: str = ""


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
        self._cache = cluster.cache(View(kind=CANARY, project=self._hold, refuse=make_invalid_canary))
        self._cache.subscribe(lambda namespace, name: cluster.wake(f"{namespace}/{name}"))
        self._resolved: dict[str, tuple[Rollout, tuple[object, ...], Rollout]] = {}

    async def keys(self) -> tuple[str, ...]:
        """All Canaries, `namespace/name`, also those that cannot be used."""
        cache = await self._cache.ready()
        return tuple(f"{namespace}/{name}" for (namespace, name), _ in cache.all())

    async def kinds(self) -> tuple[Rollout, ...]:
        """A rollout of each mesh and kind of target that there are."""
        found = (held.rollout for _, held in (await self._cache.ready()).all() if isinstance(held, ValidCanary))
        return tuple({(rollout.provider, rollout.target.kind): rollout for rollout in found}.values())

    def follow(self, callback: Callable[[str, ValidCanary | InvalidCanary | None], None]) -> None:
        """Tell each state of each Canary from now on, by its key; None when it is gone."""

        def changed(namespace: str, name: str) -> None:
            callback(f"{namespace}/{name}", self._cache.get(namespace, name))

        self._cache.subscribe(changed)

    async def find(self, key: str) -> ValidCanary | InvalidCanary | None:
        """Return a Canary by its key. Raises WorldError while the cache is not current."""
        await self._cache.ready()
        return self.get(key)

    def has(self, key: str) -> bool:
        """Whether the Canary exists, as far as is known."""
        return bool(self.version(key))

    def get(self, key: str) -> ValidCanary | InvalidCanary | None:
        """Return a Canary by its key, as the cache has it now."""
        namespace, _, name = key.partition("/")
        return self._cache.get(namespace, name)

    def version(self, key: str) -> str:
        """The resourceVersion of what is held; "" if there is nothing."""
        namespace, _, name = key.partition("/")
        return self._cache.version(namespace, name)

    def require(self, rollout: Rollout) -> ValidCanary:
        """The Canary behind a rollout that was loaded. Raises WorldError when it is gone or cannot be used any more."""
        held = self._cache.get(rollout.namespace, rollout.name)
        if not isinstance(held, ValidCanary):
            raise WorldError(f"canary {rollout.full_name} is gone, or cannot be used any more")
        return held

    def manifest(self, rollout: Rollout) -> Canary:
        """Return the manifest of a loaded rollout. Raise WorldError as `require` does."""
        return self.require(rollout).manifest

    async def load(self, key: str) -> StoredRollout | None:
        """As the port StatusStore says; a Canary that cannot be used is none. Nothing is written, nobody is asked."""
        held = await self.find(key)
        if not isinstance(held, ValidCanary):
            self._resolved.pop(key, None)
            return None
        version = self.version(key)  # of what was found: nothing may come in between
        return StoredRollout(
            rollout=await self._with_queries(key, held),
            status=held.status,
            version=version,
            command=held.command,
            deleted=held.is_deleted,
        )

    async def _with_queries(self, key: str, held: ValidCanary) -> Rollout:
        """The rollout with the queries of its templates; it is looked at again when one of them changes."""
        wanted = dict.fromkeys(check.template for check in held.rollout.checks if check.template is not None)
        if not wanted:
            return held.rollout
        cache = await self._cluster.cache(TEMPLATE_VIEW).ready()
        templates = tuple(
            cache.look(reference.namespace or held.rollout.namespace, reference.name, key) for reference in wanted
        )
        before, found, resolved = self._resolved.get(key, (None, (), held.rollout))
        if before is not held.rollout or not _are_same(found, templates):
            known = [template for template in templates if isinstance(template, MetricTemplate)]
            resolved = resolve(held.manifest, templates=known, provider=self._provider)
            self._resolved[key] = (held.rollout, templates, resolved)
        return resolved

    # what is held -----------------------------------------------------------------------------------------------

    def _hold(self, body: Json, before: ValidCanary | InvalidCanary | None) -> ValidCanary | InvalidCanary:
        """Return the projection of a Canary, valid or invalid."""
        try:
            return self._usable(body, before)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one is told of it, and of no other
            broken = make_invalid_canary(body, error)
            known = isinstance(before, InvalidCanary) and before.problems == broken.problems
            if not known and not isinstance(error, (ManifestError, BoundExceeded)):
                _log.warning("canary %s cannot be read", get_text(body, "metadata", "name"), exc_info=error)
            return broken

    def _usable(self, body: Json, before: ValidCanary | InvalidCanary | None) -> ValidCanary:
        """Return a valid Canary. Raises ManifestError, BoundExceeded, or anything, for another one."""
        demand_whole(body)
        metadata, status = get_mapping(body, "metadata"), {} if body.get("status") is None else body["status"]
        generation = _generation(metadata)
        canary, rollout = self._read(_manifest(body), generation, before)
        stands, flaggers = read_status(rollout, status)
        said = get_mapping(metadata, "annotations").get(COMMAND, "")
        command, conditions = _command(said), conditions_of(status) or ()
        return ValidCanary(
            uid=get_text(metadata, "uid"),
            generation=generation,
            manifest=canary,
            rollout=rollout,
            status=stands,
            is_flagger_status=flaggers,
            conditions=conditions if any(condition["type"] == VALID for condition in conditions) else (),
            block_reason=next((get_text(one, "message") for one in conditions if get_text(one, "type") == BLOCKED), ""),
            command=command,
            tracked_configs=tuple(get_texts(status, "trackedConfigs")),
            unknown_command=_shown(said) if command is None else "",
            is_deleted="deletionTimestamp" in metadata,
            finalizers=tuple(name for name in get_list(metadata, "finalizers") if isinstance(name, str)),
            created_at=get_text(metadata, "creationTimestamp"),
        )

    def _read(
        self, manifest: Json, generation: int, before: ValidCanary | InvalidCanary | None
    ) -> tuple[Canary, Rollout]:
        """The manifest and what it asks for; as they were read before, if nothing has changed in them."""
        if (
            isinstance(before, ValidCanary)
            and before.generation == generation >= 0
            and _status_says(before.manifest, manifest["metadata"])
        ):
            return before.manifest, before.rollout
        canary = parse(manifest)
        assert isinstance(canary, Canary), "the API server lists Canaries"
        canary = evolve(canary, warnings=())  # nobody here tells them, and there may be thousands
        forbidden = () if self._across else check_namespaces(canary, gateways=self._shared_gateways)
        forbidden += tuple(find_forbidden_hosts(canary, self._allowed, self._metrics_server))
        if forbidden:
            raise ManifestError(forbidden)
        return canary, resolve(canary, provider=self._provider)


def make_invalid_canary(body: Json, error: Exception) -> InvalidCanary:
    """Return the invalid Canary that this error makes of an object."""
    metadata, status = get_mapping(body, "metadata"), get_mapping(body, "status")
    return InvalidCanary(
        uid=get_text(metadata, "uid"),
        generation=_generation(metadata),
        problems=tuple(_problems(error)),
        conditions=conditions_of(status) if _has_status(body) else None,
        rollout_summary=_describe_status(status),
    )


def _has_status(body: Json) -> bool:
    """Whether all of the status is there to be looked at; none is a status too."""
    return UNREADABLE not in body and isinstance(body.get("status"), (dict, NoneType))


def _problems(error: Exception) -> Iterator[Problem]:
    """The first problems that keep a Canary from being used, with short texts."""
    problems = error.problems if isinstance(error, ManifestError) else (_problem(error),)
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in errors[:MOST_PROBLEMS]:
        yield evolve(
            problem,
            path=escape_controls(problem.path, LONGEST_PART),
            found=escape_controls(problem.found, LONGEST_PART),
            expected=escape_controls(problem.expected, LONGEST_PART),
            remedy=escape_controls(problem.remedy, LONGEST_PART),
        )
    if len(errors) > MOST_PROBLEMS:
        yield Problem(
            path="",
            found=f"{len(errors) - MOST_PROBLEMS} more problems",
            expected="none",
            remedy="Correct the first ones, or see all of them with canary lint.",
            rule="more",
        )


def _problem(error: Exception) -> Problem:
    """An error that is no ManifestError, as a problem of the object."""
    if isinstance(error, BoundExceeded):
        return Problem(
            path="",
            found=f"an object that {error}",
            expected="a Canary within the limits",
            remedy="Remove what it does not need.",
            rule="budget",
        )
    return Problem(
        path="",
        found=f"an object that cannot be read ({type(error).__name__}: {error})",
        expected="a Canary that Flagger's definition allows",
        remedy="Undo the last change of its labels, annotations, spec or status.",
        rule="unreadable",
    )


def _describe_status(status: Mapping[str, Any]) -> str:
    """Where a rollout is that is under way."""
    phase, weight = get_text(status, "phase"), status.get("canaryWeight", 0)
    if phase not in _UNDER_WAY:
        return ""
    is_weight = isinstance(weight, int) and 0 <= weight <= TOTAL_WEIGHT
    return f"its rollout stands still in {describe_state(phase, describe_traffic(weight) if is_weight else '')}"


_UNDER_WAY = frozenset(phase.value for phase in UNDER_WAY)


def _manifest(body: Json) -> Json:
    """What the owner wrote."""
    metadata = get_mapping(body, "metadata")
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata}
    annotations = metadata.get("annotations") or {}
    if isinstance(annotations, dict):  # or the parser says what it is
        annotations = {key: value for key, value in annotations.items() if key not in NOISE}
    return {
        "apiVersion": CANARY.api_version,
        "kind": CANARY.kind,
        "metadata": {**kept, "annotations": annotations},
        "spec": body.get("spec"),
    }


def _generation(metadata: Json) -> int:
    """The generation; 0 where an object has none, and -1 where it is no count: then nothing is known of it."""
    found = metadata.get("generation", 0)
    return found if type(found) is int and found >= 0 else -1


def _status_says(canary: Canary, metadata: Json) -> bool:
    """Whether the manifest that was read has these labels and annotations; the generation tells about the rest."""
    found = canary.metadata
    return (dict(found.labels), dict(found.annotations)) == (metadata.get("labels", {}), metadata["annotations"])


def _command(said: object) -> Command | None:
    """The command that an annotation gives; None if it gives none."""
    if not isinstance(said, str) or len(said) > LONGEST_COMMAND:
        return None
    kind, *rest = said.split(" ")
    weight = rest[0] if len(rest) == 2 else "0"
    if kind not in _COMMANDS or len(rest) not in {1, 2} or not rest[-1] or not _is_percentage(weight):
        return None
    return Command(id=said, kind=_COMMANDS[kind], weight=int(weight))


def _is_percentage(text: str) -> bool:
    """Whether a text may be a percentage: a number of many digits is none, and costs much to read."""
    return text.isdecimal() and len(text) <= len(str(TOTAL_WEIGHT))


def _shown(said: object) -> str:
    """The beginning of an annotation that is no command."""
    return escape_controls(said if isinstance(said, str) else f"a {type(said).__name__}", LONGEST_PART)


_COMMANDS = {kind.value: kind for kind in CommandKind}


def _are_same(some: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


async def send_command(client: Client, namespace: str, name: str, kind: CommandKind, weight: int = 0) -> str:
    """Give a command to the rollout of a Canary; returns its id. `weight` (percent) is for skip-to."""
    said = " ".join((kind.value, *([str(weight)] if kind is CommandKind.SKIP_TO else []), uuid4().hex[:8]))
    await client.merge(CANARY, namespace, name, {"metadata": {"annotations": {COMMAND: said}}})
    return said
