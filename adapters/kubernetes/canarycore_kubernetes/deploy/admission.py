"""The admission policy: the lint errors that CEL can express, so that the API server refuses Canaries that cannot work.

Each row is named after its lint rule; a Canary passes when the expression is true. The rules read the linter's tables
of provider capabilities, so the two cannot disagree. `canary lint` reports the errors that need other objects (a
target, a template). The CustomResourceDefinition refuses wrong types, ranges and choices.

The policy checks a new spec and new subscriptions to alerts only: it never refuses a command, a finalizer or the end of
an existing Canary.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

from canarycore.manifest import (
    BUILT_IN_METRICS,
    DEFINED_FIELDS,
    LONGEST_APEX,
    LONGEST_INGRESS,
    LONGEST_ROUTE,
    LONGEST_SCALED_OBJECT,
    LONGEST_TARGET,
    PLACEHOLDER,
    SUBSCRIPTION_ANNOTATION,
    SUBSCRIPTION_RULE,
    schema,
)
from canarycore.manifest.routing import HTTP_ROUTE, NO_PLUGINS, PROVIDER_CAPABILITIES, ROUTE_KINDS, has_route_kinds
from canarycore.notices import Severity
from canarycore_runtime.plugins import find_installed_providers
from canarycore_runtime.registry import installed as list_adapters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from canarycore.manifest.routing import InstalledProviders, ProviderCapabilities
    from canarycore_runtime.mesh import Json

NAME = "canaries.canarycore"
_ALL = 100
"""The weight of all requests, in percent."""


def _cel(value: object) -> str:
    """Return a constant in CEL: JSON with single quotes, which are easier to read in YAML."""
    return json.dumps(value).replace('"', "'")


_HEAVIEST = (
    f"size(variables.known) > 0 ? variables.known[size(variables.known) - 1] : variables.step < 1 ? {_ALL}"
    " : variables.most % variables.step == 0 ? variables.most"
    f" : variables.most - variables.most % variables.step + variables.step < {_ALL}"
    f" ? variables.most - variables.most % variables.step + variables.step : {_ALL}"
)
"""The last weight of a rollout by weights. A list of known weights ends with the greatest one."""

VARIABLES: tuple[tuple[str, str], ...] = (
    ("analysis", "object.spec.?analysis.or(object.spec.?canaryAnalysis).orValue({})"),
    ("analysed", "has(object.spec.analysis) || has(object.spec.canaryAnalysis)"),
    ("service", "object.spec.?service.orValue({})"),
    ("target", "object.spec.targetRef"),
    ("knative", "variables.target.kind == 'Service' && variables.target.apiVersion.startsWith('serving.knative.dev/')"),
    ("kind", "variables.service.?routeKind.orValue('')"),
    (
        "places",
        (
            "variables.service.?routeRefs.orValue([])"
            f".map(r, (r.?kind.orValue('') != '' ? r.kind : '{HTTP_ROUTE}') + ' ' + r.name)"
        ),
    ),
    ("named", "variables.service.?name.orValue('')"),
    ("apex", "variables.named != '' ? variables.named : variables.target.name"),
    ("own", f"(variables.kind != '' ? variables.kind : '{HTTP_ROUTE}') + ' ' + variables.apex"),
    ("scaler", "object.spec.?autoscalerRef.?kind.orValue('')"),
    ("step", "variables.analysis.?stepWeight.orValue(0)"),
    ("steps", "variables.analysis.?stepWeights.orValue([])"),
    ("rungs", "variables.analysis.?steps.orValue([])"),
    ("stays", "size(variables.rungs) > 0"),
    ("iterations", "variables.analysis.?iterations.orValue(0)"),
    ("matches", "variables.analysis.?match.orValue([])"),
    ("metrics", "variables.analysis.?metrics.orValue([])"),
    ("webhooks", "variables.analysis.?webhooks.orValue([])"),
    ("affinity", "has(variables.analysis.sessionAffinity)"),
    ("cookies", "variables.analysis.?sessionAffinity.orValue({})"),
    ("annotations", "object.metadata.?annotations.orValue({})"),
    ("routed", "variables.provider != 'kubernetes'"),
    ("weights", "variables.routed && variables.iterations == 0"),
    ("bakes", "variables.analysis.?bake.orValue('') != ''"),
    ("known", f"variables.rungs.map(r, r.weight) + variables.steps + (variables.bakes ? [{_ALL}] : [])"),
    ("most", f"variables.analysis.?maxWeight.orValue(0) > 0 ? variables.analysis.maxWeight : {_ALL}"),
    ("heaviest", _HEAVIEST),
    ("ab", "variables.routed && variables.iterations > 0 && size(variables.matches) > 0"),
)
"""Variables of the expressions: (name, CEL expression). `provider` and `meshes` precede them."""

_CONDITIONS = (
    *(f"size(m.?{name}.orValue({{}})) > 0" for name in ("headers", "withoutHeaders", "queryParams", "sourceLabels")),
    *(f"has(m.{name})" for name in ("uri", "method", "scheme", "authority")),
    "m.?sourceNamespace.orValue('') != ''",
)
_ADDRESSES = "[object.spec.?metricsServer.orValue('')] + variables.webhooks.map(w, w.url)"


def _headers(condition: str) -> str:
    """Return an expression that requires the condition for each header `h`, as `match`, of each match entry."""
    names = ("headers", "withoutHeaders")
    each = (f"m.?{name}.orValue({{}}).all(h, {condition.replace('match', f'm.{name}[h]')})" for name in names)
    return f"variables.matches.all(m, {' && '.join(each)})"


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SEVERITIES = "|".join(severity.value for severity in Severity)
_SUBSCRIPTION = f"^{re.escape(SUBSCRIPTION_ANNOTATION)}({_SEVERITIES})[.]{_LABEL}([.]{_LABEL})?$"
_SUBSCRIBED = f"key.startsWith('{SUBSCRIPTION_ANNOTATION}')"
_CHANNELS = "^[ ]*$|^[^;]*[^; ][^;]*(;[^;]*[^; ][^;]*){0,9}$"

_CONDITIONAL = "m.?successCondition.orValue('') != '' || m.?failureCondition.orValue('') != ''"
_DEFINED = "m.?templateRef.?kind.orValue('MetricTemplate') != 'MetricTemplate'"
_TEXTS = ("query", "successCondition", "failureCondition", "initialDelay", "every")
_DEFINED_FIELDS = " || ".join(
    f"m.?{name}.orValue('') != ''" if name in _TEXTS else f"has(m.{name})"
    for name in ("threshold", "query", *DEFINED_FIELDS)
)

_STEPS = "[has(variables.analysis.iterations), has(variables.analysis.stepWeight), size(variables.steps) > 0]"
_DURATIONS = (
    "[variables.analysis.?interval.orValue('')] + variables.metrics.map(m, m.?interval.orValue(''))"
    " + variables.webhooks.map(w, w.?timeout.orValue(''))"
)


def find_rules(installed: InstalledProviders = NO_PLUGINS) -> tuple[tuple[str, str, str], ...]:
    """Return the rules: (lint rule, CEL expression that must be true, message to the owner).

    Args:
        installed: The providers of plug-ins.
    """
    table = installed.all_capabilities()
    kinds = _cel({name: list(routing.matches) for name, routing in table.items() if routing.matches})
    address = "|".join((r"^https?://[^/\s]", *(f"^{re.escape(scheme)}://" for scheme in sorted(installed.hooks))))

    def having(which: Callable[[ProviderCapabilities], bool]) -> str:
        """Return the providers with a property, as a list in CEL."""
        return _cel([name for name, routing in table.items() if which(routing)])

    def needing(field: str) -> str:
        return having(lambda routing: routing.needs == field)

    by_pods = having(lambda routing: routing.by_pods)

    return (
        (
            "no-analysis",
            "variables.analysed",
            "spec.analysis is missing: add it, and set spec.skipAnalysis beside it if you want no checks.",
        ),
        (
            "no-interval",
            "!variables.analysed || variables.analysis.?interval.orValue('') != ''",
            "spec.analysis.interval is missing: set the time between two checks, such as 1m.",
        ),
        (
            "no-threshold",
            "!variables.analysed || has(variables.analysis.threshold)",
            "spec.analysis.threshold is missing: set the number of failed checks that roll back.",
        ),
        (
            "odd-duration",
            f"({_DURATIONS}).all(text, text == '' || text.matches('^[0-9]+(m|s)'))",
            "A duration of spec.analysis does not begin with whole minutes or seconds: write 60m for an hour.",
        ),
        (
            "unknown-provider",
            "variables.provider in variables.meshes",
            (
                "No mesh or ingress of that name is known: correct spec.provider,"
                " or repeat the installation with its adapter."
            ),
        ),
        (
            "no-step",
            (
                "!variables.analysed || !variables.routed"
                " || object.spec.?skipAnalysis.orValue(false)"
                " || variables.step > 0 || size(variables.steps) > 0 || variables.iterations > 0 || variables.stays"
            ),
            (
                "spec.analysis has no step and would never advance:"
                " give stepWeight (and maxWeight), stepWeights, or iterations, or set spec.skipAnalysis."
            ),
        ),
        (
            "step-fields",
            f"!variables.analysed || (variables.stays ? variables.iterations == 0 : {_STEPS}.exists_one(given, given))",
            "spec.analysis needs exactly one of iterations, stepWeight and stepWeights, or steps: keep one of them.",
        ),
        (
            "no-bake",
            (f"!variables.bakes || variables.routed && !variables.rungs.exists(r, r.weight == {_ALL} && ({_OWN}))"),
            (
                "spec.analysis.bake keeps all traffic on the canary: remove it for the provider kubernetes,"
                f" and beside a step with weight {_ALL} that has a hold, an approval or metrics."
            ),
        ),
        (
            "unknown-step",
            (
                "!variables.weights && variables.routed || variables.analysis.?rollbackWindow.?steps.orValue([])"
                ".all(w, variables.weights && (w in variables.known || size(variables.known) == 0"
                " && variables.step > 0 && w > 0 && w <= variables.heaviest"
                " && (w % variables.step == 0 || w == variables.heaviest)))"
            ),
            "spec.analysis.rollbackWindow.steps has a weight that no step has: correct or remove it.",
        ),
        (
            "late-check",
            "!variables.weights || variables.metrics.all(m, m.?fromWeight.orValue(0) <= variables.heaviest)",
            "A metric of spec.analysis has fromWeight above the last weight: lower it, raise the weight, or add bake.",
        ),
        *_step_rules(having),
        _size_rule(by_pods),
        (
            "max-below-step",
            (
                "!variables.weights || variables.analysis.?maxWeight.orValue(0) == 0"
                " || variables.analysis.maxWeight >= variables.step"
            ),
            "spec.analysis.maxWeight is below stepWeight: lower stepWeight or raise maxWeight.",
        ),
        (
            "rising",
            "variables.steps.isSorted() && variables.steps.all(w, variables.steps.exists_one(v, v == w))",
            "spec.analysis.stepWeights do not rise: list them in strictly rising order.",
        ),
        (
            "no-range",
            (
                "variables.metrics.all(m, has(m.thresholdRange)"
                " ? has(m.thresholdRange.min) || has(m.thresholdRange.max)"
                f" : has(m.threshold) || {_CONDITIONAL} || {_DEFINED})"
            ),
            (
                "A metric of spec.analysis has no range, so any value or none would pass:"
                " add thresholdRange with min or max."
            ),
        ),
        (
            "range-and-condition",
            f"variables.metrics.all(m, !({_CONDITIONAL}) || !has(m.thresholdRange) && !has(m.threshold))",
            "A metric of spec.analysis has a range beside a condition: keep one of them.",
        ),
        (
            "template-field",
            f"variables.metrics.all(m, !({_DEFINED}) || !({_DEFINED_FIELDS}))",
            "A metric of spec.analysis has a field that its AnalysisTemplate defines: keep one of them.",
        ),
        (
            "template-namespace",
            (
                "variables.metrics.all(m, m.?templateRef.?kind.orValue('') != 'ClusterAnalysisTemplate'"
                " || m.?templateRef.?namespace.orValue('') == '')"
            ),
            "A templateRef of spec.analysis has a namespace beside a kind of the cluster: remove it.",
        ),
        (
            "empty-range",
            (
                "variables.metrics.all(m, !has(m.thresholdRange) || !has(m.thresholdRange.min)"
                " || !has(m.thresholdRange.max) || m.thresholdRange.min <= m.thresholdRange.max)"
            ),
            "A thresholdRange of spec.analysis has min above max, which no value passes: swap or correct them.",
        ),
        (
            "no-query",
            (
                f"variables.metrics.all(m, m.name in {_cel(list(BUILT_IN_METRICS))} || m.?query.orValue('') != ''"
                " || has(m.templateRef))"
            ),
            (
                "A metric of spec.analysis cannot be measured:"
                f" add templateRef, or use one of {', '.join(BUILT_IN_METRICS)}."
            ),
        ),
        (
            "bad-url",
            f"variables.webhooks.all(w, w.url.matches(r'{address}'))",
            "A webhook's url is no http:// or https:// address: write the whole address.",
        ),
        (
            "placeholder-address",
            f"({_ADDRESSES}).all(address, !address.matches(r'{PLACEHOLDER.pattern}'))",
            "An address in spec still has a placeholder: write the real one.",
        ),
        (
            "no-ab-routing",
            f"!variables.ab || !(variables.provider in {having(lambda routing: not routing.matches)})",
            "This provider cannot match headers, so spec.analysis.match is no A/B test on it: use weights.",
        ),
        (
            "match-kind",
            (
                f"!variables.ab || !(variables.provider in {kinds})"
                f" || {_headers('match.all(kind, kind in ' + kinds + '[variables.provider])')}"
            ),
            "This provider does not know a kind of match in spec.analysis.match: write the condition in another way.",
        ),
        (
            "nginx-cookie",
            "!variables.ab || variables.provider != 'nginx' || " + _headers("h != 'cookie' || has(match.exact)"),
            "nginx looks at a cookie's value itself: write exact, followed by the name of the cookie.",
        ),
        (
            "match-everything",
            f"!variables.ab || variables.matches.all(m, {' || '.join(_CONDITIONS)})",
            (
                "An entry of spec.analysis.match has no condition and would send all to the canary:"
                " add headers or remove it."
            ),
        ),
        (
            "no-mirror",
            (
                "!variables.analysis.?mirror.orValue(false)"
                f" || !(variables.provider in {having(lambda routing: not routing.mirror)})"
            ),
            "This provider cannot copy requests: remove spec.analysis.mirror.",
        ),
        (
            "no-affinity",
            (f"!variables.affinity || !(variables.provider in {having(lambda routing: not routing.affinity)})"),
            "This provider cannot set session cookies: remove spec.analysis.sessionAffinity.",
        ),
        (
            "same-cookie",
            (
                "!variables.affinity"
                " || variables.cookies.?primaryCookieName.orValue('') != variables.cookies.?cookieName.orValue('')"
            ),
            "Both cookies of spec.analysis.sessionAffinity have the same name: rename one of them.",
        ),
        (
            "missing-reference",
            (
                f"(!(variables.provider in {needing('spec.ingressRef')}) || has(object.spec.ingressRef))"
                f" && (!(variables.provider in {needing('spec.routeRef')}) || has(object.spec.routeRef))"
                f" && (!(variables.provider in {needing('spec.service.gatewayRefs')})"
                " || size(variables.service.?gatewayRefs.orValue([])) > 0 || size(variables.places) > 0)"
            ),
            "This provider needs to be told its route: add spec.ingressRef, spec.routeRef or spec.service.gatewayRefs.",
        ),
        (
            "route-kind",
            " && ".join(_route_kind_conditions()),
            (
                "spec.service.routeKind chooses a kind of route that cannot express a field of this Canary:"
                " canary lint names it and the reason."
            ),
        ),
        (
            "route-refs",
            (
                f"size(variables.places) == 0 || (!(variables.provider in {_without_routes()})"
                " && size(variables.matches) == 0 && !variables.affinity"
                " && (size(variables.service.?gatewayRefs.orValue([])) > 0 ? !(variables.own in variables.places)"
                " : !variables.analysis.?mirror.orValue(false))"
                " && variables.places.all(p, variables.places.exists_one(other, p == other)))"
            ),
            (
                "spec.service.routeRefs names other routes of the Gateway API, each once, which get weights only:"
                " remove match, sessionAffinity or the reference; canary lint names the reason."
            ),
        ),
        (
            SUBSCRIPTION_RULE,
            (
                f"variables.annotations.all(key, !{_SUBSCRIBED} || (key.matches(r'{_SUBSCRIPTION}')"
                f" && variables.annotations[key].matches(r'{_CHANNELS}')))"
            ),
            (
                f"An annotation {SUBSCRIPTION_ANNOTATION}… is wrong: write {SUBSCRIPTION_ANNOTATION}SEVERITY.PROVIDER,"
                " with info, warn or error, and as its value channels with semicolons between, or an empty text."
            ),
        ),
        (
            "no-service",
            f"has(object.spec.service) || variables.knative || variables.provider in {by_pods}",
            "No traffic can be routed without spec.service: add it, with a port.",
        ),
        (
            "knative",
            "variables.knative == (variables.provider == 'knative')",
            "A Knative Service needs the provider knative, and that provider a Knative Service: correct one.",
        ),
        (
            "knative-autoscaler",
            "!variables.knative || !has(object.spec.autoscalerRef)",
            "Knative scales by itself: remove spec.autoscalerRef.",
        ),
        (
            "pods-target",
            f"!(variables.provider in {by_pods}) || variables.target.kind in ['Deployment', 'StatefulSet']",
            "This provider sets the pods of both sides: name a Deployment or a StatefulSet in spec.targetRef.",
        ),
        (
            "stateful-set",
            f"variables.target.kind != 'StatefulSet' || variables.provider in {by_pods}",
            (
                "The pods of a StatefulSet have names and volumes of their own, so it has no primary copy:"
                " set spec.provider to replicas, which rolls it out by its partition."
            ),
        ),
        (
            "stateful-set",
            "variables.target.kind != 'StatefulSet' || !has(object.spec.service)",
            "The own Services of a StatefulSet lead to the pods of both revisions: remove spec.service.",
        ),
        (
            "stateful-set",
            (
                "variables.target.kind != 'StatefulSet'"
                " || variables.metrics.all(m, m.?query.orValue('') != '' || has(m.templateRef))"
            ),
            (
                "Both revisions of a StatefulSet have pods of one name, so a built-in metric cannot tell them apart:"
                " add templateRef with a query by a label of the revision."
            ),
        ),
        (
            "stateful-set",
            (
                "variables.target.kind != 'StatefulSet' || !variables.analysed || variables.iterations == 0"
                f" && (size(variables.known) > 0 || variables.step > 0 ? variables.heaviest < {_ALL} : true)"
            ),
            (
                "A StatefulSet rolls out by weights below 100, as a pod at least keeps the stable revision:"
                " remove iterations and bake, and set spec.analysis.maxWeight or lower the last step."
            ),
        ),
        (
            "pods-autoscaler",
            f"!(variables.provider in {by_pods}) || !has(object.spec.autoscalerRef)",
            "An autoscaler and this provider would change the replicas against each other: remove spec.autoscalerRef.",
        ),
        (
            "pods-match",
            f"!(variables.provider in {by_pods}) || size(variables.matches) == 0",
            "This provider splits by numbers of pods and sees no header: remove spec.analysis.match.",
        ),
        (
            "scaler-limits",
            (
                "object.spec.?autoscalerRef.?primaryScalerReplicas.?minReplicas.orValue(0) <="
                " object.spec.?autoscalerRef.?primaryScalerReplicas.?maxReplicas.orValue(2147483647)"
            ),
            "spec.autoscalerRef.primaryScalerReplicas has minReplicas above maxReplicas: swap or correct them.",
        ),
        (
            "long-name",
            (
                "variables.knative || (variables.target.kind == 'Service'"
                f" ? size(variables.target.name) <= {LONGEST_APEX}"
                f" : size(variables.apex) <= {LONGEST_APEX} && !variables.apex.contains('.')"
                f" && size(variables.target.name) <= {LONGEST_TARGET})"
            ),
            (
                f"The Service's name may have {LONGEST_APEX} characters and no dot, as NAME-primary and NAME-canary are"
                f" Services too; the target's may have {LONGEST_TARGET}: set spec.service.name, or rename the target."
            ),
        ),
        (
            "long-name",
            (
                "variables.knative || size(object.spec.?autoscalerRef.?name.orValue('')) <="
                f" (variables.scaler == 'ScaledObject' ? {LONGEST_SCALED_OBJECT} : {LONGEST_TARGET})"
            ),
            (
                f"A HorizontalPodAutoscaler's name may have {LONGEST_TARGET} characters and a ScaledObject's"
                f" {LONGEST_SCALED_OBJECT}, as the primary's copy is NAME-primary: rename the autoscaler."
            ),
        ),
        (
            "long-name",
            (
                f"(!(variables.provider in {needing('spec.ingressRef')})"
                f" || size(object.spec.?ingressRef.?name.orValue('')) <= {LONGEST_INGRESS})"
                f" && (!(variables.provider in {needing('spec.routeRef')})"
                f" || size(object.spec.?routeRef.?name.orValue('')) + size(variables.apex) <= {LONGEST_ROUTE})"
            ),
            (
                f"An Ingress's name may have {LONGEST_INGRESS} characters, as its copy is NAME-canary;"
                f" an ApisixRoute's and the Service's may have {LONGEST_ROUTE} together,"
                " as the copy is NAME-SERVICE-canary: rename one of them."
            ),
        ),
    )


_OWN = "r.?hold.orValue('') != '' || r.?approval.orValue(false) || size(r.?metrics.orValue([])) > 0"
"""The condition that a step of weight 100 has conditions of its own."""


def _lacks(capability: str, routing: ProviderCapabilities) -> bool:
    return not getattr(routing, capability)


def _step_rules(having: Callable[[Callable[[ProviderCapabilities], bool]], str]) -> Iterator[tuple[str, str, str]]:
    """Yield the rules of requests that reach the canary beside the weight of a step."""
    given = {"match": "size(r.?match.orValue([])) > 0", "mirror": "r.?mirror.orValue(0) > 0"}
    others = {
        "match": (
            f" && size(variables.matches) == 0 && !variables.affinity && r.match.all(m, {' || '.join(_CONDITIONS)})"
        ),
        "mirror": "",
    }
    for name, condition in given.items():
        lacking = having(partial(_lacks, f"{name}_beside_weight"))
        yield (
            f"step-{name}",
            (
                f"!variables.routed || variables.rungs.all(r, !({condition})"
                f" || r.weight < {_ALL} && (r.weight > 0 || !variables.analysis.?mirror.orValue(false))"
                f" && !(variables.provider in {lacking}){others[name]})"
            ),
            (
                f"A step of spec.analysis has a {name} that this provider or the rest of the analysis cannot have:"
                " canary lint names the reason."
            ),
        )


def _size_rule(by_pods: str) -> tuple[str, str, str]:
    """Return the rule of sizes of steps. by_pods: the providers that split by numbers of pods, in CEL."""
    return (
        "step-size",
        (
            "!variables.routed || !variables.rungs.exists(r, has(r.size)) || variables.target.kind == 'Deployment'"
            f" && !has(object.spec.autoscalerRef) && !(variables.provider in {by_pods})"
        ),
        (
            "A step of spec.analysis has a size, which needs a Deployment without an autoscaler, and a provider that"
            " splits requests: remove size, or correct the others."
        ),
    )


def _without_routes() -> str:
    """Return the providers that write no routes of the Gateway API, as a list in CEL."""
    return _cel([name for name in PROVIDER_CAPABILITIES if not has_route_kinds(name)])


def _route_kind_conditions() -> Iterator[str]:
    """Yield conditions under which the route of a Canary can express its fields."""
    yield f"(variables.kind == '' || !(variables.provider in {_without_routes()}))"
    for name, kind in ROUTE_KINDS.items():
        absent = [_is_unset(field) for field in kind.lacks]
        hosts = ["size(variables.service.?hosts.orValue([])) > 0"] if kind.needs_hosts else []
        if absent or hosts:
            yield f"(variables.kind != '{name}' || ({' && '.join((*absent, *hosts))}))"


_UNSET = {
    "string": "{section}.?{name}.orValue('') == ''",
    "array": "size({section}.?{name}.orValue([])) == 0",
    "boolean": "!{section}.?{name}.orValue(false)",
    "object": "!has({section}.{name})",
}
"""Conditions that a section lacks a field, by the field's type."""


def _is_unset(field: str) -> str:
    """Return a condition that a Canary lacks a field, such as `service.timeout`."""
    section, _, name = field.partition(".")
    kind = schema("Canary")["properties"][section]["properties"][name]["type"]
    return _UNSET[kind].format(section=f"variables.{section}", name=name)


CONDITIONS: tuple[tuple[str, str], ...] = (
    ("not-deleted", "!has(object.metadata.deletionTimestamp)"),
    (
        "another-spec",
        (
            "oldObject == null || object.spec != oldObject.spec"
            f" || object.metadata.?annotations.orValue({{}}).exists(key, {_SUBSCRIBED}"
            " && (!(key in oldObject.metadata.?annotations.orValue({}))"
            " || oldObject.metadata.annotations[key] != object.metadata.annotations[key]))"
        ),
    ),
)
"""(name, CEL expression): conditions under which the policy applies."""


def admission(provider: str, *, watched: str = "") -> Iterator[Json]:
    """Yield the policy and its binding. The policy knows Flagger's providers and those whose adapters are installed.

    Args:
        provider: The provider of Canaries that name none.
        watched: The only namespace that the policy applies to; empty for all.
    """
    name = f"{NAME}.{watched}" if watched else NAME
    scope = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": watched}}} if watched else {}
    installed = find_installed_providers()
    meshes = dict.fromkeys((*installed.all_capabilities(), *list_adapters("meshes")))
    own = f"object.spec.?provider.orValue('') != '' ? object.spec.provider : {_cel(provider)}"
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Ignore",  # a Canary must be able to roll back even if the policy fails
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["flagger.app"],
                        "apiVersions": ["v1beta1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["canaries"],
                    }
                ],
                **scope,
            },
            "matchConditions": _named(CONDITIONS),
            "variables": _named((("provider", own), ("meshes", _cel(list(meshes))), *VARIABLES)),
            "validations": [
                {"expression": rule, "message": f"{message} [{name}]"} for name, rule, message in find_rules(installed)
            ],
        },
    }
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }


def _named(expressions: tuple[tuple[str, str], ...]) -> list[Json]:
    return [{"name": name, "expression": expression} for name, expression in expressions]
