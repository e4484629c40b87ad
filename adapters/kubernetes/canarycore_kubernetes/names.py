"""What generated objects have in common: names, owners, and what they take over of labels and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore_kubernetes.kinds import CANARY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from canarycore_runtime.mesh import Json

SUFFIX = "-primary"
"""What the name of a copy ends with."""

TOOLKIT = "toolkit.fluxcd.io"
"""Labels and annotations with this in their name belong to the GitOps tool that applied the original."""

REVISION = "canarycore/revision"
"""The annotation of a primary that says which revision it carries. What Flagger made has none."""

CONTENTS = "canarycore/configs"
"""The annotation of a primary that says which configs it carries, and the checksums of those it has copies of."""

KEPT = "canarycore/kept"
"""The annotation of a primary that names the revisions it can be restored to, the newest first, with commas."""

KEPT_FOR = "canarycore/kept-for"
"""The label of what is kept of earlier revisions: the name of the primary."""


def primary_of(name: str) -> str:
    """The name of a copy."""
    return name + SUFFIX


def annotation(body: Json, key: str) -> str:
    """An annotation of an object; empty if it has none."""
    return str((body["metadata"].get("annotations") or {}).get(key, ""))


def listed(body: Json, key: str) -> tuple[str, ...]:
    """An annotation that is a list, with commas."""
    return tuple(filter(None, annotation(body, key).split(",")))


def own(mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Labels or annotations without those of GitOps tools."""
    return {key: value for key, value in (mapping or {}).items() if TOOLKIT not in key}


def with_prefix(mapping: Mapping[str, str] | None, prefixes: Collection[str]) -> dict[str, str]:
    """The labels that the controller was told to copy; the prefix `*` stands for all."""
    return {key: value for key, value in own(mapping).items() if has_prefix(key, prefixes)}


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


def owners(owner: Json, found: Json | None) -> list[Json]:
    """The owner, and whoever else owns what was found; only one may be the controller."""
    others = [] if found is None else found["metadata"].get("ownerReferences") or []
    return [owner, *({**other, "controller": False} for other in others if not _is_same(other, owner))]


def _is_same(one: Json, other: Json) -> bool:
    return bool(one["kind"] == other["kind"] and one["name"] == other["name"])


def canaries_of(body: Json) -> tuple[str, ...]:
    """The names of the Canaries that an object belongs to."""
    return tuple(
        reference["name"]
        for reference in body["metadata"].get("ownerReferences") or ()
        if reference["kind"] == CANARY.kind and reference["apiVersion"].startswith(f"{CANARY.group}/")
    )
