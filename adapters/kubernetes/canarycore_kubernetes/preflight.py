"""The parts that a cluster lacks for its Canaries to work, as data.

    report = await check_cluster(client, namespace="shop")
    for problem in report.problems:
        print(problem)

Beyond the linter's problems with the manifests themselves, it reports missing targets, templates and alert providers,
kinds of the mesh provider that the cluster does not define, and rights that the controller's account lacks.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore.errors import CanaryError, ManifestError, Problem, UnknownProvider
from canarycore.foreign import get_items, get_text
from canarycore.manifest import (
    CARRIED_FIELDS,
    DEFINITION,
    Canary,
    DroppedField,
    check_files,
    check_namespaces,
    find_omissions,
    find_subscribed_providers,
    parse,
    resolve,
    suggest_for_dropped,
)
from canarycore.manifest.routing import HTTP_ROUTE
from canarycore.text import enumerate_some
from canarycore_kubernetes.api.client import NotFound, Rejected
from canarycore_kubernetes.api.kinds import (
    ALERT_PROVIDER,
    ANALYSIS_TEMPLATE,
    CANARY,
    CLUSTER_ANALYSIS_TEMPLATE,
    CUSTOM_RESOURCE_DEFINITION,
    METRIC_TEMPLATE,
    by_object,
)
from canarycore_kubernetes.deploy.objects import FURTHER_ROUTING_RIGHTS, NAME, routing_rights, rules
from canarycore_kubernetes.routing.features import (
    EXPECTED,
    EXPECTED_LIST,
    REMEDY,
    REMEDY_UNLISTED,
    find_unlisted,
    find_unsupported,
    new_features,
    routes_of_rungs,
)
from canarycore_kubernetes.telemetry.dropped_fields import find_lost_fields
from canarycore_runtime.mesh import Kind, RenderContext
from canarycore_runtime.plugins import find_installed_providers
from canarycore_runtime.registry import BrokenAdapter, load_mesh

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore.argo import AnalysisTemplate
    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json, Mesh

ACCOUNT = f"{NAME}/{NAME}"
"""The controller's service account, as `canary install` names it."""

FILE_RULES = frozenset({"unseen-template", "missing-template", "missing-alert-provider", "pruned-field"})
"""The linter's rules about other documents in the same files: the cluster itself answers these."""

SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")

BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "networking.k8s.io"})
"""The API groups that every cluster has."""

OPTIONAL_GROUPS = frozenset({"keda.sh", "argoproj.io"})
"""The API groups that the controller needs only where a Canary uses them."""

_TEMPLATE_KINDS = {kind.kind: kind for kind in (METRIC_TEMPLATE, ANALYSIS_TEMPLATE, CLUSTER_ANALYSIS_TEMPLATE)}
"""The kinds of templates that a metric may refer to."""

CONCURRENT_REQUESTS = 16
"""The number of concurrent requests to the API server."""


@frozen(kw_only=True)
class PreflightReport:
    """The result of a check of a cluster."""

    canaries: tuple[str, ...]
    """The Canaries, as `namespace/name`, sorted."""

    problems: tuple[Problem, ...]
    """All problems with the Canaries and with the cluster."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems of severity `error`."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


async def check_cluster(
    client: Client,
    *,
    namespace: str = "",
    provider: str = "istio",
    account: str = ACCOUNT,
    shared_gateways: Iterable[str] | None = None,
) -> PreflightReport:
    """Check the Canaries of a cluster, and whether the cluster has the objects, kinds and rights that they need.

    Args:
        client: The API server, with rights to read Canaries.
        namespace: The namespace to check; empty for all.
        provider: The provider of Canaries that name none.
        account: The controller's service account, as `namespace/name`.
        shared_gateways: The namespaces whose gateways every Canary may use, while other references to other
            namespaces are errors; None allows all references.
    """
    bodies = [item async for page in client.list(CANARY, namespace) for item in page["items"]]
    canaries = {_full_name(body): (body, _parse(body)) for body in bodies}
    valid = {name: canary for name, (_, canary) in canaries.items() if canary is not None}
    needed = {name: tuple(_references(canary)) for name, canary in valid.items()}
    objects = await _get_objects(client, {reference for references in needed.values() for reference in references})
    files = [
        (f"{body['kind']} {_full_name(body)}", _manifest(body)) for body in (*bodies, *filter(None, objects.values()))
    ]
    templates = _read_templates(objects.values())
    installed = find_installed_providers()
    problems = [
        evolve(problem, line=None)
        for problem in check_files(files, provider=provider, installed=installed, templates=templates).problems
        if problem.rule not in FILE_RULES
    ]
    problems += (
        _missing_object(name, reference)
        for name, references in needed.items()
        for reference in references
        if objects[_without_path(reference)] is None
    )
    if shared_gateways is not None:
        problems += _cross_namespace_problems(valid, tuple(shared_gateways))
    routed = dict(_load_meshes(valid, provider))
    for name, (mesh, context) in routed.items():
        problems += await _missing_features(client, name, mesh, context)
        problems += await _missing_routes(client, name, mesh, context)
    problems += await _pruned_fields(client, bodies)
    providers = {canary.spec.provider or provider for canary in valid.values()}
    kinds = frozenset(_further_kinds(routed.values()))
    problems += await _missing_kinds(client, providers, kinds)
    groups = {reference.kind.group for references in needed.values() for reference in references}
    problems += await _missing_rights(client, account, providers, namespace, kinds, OPTIONAL_GROUPS - groups)
    return PreflightReport(canaries=tuple(sorted(canaries)), problems=tuple(problems))


def _cross_namespace_problems(canaries: Mapping[str, Canary], shared_gateways: tuple[str, ...]) -> Iterator[Problem]:
    for name, canary in canaries.items():
        for problem in check_namespaces(canary, gateways=shared_gateways):
            yield evolve(problem, file=f"Canary {name}")


# objects that Canaries refer to --------------------------------------------------------------------------------------


@frozen(kw_only=True)
class NeededObject:
    """An object that a Canary refers to, by the field at `path`."""

    path: str
    kind: Kind
    namespace: str
    name: str

    @property
    def rule(self) -> str:
        """The rule that a missing object breaks."""
        return f"missing-{_RULES.get(self.kind.kind, 'object')}"


_RULES = {**dict.fromkeys(_TEMPLATE_KINDS, "template"), "AlertProvider": "alert-provider"}


def _references(canary: Canary) -> Iterator[NeededObject]:
    spec, home = canary.spec, canary.namespace
    for path, reference in (
        ("spec.targetRef", spec.target_ref),
        ("spec.autoscalerRef", spec.autoscaler_ref),
        ("spec.ingressRef", spec.ingress_ref),
        ("spec.routeRef", spec.route_ref),
        ("spec.upstreamRef", spec.upstream_ref),
    ):
        if reference is not None:
            kind = by_object({"apiVersion": reference.api_version, "kind": reference.kind})
            namespace = getattr(reference, "namespace", "") or home
            yield NeededObject(path=path, kind=kind, namespace=namespace, name=reference.name)
    for path, provider in find_subscribed_providers(canary.subscriptions).items():
        yield NeededObject(path=path, kind=ALERT_PROVIDER, namespace=provider.namespace or home, name=provider.name)
    if canary.analysis is None:
        return
    analysis, at = canary.analysis, canary.analysis_path
    templates = (
        (f"{at}.metrics[{index}].templateRef", _TEMPLATE_KINDS[template.kind or METRIC_TEMPLATE.kind], template)
        for index, metric in enumerate(analysis.metrics)
        if (template := metric.template_ref) is not None
    )
    providers = (
        (f"{at}.alerts[{index}].providerRef", ALERT_PROVIDER, alert.provider_ref)
        for index, alert in enumerate(analysis.alerts)
    )
    for path, kind, named in (*templates, *providers):
        if named is not None:
            namespace = (named.namespace or home) if kind.namespaced else ""
            yield NeededObject(path=path, kind=kind, namespace=namespace, name=named.name)


def _without_path(reference: NeededObject) -> NeededObject:
    return evolve(reference, path="")


async def _get_objects(client: Client, references: set[NeededObject]) -> dict[NeededObject, Json | None]:
    """Get each object once; None for one that does not exist."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def get(reference: NeededObject) -> Json | None:
        async with slots:
            return await client.get(reference.kind, reference.namespace, reference.name)

    unique = list(set(map(_without_path, references)))
    return dict(zip(unique, await asyncio.gather(*map(get, unique)), strict=True))


def _missing_object(canary: str, reference: NeededObject) -> Problem:
    place = f" in the namespace {reference.namespace}" if reference.namespace else ""
    return Problem(
        file=f"Canary {canary}",
        path=reference.path,
        found=f"no {reference.kind.kind} {reference.name}{place}",
        expected="an object that exists",
        remedy="Correct the reference, or create the object.",
        rule=reference.rule,
    )


def _load_meshes(canaries: Mapping[str, Canary], provider: str) -> Iterator[tuple[str, tuple[Mesh, RenderContext]]]:
    """Yield the mesh of each Canary and its input, by the Canary's name."""
    installed = find_installed_providers()
    for name, canary in canaries.items():
        with suppress(CanaryError):  # the linter reports what is wrong with the manifest
            rollout = resolve(canary, provider=provider, installed=installed)
            yield name, (load_mesh(rollout.provider), RenderContext(canary=canary, rollout=rollout))


async def _missing_features(client: Client, name: str, mesh: Mesh, context: RenderContext) -> list[Problem]:
    """Report the fields that need a feature which a gateway of the Canary lacks."""
    try:
        needed = new_features(mesh, context, routes_of_rungs(context.rollout), {})
    except CanaryError:  # the linter reports what is wrong with the manifest
        return []
    file = f"Canary {name}"
    unsupported = await find_unsupported(client.get, mesh, context, needed)
    unlisted = await find_unlisted(client.get, mesh, context, needed)
    return [
        *(
            Problem(file=file, path=path, found=found, expected=EXPECTED, remedy=REMEDY, rule="missing-feature")
            for path, found in unsupported.items()
        ),
        *(
            Problem(
                file=file,
                path=path,
                found=found,
                expected=EXPECTED_LIST,
                remedy=REMEDY_UNLISTED,
                rule="unlisted-feature",
                severity="warning",
            )
            for path, found in unlisted.items()
        ),
    ]


async def _missing_routes(client: Client, name: str, mesh: Mesh, context: RenderContext) -> list[Problem]:
    """Report the routes of the owner that a Canary names and that the cluster lacks."""
    service = context.canary.spec.service
    references = service.route_refs if service else ()
    refs = {(ref.kind.kind, ref.name): ref for ref in mesh.refs(context)}
    needed = (
        NeededObject(path=f"spec.service.routeRefs[{index}]", kind=ref.kind, namespace=ref.namespace, name=ref.name)
        for index, reference in enumerate(references)
        if (ref := refs.get((reference.kind or HTTP_ROUTE, reference.name))) is not None
    )
    return [
        _missing_object(name, each) for each in needed if await client.get(each.kind, each.namespace, each.name) is None
    ]


_FURTHER = frozenset(place for places in FURTHER_ROUTING_RIGHTS.values() for place in places)
"""The group and the plural of each kind of route that not every Canary of its provider needs."""


def _further_kinds(routed: Iterable[tuple[Mesh, RenderContext]]) -> Iterator[Kind]:
    """Yield the kinds of routes that Canaries choose and that not each Canary of their provider needs."""
    for mesh, context in routed:
        with suppress(CanaryError):  # the linter reports what is wrong with the manifest
            yield from (ref.kind for ref in mesh.refs(context) if (ref.kind.group, ref.kind.plural) in _FURTHER)


async def _pruned_fields(client: Client, bodies: Iterable[Json]) -> list[Problem]:
    """Report the fields of ours that the cluster's definition drops, and the Canaries that were applied with them."""
    try:
        omissions = find_omissions(await client.get(CUSTOM_RESOURCE_DEFINITION, "", DEFINITION))
    except Rejected:
        return [_unchecked("the definition of Canaries", "get customresourcedefinitions")]
    expected = "a definition that has the field"
    problems = [
        Problem(
            file=f"Canary {_full_name(body)}",
            path=dropped.path,
            found="a field that the cluster's definition has dropped: the default applies",
            expected=expected,
            remedy=suggest_for_dropped([dropped]),
            rule="pruned-field",
        )
        for body in bodies
        for dropped in find_lost_fields(body, omissions) or ()
    ]
    own = [DroppedField(f"spec.{field}", field) for field in CARRIED_FIELDS]
    missing = [field for field in own if field.field in omissions]
    if problems or not missing:
        return problems
    found = f"a definition of Canaries (Flagger's) that drops {', '.join(field.field for field in missing)}"
    remedy = suggest_for_dropped(missing)
    return [Problem(path="", found=found, expected=expected, remedy=remedy, rule="pruned-field", severity="warning")]


# kinds and rights ----------------------------------------------------------------------------------------------------


async def _missing_kinds(client: Client, providers: set[str], kinds: Iterable[Kind]) -> list[Problem]:
    """Report the kinds that these providers route with and that the cluster does not define.

    kinds: further kinds of routes, which Canaries choose.
    """
    problems = []
    for provider in _known(providers):
        for group, resource in routing_rights(provider):
            if group in BUILT_IN_GROUPS:
                continue
            try:
                is_defined = await client.get(CUSTOM_RESOURCE_DEFINITION, "", f"{resource}.{group}") is not None
            except Rejected:
                return [_unchecked("the kinds of the cluster", "get customresourcedefinitions")]
            if not is_defined:
                problems.append(
                    Problem(
                        path="spec.provider",
                        found=f"no kind {resource}.{group}",
                        expected=f"this kind, which the provider {provider} routes with",
                        remedy=f"Install {provider}, or choose another provider.",
                        rule="missing-kind",
                    )
                )
    for kind in sorted(kinds, key=str):
        try:
            definition = await client.get(CUSTOM_RESOURCE_DEFINITION, "", f"{kind.plural}.{kind.group}")
        except Rejected:
            return [_unchecked("the kinds of the cluster", "get customresourcedefinitions")]
        versions = [
            get_text(version, "name")
            for version in get_items(definition, "spec", "versions")
            if version.get("served") is True
        ]
        if kind.version not in versions:
            known = f", but of {enumerate_some(versions)}" if versions else ""
            problems.append(
                Problem(
                    path="spec.service.routeKind",
                    found=f"no kind {kind.kind} of {kind.api_version}{known}",
                    expected="a kind that the cluster defines",
                    remedy="Install the Gateway API with this version, or use the other provider: gatewayapi:v1 writes "
                    "stable versions, gatewayapi:v1beta1 those before.",
                    rule="missing-kind",
                )
            )
    return problems


def _known(providers: Iterable[str]) -> list[str]:
    """Return the providers whose rights are known; the linter reports the others."""
    known = []
    for provider in sorted(providers):
        with suppress(UnknownProvider, BrokenAdapter):
            routing_rights(provider)
            known.append(provider)
    return known


async def _missing_rights(
    client: Client,
    account: str,
    providers: set[str],
    namespace: str,
    kinds: Iterable[Kind],
    unused_groups: frozenset[str],
) -> list[Problem]:
    """Report the rights that the controller needs and its account lacks. unused_groups: API groups of no Canary."""
    home, _, name = account.partition("/")
    unused = _FURTHER - {(kind.group, kind.plural) for kind in kinds}
    try:
        if await client.get(SERVICE_ACCOUNT, home, name) is None:
            return [
                Problem(
                    path="",
                    found=f"no service account {account}",
                    expected="the service account of the controller",
                    remedy="Run canary install, or give --account NAMESPACE/NAME.",
                    rule="no-controller",
                    severity="warning",
                )
            ]
        rights = [
            (rule["apiGroups"][0], rule["resources"][0], verb)
            for rule in rules(_known(providers))
            for verb in rule["verbs"]
            if rule["apiGroups"][0] not in unused_groups and (rule["apiGroups"][0], rule["resources"][0]) not in unused
        ]
        slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

        async def check(group: str, resource: str, verb: str) -> bool:
            async with slots:
                user = f"system:serviceaccount:{home}:{name}"
                return await _is_allowed(client, user, namespace, group, resource, verb)

        answers = await asyncio.gather(*(check(*right) for right in rights))
    except (Rejected, NotFound):
        return [_unchecked("the controller's rights", "get serviceaccounts, create subjectaccessreviews")]
    missing: dict[tuple[str, str], list[str]] = {}
    for (group, resource, verb), is_allowed in zip(rights, answers, strict=True):
        if not is_allowed:
            missing.setdefault((group, resource), []).append(verb)
    return [
        Problem(
            path="",
            found=f"{account} may not {', '.join(verbs)} {resource}{f'.{group}' if group else ''}",
            expected="a right that the controller needs",
            remedy="Run canary install with the --provider of each Canary.",
            rule="rights",
        )
        for (group, resource), verbs in missing.items()
    ]


async def _is_allowed(client: Client, user: str, namespace: str, group: str, resource: str, verb: str) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
    }
    review: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": user, "groups": _GROUPS, "resourceAttributes": attributes},
    }
    answer = await client.create(review)
    return bool(answer["status"].get("allowed"))


_GROUPS = ["system:serviceaccounts", "system:authenticated"]


def _unchecked(subject: str, right: str) -> Problem:
    return Problem(
        path="",
        found=f"no right to read {subject}",
        expected=f"the right to {right}",
        remedy="Ask an administrator for this right.",
        rule="not-checked",
        severity="warning",
    )


def _read_templates(bodies: Iterable[Json | None]) -> tuple[AnalysisTemplate, ...]:
    """Return Argo's templates among some objects."""
    templates = [body for body in bodies if body is not None and body.get("kind") in _ARGOS]
    if not templates:
        return ()
    from canarycore.argo import read_templates  # only here: few Canaries refer to one

    return read_templates(templates)


_ARGOS = {ANALYSIS_TEMPLATE.kind, CLUSTER_ANALYSIS_TEMPLATE.kind}


# bodies --------------------------------------------------------------------------------------------------------------


def _parse(body: Json) -> Canary | None:
    """Parse a Canary; None where it is invalid, which the linter reports."""
    try:
        parsed = parse(body)
    except ManifestError:
        return None
    assert isinstance(parsed, Canary), "the API server lists Canaries"
    return parsed


def _manifest(body: Json) -> str:
    """Return the owner's part of an object as JSON, which is YAML."""
    return json.dumps({name: value for name, value in body.items() if name != "status"})


def _full_name(body: Json) -> str:
    return f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"
