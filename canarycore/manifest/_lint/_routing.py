"""Lint rules about routing: what the chosen provider cannot do, and what it does in a way of its own."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore._ladder import Strategy
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._reader._fields import nearest
from canarycore.manifest._reader._path import join
from canarycore.manifest._resolve import UNROUTED
from canarycore.manifest.routing import PROVIDER_CAPABILITIES, ProviderCapabilities
from canarycore.traffic import StringMatch

HEADERS_KEPT = ("headers", "query_params", "source_labels")
"""The fields of a match entry that Flagger's Canary definition keeps."""


def _providers_with(capability: str) -> str:
    """Return the providers that have a capability, for a remedy."""
    return ", ".join(name for name, can in PROVIDER_CAPABILITIES.items() if getattr(can, capability))


def _headers(case: LintContext) -> Iterator[tuple[str, str, StringMatch]]:
    for index, entry in enumerate(case.analysis.match):
        for field, headers in (("headers", entry.headers), ("withoutHeaders", entry.without)):
            for name, match in headers:
                yield case.at(f"match[{index}].{field}"), name, match


def _ab(case: LintContext) -> ProviderCapabilities | None:
    """The provider of an A/B test, where it is known."""
    return case.routing if case.strategy is Strategy.AB else None


def _unknown_provider(case: LintContext) -> Iterator[Finding]:
    if case.routing is None:
        near = nearest(case.provider, PROVIDER_CAPABILITIES)
        hint = f"Did you mean {near!r}?" if near else "Install the adapter of that name."
        yield Finding("spec.provider", repr(case.provider), {"known": ", ".join(PROVIDER_CAPABILITIES), "hint": hint})


def _no_match(case: LintContext) -> Iterator[Finding]:
    routing = _ab(case)
    if routing and not routing.matches:
        yield Finding(case.at("match"), f"an A/B test on {case.provider}", {"can": _providers_with("matches")})


def _unrouted_match(case: LintContext) -> Iterator[Finding]:
    if case.analysis.match and case.provider == UNROUTED:
        yield Finding(case.at("match"), "an A/B test on kubernetes")


def _no_kind(case: LintContext) -> Iterator[Finding]:
    routing = _ab(case)
    if not routing or not routing.matches:
        return
    for path, name, match in _headers(case):
        if match.kind not in routing.matches:
            words = {"provider": case.provider, "kinds": ", ".join(routing.matches)}
            yield Finding(join(path, name), f"a match by {match.kind}", words)


def _cookie_on_nginx(case: LintContext) -> Iterator[Finding]:
    for path, name, match in _headers(case) if case.provider == "nginx" and _ab(case) else ():
        if name == "cookie" and match.kind != "exact":
            yield Finding(join(path, name), f"a cookie by {match.kind}")


def _headers_on_nginx(case: LintContext) -> Iterator[Finding]:
    names = [name for _, name, _ in _headers(case) if name != "cookie"]
    if case.provider == "nginx" and _ab(case) and len(names) > 1:
        yield Finding(case.at("match"), f"{len(names)} headers")


def _merged(case: LintContext) -> Iterator[Finding]:
    routing = _ab(case)
    if routing and routing.matches and not routing.alternatives and len(case.analysis.match) > 1:
        words = {"provider": case.provider}
        yield Finding(case.at("match"), f"{len(case.analysis.match)} match entries", words)


def _upper_case(case: LintContext) -> Iterator[Finding]:
    routing = _ab(case)
    for path, name, _ in _headers(case) if routing and routing.lower_case else ():
        if name != name.lower():
            words = {"provider": case.provider, "lower": name.lower()}
            yield Finding(join(path, name), f"the header name {name!r}", words)


def _matches_all(case: LintContext) -> Iterator[Finding]:
    for index, entry in enumerate(case.analysis.match):
        if case.strategy is Strategy.AB and not any(
            getattr(entry, name)
            for name in (*HEADERS_KEPT, "without", "uri", "method", "scheme", "authority", "source_namespace")
        ):
            yield Finding(case.at(f"match[{index}]"), "an entry without a condition")


def _dropped_match(case: LintContext) -> Iterator[Finding]:
    for index, entry in enumerate(case.analysis.match):
        for name, value in (("withoutHeaders", entry.without), ("uri", entry.uri), ("method", entry.method)):
            if value:
                yield Finding(case.at(f"match[{index}].{name}"), f"a match by {name}")


def _no_mirror(case: LintContext) -> Iterator[Finding]:
    if case.analysis.mirror and case.routing and not case.routing.mirror:
        yield Finding(case.at("mirror"), f"mirroring on {case.provider}", {"can": _providers_with("mirror")})


def _mirror_ignored(case: LintContext) -> Iterator[Finding]:
    if case.analysis.mirror and case.strategy is Strategy.AB:
        yield Finding(case.at("mirror"), "mirroring in an A/B test")


def _mirror_weight_ignored(case: LintContext) -> Iterator[Finding]:
    if case.analysis.mirror_weight and not case.analysis.mirror:
        yield Finding(case.at("mirrorWeight"), "mirrorWeight without mirror")


def _no_affinity(case: LintContext) -> Iterator[Finding]:
    if case.analysis.session_affinity and case.routing and not case.routing.affinity:
        yield Finding(
            case.at("sessionAffinity"), f"session affinity on {case.provider}", {"can": _providers_with("affinity")}
        )


def _affinity_ignored(case: LintContext) -> Iterator[Finding]:
    if case.analysis.session_affinity and case.strategy is not Strategy.WEIGHTS:
        yield Finding(case.at("sessionAffinity"), f"session affinity with {case.strategy.value}")


def _same_cookie(case: LintContext) -> Iterator[Finding]:
    affinity = case.analysis.session_affinity
    if affinity and affinity.cookie_name == affinity.primary_cookie_name:
        yield Finding(case.at("sessionAffinity.primaryCookieName"), f"the same cookie {affinity.cookie_name!r} twice")


def _no_blue_green(case: LintContext) -> Iterator[Finding]:
    if case.strategy is Strategy.BLUE_GREEN and case.routing and not case.routing.blue_green:
        yield Finding(case.at("iterations"), f"blue/green on {case.provider}")


def _missing_reference(case: LintContext) -> Iterator[Finding]:
    spec, needs = case.canary.spec, case.routing.needs if case.routing else ""
    present = {
        "spec.ingressRef": spec.ingress_ref,
        "spec.routeRef": spec.route_ref,
        "spec.service.gatewayRefs": spec.service and spec.service.gateway_refs,
    }
    if needs and not present[needs]:
        yield Finding(needs, "nothing", {"provider": case.provider, "needs": needs})


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "unknown-provider",
        "warning",
        _unknown_provider,
        "one of {known}: Flagger's Canary definition refuses others",
        "{hint}",
    ),
    LintRule("no-ab-routing", "error", _no_match, "a provider that can match headers: {can}", "Use weights instead."),
    LintRule(
        "unrouted-match",
        "warning",
        _unrouted_match,
        "no match: the provider kubernetes cannot route by header, so it is dropped",
        "Remove match, or choose a provider that routes.",
    ),
    LintRule(
        "match-kind",
        "error",
        _no_kind,
        "one of {kinds}, which are what {provider} knows",
        "Write the condition in another way.",
    ),
    LintRule(
        "nginx-cookie",
        "error",
        _cookie_on_nginx,
        "exact with the cookie's name: nginx looks at the value `always` itself",
        "Write exact: followed by the name of the cookie.",
    ),
    LintRule(
        "nginx-headers",
        "warning",
        _headers_on_nginx,
        "one header and one cookie at most: nginx has room for no more, and the last one counts",
        "Keep one header.",
    ),
    LintRule(
        "merged-match",
        "warning",
        _merged,
        "one entry: {provider} merges them into one condition, so that a request must meet all of them",
        "Keep one entry, or test the alternatives one after the other.",
    ),
    LintRule(
        "header-case",
        "warning",
        _upper_case,
        "lower case: {provider} does not match header names with capitals",
        "Write {lower}.",
    ),
    LintRule(
        "match-everything",
        "error",
        _matches_all,
        "headers: as it is every request goes to the canary",
        "Add headers to the entry or remove it.",
    ),
    LintRule(
        "dropped-match",
        "warning",
        _dropped_match,
        "headers: Flagger's Canary definition drops everything else but queryParams and sourceLabels",
        "Express it by headers.",
    ),
    LintRule(
        "no-mirror",
        "error",
        _no_mirror,
        "a provider that can copy requests: {can}",
        "Remove mirror: its step would check a canary without traffic.",
    ),
    LintRule("mirror-ignored", "warning", _mirror_ignored, "no mirror: an A/B test ignores it", "Remove it."),
    LintRule(
        "mirror-weight-ignored",
        "warning",
        _mirror_weight_ignored,
        "mirror: true as well: alone it does nothing",
        "Add mirror: true or remove it.",
    ),
    LintRule(
        "no-affinity",
        "error",
        _no_affinity,
        "a provider that can set session cookies: {can}",
        "Remove sessionAffinity: users would go back and forth between the versions.",
    ),
    LintRule(
        "affinity-ignored",
        "warning",
        _affinity_ignored,
        "a climb by weights: nowhere else are there sessions to keep",
        "Remove sessionAffinity.",
    ),
    LintRule("same-cookie", "error", _same_cookie, "two different cookies", "Rename one of them."),
    LintRule("no-blue-green", "warning", _no_blue_green, "weights, which are all it knows", "Use stepWeight."),
    LintRule(
        "missing-reference",
        "error",
        _missing_reference,
        "{needs}: without it the provider {provider} has no route to change",
        "Add it.",
    ),
)
