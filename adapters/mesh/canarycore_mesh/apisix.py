"""Apache APISIX: a copy of the rule in the owner's ApisixRoute that routes to the app. It has priority, and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_items, get_list, get_mapping, get_text
from canarycore_mesh._objects import (
    copy_metadata,
    make_object,
    make_ref,
    omit_unset,
    read_split,
    read_verdict,
    read_weight,
    refuse,
    require,
)
from canarycore_mesh._queries import built_in_queries, percentile_99, success_rate
from canarycore_runtime.mesh import Kind, Mesh

if TYPE_CHECKING:
    from canarycore import RouteRefusal
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

APISIX_ROUTE = Kind("apisix.apache.org", "v2", "ApisixRoute", "apisixroutes")

PATH = "spec.routeRef"

_PRIORITY = 10000
"""The priority of the copy, above every rule of the owner's."""

_ROUTE = 'route=~"{{ namespace }}_{{ route }}-{{ service }}-canary_.+"'
_NO_ERROR = 'code!~"5.."'


class Apisix(Mesh):
    """Provider `apisix`."""

    queries: Queries = built_in_queries(
        success_rate("apisix_http_status", _ROUTE, _NO_ERROR, good=_NO_ERROR),
        percentile_99("apisix_http_latency_bucket", 'type=~"request"', _ROUTE),
    )

    statuses: frozenset[Kind] = frozenset({APISIX_ROUTE})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return _source(context), _copy(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        source = require(context, objects, _source(context), PATH)
        rule = _rule(context, source)
        (backend,) = rule["backends"]
        settings = omit_unset(**{name: backend.get(name) for name in ("servicePort", "resolveGranularity", "subset")})
        backends = [
            {**backend, "serviceName": context.primary, "weight": routes.primary},
            {**settings, "serviceName": context.canary_service, "weight": routes.weight},
        ]
        rule = {"websocket": False, **rule, "priority": _PRIORITY, "backends": backends}
        spec = {**get_mapping(source, "spec"), "http": [rule]}
        return (make_object(context, APISIX_ROUTE, _copy(context).name, spec, copy_metadata(source)),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        rules = get_items(objects.get(_copy(context)), "spec", "http")
        split = read_split(get_list(rules[0], "backends") if rules else (), "serviceName")
        weight = read_weight(split, context.primary, context.canary_service)
        return None if weight is None else Routes(weight=weight)

    def refusal(self, context: RenderContext, objects: ObjectsByRef) -> RouteRefusal | None:
        """Return the verdict of APISIX's controller on the copy, where it has written one."""
        copy = objects.get(_copy(context))
        return read_verdict(copy, "ResourcesAvailable") or read_verdict(copy, "Accepted")


def _source(context: RenderContext) -> Ref:
    return make_ref(APISIX_ROUTE, context, _name(context))


def _copy(context: RenderContext) -> Ref:
    return make_ref(APISIX_ROUTE, context, f"{_name(context)}-{context.apex}-canary")


def _name(context: RenderContext) -> str:
    reference = context.canary.spec.route_ref
    if reference is None:
        refuse(context, "nothing", "the ApisixRoute that routes to the app", PATH, "Add it.")
    return reference.name


def _rule(context: RenderContext, source: Json) -> Json:
    """Return the rule whose only backend is the app. Raises Refused where there is none."""
    rules = get_items(source, "spec", "http")
    rule = next((rule for rule in rules if context.apex in _services(rule)), None)
    if rule is None:
        refuse(context, f"no rule to the Service {context.apex}", "one", PATH, "Add a rule whose only backend it is.")
    if len(_services(rule)) > 1:
        backends = f"{len(_services(rule))} backends in the rule {get_text(rule, 'name')}"
        refuse(context, backends, f"the Service {context.apex} alone", PATH, "Move the others to a rule of their own.")
    return dict(rule)


def _services(rule: Json) -> list[str]:
    return [get_text(backend, "serviceName") for backend in get_list(rule, "backends")]
