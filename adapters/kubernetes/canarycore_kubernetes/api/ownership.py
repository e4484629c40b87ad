"""Ownership of objects: the owner of an object, and the foreign objects that a Canary may change.

    owner = Owner(namespace="shop", name="podinfo", reference=owner_reference("podinfo", uid))
    owner.refuse_foreign(SECRET, body, CONFIG_COPY)        raises ForeignObjectError if the object is foreign

A Canary needs objects with derived names (`podinfo-primary`), and each of these names may be taken. An object belongs
to the Canary in three cases:

- An owner reference names a Canary of its name. Only the name counts, so a Canary that was deleted and created again
  finds its objects.
- No Canary owns it, and the annotation `canarycore/canary: namespace/name` names this Canary. The controller sets this
  annotation on each object that it creates.
- It has no owner, and only Flagger has written it.

Every other object is foreign. The controller does not change, adopt or delete it, unless `ROLES` allows this for its
role. The owner of a foreign object may hand it over by the same annotation, but not an object of another Canary.

Each write reads the object first and sends the version that it read: the server refuses the write if the object has
changed. `workloads.base.OwnedObjects` does this for workloads and their configs, `MeshRouter` for routes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Refused
from canarycore.foreign import get_items, get_mapping, get_text
from canarycore.text import clip, escape_controls
from canarycore_kubernetes.api.kinds import CANARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_runtime.mesh import Json, Kind

OWNER_ANNOTATION = "canarycore/canary"
"""Annotation that names the Canary for which an object was created, or to which it was handed over."""


# ------------------------------------------------------------------------------------------------------------- roles


@frozen(kw_only=True)
class Role:
    """The part that an object plays for a Canary."""

    noun: str
    """Name of the role in errors and in the documentation."""

    kinds: str
    """The kinds of such objects, as the documentation lists them."""

    adoption: str = ""
    """Changes to an object that no Canary owns; empty if the controller leaves it alone."""


PRIMARY = Role(noun="the primary copy of the target", kinds="Deployment, DaemonSet, Service")
CANARY_COPY = Role(noun="the canary's copy of a target that is a Service", kinds="Service")
CONFIG_COPY = Role(noun="the primary's copy of a config", kinds="ConfigMap, Secret")
KEPT_CONFIG = Role(noun="the content of a config that an earlier revision read", kinds="ConfigMap, Secret")
KEPT_REVISION = Role(noun="an earlier revision of the primary", kinds="ControllerRevision")
SCALER_COPY = Role(noun="the primary's copy of the autoscaler", kinds="HorizontalPodAutoscaler, ScaledObject")
SIDE_SERVICE = Role(noun="the Service of one side", kinds="Service")
ROUTE_PART = Role(
    noun="a part of the routes",
    kinds="DestinationRule, VirtualNode, VirtualRouter, VirtualService, Upstream, copies of an Ingress or ApisixRoute",
)
APEX_SERVICE = Role(
    noun="the Service that users call",
    kinds="Service",
    adoption=(
        "Its selector, and annotations that keep GitOps tools from resetting it. "
        "The controller gives it back on deletion."
    ),
)
ROUTE = Role(
    noun="the route that users call",
    kinds=(
        "VirtualService, HTTPRoute, GRPCRoute, TCPRoute, TLSRoute, TrafficSplit, HTTPProxy, RouteTable, "
        "TraefikService, "
        "App Mesh objects of the apex name, a Knative Service that is the target, a TrafficRoute (cluster-scoped) "
        "that splits between this Canary's sides"
    ),
    adoption=(
        "The fields that route. A note on the object keeps the replaced fields; "
        "the controller gives them back on deletion."
    ),
)

ROLES: tuple[Role, ...] = (
    *(APEX_SERVICE, ROUTE, SIDE_SERVICE, ROUTE_PART),
    *(PRIMARY, CANARY_COPY, SCALER_COPY, CONFIG_COPY, KEPT_CONFIG, KEPT_REVISION),
)
"""All roles, starting with those whose objects may exist before the Canary."""


# --------------------------------------------------------------------------------------------------------- ownership


@frozen
class Ownership:
    """Evidence that an object holds about its owner."""

    canaries: tuple[str, ...] = ()
    """Names of the Canaries in the owner references."""

    controller: str = ""
    """The controller in the owner references that is not a Canary (`ReplicaSet web-5f`); empty if there is none."""

    annotated_owner: str = ""
    """Value of the annotation OWNER_ANNOTATION: `namespace/name`."""

    is_flagger_only: bool = False
    """Whether only Flagger has written it. Flagger removes the owner from the primary of a Service at a promotion."""


UNOWNED = Ownership()
FLAGGER_ONLY = Ownership(is_flagger_only=True)

_FLAGGER = "flagger"
"""Flagger's name as a field manager."""


def ownership_of(body: Json) -> Ownership:
    """Return the evidence that an object holds about its owner."""
    metadata = get_mapping(body, "metadata")
    references = get_items(metadata, "ownerReferences")
    annotated_owner = get_text(metadata, "annotations", OWNER_ANNOTATION)
    if not references and not annotated_owner:
        return FLAGGER_ONLY if _is_flagger_only(metadata) else UNOWNED
    names = (get_text(reference, "name") for reference in references if is_canary(reference))
    canaries = tuple(clip(name, LONGEST_OWNER) for name in names)
    others = (other for other in references if other.get("controller") is True and not is_canary(other))
    controller = next((f"{get_text(other, 'kind')} {get_text(other, 'name')}" for other in others), "")
    return _shared(canaries, clip(controller, LONGEST_OWNER), clip(annotated_owner, LONGEST_OWNER))


LONGEST_OWNER = 512
"""Characters of an owner that are stored: `namespace/name` has at most 507, an annotation may have 262,144."""


def _is_flagger_only(metadata: Json) -> bool:
    """Return whether managedFields name only Flagger as the writer of fields outside metadata and status."""
    writers = {
        get_text(entry, "manager")
        for entry in get_items(metadata, "managedFields")
        if not get_text(entry, "subresource") and get_mapping(entry, "fieldsV1").keys() - {"f:metadata"}
    }
    return writers == {_FLAGGER}


@lru_cache(maxsize=4096)
def _shared(canaries: tuple[str, ...], controller: str, annotated_owner: str) -> Ownership:
    """Return the same instance for the same evidence: thousands of objects of a namespace have one owner."""
    return Ownership(canaries, controller, annotated_owner)


def is_canary(reference: Json) -> bool:
    """Return whether an owner reference names a Canary."""
    version = get_text(reference, "apiVersion")
    return get_text(reference, "kind") == CANARY.kind and version.startswith(f"{CANARY.group}/")


def shorten_owner(owner: str) -> str:
    """Escape and shorten an owner for a message: references and annotations may contain any text."""
    return escape_controls(owner, LONGEST_SHOWN_OWNER)


@frozen(kw_only=True)
class Owner:
    """A Canary as the owner of objects."""

    namespace: str
    """Namespace of the Canary."""

    name: str
    """Name of the Canary."""

    reference: Json | None
    """The owner reference; None for objects that cannot refer to the Canary, such as those of another cluster."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def owns(self, ownership: Ownership) -> bool:
        """Return whether an object was created for this Canary or handed over to it."""
        if ownership.canaries:
            return self.name in ownership.canaries
        return ownership.annotated_owner == self.key or ownership.is_flagger_only

    def is_named_by(self, ownership: Ownership) -> bool:
        """Return whether an owner reference or an annotation names this Canary."""
        return self.owns(ownership) and not ownership.is_flagger_only

    def mark(self, body: Json) -> Json:
        """Return a new object with the owner reference and the annotation of this Canary."""
        metadata = body["metadata"]
        marked = metadata | {"annotations": (metadata.get("annotations") or {}) | {OWNER_ANNOTATION: self.key}}
        if self.reference is not None:
            marked = {"ownerReferences": [self.reference]} | marked
        return body | {"metadata": marked}

    def objection(self, ownership: Ownership, role: Role) -> str:
        """Return the reason why the Canary must leave an object alone; empty if it may change the object."""
        if self.owns(ownership):
            return ""
        if ownership.canaries:
            return f"belongs to the Canary {shorten_owner(ownership.canaries[0])}"
        if ownership.annotated_owner:
            return f"was made for the Canary {shorten_owner(ownership.annotated_owner)}"
        if ownership.controller:
            return f"belongs to the {shorten_owner(ownership.controller)}"
        return "" if role.adoption else "belongs to no Canary"

    def find_foreign(self, kind: Kind, name: str, ownership: Ownership, role: Role) -> tuple[ForeignObject, ...]:
        """Return the object in a tuple if it is foreign, else an empty tuple."""
        objection = self.objection(ownership, role)
        return (ForeignObject(kind=kind, name=name, role=role, objection=objection),) if objection else ()

    def refuse_foreign(self, kind: Kind, body: Json, role: Role) -> None:
        """Raise ForeignObjectError if an object is foreign."""
        foreign = self.find_foreign(kind, body["metadata"]["name"], ownership_of(body), role)
        if foreign:
            raise ForeignObjectError(self, foreign)


# ------------------------------------------------------------------------------------------------------------ refusals


class BlockedError(Refused):
    """A refusal that lasts until a user changes an object. An Event and a condition report it to the owner."""


class MissingObjectError(Refused):
    """An object that a rollout needs does not exist. It may come at any moment."""


@frozen(kw_only=True)
class ForeignObject:
    """A foreign object under a name that a Canary needs."""

    kind: Kind
    name: str
    role: Role
    objection: str
    """The reason why the Canary must leave it alone, as a phrase about the object."""

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.name} {self.objection} (its name is needed for {self.role.noun})"

    @property
    def is_of_a_canary(self) -> bool:
        """Whether another Canary owns it."""
        return "the Canary " in self.objection

    @property
    def resource(self) -> str:
        """Name of the object for kubectl: `secrets/db-primary`."""
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.plural}{group}/{self.name}"


LONGEST_SHOWN_OWNER = 128
"""Most characters of an owner in a message; this leaves room for the remedy."""

LONGEST_OBJECT_LIST = 600
"""Most characters of a list of foreign objects; a longer one would cut off the remedy in an Event."""


class ForeignObjectError(BlockedError):
    """A rollout needs the names of foreign objects. It has not changed them."""

    def __init__(self, owner: Owner, objects: Iterable[ForeignObject]) -> None:
        self.objects: tuple[ForeignObject, ...] = tuple(objects)
        remedy = " ".join(_remedies(owner, self.objects))
        summary = _join_within_limit([str(foreign) for foreign in self.objects])
        super().__init__(f"canary {owner.name}.{owner.namespace} cannot go on, and leaves alone: {summary}. {remedy}")


def _join_within_limit(texts: list[str]) -> str:
    """Join the texts that fit, at least one, and append the number of the others."""
    shown = texts[:1]
    for text in texts[1:]:
        if len("; ".join([*shown, text])) > LONGEST_OBJECT_LIST:
            return "; ".join([*shown, f"and {len(texts) - len(shown)} more"])
        shown.append(text)
    return "; ".join(shown)


class NameConflictError(BlockedError):
    """A rollout needs a name that another Canary uses."""

    def __init__(self, owner: Owner, objection: str) -> None:
        remedy = "Give one of the two Canaries another target, spec.service.name or spec.ingressRef, or delete it."
        super().__init__(
            f"canary {owner.name}.{owner.namespace} cannot go on, and changes nothing: {objection}. {remedy}"
        )


def _remedies(owner: Owner, objects: tuple[ForeignObject, ...]) -> Iterable[str]:
    free = [foreign for foreign in objects if not foreign.is_of_a_canary]
    if free:
        command = f"kubectl annotate -n {owner.namespace} {free[0].resource} {OWNER_ANNOTATION}={owner.key}"
        each = "it" if len(free) == 1 else "each of them"
        yield f"Rename or delete {each}, or hand it over to this Canary: {command}"
    if len(free) < len(objects):
        yield "Give one of the two Canaries another target, spec.service.name or spec.ingressRef."
        yield "If the other Canary is gone, delete what it left."
