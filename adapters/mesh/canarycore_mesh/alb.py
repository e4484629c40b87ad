"""AWS Application Load Balancer: a forward action with two weighted target groups, in the owner's Ingress.

A path whose backend has the port name `use-annotation` leads where the annotation `actions.NAME` says, NAME being the
backend's Service. The owner's path names the app's Service, so its action is ours. Conditions need a path of their own:
it stands before the owner's, because the load balancer takes the first of two equal paths.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from attrs import frozen

from canarycore import Routes
from canarycore.foreign import get_items, get_list, get_mapping, get_text, get_texts, parse_json
from canarycore_mesh._ingress import INGRESS, PATH, is_backend, replace_backend, source_ref
from canarycore_mesh._objects import (
    default_weight,
    list_headers,
    make_object,
    matching_weight,
    read_routes,
    read_split,
    refuse,
    require,
)
from canarycore_mesh.kubernetes import APP_QUERIES, SECONDS
from canarycore_runtime.mesh import GITOPS_OPT_OUT, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canarycore_runtime.mesh import Json, Kind, ObjectsByRef, Queries, Ref, RenderContext

_PREFIX = "alb.ingress.kubernetes.io"
_BY_ANNOTATION = "use-annotation"
_FORWARD = "forward"
_PATTERNS = {"exact": "{}", "prefix": "{}*", "suffix": "*{}"}
_WILDCARDS = frozenset("*?")


class Alb(Mesh):
    """Provider `alb`."""

    queries: Queries = APP_QUERIES
    """The load balancer reports to CloudWatch alone, so the built-in metrics ask the app's own."""

    milliseconds = SECONDS

    proxy_delay: float = 20.0
    """The load balancer controller calls the AWS API after a change, which spreads the rule to all nodes within seconds
    and promises no bound."""

    shared: frozenset[Kind] = frozenset({INGRESS})

    def refs(self, context: RenderContext) -> tuple[Ref, ...]:
        return (source_ref(context),)

    def is_route(self, context: RenderContext, ref: Ref) -> bool:
        """Check whether the object is the Ingress, which its owner made."""
        return ref == source_ref(context)

    def render(self, context: RenderContext, routes: Routes, objects: ObjectsByRef) -> tuple[Json, ...]:
        ingress = require(context, objects, source_ref(context), PATH)
        _demand_path(context, ingress)
        annotations = {**GITOPS_OPT_OUT, **_annotations(context, routes, ingress)}
        rules = _rules(context, ingress, is_matching=bool(context.match))
        spec = {} if rules == get_list(ingress, "spec", "rules") and not context.match else {"rules": rules}
        return (make_object(context, INGRESS, source_ref(context).name, spec, {"annotations": annotations}),)

    def routes(self, context: RenderContext, objects: ObjectsByRef) -> Routes | None:
        ingress = objects.get(source_ref(context))
        names = [context.apex]
        if any(_leads_to(path, context.canary_service) for path in _paths(ingress)):
            names.insert(0, context.canary_service)
        return read_routes(context, [_read_action(ingress, name).weights for name in names])

    def release(self, context: RenderContext, body: Json) -> Json:
        """Return the Ingress with a forward action to the app's Service alone, and without the path of conditions."""
        before = get_texts(body, "metadata", "annotations")
        own = {_actions(context.canary_service), _conditions(context.canary_service)}
        annotations = {name: text for name, text in before.items() if name not in own}
        if _actions(context.apex) in annotations:
            action = _read_action(body, context.apex)
            annotations[_actions(context.apex)] = _format_action(context, action, {context.apex: 100})
        spec = {**get_mapping(body, "spec"), "rules": _rules(context, body, is_matching=False)}
        return {**body, "metadata": {**body["metadata"], "annotations": annotations}, "spec": spec}


def _annotations(context: RenderContext, routes: Routes, ingress: Json) -> dict[str, str]:
    """Return the actions of both rules and the conditions of the first one."""
    action = _own_action(context, ingress)
    if not context.match:
        return {_actions(context.apex): _format_split(context, action, routes.weight)}
    return {
        _actions(context.apex): _format_split(context, action, default_weight(context, routes)),
        _actions(context.canary_service): _format_split(context, action, matching_weight(context, routes)),
        _conditions(context.canary_service): _dump([*_header_conditions(context, routes)]),
    }


def _own_action(context: RenderContext, ingress: Json) -> _Action:
    """Return the owner's action. Raises Refused for one that does more than lead to the app."""
    action = _read_action(ingress, context.apex)
    others = {name for name, _ in action.weights} - {context.apex, context.primary, context.canary_service}
    other = action.type if action.type not in ("", _FORWARD) else action.arn and "targetGroupARN"
    if others or other:
        refuse(
            context,
            f"the annotation {_actions(context.apex)} with {other or 'the target group ' + min(others)}",
            f"a forward action to the Service {context.apex} alone",
            PATH,
            "Correct or remove the annotation.",
        )
    return action


def _header_conditions(context: RenderContext, routes: Routes) -> Iterator[Json]:
    """Yield the header conditions, all of which must hold. The load balancer compares values without regard to case."""
    for name, kind, text in list_headers(context, routes, *_PATTERNS):
        if _WILDCARDS & set(text):
            refuse(
                context,
                f"the header {name!r} with the value {text!r}",
                "a value without * and ?, which are wildcards to the load balancer",
                context.match_path,
                "Write the condition in another way.",
            )
        values = [_PATTERNS[kind].format(text)]
        yield {"field": "http-header", "httpHeaderConfig": {"httpHeaderName": name, "values": values}}


# the Ingress --------------------------------------------------------------------------------------------------------


def _demand_path(context: RenderContext, ingress: Json) -> None:
    """Raise Refused where no path, or with conditions not even a default backend, leads to our action."""
    default = {"backend": get_mapping(ingress, "spec", "defaultBackend")}
    paths = [*_paths(ingress), *([] if context.match else [default])]
    if any(_leads_to(path, context.apex) for path in paths):
        return
    refuse(
        context,
        f"no path to the Service {context.apex} with the port name {_BY_ANNOTATION} in the Ingress "
        f"{source_ref(context).name}",
        "one: the load balancer follows an action only from such a path",
        PATH,
        f"Give a path the backend service: {{name: {context.apex}, port: {{name: {_BY_ANNOTATION}}}}}.",
    )


def _rules(context: RenderContext, ingress: Json, *, is_matching: bool) -> list[Json]:
    """Return the owner's rules, and before each path to the app one with conditions, if `is_matching`."""
    return [_rule(context, rule, is_matching=is_matching) for rule in get_list(ingress, "spec", "rules")]


def _rule(context: RenderContext, rule: Json, *, is_matching: bool) -> Json:
    owned = [path for path in get_items(rule, "http", "paths") if not _leads_to(path, context.canary_service)]
    if not owned:
        return rule
    paths: list[Json] = []
    for path in owned:
        if is_matching and _leads_to(path, context.apex):
            paths.append(replace_backend(path, context.canary_service))
        paths.append(path)
    return {**rule, "http": {**rule["http"], "paths": paths}}


def _paths(ingress: Json | None) -> list[Json]:
    return [path for rule in get_items(ingress, "spec", "rules") for path in get_items(rule, "http", "paths")]


def _leads_to(path: Json, name: str) -> bool:
    """Check whether a path follows the action of that name."""
    return is_backend(path, name) and get_text(path, "backend", "service", "port", "name") == _BY_ANNOTATION


# actions ------------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class _Action:
    """The parts of an action that matter here."""

    type: str = ""
    """Empty where the Ingress has no action of the name, or one that cannot be read."""
    arn: str = ""
    """The target group outside the cluster to which the action forwards."""
    weights: tuple[tuple[str, Any], ...] = ()
    """The Service and the weight of each target group. A group outside the cluster has an empty name."""
    stickiness: tuple[tuple[str, bool | int], ...] = ()
    """The owner's settings that keep a client on a target group."""


def _read_action(ingress: Json | None, name: str) -> _Action:
    action = _fields(parse_json(get_texts(ingress, "metadata", "annotations").get(_actions(name), "")))
    forward = _fields(action.get("forwardconfig"))
    stickiness = _fields(forward.get("targetgroupstickinessconfig"))
    groups = map(_fields, get_list(forward, "targetgroups"))
    return _Action(
        type=get_text(action, "type"),
        arn=get_text(action, "targetgrouparn"),
        weights=tuple(read_split(groups, "servicename")),
        stickiness=tuple((name, stickiness[name.lower()]) for name in _STICKINESS if _is_plain(stickiness, name)),
    )


_STICKINESS = ("enabled", "durationSeconds")


def _is_plain(fields: Json, name: str) -> bool:
    return isinstance(fields.get(name.lower()), int)


def _fields(value: object) -> Json:
    """Return a JSON object's fields by their names in lower case, as the load balancer controller ignores the case."""
    return {name.lower(): item for name, item in value.items()} if isinstance(value, dict) else {}


def _format_split(context: RenderContext, action: _Action, weight: int) -> str:
    """Return the action that gives the canary this weight. Both sides stay, so that both have checked targets."""
    return _format_action(context, action, {context.primary: 100 - weight, context.canary_service: weight})


def _format_action(context: RenderContext, before: _Action, weights: Mapping[str, int]) -> str:
    """Return a forward action with these weights and the owner's stickiness."""
    groups = [
        {"serviceName": name, "servicePort": context.port, "weight": percent} for name, percent in weights.items()
    ]
    stickiness = {"targetGroupStickinessConfig": dict(before.stickiness)} if before.stickiness else {}
    return _dump({"type": _FORWARD, "forwardConfig": {"targetGroups": groups, **stickiness}})


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _actions(name: str) -> str:
    return f"{_PREFIX}/actions.{name}"


def _conditions(name: str) -> str:
    return f"{_PREFIX}/conditions.{name}"
