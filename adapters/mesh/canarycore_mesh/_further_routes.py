"""Routes of the owner that lead to a Canary's apex Service too (`spec.service.routeRefs`).

    split_rules(context, rules, weight)     the owner's rules, with the apex split between its two sides
    join_rules(context, rules)              the rules as the owner wrote them
    read_share(context, rules)              the canary's percent

The owner keeps the route. While the canary gets requests, each backend that is the apex Service becomes two: the
primary and, directly after it, the canary, with all other fields of the backend. At weight 0 the route is as the owner
wrote it, as the apex leads to the primary anyway. A split multiplies all weights of its rule by 100, so that each
percentage of each weight is a whole number, and joining divides them again. So the rules alone tell both forms, and the
owner may edit either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import TOTAL_WEIGHT
from canarycore.foreign import get_integer, get_items, get_text
from canarycore_mesh._objects import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_runtime.mesh import Json, RenderContext

MOST_WEIGHT = 1_000_000
"""The greatest weight of a backend on the Gateway API."""


def split_rules(context: RenderContext, rules: list[Json], weight: int, path: str) -> list[Json]:
    """Return rules whose apex backends are split. weight: the canary's percent. path: the field that names the route.

    Raise Refused where no rule leads to the apex, or where a split cannot be written.
    """
    if not any(_positions(context, rule) for rule in rules):
        found, expected = "a route without the Service", f"a backend that is the Service {context.apex}"
        refuse(context, found, expected, path, "Add the backend to a rule of the route, or remove the reference.")
    return [_split(context, rule, weight, path) if _positions(context, rule) else rule for rule in rules]


def join_rules(context: RenderContext, rules: list[Json]) -> list[Json] | None:
    """Return rules without a split; None where there is none."""
    if not any(_is_split(context, rule) for rule in rules):
        return None
    return [_join(context, rule) if _is_split(context, rule) else rule for rule in rules]


def read_share(context: RenderContext, rules: list[Json]) -> int | None:
    """Return the canary's percent in the first split; 0 where all requests take the apex, None without an apex."""
    if not any(_positions(context, rule) for rule in rules):
        return None
    for rule in rules:
        backends = get_items(rule, "backendRefs")
        for position in _positions(context, rule):
            if _is_pair(context, backends, position):
                total = _total(backends, position)
                share = TOTAL_WEIGHT * _weight(backends[position + 1]) / total if total else 0
                return round(share)
    return 0


# a rule -------------------------------------------------------------------------------------------------------------


def _split(context: RenderContext, rule: Json, weight: int, path: str) -> Json:
    backends, scale = get_items(rule, "backendRefs"), 1 if _is_split(context, rule) else TOTAL_WEIGHT
    result = []
    for position, number in _parts(context, rule):
        backend = backends[position]
        total = _total(backends, position) if number == _PAIR else scale * _weight(backend)
        if total > MOST_WEIGHT:
            expected = f"at most {MOST_WEIGHT // TOTAL_WEIGHT}, as a split multiplies the weights of its rule"
            refuse(context, f"a weight of {total // scale}", expected, path, "Use smaller weights in this rule.")
        if number == 0:
            result.append({**backend, "weight": total})
            continue
        port = get_integer(backend, "port")
        if port != context.port and not context.service.port_discovery:
            found, expected = f"a backend with port {port}", f"{context.port}, the only port of both sides"
            refuse(context, found, expected, path, "Set spec.service.portDiscovery, or correct the port.")
        total = total // TOTAL_WEIGHT * TOTAL_WEIGHT or (TOTAL_WEIGHT if total else 0)
        canary = total * weight // TOTAL_WEIGHT
        result.append({**backend, "name": context.primary, "weight": total - canary})
        result.append({**backend, "name": context.canary_service, "weight": canary})
    return {**rule, "backendRefs": result}


def _join(context: RenderContext, rule: Json) -> Json:
    backends = get_items(rule, "backendRefs")
    parts = list(_parts(context, rule))
    weights = [_total(backends, at) if number == _PAIR else _weight(backends[at]) for at, number in parts]
    scale = 1 if any(weight % TOTAL_WEIGHT for weight in weights) else TOTAL_WEIGHT
    names = [{"name": context.apex} if number == _PAIR else {} for _, number in parts]
    result = [
        {**backends[at], **name, "weight": weight // scale}
        for (at, _), name, weight in zip(parts, names, weights, strict=True)
    ]
    return {**rule, "backendRefs": result}


_APEX, _PAIR = 1, 2
"""How many backends stand for the apex."""


def _parts(context: RenderContext, rule: Json) -> Iterator[tuple[int, int]]:
    """Yield the position of each part of a rule, and how many backends of it stand for the apex; 0 for another one."""
    backends = get_items(rule, "backendRefs")
    position = 0
    while position < len(backends):
        is_pair = _is_pair(context, backends, position)
        yield position, _PAIR if is_pair else _APEX if _is_service(context, backends[position], context.apex) else 0
        position += _PAIR if is_pair else 1


def _positions(context: RenderContext, rule: Json) -> list[int]:
    """Return the positions of the backends that stand for the apex."""
    return [position for position, number in _parts(context, rule) if number]


def _is_split(context: RenderContext, rule: Json) -> bool:
    return any(number == _PAIR for _, number in _parts(context, rule))


def _is_pair(context: RenderContext, backends: list[Json], position: int) -> bool:
    """Check whether the backends at a position are a split: the primary, and the canary directly after it."""
    names = (context.primary, context.canary_service)
    pair = backends[position : position + _PAIR]
    return len(pair) == _PAIR and all(
        _is_service(context, backend, name) for backend, name in zip(pair, names, strict=True)
    )


def _is_service(context: RenderContext, backend: Json, name: str) -> bool:
    return (
        get_text(backend, "group") == ""
        and (get_text(backend, "kind") or "Service") == "Service"
        and (get_text(backend, "namespace") or context.namespace) == context.namespace
        and get_text(backend, "name") == name
    )


def _total(backends: list[Json], position: int) -> int:
    return sum(_weight(backend) for backend in backends[position : position + _PAIR])


def _weight(backend: Json) -> int:
    """Return the weight of a backend; the API's default is 1."""
    weight = get_integer(backend, "weight")
    return 1 if weight is None else max(weight, 0)
