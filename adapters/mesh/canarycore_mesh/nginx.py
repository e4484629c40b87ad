"""NGINX ingress: a copy of the owner's Ingress, which the controller treats as its canary by annotations.

A canary Ingress takes requests by header, by cookie or by weight from the one it is a copy of, in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.foreign import get_texts, parse_percent
from canarycore_mesh._ingress import copied_spec, copy, leads_to, led_to, source
from canarycore_mesh._objects import among_matching, copied_metadata, known_headers, refuse, rendered
from canarycore_mesh._queries import built_in, mean, success_rate
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

    queries: Queries = built_in(
        success_rate("nginx_ingress_controller_requests", *_INGRESS, _NO_ERROR, good=_NO_ERROR),
        mean(f"{_TIMES}_sum", f"{_TIMES}_count", *_INGRESS),
    )

    def refs(self, asked: RenderContext) -> tuple[Ref, ...]:
        return source(asked), copy(asked)

    def render(self, asked: RenderContext, routes: Routes, found: ObjectsByRef) -> tuple[Json, ...]:
        spec = copied_spec(asked, found, lambda paths: [_to_canary(asked, path) for path in paths])
        metadata = copied_metadata(found[source(asked)], without=_annotation(asked, "canary"))
        metadata["annotations"] |= GITOPS_OPT_OUT | _annotations(asked, routes)
        return (rendered(asked, copy(asked).kind, copy(asked).name, spec, metadata),)

    def routes(self, asked: RenderContext, found: ObjectsByRef) -> Routes | None:
        annotations = get_texts(found.get(copy(asked)), "metadata", "annotations")
        weight = parse_percent(annotations.get(_annotation(asked, "canary-weight"), ""))
        if weight is None:
            return None
        matched = any(_annotation(asked, name) in annotations for name in ("canary-by-header", "canary-by-cookie"))
        return Routes(weight=weight, matched=matched)


def _to_canary(asked: RenderContext, path: Json) -> Json:
    return led_to(path, asked.canary_service) if leads_to(path, asked.apex) else path


def _annotations(asked: RenderContext, routes: Routes) -> dict[str, str]:
    if routes.weight and among_matching(asked):
        refuse(
            asked,
            "weights together with match",
            "one of them: nginx weighs what does not match, and no other",
            f"{asked.canary.analysis_path}.match",
            "Give iterations in place of stepWeight, or remove match.",
        )
    found = {"canary": "true", "canary-weight": str(routes.weight)}
    if routes.matched:
        found |= _conditions(asked)
    return {_annotation(asked, name): value for name, value in found.items()}


def _conditions(asked: RenderContext) -> dict[str, str]:
    """One header and one cookie: there is room for no more, and the last one counts."""
    found: dict[str, str] = {}
    for name, kind, text in known_headers(asked, *_VALUES):
        if name != _COOKIE:
            found = {key: value for key, value in found.items() if key not in _VALUES.values()}
            found |= {"canary-by-header": name, _VALUES[kind]: text}
        elif kind == "exact":
            found["canary-by-cookie"] = text
        else:
            refuse(
                asked,
                f"a cookie matched by {kind}",
                "exact with the cookie's name: nginx looks at the value `always` itself",
                f"{asked.canary.analysis_path}.match",
                "Write exact: followed by the name of the cookie.",
            )
    return found


def _annotation(asked: RenderContext, name: str) -> str:
    return f"{asked.ingress_prefix}/{name}"
