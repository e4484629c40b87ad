"""What routing objects have in common, whatever the mesh: names, metadata, conditions, weights, cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from attrs import evolve

from canarycore import Routes, Strategy
from canarycore.errors import Refused
from canarycore.foreign import get_text, get_texts, get_value, parse_percent
from canarycore_runtime.mesh import GITOPS_OPT_OUT, LAST_APPLIED, Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from canarycore import Affinity
    from canarycore_runtime.mesh import Json, Kind, ObjectsByRef, RenderContext


def refuse(asked: RenderContext, found: str, expected: str, where: str, remedy: str) -> NoReturn:
    """Say why no routes can be written."""
    raise Refused(f"canary {asked.rollout.full_name}, {where}: found {found}, expected {expected}. {remedy}")


# objects ------------------------------------------------------------------------------------------------------------


def ref(kind: Kind, asked: RenderContext, name: str) -> Ref:
    """An object beside the Canary, or in no namespace if its kind has none."""
    return Ref(kind=kind, namespace=asked.namespace if kind.namespaced else "", name=name)


def rendered(asked: RenderContext, kind: Kind, name: str, spec: Json, metadata: Json | None = None) -> Json:
    """An object of that kind with what is ours. metadata: labels and annotations."""
    where = {"namespace": asked.namespace} if kind.namespaced else {}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **where, **{key: value for key, value in (metadata or {}).items() if value}},
        "spec": spec,
    }


def apex_metadata(asked: RenderContext, *, selectable: bool = True) -> Json:
    """Labels and annotations of the object that users call: `spec.service.apex`, and what GitOps tools heed.

    selectable: with the label that the apex Service has, once there are any of the owner's.
    """
    given_fields = asked.service.get("apex")
    label, _ = asked.pods
    own = {label: asked.apex} if selectable and label and given_fields is not None else {}
    given_fields = given_fields or {}
    return {
        "labels": given_fields.get("labels", {}) | own,
        "annotations": given_fields.get("annotations", {}) | GITOPS_OPT_OUT,
    }


def copied_metadata(source: Json, *, without: str = "") -> Json:
    """A source's labels and annotations for its copy; annotations with `without` in their name are left out."""
    annotations = {
        name: value
        for name, value in get_texts(source, "metadata", "annotations").items()
        if name != LAST_APPLIED and not (without and without in name)
    }
    return {"labels": get_texts(source, "metadata", "labels"), "annotations": annotations}


def require(asked: RenderContext, found: ObjectsByRef, wanted: Ref, where: str) -> Json:
    """An object that the owner refers to. Raises Refused where it is missing."""
    body = found.get(wanted)
    if body is None:
        name = f"{wanted.kind.kind} {wanted.name}.{wanted.namespace}"
        refuse(asked, f"no {name}", "one that routes to the Service " + asked.apex, where, "Create it.")
    return body


def tidy(value: Any) -> Any:
    """JSON without what says nothing: None, false, zero, empty texts and lists. Empty mappings stay: they may."""
    if isinstance(value, dict):
        return {key: tidy(item) for key, item in value.items() if item or isinstance(item, dict)}
    if isinstance(value, list):
        return [tidy(item) for item in value]
    return value


def given_fields(**fields: Any) -> Json:
    """A mapping of the fields that are there."""
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


# conditions ---------------------------------------------------------------------------------------------------------


def prefix(asked: RenderContext) -> str:
    """The paths that are routed, for meshes that know a prefix and nothing else (`spec.service.match`)."""
    first: Json = next(iter(asked.service.get("match", ())), {})
    text: str = first.get("uri", {}).get("prefix", "")
    return text or "/"


def headers(asked: RenderContext) -> Iterable[tuple[str, str, str]]:
    """Of each header condition of the analysis its name, its kind (`exact`, ...) and its text."""
    for entry in asked.match:
        for name, condition in entry.get("headers", {}).items():
            for kind, text in condition.items():
                yield name, kind, text


def known_headers(asked: RenderContext, *kinds: str) -> Iterable[tuple[str, str, str]]:
    """The same. Raises Refused where a condition is of another kind: left out, it would let everybody in."""
    for name, kind, text in headers(asked):
        if kind not in kinds:
            provider = asked.rollout.provider
            refuse(
                asked,
                f"the header {name!r} matched by {kind}",
                f"one of {', '.join(kinds)}: {provider} knows no other",
                f"{asked.canary.analysis_path}.match",
                "Write the condition in another way.",
            )
        yield name, kind, text


def merged(conditions: list[Json], defaults: list[Json]) -> list[Json]:
    """Requests that meet one of `conditions` and one of `defaults` (fields that both have are the condition's)."""
    if not conditions or not defaults:
        return conditions or defaults
    return [{**default, **condition} for condition in conditions for default in defaults]


# weights ------------------------------------------------------------------------------------------------------------

_ALL = 100


def among_matching(asked: RenderContext) -> bool:
    """Whether weights are of matching requests only, as a climb by weights with `match` has it."""
    return bool(asked.match) and asked.rollout.ladder.strategy is not Strategy.AB


def parse_fraction(routes: Routes) -> int:
    """The canary's percent of the requests that a condition lets in, or of all where there is none."""
    return _ALL if routes.matched else routes.weight


def beside_matching(asked: RenderContext, routes: Routes) -> int:
    """The canary's percent of what does not match: none, unless it stands in for a primary without pods."""
    return 0 if among_matching(asked) else routes.weight


def split_of(items: Iterable[object], *name: str, left_out: int = 0) -> Iterator[tuple[str, Any]]:
    """Name and weight of each destination of a split.

    items: the destinations as they were found. name: where each has its name. left_out: an absent weight.
    """
    for item in items:
        weight = get_value(item, "weight")
        yield get_text(item, *name), left_out if weight is None else weight


def weight_of(parts: Iterable[tuple[str, Any]], primary: str, canary: str) -> int | None:
    """The canary's percent of a split; None where neither side is part of it, or where no percent is what stands there.

    parts: name and weight of each destination; a canary that is left out has 0.
    """
    weights = dict(parts)
    if primary not in weights and canary not in weights:
        return None
    return parse_percent(weights.get(canary, 0))


def routes_of(asked: RenderContext, weights: list[int | None]) -> Routes | None:
    """What the weights of all rules come to, from the most specific to the one for everything."""
    weight = weights[0 if among_matching(asked) else -1] if weights else None
    if weight is None:
        return None
    by_match = bool(asked.match) and not among_matching(asked) and len(weights) > 1
    return Routes(weight=weight, matched=by_match and weights[0] == _ALL != weight)


# cookies ------------------------------------------------------------------------------------------------------------

COOKIE = "Cookie"
SET_COOKIE = "Set-Cookie"
_OVER = "Max-Age=-1"


def holds_cookie(name: str, value: str) -> str:
    """A regular expression for a Cookie header with that cookie."""
    return f".*{name}.*{value}.*"


def set_cookie(affinity: Affinity, name: str, value: str, age: int) -> str:
    """What a Set-Cookie header says to keep a user where the answer came from. age: in seconds."""
    attributes = {
        "Domain": affinity.domain,
        "HttpOnly": affinity.http_only,
        "Partitioned": affinity.partitioned,
        "Path": affinity.path,
        "SameSite": affinity.same_site,
        "Secure": affinity.secure,
    }
    written = [key if text is True else f"{key}={text}" for key, text in attributes.items() if text]
    return "; ".join([f"{name}={value}", f"Max-Age={age}", *written])


def take_cookie(name: str, value: str) -> str:
    """What a Set-Cookie header says to take a cookie back."""
    return f"{name}={value}; {_OVER}"


def with_cookies(asked: RenderContext, routes: Routes | None, headers: Iterable[str]) -> Routes | None:
    """The routes with the rollout's cookies, as Set-Cookie headers set them and take them back."""
    affinity = asked.rollout.affinity
    if affinity is None or routes is None:
        return routes
    cookie = expired = ""
    for header in headers:
        pair, *attributes = header.split("; ")
        name, _, value = pair.partition("=")
        if name != affinity.cookie_name:
            continue
        if _OVER in attributes:
            expired = value
        else:
            cookie = value
    return evolve(routes, cookie=cookie, expired=expired)
