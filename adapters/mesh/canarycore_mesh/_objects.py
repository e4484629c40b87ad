"""Helpers that all meshes share: objects, metadata, conditions, weights, cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve

from canarycore import RouteRefusal, Routes, Strategy
from canarycore.errors import Refused
from canarycore.foreign import get_integer, get_items, get_text, get_texts, get_time, get_value, parse_percent
from canarycore.manifest import parse_duration
from canarycore.text import escape_controls
from canarycore_runtime.mesh import GITOPS_OPT_OUT, LAST_APPLIED, Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore.traffic import Affinity
    from canarycore_runtime.mesh import Json, Kind, ObjectsByRef, RenderContext


def refuse(context: RenderContext, found: str, expected: str, path: str, remedy: str) -> NoReturn:
    """Raise Refused: the mesh cannot write the routes. path: the manifest's field at fault."""
    raise Refused(f"canary {context.rollout.full_name}, {path}: found {found}, expected {expected}. {remedy}")


# objects ------------------------------------------------------------------------------------------------------------


def make_ref(kind: Kind, context: RenderContext, name: str) -> Ref:
    """Return a reference to an object in the Canary's namespace, or in none where its kind has none."""
    return Ref(kind=kind, namespace=context.namespace if kind.namespaced else "", name=name)


def make_object(context: RenderContext, kind: Kind, name: str, spec: Json, metadata: Json | None = None) -> Json:
    """Return an object of that kind. metadata: its labels and annotations."""
    namespace = {"namespace": context.namespace} if kind.namespaced else {}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **namespace, **{key: value for key, value in (metadata or {}).items() if value}},
        "spec": spec,
    }


def apex_metadata(context: RenderContext, *, selectable: bool = True) -> Json:
    """Return the labels and annotations of the object that users call: `spec.service.apex`, and the GitOps opt-out.

    selectable: add the label of the apex Service, if the owner gives `spec.service.apex`.
    """
    apex = context.service.apex
    label = context.pods.label
    own = {label: context.apex} if selectable and label and apex is not None else {}
    return {
        "labels": {**(dict(apex.labels) if apex else {}), **own},
        "annotations": {**(dict(apex.annotations) if apex else {}), **GITOPS_OPT_OUT},
    }


def copy_metadata(source: Json, *, without: str = "") -> Json:
    """Return a source's labels and annotations for its copy, except the annotation `without` and those `without-…`."""
    annotations = {
        name: value
        for name, value in get_texts(source, "metadata", "annotations").items()
        if name != LAST_APPLIED and not (without and (name == without or name.startswith(f"{without}-")))
    }
    return {"labels": get_texts(source, "metadata", "labels"), "annotations": annotations}


def require(context: RenderContext, objects: ObjectsByRef, ref: Ref, path: str) -> Json:
    """Return an object that the manifest refers to at `path`. Raises Refused where it is missing."""
    body = objects.get(ref)
    if body is None:
        name = f"{ref.kind.kind} {ref.name}.{ref.namespace}"
        refuse(context, f"no {name}", "one that routes to the Service " + context.apex, path, "Create it.")
    return body


def milliseconds(duration: str) -> int | None:
    """Return the milliseconds of a duration for a mesh that takes no text; None for a text that is no duration."""
    try:
        return int(parse_duration(duration) * 1000)
    except ValueError:
        return None


def omit_unset(**fields: Any) -> Json:
    """Return a mapping of the fields that have a value: not None, an empty text or an empty list."""
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


# verdicts -----------------------------------------------------------------------------------------------------------


def read_verdict(
    body: Json | None, condition: str, *, is_always_written: bool = False, message: str = ""
) -> RouteRefusal | None:
    """Return the refusal by a condition of an object's status; None if it accepts the object as it is now.

    is_always_written: whether the controller writes the condition to every object, so that its absence means that the
    controller has not judged the object. message: the reason, in place of the condition's own.
    """
    if body is None:
        return None
    for entry in get_items(body, "status", "conditions"):
        if get_text(entry, "type") == condition:
            observed = get_integer(entry, "observedGeneration") or get_integer(body, "status", "observedGeneration")
            return judge_condition(body, entry, observed, message)
    return await_verdict(body) if is_always_written else None


def judge_condition(body: Json, condition: Json, observed: int | None, message: str = "") -> RouteRefusal | None:
    """Return the refusal by one condition. observed: the generation that it judges; None or 0 if it does not say."""
    status = get_text(condition, "status")
    if observed and observed < (get_integer(body, "metadata", "generation") or 0):
        return await_verdict(body)
    if status == "False":
        texts = (get_text(condition, part) for part in ("reason", "message"))
        reason = message or ": ".join(filter(None, texts)) or "it gives no reason"
        text = f"{_name_of(body)} is refused: {escape_controls(reason, _LONGEST_REASON)}"
        return RouteRefusal(text, get_time(condition, "lastTransitionTime"))
    return None if status == "True" else await_verdict(body)


def await_verdict(body: Json) -> RouteRefusal:
    """Return the refusal of an object that its controller has not judged as it is now."""
    return RouteRefusal(f"no controller has accepted {_name_of(body)} as it is now", is_pending=True)


def _name_of(body: Json) -> str:
    return f"{get_text(body, 'kind')} {get_text(body, 'metadata', 'name')}.{get_text(body, 'metadata', 'namespace')}"


_LONGEST_REASON = 400
"""Characters of a controller's message that a refusal repeats."""


# conditions ---------------------------------------------------------------------------------------------------------


def path_prefix(context: RenderContext) -> str:
    """Return the prefix of the routed paths (`spec.service.match`), for meshes that match paths by prefix only."""
    first = next(iter(context.service.match), None)
    uri = first.uri if first else None
    return (uri.value if uri and uri.kind == "prefix" else "") or "/"


def list_headers(context: RenderContext, routes: Routes, *kinds: str) -> Iterator[tuple[str, str, str]]:
    """Yield the name, kind (`exact`, ...) and text of each header condition of the routes.

    Raises Refused for a kind that is not among `kinds`: a mesh that ignored the condition would match more requests.
    """
    for match in context.match_on(routes):
        for name, header in match.headers:
            if header.kind not in kinds:
                refuse(
                    context,
                    f"the header {name!r} matched by {header.kind}",
                    f"one of {', '.join(kinds)}: {context.rollout.provider} supports no other kind",
                    context.match_path,
                    "Write the condition in another way.",
                )
            yield name, header.kind, header.value


def combine_conditions(conditions: list[Json], defaults: list[Json]) -> list[Json]:
    """Return conditions that hold where one of `conditions` and one of `defaults` hold.

    A field that both have comes from `conditions`.
    """
    if not conditions or not defaults:
        return conditions or defaults
    return [{**default, **condition} for condition in conditions for default in defaults]


# weights ------------------------------------------------------------------------------------------------------------

_ALL = 100


def weighs_matching(context: RenderContext) -> bool:
    """Check whether weights apply to matching requests only: a climb by weights with `match`."""
    return bool(context.match) and context.rollout.ladder.strategy is not Strategy.AB


def matching_weight(context: RenderContext, routes: Routes) -> int:
    """Return the canary's percent of matching requests, or of all requests where there is no condition."""
    return _ALL if routes.matched and context.match_on(routes) else routes.weight


def default_weight(context: RenderContext, routes: Routes) -> int:
    """Return the canary's percent of requests that do not match.

    It is 0, unless the canary serves all requests in place of a primary without pods.
    """
    return 0 if weighs_matching(context) else routes.weight


def read_split(destinations: Iterable[object], *name: str, default: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the name and weight of each destination of a split.

    name: the path of the name in a destination. default: the weight of a destination that gives none.
    """
    for destination in destinations:
        weight = get_value(destination, "weight")
        yield get_text(destination, *name), default if weight is None else weight


def read_weight(split: Iterable[tuple[str, Any]], primary: str, canary: str) -> int | None:
    """Return the canary's percent of a split; None where neither side is part of it, or where the weight is no percent.

    split: the name and weight of each destination. A canary that is not among them has 0.
    """
    weights = dict(split)
    if primary not in weights and canary not in weights:
        return None
    return parse_percent(weights.get(canary, 0))


def read_routes(context: RenderContext, splits: Iterable[Iterable[tuple[str, Any]]]) -> Routes | None:
    """Return the routes that follow from the split of each rule, from the most specific rule to the default one."""
    weights = [read_weight(split, context.primary, context.canary_service) for split in splits]
    weight = weights[0 if weighs_matching(context) else -1] if weights else None
    if weight is None:
        return None
    by_match = context.matches_beside_weight and len(weights) > 1
    return Routes(weight=weight, matched=by_match and weights[0] == _ALL != weight)


# cookies ------------------------------------------------------------------------------------------------------------

COOKIE = "Cookie"
SET_COOKIE = "Set-Cookie"
_EXPIRY = "Max-Age=-1"


def cookie_pattern(name: str, value: str) -> str:
    """Return a regular expression for a Cookie header with that cookie."""
    return f".*{name}.*{value}.*"


def format_cookie(affinity: Affinity, name: str, value: str, age: int) -> str:
    """Return the Set-Cookie header that keeps a user on the side that answered. age: in seconds."""
    attributes = {
        "Domain": affinity.domain,
        "HttpOnly": affinity.http_only,
        "Partitioned": affinity.partitioned,
        "Path": affinity.path,
        "SameSite": affinity.same_site,
        "Secure": affinity.secure,
    }
    texts = [key if value is True else f"{key}={value}" for key, value in attributes.items() if value]
    return "; ".join([f"{name}={value}", f"Max-Age={age}", *texts])


def format_expired_cookie(name: str, value: str) -> str:
    """Return the Set-Cookie header that makes a browser delete a cookie."""
    return f"{name}={value}; {_EXPIRY}"


def add_cookies(context: RenderContext, routes: Routes | None, headers: Iterable[str]) -> Routes | None:
    """Return the routes with the rollout's cookies. headers: the Set-Cookie headers of the routing object."""
    affinity = context.rollout.affinity
    if affinity is None or routes is None:
        return routes
    cookie = expired = ""
    for header in headers:
        pair, *attributes = header.split("; ")
        name, _, value = pair.partition("=")
        if name != affinity.cookie_name:
            continue
        if _EXPIRY in attributes:
            expired = value
        else:
            cookie = value
    return evolve(routes, cookie=cookie, expired=expired)
