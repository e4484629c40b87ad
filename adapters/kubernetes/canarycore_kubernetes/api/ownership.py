"""Whose an object is, and which objects a Canary may change that are not its own.

    owner = Owner(namespace="shop", name="podinfo", reference=owner_reference("podinfo", uid))
    owner.refuse_foreign(SECRET, body, CONFIG_COPY)        raises ForeignObjectError where the object is foreign

A Canary needs objects under names that are composed (`podinfo-primary`), and each of these names may be taken. An
object is the Canary's if it says so: by an owner reference to a Canary of this name, or, where no Canary owns it, by
the annotation `canarycore/canary: namespace/name`, which each object gets that is made here. The reference counts by
its name: a Canary that was deleted and made again finds its objects. An object without an owner that nobody but Flagger
has written is the Canary's too. Every other object is foreign. It is neither changed nor adopted nor deleted, unless
`ROLES` says that an object of its role may have been there before.

The owner of a foreign object may hand it over by the same annotation. An object of another Canary stays that Canary's.

Each write looks at the object that it changes and names the version that it looked at: the server refuses it where
anything came in between. `means.OwnedObjects` does so for workloads and what they read, `router.MeshRouter` for routes.
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
"""The annotation that says which Canary an object was made for, or handed over to: `namespace/name`."""


# ------------------------------------------------------------------------------------------------------------- roles


@frozen(kw_only=True)
class Role:
    """The part that an object plays for a Canary."""

    noun: str
    """How errors and the documentation call it."""

    kinds: str
    """The kinds of such objects, as the documentation lists them."""

    adoption: str = ""
    """How far an object is changed that no Canary owns; empty where it is left alone."""

    is_shared: bool = False
    """Whether several Canaries may own one object."""


PRIMARY = Role(noun="the primary copy of the target", kinds="Deployment, DaemonSet, Service")
CANARY_COPY = Role(noun="the canary's copy of a target that is a Service", kinds="Service")
CONFIG_COPY = Role(noun="the primary's copy of a config", kinds="ConfigMap, Secret", is_shared=True)
KEPT_CONFIG = Role(
    noun="the content of a config that an earlier revision read", kinds="ConfigMap, Secret", is_shared=True
)
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
        "VirtualService, HTTPRoute, TrafficSplit, HTTPProxy, RouteTable, TraefikService, "
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
"""All roles, those first whose objects may have been there before."""


# --------------------------------------------------------------------------------------------------- whose an object is


@frozen
class Ownership:
    """Evidence that an object holds about its owner."""

    canaries: tuple[str, ...] = ()
    """Names of the Canaries that owner references name."""

    controller: str = ""
    """The other controller that manages it (`ReplicaSet web-5f`); empty where there is none."""

    annotated_owner: str = ""
    """The annotation OWNER_ANNOTATION."""

    is_flagger_only: bool = False
    """Whether nobody but Flagger has written it; it takes the owner off the primary of a Service at a promotion."""


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
    named = (get_text(reference, "name") for reference in references if is_canary(reference))
    canaries = tuple(clip(name, LONGEST_OWNER) for name in named)
    others = (one for one in references if one.get("controller") is True and not is_canary(one))
    controller = next((f"{get_text(one, 'kind')} {get_text(one, 'name')}" for one in others), "")
    return _shared(canaries, clip(controller, LONGEST_OWNER), clip(annotated_owner, LONGEST_OWNER))


LONGEST_OWNER = 512
"""Characters of an owner that are held: `namespace/name` has at most 507, an annotation may have 262,144."""


def _is_flagger_only(metadata: Json) -> bool:
    """Tell from the API server's notes whether Flagger alone has written what is neither metadata nor status."""
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
    """Tell whether an owner reference names a Canary."""
    version = get_text(reference, "apiVersion")
    return get_text(reference, "kind") == CANARY.kind and version.startswith(f"{CANARY.group}/")


def shorten_owner(owner: str) -> str:
    """Return an owner for a message: references and annotations may hold any text."""
    return escape_controls(owner, LONGEST_SHOWN)


@frozen(kw_only=True)
class Owner:
    """A Canary as the owner of objects."""

    namespace: str
    """The Canary's."""

    name: str
    """The Canary's."""

    reference: Json | None
    """The owner reference; None where an object cannot refer to the Canary, being out of its reach."""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def owns(self, ownership: Ownership) -> bool:
        """Tell whether an object was made for this Canary, or handed over to it."""
        if ownership.canaries:
            return self.name in ownership.canaries
        return ownership.annotated_owner == self.key or ownership.is_flagger_only

    def mark(self, body: Json) -> Json:
        """Return an object that is to be made, as this Canary's."""
        metadata = body["metadata"]
        marked = metadata | {"annotations": (metadata.get("annotations") or {}) | {OWNER_ANNOTATION: self.key}}
        if self.reference is not None:
            marked = {"ownerReferences": [self.reference]} | marked
        return body | {"metadata": marked}

    def objection(self, ownership: Ownership, role: Role) -> str:
        """Return why the Canary must leave an object alone; empty where it need not."""
        if self.owns(ownership):
            return ""
        if ownership.canaries:
            return "" if role.is_shared else f"belongs to the Canary {shorten_owner(ownership.canaries[0])}"
        if ownership.annotated_owner:
            return f"was made for the Canary {shorten_owner(ownership.annotated_owner)}"
        if ownership.controller:
            return f"belongs to the {shorten_owner(ownership.controller)}"
        return "" if role.adoption else "belongs to no Canary"

    def find_foreign(self, kind: Kind, name: str, ownership: Ownership, role: Role) -> tuple[ForeignObject, ...]:
        """Return the object if it is foreign, or nothing."""
        objection = self.objection(ownership, role)
        return (ForeignObject(kind=kind, name=name, role=role, objection=objection),) if objection else ()

    def refuse_foreign(self, kind: Kind, body: Json, role: Role) -> None:
        """Raise ForeignObjectError if an object is foreign."""
        found = self.find_foreign(kind, body["metadata"]["name"], ownership_of(body), role)
        if found:
            raise ForeignObjectError(self, found)


# ------------------------------------------------------------------------------------------------------------ refusals


class BlockedError(Refused):
    """A refusal that lasts until somebody changes an object: the owner is told by an Event and a condition."""


@frozen(kw_only=True)
class ForeignObject:
    """A foreign object under a name that a Canary needs."""

    kind: Kind
    name: str
    role: Role
    objection: str
    """Whose the object is."""

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.name} {self.objection} (its name is needed for {self.role.noun})"

    @property
    def is_of_a_canary(self) -> bool:
        """Whether another Canary has it."""
        return "the Canary " in self.objection

    @property
    def resource(self) -> str:
        """The object as kubectl names it: `secrets/db-primary`."""
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.plural}{group}/{self.name}"


LONGEST_SHOWN = 128
"""Characters of an owner that a message repeats, so that there is room for the remedy."""

LISTED = 600
"""Characters of a list of foreign objects; more would cut the remedy off in an Event."""


class ForeignObjectError(BlockedError):
    """A rollout needs the names of foreign objects. They are as they were."""

    def __init__(self, owner: Owner, objects: Iterable[ForeignObject]) -> None:
        self.objects: tuple[ForeignObject, ...] = tuple(objects)
        remedy = " ".join(_remedies(owner, self.objects))
        named = _listed([str(one) for one in self.objects])
        super().__init__(f"canary {owner.name}.{owner.namespace} cannot go on, and leaves alone: {named}. {remedy}")


def _listed(texts: list[str]) -> str:
    """Return as many of the texts as there is room for, at least one, and how many are left out."""
    named = texts[:1]
    for text in texts[1:]:
        if len("; ".join([*named, text])) > LISTED:
            return "; ".join([*named, f"and {len(texts) - len(named)} more"])
        named.append(text)
    return "; ".join(named)


class NameConflictError(BlockedError):
    """A rollout needs what another Canary has."""

    def __init__(self, owner: Owner, objection: str) -> None:
        remedy = "Give one of the two Canaries another target or another spec.service.name, or delete it."
        super().__init__(
            f"canary {owner.name}.{owner.namespace} cannot go on, and changes nothing: {objection}. {remedy}"
        )


def _remedies(owner: Owner, objects: tuple[ForeignObject, ...]) -> Iterable[str]:
    free = [one for one in objects if not one.is_of_a_canary]
    if free:
        command = f"kubectl annotate -n {owner.namespace} {free[0].resource} {OWNER_ANNOTATION}={owner.key}"
        each = "it" if len(free) == 1 else "each of them"
        yield f"Rename or delete {each}, or hand it over to this Canary: {command}"
    if len(free) < len(objects):
        yield "Give one of the two Canaries another target or another spec.service.name."
        yield "If the other Canary is gone, delete what it left."
