"""The pod templates that Kubernetes keeps of a target: one for each revision of the Deployment or the DaemonSet.

A Deployment's are in its ReplicaSets, a DaemonSet's in its ControllerRevisions. Both have the target as their
controller. A template gets the name of our revision by the hash of `revision`, with the present contents of its
configs: so it names the revision that the target would have with this template now.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.foreign import get_integer, get_items, get_mapping, get_text
from canarycore_kubernetes.api.kinds import CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, REPLICA_SET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json, Kind

HISTORY_KINDS: dict[Kind, Kind] = {DEPLOYMENT: REPLICA_SET, DAEMON_SET: CONTROLLER_REVISION}
"""The kind of the objects in which Kubernetes keeps the templates, by the kind of the target."""

POD_HASH = "pod-template-hash"
"""The label that a Deployment's controller adds to each template of a ReplicaSet."""

_NUMBER = "deployment.kubernetes.io/revision"
"""The annotation with the number of a ReplicaSet."""


@frozen(kw_only=True)
class PastTemplate:
    """A pod template that Kubernetes keeps of a target."""

    revision: str
    """Our revision that the target would have with it, given the present contents of its configs."""
    number: int
    """Kubernetes' own number; a later one was written later."""
    created_at: str
    """When Kubernetes first saw it (RFC 3339, whole seconds)."""
    images: tuple[str, ...]
    """The images of its containers, without the proxies of meshes."""
    origin: str
    """The kind and the name of the object that keeps it."""
    template: Json
    """The template, as the owner of the target wrote it."""


async def read_templates(
    client: Client, target: Json, kind: Kind, proxies: Collection[str]
) -> AsyncIterator[PastTemplate]:
    """Yield the kept templates of a target, without a revision. proxies: the containers of meshes."""
    metadata, history = target["metadata"], HISTORY_KINDS[kind]
    async for page in client.list(history, metadata["namespace"]):
        for body in page["items"]:
            owners = get_items(body, "metadata", "ownerReferences")
            if not any(owner.get("uid") == metadata["uid"] and owner.get("controller") for owner in owners):
                continue
            template = _template(body, history)
            if template:
                yield PastTemplate(
                    revision="",
                    number=_number(body, history),
                    created_at=get_text(body, "metadata", "creationTimestamp"),
                    images=tuple(_images(template, proxies)),
                    origin=f"{history.kind} {body['metadata']['name']}",
                    template=template,
                )


def _template(body: Json, history: Kind) -> Json:
    """Return a template without the marks of Kubernetes."""
    part = "data" if history is CONTROLLER_REVISION else "spec"
    path = (part, "spec", "template") if history is CONTROLLER_REVISION else (part, "template")
    template: Json = deepcopy(get_mapping(body, *path))
    template.pop("$patch", None)
    get_mapping(template, "metadata", "labels").pop(POD_HASH, None)
    return template


def _number(body: Json, history: Kind) -> int:
    if history is CONTROLLER_REVISION:
        return get_integer(body, "revision") or 0
    text = get_text(body, "metadata", "annotations", _NUMBER)
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else 0


LONGEST_NUMBER = 18
"""Most digits of a number of a ReplicaSet."""


def _images(template: Json, proxies: Collection[str]) -> list[str]:
    containers = get_items(template, "spec", "containers")
    return [get_text(one, "image") for one in containers if get_text(one, "name") not in proxies]
