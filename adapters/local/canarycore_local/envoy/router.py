"""The port Router: Envoy routes.

Envoy takes the first route that matches. From the top:

    test             requests with the header x-canary-test      -> canary
    sticky-canary    the session cookie of this rollout          -> canary
    sticky-primary   the primary's session cookie, if one is set -> primary
    expired          the cookie of an ended rollout              -> by weight, and the answer expires the cookie
    match-0, ...     the conditions of the rollout or its step   -> canary
    default          all requests                                -> by weight, with copies to the canary while mirrored

Every answer names its responder: `x-canary-version` is `primary` or `canary`, `x-canary-revision` the revision.
Observations come from the names of the routes in force.
"""

# ruff: noqa: ARG002 - a port's methods take what the port says

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from canarycore import Routes
from canarycore.traffic import StringMatch
from canarycore_local.envoy.proxy import REVISION_KEY, EnvoySide

if TYPE_CHECKING:
    from collections.abc import Callable

    from canarycore import Rollout
    from canarycore.traffic import Affinity, Match
    from canarycore_local.envoy.proxy import Envoy, Json

VERSION_HEADER = "x-canary-version"
REVISION_HEADER = "x-canary-revision"

TEST_HEADER = "x-canary-test"
"""The header that sends a request straight to the canary, as the canary's own Service does in a mesh."""

_COOKIE_KEY = ("canarycore", "cookie")
_ANY = {"prefix": "/"}

# as meshes do: a request that reached no process is safe to retry
_RETRIES = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
_TO_CANARY = 100


class EnvoyRouter:
    """A router between the primary and the canary of one Envoy."""

    def __init__(self, envoy: Envoy) -> None:
        self._envoy = envoy

    async def observe(self, rollout: Rollout) -> Routes | None:
        """Return the routes in force; None before the first `set_routes` and after `restore`."""
        return _read(await self._envoy.routes())

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Set the routes. Returns once they are in force."""
        await self._envoy.set_routes(_write(rollout, routes))

    async def restore(self, rollout: Rollout) -> None:
        """Send all requests to the target, as without a rollout."""
        await self._envoy.set_routes([_named("given-back", _ANY, _split(_TO_CANARY))])


def _write(rollout: Rollout, routes: Routes) -> list[Json]:
    affinity = rollout.affinity
    result = [_named("test", {**_ANY, "headers": [{"name": TEST_HEADER, "present_match": True}]}, _split(_TO_CANARY))]
    if affinity and routes.cookie and routes.weight > 0:
        result.append(_named("sticky-canary", _cookie(affinity.cookie_name, routes.cookie), _split(_TO_CANARY)))
        if affinity.primary_cookie_name:
            result.append(_named("sticky-primary", _cookie(affinity.primary_cookie_name, routes.cookie), _split(0)))
    if affinity and routes.expired:
        expired_route = _named("expired", _cookie(affinity.cookie_name, routes.expired), _split(routes.weight))
        expired_route["response_headers_to_add"] = [_set_cookie(f"{affinity.cookie_name}={routes.expired}; Max-Age=-1")]
        result.append(_with_cookie(expired_route, routes.expired))
    if routes.matched:
        result += [
            _named(f"match-{number}", _match(match), _split(_TO_CANARY))
            for number, match in enumerate(rollout.match_on(routes))
        ]
    return [*result, _default(rollout, routes)]


def _read(routes: list[Json]) -> Routes | None:
    by_name = {route.get("name", ""): route for route in routes}
    if "default" not in by_name:
        return None
    clusters = by_name["default"]["route"]["weighted_clusters"]["clusters"]
    weights = {cluster["name"]: cluster.get("weight", 0) for cluster in clusters}
    return Routes(
        weight=weights[EnvoySide.CANARY.value],
        mirrored="request_mirror_policies" in by_name["default"]["route"],
        matched="match-0" in by_name,
        cookie=_read_cookie(by_name["default"]),
        expired=_read_cookie(by_name.get("expired", {})),
    )


def _default(rollout: Rollout, routes: Routes) -> Json:
    affinity, issued = rollout.affinity, {}
    if affinity and routes.cookie and routes.weight > 0:
        issued[EnvoySide.CANARY] = _issue(affinity, affinity.cookie_name, routes.cookie, affinity.max_age)
        if affinity.primary_cookie_name:  # one interval long, so that at each step some users may move to the canary
            issued[EnvoySide.PRIMARY] = _issue(
                affinity, affinity.primary_cookie_name, routes.cookie, max(1, round(rollout.interval))
            )
    action = _split(routes.weight, issued)
    if routes.mirrored:
        fraction = {"default_value": {"numerator": rollout.mirror_on(routes), "denominator": "HUNDRED"}}
        action["request_mirror_policies"] = [{"cluster": EnvoySide.CANARY.value, "runtime_fraction": fraction}]
    return _with_cookie(_named("default", _ANY, action), routes.cookie)


def _named(name: str, match: Json, action: Json) -> Json:
    return {"name": name, "match": match, "route": action}


def _split(weight: int, issued: dict[EnvoySide, str] | None = None) -> Json:
    weights = {EnvoySide.PRIMARY: 100 - weight, EnvoySide.CANARY: weight}
    clusters = [_cluster(side, weights[side], (issued or {}).get(side)) for side in EnvoySide]
    return {"weighted_clusters": {"clusters": clusters}, "retry_policy": _RETRIES}


def _cluster(side: EnvoySide, weight: int, cookie: str | None) -> Json:
    headers = [
        _header(VERSION_HEADER, side.value),
        _header(REVISION_HEADER, f"%UPSTREAM_METADATA({':'.join(REVISION_KEY)})%"),
    ]
    if cookie:
        headers.append(_set_cookie(cookie))
    return {"name": side.value, "weight": weight, "response_headers_to_add": headers}


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _set_cookie(cookie: str) -> Json:
    return {"header": {"key": "set-cookie", "value": cookie}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}


def _issue(affinity: Affinity, name: str, value: str, max_age: int) -> str:
    flags = {
        f"Domain={affinity.domain}": affinity.domain,
        "HttpOnly": affinity.http_only,
        "Partitioned": affinity.partitioned,
        f"Path={affinity.path}": affinity.path,
        f"SameSite={affinity.same_site}": affinity.same_site,
        "Secure": affinity.secure,
    }
    attributes = [text for text, is_set in flags.items() if is_set]
    return "; ".join([f"{name}={value}", f"Max-Age={max_age}", *attributes])


def _cookie(name: str, value: str) -> Json:
    regex = rf"(.*;\s*)?{re.escape(name)}={re.escape(value)}(\s*;.*)?"
    return {**_ANY, "headers": [_matcher("cookie", StringMatch(kind="regex", value=regex))]}


def _match(match: Match) -> Json:
    headers = [_matcher(name, string) for name, string in match.headers]
    headers += [{**_matcher(name, string), **_INVERTED} for name, string in match.without]
    path = _ANY if match.uri is None else _PATHS[match.uri.kind](match.uri.value)
    return {**path, "headers": headers}


_INVERTED = {"invert_match": True, "treat_missing_header_as_empty": True}


def _matcher(name: str, string: StringMatch) -> Json:
    return {"name": name, "string_match": _STRINGS[string.kind](string.value)}


_STRINGS: dict[str, Callable[[str], Json]] = {
    "exact": lambda value: {"exact": value},
    "prefix": lambda value: {"prefix": value},
    "suffix": lambda value: {"suffix": value},
    "regex": lambda value: {"safe_regex": {"regex": value}},
}

_PATHS: dict[str, Callable[[str], Json]] = {
    "exact": lambda value: {"path": value},
    "prefix": lambda value: {"prefix": value},
    "suffix": lambda value: {"safe_regex": {"regex": ".*" + re.escape(value)}},
    "regex": lambda value: {"safe_regex": {"regex": value}},
}


def _with_cookie(route: Json, cookie: str) -> Json:
    namespace, key = _COOKIE_KEY
    return {**route, "metadata": {"filter_metadata": {namespace: {key: cookie}}}}


def _read_cookie(route: Json) -> str:
    namespace, key = _COOKIE_KEY
    cookie: str = route.get("metadata", {}).get("filter_metadata", {}).get(namespace, {}).get(key, "")
    return cookie
