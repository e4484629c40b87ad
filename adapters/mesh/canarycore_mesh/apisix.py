"""Apache APISIX: a copy of the rule in the owner's ApisixRoute that leads to the app; it goes first, and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_mesh._objects import copied_metadata, given_fields, ref, refuse, rendered, require, split_of, weight_of
from canarycore_mesh._queries import built_in, percentile_99, success_rate
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

APISIX_ROUTE = Kind("apisix.apache.org", "v2", "ApisixRoute", "apisixroutes")

WHERE = "spec.routeRef"

_BEFORE_ALL = 10000
"""The copy's priority."""

_ROUTE = 'route=~"{{ namespace }}_{{ route }}-{{ target }}-canary_.+"'
_NO_ERROR = 'code!~"5.."'


class Apisix(Mesh):
    """Provider `apisix`."""

    queries: Queries = built_in(
        success_rate("apisix_http_status", _ROUTE, _NO_ERROR, good=_NO_ERROR),
        percentile_99("apisix_http_latency_bucket", 'type=~"request"', _ROUTE),
    )

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return _source(asked), _copy(asked)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        source = require(asked, found, _source(asked), WHERE)
        rule = _rule(asked, source)
        (backend,) = rule["backends"]
        shared = given_fields(**{name: backend.get(name) for name in ("servicePort", "resolveGranularity", "subset")})
        backends = [
            {**backend, "serviceName": asked.primary, "weight": routes.primary},
            {**shared, "serviceName": asked.canary_service, "weight": routes.weight},
        ]
        rule = {"websocket": False, **rule, "priority": _BEFORE_ALL, "backends": backends}
        spec = {**get_mapping(source, "spec"), "http": [rule]}
        return (rendered(asked, APISIX_ROUTE, _copy(asked).name, spec, copied_metadata(source)),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        rules = get_items(found.get(_copy(asked)), "spec", "http")
        parts = split_of(get_list(rules[0], "backends") if rules else (), "serviceName")
        weight = weight_of(parts, asked.primary, asked.canary_service)
        return None if weight is None else Routes(weight=weight)


def _source(asked: RenderContext) -> Ref:
    return ref(APISIX_ROUTE, asked, _name(asked))


def _copy(asked: RenderContext) -> Ref:
    return ref(APISIX_ROUTE, asked, f"{_name(asked)}-{asked.apex}-canary")


def _name(asked: RenderContext) -> str:
    reference = asked.canary.spec.route_ref
    if reference is None:
        refuse(asked, "nothing", "the ApisixRoute that routes to the app", WHERE, "Add it.")
    return reference.name


def _rule(asked: RenderContext, source: Json) -> Json:
    """The rule that leads to the app, and to nothing else."""
    rules = get_items(source, "spec", "http")
    rule = next((rule for rule in rules if asked.apex in _services(rule)), None)
    if rule is None:
        refuse(asked, f"no rule to the Service {asked.apex}", "one", WHERE, "Add a rule whose only backend it is.")
    if len(_services(rule)) > 1:
        found = f"{len(_services(rule))} backends in the rule {get_text(rule, 'name')}"
        refuse(asked, found, f"the Service {asked.apex} alone", WHERE, "Move the others to a rule of their own.")
    return dict(rule)


def _services(rule: Json) -> list[str]:
    return [get_text(backend, "serviceName") for backend in get_list(rule, "backends")]
