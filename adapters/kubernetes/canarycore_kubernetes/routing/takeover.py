"""Which fields of an object are ours, and what becomes of the others.

    wanted(found, rendered, owner, ...)   the object as it is to be: others' fields stay, what we no longer want goes
    given_back(found, rendered)           the same object as it was before it was taken over

Objects that we make are the Canary's, and go when it goes. An object that somebody else made is taken over where it
stands: what is replaced of its spec is noted in an annotation, in Flagger's form, so that either of us can give it
back. No note is needed where kubectl has left one.
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
"""The annotation with what was replaced, as JSON of a spec."""


def is_made(found: Snapshot, owner: Owner) -> bool:
    """Tell whether a routing object was made for this Canary, by us or by Flagger.

    Flagger marks what it makes by a reference, also where the Canary is out of reach. Where it could not, nobody but
    Flagger has written the object.
    """
    ownership = found.ownership
    if owner.reference is None and "namespace" not in found.body["metadata"]:
        ownership = evolve(ownership, canaries=())  # the reference names a Canary, and not of which namespace
    return owner.owns(ownership)


def merge_owned(found: Snapshot | None, rendered: Json, owner: Owner, *, taken: bool) -> Json:
    """The object as it is to be. taken: whether somebody else's was taken over before, by us or by Flagger."""
    if found is None:
        return owner.mark(rendered)
    body = found.body
    if is_made(found, owner):
        stale = [path for path in found.owned_fields if _is_ours(path) and not _covers(rendered, path)]
        made: Json = _over(_without(deepcopy(body), stale), rendered)
        return made if made == body or owner.reference is not None else _over(made, owner.mark(rendered))
    result: Json = _over(body, _beside_the_owner(rendered, body))
    note = "" if taken else _note(body, rendered)
    if note:
        result["metadata"]["annotations"] = result["metadata"].get("annotations", {}) | {NOTE: note}
    return result


def give_back(found: Snapshot, rendered: Json) -> Json:
    """The object without what we wrote, and with what that replaced. rendered: what was written, with any routes."""
    body = found.body
    original = original_spec(body)
    ours = [path for path in found.owned_fields if _covers(rendered, path)]
    result = _without(body, [*ours, ("metadata", "annotations", NOTE)])
    replaced = {name: value for name, value in original.items() if name in rendered["spec"]}
    result["spec"] = {**get_mapping(result, "spec"), **replaced}
    return result


def original_spec(body: Json) -> Json:
    """What the owner of an object that was taken over had written, as far as it is known."""
    annotations = get_texts(body, "metadata", "annotations")
    if LAST_APPLIED in annotations:
        return get_mapping(parse_json(annotations[LAST_APPLIED]), "spec")
    return get_mapping(parse_json(annotations.get(NOTE, "")))


# ---------------------------------------------------------------------------------------------------------- details


def _note(body: Json, rendered: Json) -> str:
    """What is to be noted of what is replaced now; "" where nothing is, or where it is known."""
    annotations, spec = get_texts(body, "metadata", "annotations"), get_mapping(body, "spec")
    replaced = {name: spec[name] for name in rendered["spec"] if name in spec}
    known = LAST_APPLIED in annotations or NOTE in annotations
    return json.dumps(replaced, separators=(",", ":"), sort_keys=True) if replaced and not known else ""


def _beside_the_owner(rendered: Json, body: Json) -> Json:
    """Of labels and annotations, what the owner of the object has not given himself."""
    metadata = dict(rendered["metadata"])
    for name in ("labels", "annotations"):
        own = get_mapping(body, "metadata", name)
        ours = metadata.get(name, {})
        metadata[name] = {key: value for key, value in ours.items() if key not in own or key in GITOPS_OPT_OUT}
    return rendered | {"metadata": {name: value for name, value in metadata.items() if value != {}}}


_BOOKKEEPING = (NOTE, OWNER_ANNOTATION)


def _is_ours(path: Path) -> bool:
    """Whether a field of an object that we made is there for the routes, and may go when they no longer have it."""
    if path[0] == "metadata":
        return path[1] in ("labels", "annotations") and path[-1] not in _BOOKKEEPING
    return path[0] == "spec"


def _covers(rendered: Any, path: Path) -> bool:
    """Whether a rendered object says something about a field."""
    for name in path:
        if not isinstance(rendered, dict):
            return True
        if name not in rendered:
            return False
        rendered = rendered[name]
    return True


_WHOLE = ("selector", "matchLabels")
"""Mappings that say one thing together: each entry more selects less."""


def _over(found: Any, rendered: Any) -> Any:
    """`rendered` on top of `found`; mappings are merged, all else is replaced. No list at all is an empty one."""
    if not isinstance(rendered, dict) or not isinstance(found, dict):
        return rendered
    merged = dict(found)
    for name, value in rendered.items():
        if value != [] or found.get(name):
            merged[name] = value if name in _WHOLE else _over(found.get(name), value)
    return merged


def _without(body: Json, paths: Iterable[Path]) -> Json:
    """The object without these fields, and without mappings in which nothing is left. It is changed."""
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
