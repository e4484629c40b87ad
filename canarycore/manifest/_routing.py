"""What each routing system can do: one row per provider.

Used by the linter only; how a provider is driven is its adapter's affair.
"""

from __future__ import annotations

from attrs import frozen

EXACT_PREFIX_REGEX = ("exact", "prefix", "regex")
EXACT_REGEX = ("exact", "regex")
ALL_KINDS = ("exact", "prefix", "suffix", "regex")


@frozen(kw_only=True)
class Routing:
    """What a provider can do.

    weights: split by percent. blue_green: send all to the canary. matches: which kinds of header match it knows, ()
    means no A/B test. alternatives: several match entries are alternatives; otherwise they are merged into one
    condition, all of which must hold. lower_case: header names must be written in lower case. mirror: copy requests.
    affinity: session cookies. needs: the field of the spec without which it does nothing.
    """

    weights: bool = True
    blue_green: bool = True
    matches: tuple[str, ...] = ()
    alternatives: bool = False
    lower_case: bool = False
    mirror: bool = False
    affinity: bool = False
    needs: str = ""


SPLIT_ONLY = Routing()
_GATEWAY_API = Routing(
    matches=EXACT_REGEX, alternatives=True, mirror=True, affinity=True, needs="spec.service.gatewayRefs"
)
_APP_MESH = Routing(matches=ALL_KINDS)

ROUTING: dict[str, Routing] = {
    "istio": Routing(matches=EXACT_PREFIX_REGEX, alternatives=True, lower_case=True, mirror=True, affinity=True),
    "gatewayapi:v1": _GATEWAY_API,
    "gatewayapi:v1beta1": _GATEWAY_API,
    "appmesh": _APP_MESH,
    "appmesh:v1beta2": _APP_MESH,
    "contour": Routing(matches=("exact", "prefix", "suffix")),
    "gloo": Routing(matches=EXACT_REGEX),
    "nginx": Routing(matches=EXACT_REGEX, alternatives=True, needs="spec.ingressRef"),
    "skipper": Routing(needs="spec.ingressRef"),
    "apisix": Routing(needs="spec.routeRef"),
    "linkerd": SPLIT_ONLY,
    "osm": SPLIT_ONLY,
    "smi:v1alpha1": SPLIT_ONLY,
    "smi:v1alpha2": SPLIT_ONLY,
    "smi:v1alpha3": SPLIT_ONLY,
    "kuma": SPLIT_ONLY,
    "traefik": SPLIT_ONLY,
    "knative": Routing(blue_green=False),
    "kubernetes": Routing(weights=False),
}
