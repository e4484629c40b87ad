"""Canary resources as rollouts.

The cache stores an invalid Canary, whose manifest is wrong or can never advance, with its problems. It treats an
unreadable object in the same way, so no Canary disappears, and none costs the others more than its budget. It parses a
manifest once per generation: the many writes of a status parse none.
"""

from __future__ import annotations

import logging
from types import NoneType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import evolve, frozen

from canarycore import TOTAL_WEIGHT, Command, CommandKind, Rollout, Status
from canarycore.errors import ManifestError, Problem, Refused, WorldError
from canarycore.foreign import get_integer, get_list, get_mapping, get_text, get_texts
from canarycore.manifest import Canary, CheckTemplate, DroppedField, MetricTemplate, check_namespaces, parse, resolve
from canarycore.phases import UNDER_WAY
from canarycore.text import describe_state, describe_traffic, escape_controls
from canarycore_kubernetes.api.budget import UNREADABLE, BoundExceeded, demand_whole
from canarycore_kubernetes.api.cache import View
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.api.metadata import get_annotation, written_at
from canarycore_kubernetes.resources.commands import HANDLED, is_handled, refuse_old_command
from canarycore_kubernetes.resources.hosts import find_forbidden_hosts
from canarycore_kubernetes.resources.references import TEMPLATE_VIEWS, namespace_of
from canarycore_kubernetes.resources.refusals import BLOCKED
from canarycore_kubernetes.resources.status_codec import (
    conditions_of,
    observed_generation,
    read_status,
    seal_of_status,
)
from canarycore_kubernetes.telemetry.dropped_fields import DROPPED, find_lost_fields, is_server_side
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.mesh import LAST_APPLIED
from canarycore_runtime.plugins import find_installed_providers
from canarycore_runtime.ports import StoredRollout
from canarycore_runtime.registry import find_proxy_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from canarycore_kubernetes.api.cache import Cache
    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Json

COMMAND = "canarycore/command"
"""Annotation with an operator's newest command: `<kind>[ <weight>] <unique text>`. The whole text is its id."""

COMMAND_MANAGER = "canarycore-command"
"""The writer of commands. Only commands change the time that the API server records for it."""

IGNORED_ANNOTATIONS = frozenset({COMMAND, HANDLED, LAST_APPLIED})
"""Annotations that are not part of the manifest."""

LONGEST_COMMAND = 256
"""Most characters of a command; the status contains its id."""

MOST_PROBLEMS = 10
"""Problems of an invalid Canary that are stored and reported."""

LONGEST_PART = 300
"""Most characters of each part of a problem."""

VALID = "Valid"
"""Type of the condition that reports why a Canary is invalid. A valid Canary does not have it."""

_log = logging.getLogger("canarycore.kubernetes")


@frozen(kw_only=True)
class ValidCanary:
    """A Canary that the controller can run."""

    uid: str
    """`metadata.uid`."""
    generation: int
    """`metadata.generation`; 0 if it has none, -1 if it is not a count."""
    manifest: Canary
    """The manifest, without the status."""
    rollout: Rollout
    """The rollout of the manifest, without the parts of templates."""
    status: Status
    """The status of the rollout."""
    is_flagger_status: bool = False
    """Whether Flagger wrote the status."""
    observed_generation: int = 0
    """The generation that the status is about; 0 if it names none."""
    conditions: tuple[Json, ...] = ()
    """The conditions of the status before the rollout begins, or while one of them has the type VALID; else empty."""
    shown_weight: int | None = None
    """`status.canaryWeight`: the canary's share of the requests, in a failover too; None if there is none."""
    block_reason: str = ""
    """The message of the condition BLOCKED; empty if the status has none."""
    dropped_reason: str = ""
    """The message of the condition DROPPED; empty if the status has none."""
    lost_fields: tuple[DroppedField, ...] | None = ()
    """The fields that the owner applied and the Canary lacks; None if it does not show it."""
    applied_hash: int = 0
    """The hash of the text that the owner applied, and of the way."""
    tracked_configs: tuple[str, ...] = ()
    """The keys of `status.trackedConfigs`."""
    command: Command | None = None
    """The operator's newest command."""
    commanded_at: float | None = None
    """When the operator gave the command, at the latest (seconds since the epoch); None if unknown."""
    handled_record: str = ""
    """The annotation HANDLED."""
    seal: str = ""
    """A checksum over the stored status (see `seal_of_status`)."""
    unknown_command: str = ""
    """The beginning of the annotation COMMAND if it is not a command; else empty."""
    is_deleted: bool = False
    """Whether the Canary has a deletion timestamp."""
    finalizers: tuple[str, ...] = ()
    """`metadata.finalizers`."""
    created_at: str = ""
    """The creation timestamp in the API server's format, which sorts by time."""

    @property
    def was_invalid(self) -> bool:
        """Whether the status still has the condition of an invalid Canary."""
        return _was_invalid(self.conditions)


@frozen(kw_only=True)
class InvalidCanary:
    """A Canary that the controller cannot run."""

    uid: str
    """`metadata.uid`."""
    generation: int
    """`metadata.generation`; 0 if it has none, -1 if it is not a count."""
    problems: tuple[Problem, ...]
    """The first MOST_PROBLEMS problems."""
    conditions: tuple[Json, ...] | None = ()
    """The conditions of the status; None if they are unreadable."""
    has_phase: bool = True
    """Whether the status has a phase."""
    rollout_summary: str = ""
    """The phase and weight of the interrupted rollout, as a clause; empty if no rollout is active."""
    created_at: str = ""
    """The creation timestamp in the API server's format."""


class Canaries:
    """The Canaries of an open cluster.

    Args:
        cluster: The open cluster.
        provider: The mesh provider of Canaries that name none.
        across: Whether Canaries may refer to other namespaces.
        shared_gateways: Namespaces whose gateways every Canary may use, even if `across` is false.
        allowed: The hosts that Canaries may name for hooks and metrics servers; None allows all.
        metrics_server: The address of the controller's own metrics server, which every Canary may name.
        selector: A label selector of the Canaries; empty for all. Only readers may use it: claims need all Canaries.
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
        selector: str = "",
    ) -> None:
        self._cluster = cluster
        self._provider = provider
        self._across = across
        self._shared_gateways = frozenset(shared_gateways)
        self._allowed = allowed or AllowedHosts()
        self._metrics_server = metrics_server
        self._installed = find_installed_providers()
        self._cache = cluster.cache(
            View(kind=CANARY, project=self._project, refuse=make_invalid_canary, selector=selector)
        )
        self._cache.subscribe(lambda namespace, name: cluster.wake(f"{namespace}/{name}"))
        self._resolved: dict[str, tuple[Rollout, tuple[object, ...], Rollout]] = {}

    async def keys(self) -> tuple[str, ...]:
        """Return the keys `namespace/name` of all Canaries, valid or not."""
        cache = await self._cache.ready()
        return tuple(f"{namespace}/{name}" for (namespace, name), _ in cache.all())

    async def kinds(self) -> tuple[Rollout, ...]:
        """Return one rollout for each pair of mesh provider and kind of target."""
        rollouts = (
            canary.rollout for _, canary in (await self._cache.ready()).all() if isinstance(canary, ValidCanary)
        )
        return tuple({(rollout.provider, rollout.target.kind): rollout for rollout in rollouts}.values())

    def follow(self, callback: Callable[[str, ValidCanary | InvalidCanary | None], None]) -> None:
        """Call back with the key and the new state of each Canary that changes from now on; None if it is gone."""

        def changed(namespace: str, name: str) -> None:
            callback(f"{namespace}/{name}", self._cache.get(namespace, name))

        self._cache.subscribe(changed)

    async def find(self, key: str) -> ValidCanary | InvalidCanary | None:
        """Return a Canary by its key. Raise WorldError while the cache is not current."""
        await self._cache.ready()
        return self.get(key)

    def has(self, key: str) -> bool:
        """Return whether the cache has a Canary."""
        return bool(self.version(key))

    def get(self, key: str) -> ValidCanary | InvalidCanary | None:
        """Return a Canary by its key from the cache, current or not."""
        namespace, _, name = key.partition("/")
        return self._cache.get(namespace, name)

    def version(self, key: str) -> str:
        """Return the resourceVersion of a Canary in the cache; "" if the Canary does not exist."""
        namespace, _, name = key.partition("/")
        return self._cache.version(namespace, name)

    def require(self, rollout: Rollout) -> ValidCanary:
        """Return the Canary of a loaded rollout. Raise WorldError if it is gone or has become invalid."""
        canary = self._cache.get(rollout.namespace, rollout.name)
        if not isinstance(canary, ValidCanary):
            raise WorldError(f"canary {rollout.full_name} is gone or has become invalid")
        return canary

    def manifest(self, rollout: Rollout) -> Canary:
        """Return the manifest of a loaded rollout. Raise WorldError as `require` does."""
        return self.require(rollout).manifest

    async def load(self, key: str) -> StoredRollout | None:
        """Return a rollout like StatusStore.load, but without a write or a request. An invalid Canary is None."""
        canary = await self.find(key)
        if not isinstance(canary, ValidCanary):
            self._resolved.pop(key, None)
            return None
        version = self.version(key)  # read together with the Canary: no await in between
        rollout, status = await self._with_queries(key, canary), canary.status
        if status.since is None:
            status = refuse_old_command(rollout, status, canary.command, canary.commanded_at)
        return StoredRollout(
            rollout=rollout,
            status=status,
            version=version,
            command=canary.command,
            deleted=canary.is_deleted,
        )

    async def _with_queries(self, key: str, canary: ValidCanary) -> Rollout:
        """Return the rollout with the queries of its templates, and wake it when a template changes."""
        references = dict.fromkeys(check.template for check in canary.rollout.checks if check.template is not None)
        if not references:
            return canary.rollout
        caches = [await self._template_cache(reference.kind) for reference in references]
        templates = tuple(
            cache.look(namespace_of(reference, canary.rollout.namespace), reference.name, key)
            for cache, reference in zip(caches, references, strict=True)
        )
        before, last_templates, resolved = self._resolved.get(key, (None, (), canary.rollout))
        if before is not canary.rollout or not _are_same(last_templates, templates):
            known = [each for each in templates if each is not None and not isinstance(each, ManifestError)]
            resolved = self._resolve(canary.manifest, known)
            self._resolved[key] = (canary.rollout, templates, resolved)
        return resolved

    async def _template_cache(self, kind: str) -> Cache[Any]:
        """Return the cache of a kind of templates.

        Without the right to read Argo's kinds their templates count as missing: the query reports the reason. An older
        role lacks the right, and a role for one namespace cannot have that for templates of the cluster.
        """
        cache = self._cluster.cache(TEMPLATE_VIEWS[kind])
        try:
            return await cache.ready()
        except Refused:
            if not kind:
                raise
            return cache

    # the projection ---------------------------------------------------------------------------------------------

    def _project(self, body: Json, before: ValidCanary | InvalidCanary | None) -> ValidCanary | InvalidCanary:
        """Return the projection of a Canary, valid or invalid."""
        try:
            return self._validate(body, before)
        except Exception as error:  # noqa: BLE001 - an error of one Canary must not affect the others
            invalid = make_invalid_canary(body, error)
            is_logged = isinstance(before, InvalidCanary) and before.problems == invalid.problems
            if not is_logged and not isinstance(error, (ManifestError, BoundExceeded)):
                _log.warning("canary %s is unreadable", get_text(body, "metadata", "name"), exc_info=error)
            return invalid

    def _validate(self, body: Json, before: ValidCanary | InvalidCanary | None) -> ValidCanary:
        """Return a valid Canary. Raise ManifestError, BoundExceeded or any other error for an invalid object."""
        demand_whole(body)
        metadata, status = get_mapping(body, "metadata"), {} if body.get("status") is None else body["status"]
        generation = _generation(metadata)
        canary, rollout = self._read(_manifest(body), generation, before)
        rollout_status, is_flagger_status = read_status(rollout, status)
        command_text, conditions = get_mapping(metadata, "annotations").get(COMMAND, ""), conditions_of(status) or ()
        command, handled_record = _command(command_text), get_annotation(body, HANDLED)
        seal = seal_of_status(status)
        is_new = command is not None and rollout_status.handled != command.id
        if command is not None and is_new and is_handled(handled_record, command, seal):
            rollout_status = rollout_status.but(handled=command.id, refusal="")
        return ValidCanary(
            uid=get_text(metadata, "uid"),
            generation=generation,
            manifest=canary,
            rollout=rollout,
            status=rollout_status,
            is_flagger_status=is_flagger_status,
            observed_generation=observed_generation(status),
            conditions=conditions if rollout_status.since is None or _was_invalid(conditions) else (),
            shown_weight=get_integer(status, "canaryWeight"),
            block_reason=_message(conditions, BLOCKED),
            dropped_reason=_message(conditions, DROPPED),
            lost_fields=self._find_lost(body, canary, before),
            applied_hash=_applied_hash(body),
            command=command,
            commanded_at=written_at(body, ("metadata", "annotations", COMMAND)),
            handled_record=handled_record,
            seal=seal,
            tracked_configs=tuple(get_texts(status, "trackedConfigs")),
            unknown_command=_shown(command_text) if command is None else "",
            is_deleted="deletionTimestamp" in metadata,
            finalizers=tuple(name for name in get_list(metadata, "finalizers") if isinstance(name, str)),
            created_at=get_text(metadata, "creationTimestamp"),
        )

    def _read(
        self, manifest: Json, generation: int, before: ValidCanary | InvalidCanary | None
    ) -> tuple[Canary, Rollout]:
        """Return the manifest and its rollout; the previous ones if the manifest has not changed."""
        if (
            isinstance(before, ValidCanary)
            and before.generation == generation >= 0
            and _has_same_metadata(before.manifest, manifest["metadata"])
        ):
            return before.manifest, before.rollout
        canary = parse(manifest)
        assert isinstance(canary, Canary), "the API server lists Canaries"
        canary = evolve(canary, warnings=())  # the controller does not report warnings, and there may be thousands
        forbidden = () if self._across else check_namespaces(canary, gateways=self._shared_gateways)
        forbidden += tuple(find_forbidden_hosts(canary, self._allowed, self._metrics_server))
        if forbidden:
            raise ManifestError(forbidden)
        return canary, self._resolve(canary)

    @staticmethod
    def _find_lost(
        body: Json, canary: Canary, before: ValidCanary | InvalidCanary | None
    ) -> tuple[DroppedField, ...] | None:
        """Return the lost fields; the previous ones if neither the manifest nor the applied text has changed."""
        if isinstance(before, ValidCanary) and before.manifest is canary and before.applied_hash == _applied_hash(body):
            return before.lost_fields
        return find_lost_fields(body)

    def _resolve(self, canary: Canary, templates: Iterable[MetricTemplate | CheckTemplate] = ()) -> Rollout:
        return resolve(
            canary,
            templates=templates,
            provider=self._provider,
            proxy_delay=find_proxy_delay,
            installed=self._installed,
        )


def make_invalid_canary(body: Json, error: Exception) -> InvalidCanary:
    """Return the invalid Canary for an object and its error."""
    metadata, status = get_mapping(body, "metadata"), get_mapping(body, "status")
    return InvalidCanary(
        uid=get_text(metadata, "uid"),
        generation=_generation(metadata),
        problems=tuple(_problems(error)),
        conditions=conditions_of(status) if _has_status(body) else None,
        has_phase="phase" in status,
        rollout_summary=_describe_status(status),
        created_at=get_text(metadata, "creationTimestamp"),
    )


def _has_status(body: Json) -> bool:
    """Return whether the object still has its whole status; a missing status counts as one."""
    return UNREADABLE not in body and isinstance(body.get("status"), (dict, NoneType))


def _problems(error: Exception) -> Iterator[Problem]:
    """Yield the first errors of a Canary, with shortened texts."""
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
    """Return the problem for an error other than a ManifestError."""
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
    """Return the phase and weight of an active rollout as a clause; empty if no rollout is active."""
    phase, weight = get_text(status, "phase"), status.get("canaryWeight", 0)
    if phase not in _UNDER_WAY:
        return ""
    is_weight = isinstance(weight, int) and 0 <= weight <= TOTAL_WEIGHT
    return f"its rollout stands still in {describe_state(phase, describe_traffic(weight) if is_weight else '')}"


_UNDER_WAY = frozenset(phase.value for phase in UNDER_WAY)


def _was_invalid(conditions: Iterable[Json]) -> bool:
    return any(condition["type"] == VALID for condition in conditions)


def _message(conditions: Iterable[Json], kind: str) -> str:
    """Return the message of the condition of a type; empty if there is none."""
    return next((get_text(entry, "message") for entry in conditions if get_text(entry, "type") == kind), "")


def _applied_hash(body: Json) -> int:
    return hash((get_annotation(body, LAST_APPLIED), is_server_side(body)))


def _manifest(body: Json) -> Json:
    """Return the part of an object that its owner wrote."""
    metadata = get_mapping(body, "metadata")
    identity = {name: metadata[name] for name in ("name", "namespace", "labels") if name in metadata}
    annotations = metadata.get("annotations") or {}
    if isinstance(annotations, dict):  # otherwise the parser reports the error
        annotations = {key: value for key, value in annotations.items() if key not in IGNORED_ANNOTATIONS}
    return {
        "apiVersion": CANARY.api_version,
        "kind": CANARY.kind,
        "metadata": {**identity, "annotations": annotations},
        "spec": body.get("spec"),
    }


def _generation(metadata: Json) -> int:
    """Return the generation; 0 if an object has none, -1 if it is not a count."""
    generation = metadata.get("generation", 0)
    return generation if type(generation) is int and generation >= 0 else -1


def _has_same_metadata(canary: Canary, metadata: Json) -> bool:
    """Return whether a parsed manifest has these labels and annotations; the generation covers the rest."""
    known = canary.metadata
    return (dict(known.labels), dict(known.annotations)) == (metadata.get("labels", {}), metadata["annotations"])


def _command(text: object) -> Command | None:
    """Return the command in an annotation; None if the annotation is not a command."""
    if not isinstance(text, str) or len(text) > LONGEST_COMMAND:
        return None
    kind, *rest = text.split(" ")
    weight = rest[0] if len(rest) == 2 else "0"
    if kind not in _COMMANDS or len(rest) not in {1, 2} or not rest[-1] or not _is_percentage(weight):
        return None
    return Command(id=text, kind=_COMMANDS[kind], weight=int(weight))


def _is_percentage(text: str) -> bool:
    """Return whether a text may be a percentage. Reject many digits, which are slow to parse."""
    return text.isdecimal() and len(text) <= len(str(TOTAL_WEIGHT))


def _shown(text: object) -> str:
    """Return the beginning of an annotation, escaped for a message."""
    return escape_controls(text if isinstance(text, str) else f"a {type(text).__name__}", LONGEST_PART)


_COMMANDS = {kind.value: kind for kind in CommandKind}


def _are_same(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) == len(after) and all(old is new for old, new in zip(before, after, strict=True))


async def send_command(client: Client, namespace: str, name: str, kind: CommandKind, weight: int = 0) -> str:
    """Send a command to the rollout of a Canary and return its id. Only skip-to uses `weight` (percent)."""
    text = " ".join((kind.value, *([str(weight)] if kind is CommandKind.SKIP_TO else []), uuid4().hex[:8]))
    patch = {"metadata": {"annotations": {COMMAND: text}}}
    await client.merge(CANARY, namespace, name, patch, manager=COMMAND_MANAGER)
    return text
