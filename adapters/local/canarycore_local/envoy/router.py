"""The port Router: where requests go, as Envoy routes.

Envoy takes the first route that matches. From the top:

    test             requests with the header x-canary-test      -> canary
    sticky-canary    the session cookie of this rollout          -> canary
    sticky-primary   the primary's session cookie, if one is set -> primary
    expired          the cookie of a rollout that is over        -> by weight, and the cookie is taken back
    match-0, ...     the rollout's match conditions              -> canary
    default          everything                                  -> by weight, copied to the canary while mirrored

Every answer says who gave it: `x-canary-version` is `primary` or `canary`, `x-canary-revision` the revision.
What is observed is read back from the routes in force, by their names.
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
"""Sends a request straight to the canary, as a mesh's service of its own for the canary does."""

_COOKIE_KEY = ("canarycore", "cookie")
_ANY = {"prefix": "/"}

# as meshes do: a request that has reached nobody may be sent again without harm
_RETRIES = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
_TO_CANARY = 100


class EnvoyRouter:
    """Routes requests between the primary and the canary of one Envoy."""

    def __init__(self, envoy: Envoy) -> None:
        self._envoy = envoy

    async def observe(self, rollout: Rollout) -> Routes | None:
        """The routes in force; None before the first were set and after they were given back."""
        return _read(await self._envoy.routes())

    async def set_routes(self, rollout: Rollout, routes: Routes) -> None:
        """Route so; returns when it is in force."""
        await self._envoy.set_routes(_write(rollout, routes))

    async def restore(self, rollout: Rollout) -> None:
        """Send everything to the target, as if there had been no rollout; then there are no routes of ours."""
        await self._envoy.set_routes([_named("given-back", _ANY, _split(_TO_CANARY))])


def _write(rollout: Rollout, routes: Routes) -> list[Json]:
    affinity = rollout.affinity
    found = [_named("test", {**_ANY, "headers": [{"name": TEST_HEADER, "present_match": True}]}, _split(_TO_CANARY))]
    if affinity and routes.cookie and routes.weight > 0:
        found.append(_named("sticky-canary", _cookie(affinity.cookie_name, routes.cookie), _split(_TO_CANARY)))
        if affinity.primary_cookie_name:
            found.append(_named("sticky-primary", _cookie(affinity.primary_cookie_name, routes.cookie), _split(0)))
    if affinity and routes.expired:
        taken_back = _named("expired", _cookie(affinity.cookie_name, routes.expired), _split(routes.weight))
        taken_back["response_headers_to_add"] = [_set_cookie(f"{affinity.cookie_name}={routes.expired}; Max-Age=-1")]
        found.append(_remember(taken_back, routes.expired))
    if routes.matched:
        found += [_named(f"match-{n}", _match(one), _split(_TO_CANARY)) for n, one in enumerate(rollout.match)]
    return [*found, _default(rollout, routes)]


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
        cookie=_remembered(by_name["default"]),
        expired=_remembered(by_name.get("expired", {})),
    )


def _default(rollout: Rollout, routes: Routes) -> Json:
    affinity, issued = rollout.affinity, {}
    if affinity and routes.cookie and routes.weight > 0:
        issued[EnvoySide.CANARY] = _issue(affinity, affinity.cookie_name, routes.cookie, affinity.max_age)
        if affinity.primary_cookie_name:  # it lasts one interval: at each step some may move on to the canary
            issued[EnvoySide.PRIMARY] = _issue(
                affinity, affinity.primary_cookie_name, routes.cookie, max(1, round(rollout.interval))
            )
    action = _split(routes.weight, issued)
    if routes.mirrored:
        share = {"default_value": {"numerator": rollout.mirror_weight, "denominator": "HUNDRED"}}
        action["request_mirror_policies"] = [{"cluster": EnvoySide.CANARY.value, "runtime_fraction": share}]
    return _remember(_named("default", _ANY, action), routes.cookie)


def _named(name: str, match: Json, action: Json) -> Json:
    return {"name": name, "match": match, "route": action}


def _split(weight: int, issued: dict[EnvoySide, str] | None = None) -> Json:
    weights = {EnvoySide.PRIMARY: 100 - weight, EnvoySide.CANARY: weight}
    clusters = [_share(side, weights[side], (issued or {}).get(side)) for side in EnvoySide]
    return {"weighted_clusters": {"clusters": clusters}, "retry_policy": _RETRIES}


def _share(side: EnvoySide, weight: int, cookie: str | None) -> Json:
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
    attributes = [text for text, wanted in flags.items() if wanted]
    return "; ".join([f"{name}={value}", f"Max-Age={max_age}", *attributes])


def _cookie(name: str, value: str) -> Json:
    regex = rf"(.*;\s*)?{re.escape(name)}={re.escape(value)}(\s*;.*)?"
    return {**_ANY, "headers": [_matcher("cookie", StringMatch(kind="regex", value=regex))]}


def _match(match: Match) -> Json:
    headers = [_matcher(name, string) for name, string in match.headers]
    headers += [{**_matcher(name, string), **_WITHOUT} for name, string in match.without]
    path = _ANY if match.uri is None else _PATHS[match.uri.kind](match.uri.value)
    return {**path, "headers": headers}


_WITHOUT = {"invert_match": True, "treat_missing_header_as_empty": True}


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


def _remember(route: Json, cookie: str) -> Json:
    namespace, key = _COOKIE_KEY
    return {**route, "metadata": {"filter_metadata": {namespace: {key: cookie}}}}


def _remembered(route: Json) -> str:
    namespace, key = _COOKIE_KEY
    cookie: str = route.get("metadata", {}).get("filter_metadata", {}).get(namespace, {}).get(key, "")
    return cookie
