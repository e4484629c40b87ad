"""The takeover of routing objects: our fields in an object, and the fields of others.

    merge_owned(snapshot, rendered, owner, ...)   the object with our fields; others' fields stay, stale ones of ours go
    give_back(snapshot, rendered)                 the object as it was before the takeover
    release(snapshot, body)                       a shared object whose mesh has taken our fields out of `body`

Objects that we make are the Canary's, and go when it goes. An object that somebody else made is taken over in place: an
annotation in Flagger's form keeps the replaced part of its spec, so that Flagger and we can both give it back. No
annotation is needed where kubectl has left its own.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from attrs import evolve

from canarycore.foreign import get_mapping, get_texts, parse_json
from canarycore_kubernetes.api.ownership import OWNER_ANNOTATION
from canarycore_runtime.mesh import GITOPS_OPT_OUT, LAST_APPLIED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_kubernetes.api.ownership import Owner
    from canarycore_kubernetes.api.snapshots import Path, Snapshot
    from canarycore_runtime.mesh import Json

NOTE = "flagger.kubernetes.io/original-configuration"
"""The annotation that keeps the replaced part of a spec, as JSON."""


def is_made(snapshot: Snapshot, owner: Owner) -> bool:
    """Check whether we or Flagger made a routing object for this Canary.

    Flagger marks its objects by an owner reference, even in another cluster. Where it could not, Flagger is the only
    writer of the object.
    """
    ownership = snapshot.ownership
    if owner.reference is None and "namespace" not in snapshot.body["metadata"]:
        ownership = evolve(ownership, canaries=())  # the reference names a Canary without its namespace
    return owner.owns(ownership)


def merge_owned(
    snapshot: Snapshot | None, rendered: Json, owner: Owner, *, is_taken_over: bool, is_shared: bool = False
) -> Json:
    """Return the object in its required state.

    is_taken_over: whether we or Flagger took it over before; then it needs no new note. is_shared: whether our fields
    replace those of others in an object that is not the mesh's own, without a note.
    """
    if snapshot is None:
        return owner.mark(rendered)
    body = snapshot.body
    if is_shared:
        shared: Json = _overlay(body, rendered)
        return shared
    if is_made(snapshot, owner):
        stale = [path for path in snapshot.owned_fields if _is_ours(path) and not _covers(rendered, path)]
        made: Json = _overlay(_without(deepcopy(body), stale), rendered)
        return made if made == body or owner.reference is not None else _overlay(made, owner.mark(rendered))
    result: Json = _overlay(body, _without_owner_metadata(rendered, body))
    note = "" if is_taken_over else _note(body, rendered)
    if note:
        result["metadata"]["annotations"] = result["metadata"].get("annotations", {}) | {NOTE: note}
    return result


def give_back(snapshot: Snapshot, rendered: Json, original: Json | None = None) -> Json:
    """Return the object without our fields, and with those that they replaced.

    rendered: our fields, for any routes. original: the spec before the takeover; by default that of its annotations.
    """
    body = snapshot.body
    original = original_spec(body) if original is None else original
    ours = [path for path in snapshot.owned_fields if _covers(rendered, path)]
    result = _without(body, [*ours, ("metadata", "annotations", NOTE)])
    replaced = {name: value for name, value in original.items() if name in rendered["spec"]}
    result["spec"] = {**get_mapping(result, "spec"), **replaced}
    return result


def release(snapshot: Snapshot, body: Json) -> Json:
    """Return a shared object without the opt-out from GitOps tools, if we wrote it.

    body: the object as the mesh leaves it.
    """
    ours = [path for path in snapshot.owned_fields if path[-1] in GITOPS_OPT_OUT]
    return _without(deepcopy(body), ours)


def original_spec(body: Json) -> Json:
    """Return the spec that the owner of a taken-over object had written, as far as its annotations tell."""
    annotations = get_texts(body, "metadata", "annotations")
    if LAST_APPLIED in annotations:
        return get_mapping(parse_json(annotations[LAST_APPLIED]), "spec")
    return get_mapping(parse_json(annotations.get(NOTE, "")))


# ---------------------------------------------------------------------------------------------------------- details


def _note(body: Json, rendered: Json) -> str:
    """Return the replaced part of a spec as JSON; "" where nothing is replaced, or an annotation has it already."""
    annotations, spec = get_texts(body, "metadata", "annotations"), get_mapping(body, "spec")
    replaced = {name: spec[name] for name in rendered["spec"] if name in spec}
    is_noted = LAST_APPLIED in annotations or NOTE in annotations
    return json.dumps(replaced, separators=(",", ":"), sort_keys=True) if replaced and not is_noted else ""


def _without_owner_metadata(rendered: Json, body: Json) -> Json:
    """Return our fields without the labels and annotations that the object's owner has set."""
    metadata = dict(rendered["metadata"])
    for name in ("labels", "annotations"):
        own = get_mapping(body, "metadata", name)
        ours = metadata.get(name, {})
        metadata[name] = {key: value for key, value in ours.items() if key not in own or key in GITOPS_OPT_OUT}
    return rendered | {"metadata": {name: value for name, value in metadata.items() if value != {}}}


_BOOKKEEPING = (NOTE, OWNER_ANNOTATION)


def _is_ours(path: Path) -> bool:
    """Check whether a field of an object that we made belongs to the routes, and goes when they no longer have it."""
    if path[0] == "metadata":
        return path[1] in ("labels", "annotations") and path[-1] not in _BOOKKEEPING
    return path[0] == "spec"


def _covers(rendered: Any, path: Path) -> bool:
    """Check whether a rendered object sets a field."""
    for name in path:
        if not isinstance(rendered, dict):
            return True
        if name not in rendered:
            return False
        rendered = rendered[name]
    return True


_SELECTORS = ("selector", "matchLabels")
"""Mappings that are replaced whole: each further entry selects fewer pods."""


def _overlay(base: Any, rendered: Any) -> Any:
    """Return `rendered` on top of `base`: merge mappings, replace all else. A missing list equals an empty one."""
    if not isinstance(rendered, dict) or not isinstance(base, dict):
        return rendered
    merged = dict(base)
    for name, value in rendered.items():
        if value != [] or base.get(name):
            merged[name] = value if name in _SELECTORS else _overlay(base.get(name), value)
    return merged


def _without(body: Json, paths: Iterable[Path]) -> Json:
    """Remove these fields from an object, and the mappings that they leave empty. Return the object."""
    for path in paths:
        _remove(body, path)
    return body


def _remove(inside: Any, path: Path) -> None:
    name, *rest = path
    if not isinstance(inside, dict) or name not in inside:
        return
    if rest:
        _remove(inside[name], tuple(rest))
    if not rest or inside[name] == {}:
        del inside[name]
