"""Metadata of generated objects: names, owners, and copied labels and annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.bounds import LABEL, NAME
from canarycore.foreign import get_items, get_text, get_texts, get_time, get_value
from canarycore.text import compose_name
from canarycore_kubernetes.api.kinds import CANARY

if TYPE_CHECKING:
    from collections.abc import Collection

    from canarycore_runtime.mesh import Json

PRIMARY_SUFFIX = "-primary"
"""Suffix of the name of a primary copy."""

GITOPS_DOMAIN = "toolkit.fluxcd.io"
"""Domain of the labels and annotations that belong to the GitOps tool of the original, with its subdomains."""

REVISION = "canarycore/revision"
"""Annotation of a primary: the revision that it carries. Primaries that Flagger created have none."""

CONTENTS = "canarycore/configs"
"""Annotation of a primary: the configs that it carries, with the checksums of those that it has copies of."""

KEPT_REVISIONS = "canarycore/kept"
"""Annotation of a primary: the revisions to which it can be restored, comma-separated, newest first."""

UP = "canarycore/up"
"""Annotation of a target without a copy: its newest revision takes part in a rollout."""

KEPT_FOR = "canarycore/kept-for"
"""Label of the stored parts of earlier revisions: the name of the primary."""


REVISION_LENGTH = 16
"""The number of hexadecimal digits of our revisions. Flagger's names of revisions are shorter."""


def is_revision(name: str) -> bool:
    """Return whether a text has the form of our revisions."""
    return len(name) == REVISION_LENGTH and all(digit in "0123456789abcdef" for digit in name)


def primary_name(name: str) -> str:
    """Return the name of the primary copy of an object."""
    return compose_name(name, PRIMARY_SUFFIX, NAME.most)


def primary_label(value: str) -> str:
    """Return the value of a selector label for the primary's pods. It fits into a label."""
    return compose_name(value, PRIMARY_SUFFIX, LABEL.most)


def target_label(value: str) -> str:
    """Return the part that the selector labels of a target and of its primary share."""
    return primary_label(value).removesuffix(PRIMARY_SUFFIX)


def saved_name(name: str, version: str) -> str:
    """Return the name of an object that saves an earlier version of the object `name`."""
    return compose_name(name, f"-{version}", NAME.most)


def label_value(name: str) -> str:
    """Return an object's name as the value of a label."""
    return compose_name(name, "", LABEL.most)


def get_annotation(body: Json, key: str) -> str:
    """Return an annotation of an object; empty if it has none."""
    return get_text(body, "metadata", "annotations", key)


def get_annotation_list(body: Json, key: str) -> tuple[str, ...]:
    """Return the items of a comma-separated annotation."""
    return tuple(filter(None, get_annotation(body, key).split(",")))


def drop_gitops_keys(mapping: object) -> dict[str, str]:
    """Return labels or annotations without those of GitOps tools."""
    return {key: value for key, value in get_texts(mapping).items() if not is_gitops_key(key)}


def is_gitops_key(key: str) -> bool:
    """Return whether a label or an annotation belongs to a GitOps tool: `kustomize.toolkit.fluxcd.io/name`."""
    domain, _, _ = key.partition("/")
    return domain == GITOPS_DOMAIN or domain.endswith(f".{GITOPS_DOMAIN}")


def select_by_prefix(mapping: object, prefixes: Collection[str]) -> dict[str, str]:
    """Return the labels that have one of the prefixes and belong to no GitOps tool; the prefix `*` matches all."""
    return {key: value for key, value in drop_gitops_keys(mapping).items() if has_prefix(key, prefixes)}


def has_prefix(key: str, prefixes: Collection[str]) -> bool:
    """Return whether a key has one of the prefixes; the prefix `*` matches all."""
    return any(prefix == "*" or (prefix and key.startswith(prefix)) for prefix in prefixes)


def owner_reference(canary: str, uid: str) -> Json:
    """Return the owner reference to a Canary: Kubernetes deletes the object with the Canary."""
    return {
        "apiVersion": CANARY.api_version,
        "kind": CANARY.kind,
        "name": canary,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def merge_owners(owner: Json, existing: Json | None) -> list[Json]:
    """Return the owner followed by the other owners of an existing object; only the owner is its controller."""
    others = get_items(existing, "metadata", "ownerReferences")
    return [owner, *({**other, "controller": False} for other in others if not _is_same(other, owner))]


def _is_same(first: Json, second: Json) -> bool:
    return all(get_text(first, part) == get_text(second, part) for part in ("kind", "name"))


def written_at(body: Json, *paths: tuple[str, ...], but: Collection[str] = ()) -> float | None:
    """Return the latest time at which one of these fields may have been written, in seconds since the epoch.

    None if no writer of them is known. `but` are writers that do not count. The API server records one time for each
    writer and changes it with any field of that writer: a field may be older than its time, but not newer.
    """
    fields = [tuple(f"f:{name}" for name in path) for path in paths]
    times = [
        get_time(entry, "time")
        for entry in get_items(body, "metadata", "managedFields")
        if not get_text(entry, "subresource")
        and get_text(entry, "manager") not in but
        and any(get_value(entry, "fieldsV1", *field) is not None for field in fields)
    ]
    return max((time for time in times if time is not None), default=None)
