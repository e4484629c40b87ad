"""Lint rules about routing: missing capabilities of the provider, and its peculiarities."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from canarycore._ladder import Strategy
from canarycore.manifest._checks._pods import POD_RULES, STATEFUL_RULE, check_pods, check_stateful_set
from canarycore.manifest._checks._routes import check_route_kind, check_route_refs
from canarycore.manifest._lint._rule import Finding, LintContext, LintRule
from canarycore.manifest._reader._path import join
from canarycore.manifest._resolve import UNROUTED
from canarycore.manifest.routing import PROVIDER_CAPABILITIES, ProviderCapabilities
from canarycore.text import nearest
from canarycore.traffic import StringMatch


def _providers_with(capability: str) -> str:
    """Return the providers that have a capability, for a remedy."""
    return ", ".join(name for name, can in PROVIDER_CAPABILITIES.items() if getattr(can, capability))


def _headers(context: LintContext) -> Iterator[tuple[str, str, StringMatch]]:
    for path, conditions in context.canary.matches.items():
        for index, entry in enumerate(conditions):
            for field, headers in (("headers", entry.headers), ("withoutHeaders", entry.without)):
                for name, match in headers:
                    yield f"{path}[{index}].{field}", name, match


def _ab(context: LintContext) -> ProviderCapabilities | None:
    """Return the capabilities of an A/B test's provider, or None for other strategies and unknown providers."""
    return context.routing if context.strategy is Strategy.AB else None


def _matching(context: LintContext) -> ProviderCapabilities | None:
    """Return the capabilities of a provider that sends matching requests to the canary; None where none does so."""
    return context.routing if context.strategy is Strategy.AB or context.ladder.has_matches else None


def _unknown_provider(context: LintContext) -> Iterator[Finding]:
    if context.routing is None:
        known = context.around.installed.all_capabilities()
        near = nearest(context.provider, known)
        hint = f"Did you mean {near!r}?" if near else "Use one of them, or install the adapter of that name."
        yield Finding("spec.provider", repr(context.provider), {"known": ", ".join(known), "hint": hint})


def _ended_provider(context: LintContext) -> Iterator[Finding]:
    if context.routing is not None and context.routing.ended:
        yield Finding("spec.provider", repr(context.provider), {"ended": context.routing.ended})


def _no_match(context: LintContext) -> Iterator[Finding]:
    routing = _ab(context)
    if routing and not routing.matches:
        yield Finding(context.at("match"), f"an A/B test on {context.provider}", {"can": _providers_with("matches")})


def _unrouted_match(context: LintContext) -> Iterator[Finding]:
    if context.analysis.match and context.provider == UNROUTED:
        yield Finding(context.at("match"), "an A/B test on kubernetes")


def _no_kind(context: LintContext) -> Iterator[Finding]:
    routing = _matching(context)
    if not routing or not routing.matches:
        return
    for path, name, match in _headers(context):
        if match.kind not in routing.matches:
            arguments = {"provider": context.provider, "kinds": ", ".join(routing.matches)}
            yield Finding(join(path, name), f"a match by {match.kind}", arguments)


def _cookie_on_nginx(context: LintContext) -> Iterator[Finding]:
    for path, name, match in _headers(context) if context.provider == "nginx" and _matching(context) else ():
        if name == "cookie" and match.kind != "exact":
            yield Finding(join(path, name), f"a cookie by {match.kind}")


def _headers_on_nginx(context: LintContext) -> Iterator[Finding]:
    for path in context.canary.matches if context.provider == "nginx" and _matching(context) else ():
        names = [name for place, name, _ in _headers(context) if name != "cookie" and place.startswith(f"{path}[")]
        if len(names) > 1:
            yield Finding(path, f"{len(names)} headers")


def _merged(context: LintContext) -> Iterator[Finding]:
    routing = _matching(context)
    for path, conditions in context.canary.matches.items():
        if routing and routing.matches and not routing.alternatives and len(conditions) > 1:
            yield Finding(path, f"{len(conditions)} match entries", {"provider": context.provider})


def _upper_case(context: LintContext) -> Iterator[Finding]:
    routing = _matching(context)
    for path, name, _ in _headers(context) if routing and routing.lower_case else ():
        if name != name.lower():
            arguments = {"provider": context.provider, "lower": name.lower()}
            yield Finding(join(path, name), f"the header name {name!r}", arguments)


def _matches_all(context: LintContext) -> Iterator[Finding]:
    for index, entry in enumerate(context.analysis.match):
        if context.strategy is Strategy.AB and entry.is_empty:
            yield Finding(context.at(f"match[{index}]"), "an entry without a condition")


def _dropped_match(context: LintContext) -> Iterator[Finding]:
    for index, entry in enumerate(context.analysis.match):
        for name, value in (("withoutHeaders", entry.without), ("uri", entry.uri), ("method", entry.method)):
            if value:
                yield Finding(context.at(f"match[{index}].{name}"), f"a match by {name}")


def _no_mirror(context: LintContext) -> Iterator[Finding]:
    if context.analysis.mirror and context.routing and not context.routing.mirror:
        yield Finding(context.at("mirror"), f"mirroring on {context.provider}", {"can": _providers_with("mirror")})


def _mirror_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.mirror and context.strategy is Strategy.AB:
        yield Finding(context.at("mirror"), "mirroring in an A/B test")


def _mirror_weight_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.mirror_weight and not context.analysis.mirror:
        yield Finding(context.at("mirrorWeight"), "mirrorWeight without mirror")


def _no_affinity(context: LintContext) -> Iterator[Finding]:
    if context.analysis.session_affinity and context.routing and not context.routing.affinity:
        yield Finding(
            context.at("sessionAffinity"),
            f"session affinity on {context.provider}",
            {"can": _providers_with("affinity")},
        )


def _affinity_ignored(context: LintContext) -> Iterator[Finding]:
    if context.analysis.session_affinity and context.strategy is not Strategy.WEIGHTS:
        yield Finding(context.at("sessionAffinity"), f"session affinity with {context.strategy.value}")


def _same_cookie(context: LintContext) -> Iterator[Finding]:
    affinity = context.analysis.session_affinity
    if affinity and affinity.cookie_name == affinity.primary_cookie_name:
        yield Finding(
            context.at("sessionAffinity.primaryCookieName"), f"the same cookie {affinity.cookie_name!r} twice"
        )


def _no_blue_green(context: LintContext) -> Iterator[Finding]:
    if context.strategy is Strategy.BLUE_GREEN and context.routing and not context.routing.blue_green:
        yield Finding(context.at("iterations"), f"blue/green on {context.provider}")


def _pods(rule: str) -> Callable[[LintContext], Iterator[Finding]]:
    """Return a check of one limit of a provider that splits by numbers of pods."""

    def check(context: LintContext) -> Iterator[Finding]:
        problems = check_pods(context.canary, context.provider)
        return (Finding.of(problem) for problem in problems if problem.rule == rule)

    return check


def _stateful_set(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, check_stateful_set(context.canary, context.provider))


def _missing_reference(context: LintContext) -> Iterator[Finding]:
    spec, needs = context.canary.spec, context.routing.needs if context.routing else ""
    present = {
        "spec.ingressRef": spec.ingress_ref,
        "spec.routeRef": spec.route_ref,
        "spec.service.gatewayRefs": spec.service and (spec.service.gateway_refs or spec.service.route_refs),
    }
    if needs and not present[needs]:
        yield Finding(needs, "nothing", {"provider": context.provider, "needs": needs})


def _route_kind(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, check_route_kind(context.canary, context.provider))


def _route_refs(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, check_route_refs(context.canary, context.provider))


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "unknown-provider",
        "error",
        _unknown_provider,
        "one of {known}",
        "{hint}",
    ),
    LintRule(
        "ended-provider",
        "warning",
        _ended_provider,
        "a provider that is still there: {ended}",
        "Use the Gateway API: provider gatewayapi:v1 with service.gatewayRefs and without meshName and backends.",
    ),
    LintRule("no-ab-routing", "error", _no_match, "a provider that can match headers: {can}", "Use weights instead."),
    LintRule(
        "unrouted-match",
        "warning",
        _unrouted_match,
        "no match: the provider kubernetes cannot route by header and ignores it",
        "Remove match, or choose a provider that routes.",
    ),
    LintRule(
        "match-kind",
        "error",
        _no_kind,
        "one of {kinds}, the kinds that {provider} supports",
        "Write the condition with a kind that it supports.",
    ),
    LintRule(
        "nginx-cookie",
        "error",
        _cookie_on_nginx,
        "exact with the cookie's name: nginx compares the cookie's value with `always` itself",
        "Write exact: followed by the name of the cookie.",
    ),
    LintRule(
        "nginx-headers",
        "warning",
        _headers_on_nginx,
        "at most one header and one cookie: nginx uses only the last one",
        "Keep one header.",
    ),
    LintRule(
        "merged-match",
        "warning",
        _merged,
        "one entry: {provider} merges all entries into one condition, and a request must meet all of them",
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
        "headers: an empty entry sends every request to the canary",
        "Add headers to the entry or remove it.",
    ),
    LintRule(
        "dropped-match",
        "warning",
        _dropped_match,
        "headers: Flagger's Canary definition drops all other fields except queryParams and sourceLabels",
        "Write the condition with headers.",
    ),
    LintRule(
        "no-mirror",
        "error",
        _no_mirror,
        "a provider that can copy requests: {can}",
        "Remove mirror: its step checks a canary without traffic.",
    ),
    LintRule("mirror-ignored", "warning", _mirror_ignored, "no mirror: an A/B test ignores it", "Remove the field."),
    LintRule(
        "mirror-weight-ignored",
        "warning",
        _mirror_weight_ignored,
        "mirror: true too: mirrorWeight alone has no effect",
        "Add mirror: true, or remove mirrorWeight.",
    ),
    LintRule(
        "no-affinity",
        "error",
        _no_affinity,
        "a provider that can set session cookies: {can}",
        "Remove sessionAffinity: without it users switch between the versions.",
    ),
    LintRule(
        "affinity-ignored",
        "warning",
        _affinity_ignored,
        "weights: other strategies have no session affinity",
        "Remove sessionAffinity.",
    ),
    LintRule("same-cookie", "error", _same_cookie, "two different cookies", "Rename one of them."),
    LintRule(
        "no-blue-green", "warning", _no_blue_green, "weights: the provider supports nothing else", "Use stepWeight."
    ),
    *(LintRule(rule, "error", _pods(rule), "{expected}", "{remedy}") for rule in POD_RULES),
    LintRule(STATEFUL_RULE, "error", _stateful_set, "{expected}", "{remedy}"),
    LintRule(
        "missing-reference",
        "error",
        _missing_reference,
        "{needs}: without it the provider {provider} has no route to change",
        "Add the field.",
    ),
    LintRule("route-kind", "error", _route_kind, "{expected}", "{remedy}"),
    LintRule("route-refs", "error", _route_refs, "{expected}", "{remedy}"),
)
