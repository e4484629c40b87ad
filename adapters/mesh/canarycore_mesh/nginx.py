"""NGINX ingress: a copy of the owner's Ingress, which annotations make a canary Ingress.

A canary Ingress takes requests from the original by header, by cookie or by weight, in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_texts, parse_percent
from canarycore_mesh._ingress import copy_ref, copy_spec, is_backend, replace_backend, source_ref
from canarycore_mesh._objects import copy_metadata, list_headers, make_object, refuse, weighs_matching
from canarycore_mesh._queries import built_in_queries, mean, success_rate
from canarycore_runtime.mesh import GITOPS_OPT_OUT, Mesh

if TYPE_CHECKING:
    from canarycore_runtime.mesh import Json, ObjectsByRef, Queries, Ref, RenderContext

_INGRESS = ('namespace="{{ namespace }}"', 'ingress="{{ ingress }}"', 'canary!=""')
_NO_ERROR = 'status!~"5.*"'
_TIMES = "nginx_ingress_controller_response_duration_seconds"

_COOKIE = "cookie"
_VALUES = {"exact": "canary-by-header-value", "regex": "canary-by-header-pattern"}


class Nginx(Mesh):
    """Provider `nginx`."""

    queries: Queries = built_in_queries(
        success_rate("nginx_ingress_controller_requests", *_INGRESS, _NO_ERROR, good=_NO_ERROR),
        mean(f"{_TIMES}_sum", f"{_TIMES}_count", *_INGRESS),
    )

    proxy_delay: float = 6.7
    """ingress-nginx syncs every 3.3 s (`--sync-rate-limit`), and a sync under way may bring the old routes."""

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return source_ref(context), copy_ref(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        spec = copy_spec(context, objects, lambda paths: [_to_canary(context, path) for path in paths])
        metadata = copy_metadata(objects[source_ref(context)], without=_annotation(context, "canary"))
        metadata["annotations"] |= GITOPS_OPT_OUT | _annotations(context, routes)
        return (make_object(context, copy_ref(context).kind, copy_ref(context).name, spec, metadata),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        annotations = get_texts(objects.get(copy_ref(context)), "metadata", "annotations")
        weight = parse_percent(annotations.get(_annotation(context, "canary-weight"), ""))
        if weight is None:
            return None
        matched = any(_annotation(context, name) in annotations for name in ("canary-by-header", "canary-by-cookie"))
        return Routes(weight=weight, matched=matched)


def _to_canary(context: RenderContext, path: Json) -> Json:
    return replace_backend(path, context.canary_service) if is_backend(path, context.apex) else path


def _annotations(context: RenderContext, routes: Routes) -> dict[str, str]:
    if routes.weight and weighs_matching(context):
        refuse(
            context,
            "weights together with match",
            "one of them: nginx applies weights only to requests that do not match",
            context.match_path,
            "Give iterations in place of stepWeight, or remove match.",
        )
    annotations = {"canary": "true", "canary-weight": str(routes.weight)}
    if routes.matched:
        annotations |= _conditions(context, routes)
    return {_annotation(context, name): value for name, value in annotations.items()}


def _conditions(context: RenderContext, routes: Routes) -> dict[str, str]:
    """Return the last header condition and the last cookie condition. NGINX supports one of each."""
    header: dict[str, str] = {}
    cookie: dict[str, str] = {}
    for name, kind, text in list_headers(context, routes, *_VALUES):
        if name != _COOKIE:
            header = {"canary-by-header": name, _VALUES[kind]: text}
        elif kind == "exact":
            cookie = {"canary-by-cookie": text}
        else:
            refuse(
                context,
                f"a cookie matched by {kind}",
                "exact with the cookie's name: nginx itself matches the value `always`",
                context.match_path,
                "Write exact: followed by the name of the cookie.",
            )
    return header | cookie


def _annotation(context: RenderContext, name: str) -> str:
    return f"{context.ingress_prefix}/{name}"
