"""canary lint --cluster: the Canaries that live on a cluster, and what they need there.

Beyond what the manifests say: whether their targets, templates and alert providers exist, whether the cluster has the
kinds that their provider routes with, and whether the controller's account may do what it has to.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from canarycore.errors import ManifestError, Problem
from canarycore.manifest import Canary, check_files, check_namespaces, parse
from canarycore_cli.console import BAD_INPUT, OK, out, print_json, print_problems
from canarycore_kubernetes.api.client import NotFound, Rejected
from canarycore_kubernetes.api.kinds import ALERT_PROVIDER, CANARY, METRIC_TEMPLATE, by_object
from canarycore_kubernetes.deploy.objects import NAME, ROUTING_RIGHTS, rules
from canarycore_runtime.mesh import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from canarycore_cli.cluster.connect import Where
    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json

ACCOUNT = f"{NAME}/{NAME}"
"""The controller's service account, as `canary install` names it."""

OF_FILES = frozenset({"unseen-template", "missing-template", "missing-alert-provider"})
"""Rules about what else is in the files; the cluster itself knows better."""

DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
BUILT_IN = frozenset({"", "apps", "autoscaling", "networking.k8s.io"})
"""API groups that every cluster has."""

IF_USED = frozenset({"keda.sh"})
"""API groups that the controller does without, where nobody uses them."""

AT_ONCE = 16
"""Questions to the API server at once."""


@frozen(kw_only=True)
class NeededObject:
    """An object that a Canary refers to, by the field at `path`."""

    path: str
    kind: Kind
    namespace: str
    name: str

    @property
    def rule(self) -> str:
        return f"missing-{_RULES.get(self.kind.kind, 'object')}"


_RULES = {"MetricTemplate": "template", "AlertProvider": "alert-provider"}


def lint(
    where: Where, account: str, *, strict: bool, as_json: bool, shared_gateways: tuple[str, ...] | None = None
) -> int:
    """Print the problems; returns the exit code. `account`: the controller's, NAMESPACE/NAME.

    shared_gateways: as for `canarycore_cli.lint`.
    """
    canaries, problems = asyncio.run(_checked(where, account, shared_gateways))
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    if as_json:
        told = [attrs.asdict(problem) for problem in problems]
        print_json({"canaries": canaries, "errors": errors, "warnings": warnings, "problems": told})
    else:
        console = out()
        print_problems(problems, console)
        verdict = f"errors: {errors}, warnings: {warnings}" if problems else "clean"
        console.print(f"{verdict}; Canaries {where.words}: {len(canaries)}", style="bold", markup=False)
    return BAD_INPUT if errors or (strict and problems) else OK


async def _checked(
    where: Where, account: str, shared_gateways: tuple[str, ...] | None
) -> tuple[list[str], list[Problem]]:
    """The Canaries' names, and everything that is wrong."""
    async with where.client() as client:
        bodies = [item async for page in client.list(CANARY, where.looked_at) for item in page["items"]]
        canaries = {_full_name(body): (body, _parsed(body)) for body in bodies}
        needed = {name: tuple(_needs(canary)) for name, (_, canary) in canaries.items() if canary is not None}
        found = await _found(client, {one for many in needed.values() for one in many})
        providers = {canary.spec.provider or where.provider for _, canary in canaries.values() if canary is not None}
        files = [
            (f"{body['kind']} {_full_name(body)}", _text(body)) for body in (*bodies, *filter(None, found.values()))
        ]
        problems = [
            attrs.evolve(problem, line=None)
            for problem in check_files(files, provider=where.provider).problems
            if problem.rule not in OF_FILES
        ]
        problems += (_lacks(name, one) for name, many in needed.items() for one in many if found[_place(one)] is None)
        if shared_gateways is not None:
            problems += _across(canaries, shared_gateways)
        problems += await _missing_kinds(client, providers)
        problems += await _missing_rights(client, account, providers, where.looked_at)
    return sorted(canaries), problems


def _across(canaries: Mapping[str, tuple[Json, Canary | None]], shared_gateways: tuple[str, ...]) -> Iterator[Problem]:
    for name, (_, canary) in canaries.items():
        for problem in check_namespaces(canary, gateways=shared_gateways) if canary is not None else ():
            yield attrs.evolve(problem, file=f"Canary {name}")


# what Canaries refer to ---------------------------------------------------------------------------------------------


def _needs(canary: Canary) -> Iterator[NeededObject]:
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
            yield NeededObject(
                path=path, kind=kind, namespace=getattr(reference, "namespace", "") or home, name=reference.name
            )
    if canary.analysis is None:
        return
    at = canary.analysis_path
    references = [
        *(
            (f"{at}.metrics[{i}].templateRef", METRIC_TEMPLATE, one.template_ref)
            for i, one in enumerate(canary.analysis.metrics)
        ),
        *(
            (f"{at}.alerts[{i}].providerRef", ALERT_PROVIDER, one.provider_ref)
            for i, one in enumerate(canary.analysis.alerts)
        ),
    ]
    for path, kind, named in references:
        if named is not None:
            yield NeededObject(path=path, kind=kind, namespace=named.namespace or home, name=named.name)


def _place(needed: NeededObject) -> NeededObject:
    """The object alone, whoever refers to it."""
    return attrs.evolve(needed, path="")


async def _found(client: Client, needed: set[NeededObject]) -> dict[NeededObject, Json | None]:
    """The objects that exist, each asked for once."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def get(one: NeededObject) -> Json | None:
        async with slots:
            return await client.get(one.kind, one.namespace, one.name)

    places = list({_place(one) for one in needed})
    return dict(zip(places, await asyncio.gather(*map(get, places)), strict=True))


def _lacks(canary: str, needed: NeededObject) -> Problem:
    return Problem(
        file=f"Canary {canary}",
        path=needed.path,
        found=f"no {needed.kind.kind} {needed.name} in the namespace {needed.namespace}",
        expected="an object that exists",
        remedy="Correct the reference, or make the object.",
        rule=needed.rule,
    )


# what the cluster must have -----------------------------------------------------------------------------------------


async def _missing_kinds(client: Client, providers: set[str]) -> list[Problem]:
    """The kinds that these providers route with, and that are not there."""
    problems = []
    for provider in sorted(providers & ROUTING_RIGHTS.keys()):
        for group, resource in ROUTING_RIGHTS[provider]:
            if group in BUILT_IN:
                continue
            try:
                there = await client.get(DEFINITION, "", f"{resource}.{group}") is not None
            except Rejected:
                return [_unknown("which kinds there are", "get customresourcedefinitions")]
            if not there:
                problems.append(
                    Problem(
                        path="spec.provider",
                        found=f"no kind {resource}.{group}",
                        expected=f"it: the provider {provider} routes by it",
                        remedy=f"Install {provider}, or choose another provider.",
                        rule="missing-kind",
                    )
                )
    return problems


async def _missing_rights(client: Client, account: str, providers: set[str], namespace: str) -> list[Problem]:
    """What the controller's account may not do, and has to."""
    home, _, name = account.partition("/")
    try:
        if await client.get(SERVICE_ACCOUNT, home, name) is None:
            return [
                Problem(
                    path="",
                    found=f"no service account {account}",
                    expected="the one that the controller runs as",
                    remedy="Run canary install, or give --account NAMESPACE/NAME.",
                    rule="no-controller",
                    severity="warning",
                )
            ]
        wanted = [
            (rule["apiGroups"][0], rule["resources"][0], verb)
            for rule in rules(provider for provider in sorted(providers) if provider in ROUTING_RIGHTS)
            for verb in rule["verbs"]
            if rule["apiGroups"][0] not in IF_USED
        ]
        slots = asyncio.Semaphore(AT_ONCE)

        async def may(group: str, resource: str, verb: str) -> bool:
            async with slots:
                return await _may(client, f"system:serviceaccount:{home}:{name}", namespace, group, resource, verb)

        allowed = await asyncio.gather(*(may(*right) for right in wanted))
    except (Rejected, NotFound):
        return [_unknown("what the controller may do", "get serviceaccounts, create subjectaccessreviews")]
    lacking: dict[tuple[str, str], list[str]] = {}
    for (group, resource, verb), is_allowed in zip(wanted, allowed, strict=True):
        if not is_allowed:
            lacking.setdefault((group, resource), []).append(verb)
    return [
        Problem(
            path="",
            found=f"{account} may not {', '.join(verbs)} {resource}{f'.{group}' if group else ''}",
            expected="a right that the controller needs",
            remedy="Run canary install with the --provider of each Canary.",
            rule="rights",
        )
        for (group, resource), verbs in lacking.items()
    ]


async def _may(client: Client, user: str, namespace: str, group: str, resource: str, verb: str) -> bool:
    plural, _, sub = resource.partition("/")
    asked = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "subresource": sub}
    body: Json = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": user, "groups": _GROUPS, "resourceAttributes": asked},
    }
    answer = await client.create(body)
    return bool(answer["status"].get("allowed"))


_GROUPS = ["system:serviceaccounts", "system:authenticated"]


def _unknown(what: str, right: str) -> Problem:
    return Problem(
        path="",
        found=f"that you may not see {what}",
        expected=f"the right to {right}",
        remedy="Ask somebody who has it.",
        rule="not-looked-at",
        severity="warning",
    )


# bodies -------------------------------------------------------------------------------------------------------------


def _parsed(body: Json) -> Canary | None:
    try:
        parsed = parse(body)
    except ManifestError:
        return None  # the linter says why
    assert isinstance(parsed, Canary), "the API server lists Canaries"
    return parsed


def _text(body: Json) -> str:
    """What the owner wrote, as JSON, which is YAML."""
    return json.dumps({name: value for name, value in body.items() if name != "status"})


def _full_name(body: Json) -> str:
    return f"{body['metadata'].get('namespace', '')}/{body['metadata']['name']}"
