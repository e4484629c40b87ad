"""What generated objects have in common: names, owners, and what they take over of labels and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.foreign import get_items, get_text, get_texts
from canarycore_kubernetes.api.kinds import CANARY

if TYPE_CHECKING:
    from collections.abc import Collection

    from canarycore_runtime.mesh import Json

PRIMARY_SUFFIX = "-primary"
"""What the name of a copy ends with."""

GITOPS_DOMAIN = "toolkit.fluxcd.io"
"""Labels and annotations with this in their name belong to the GitOps tool that applied the original."""

REVISION = "canarycore/revision"
"""The annotation of a primary that says which revision it carries. What Flagger made has none."""

CONTENTS = "canarycore/configs"
"""The annotation of a primary that says which configs it carries, and the checksums of those it has copies of."""

KEPT_REVISIONS = "canarycore/kept"
"""The annotation of a primary that names the revisions it can be restored to, the newest first, with commas."""

KEPT_FOR = "canarycore/kept-for"
"""The label of what is kept of earlier revisions: the name of the primary."""


def primary_name(name: str) -> str:
    """The name of a copy."""
    return name + PRIMARY_SUFFIX


def get_annotation(body: Json, key: str) -> str:
    """An annotation of an object; empty if it has none."""
    return get_text(body, "metadata", "annotations", key)


def get_annotation_list(body: Json, key: str) -> tuple[str, ...]:
    """An annotation that is a list, with commas."""
    return tuple(filter(None, get_annotation(body, key).split(",")))


def drop_gitops_keys(mapping: object) -> dict[str, str]:
    """Labels or annotations without those of GitOps tools."""
    return {key: value for key, value in get_texts(mapping).items() if GITOPS_DOMAIN not in key}


def select_by_prefix(mapping: object, prefixes: Collection[str]) -> dict[str, str]:
    """The labels that the controller was told to copy; the prefix `*` stands for all."""
    return {key: value for key, value in drop_gitops_keys(mapping).items() if has_prefix(key, prefixes)}


def has_prefix(key: str, prefixes: Collection[str]) -> bool:
    """Whether a label of this name is to be copied."""
    return any(prefix == "*" or (prefix and key.startswith(prefix)) for prefix in prefixes)


def owner_reference(canary: str, uid: str) -> Json:
    """The reference by which an object is a Canary's, and goes when it goes."""
    return {
        "apiVersion": CANARY.api_version,
        "kind": CANARY.kind,
        "name": canary,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def merge_owners(owner: Json, found: Json | None) -> list[Json]:
    """The owner, and whoever else owns what was found; only one may be the controller."""
    others = get_items(found, "metadata", "ownerReferences")
    return [owner, *({**other, "controller": False} for other in others if not _is_same(other, owner))]


def _is_same(one: Json, other: Json) -> bool:
    return all(get_text(one, part) == get_text(other, part) for part in ("kind", "name"))
