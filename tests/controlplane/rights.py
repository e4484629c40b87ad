"""The rights that the controller is installed with: an account that has them, and what came of them by the audit log.

access = installed(plane.api, namespace, ["istio"])
…
used(plane.audit)       {("apps", "deployments", "get"), …}: each was needed, as without it the answer is a 403
refused(plane.audit)    what was asked for, and no right of the controller allows
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from canarycore_kubernetes.deploy.objects import ELECTION, NAME, OBSERVER, observer_rules, rules
from tests.controlplane.api import Access, Api, Json
from tests.controlplane.real.audit import Audit, Request

Right = tuple[str, str, str]
"""API group, resource, verb."""

IN_PASSING = "is being terminated"
"""What a 403 says that has nothing to do with rights: the namespace is going."""

_ACCOUNT = re.compile(rf"system:serviceaccount:[^:]+:{NAME}")


def installed(api: Api, namespace: str, providers: Iterable[str]) -> Access:
    """A controller that was installed for these providers; its account is in this namespace."""
    return api.service_account(namespace, NAME, [*rules(providers), *ELECTION])


def observing(api: Api, namespace: str, providers: Iterable[str]) -> Access:
    """An observer beside the controller of these providers."""
    return api.service_account(namespace, OBSERVER, observer_rules(providers))


def account(namespace: str, name: str = NAME) -> str:
    """The account's name in the audit log."""
    return f"system:serviceaccount:{namespace}:{name}"


def rights(granted: Iterable[Json]) -> set[Right]:
    """What rules of a role grant."""
    return {
        (group, resource, verb)
        for rule in granted
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(audit: Audit) -> set[Right]:
    """The rights that installed controllers made use of, from the start of the log on."""
    return {right for found in _asked(audit) if found.code != 403 for right in _needed(found)}


def refused(audit: Audit) -> list[Request]:
    """What installed controllers asked for and were not allowed."""
    return [found for found in _asked(audit) if found.code == 403 and IN_PASSING not in found.message]


def _asked(audit: Audit) -> Iterator[Request]:
    return (found for found in audit.requests(0) if _ACCOUNT.fullmatch(found.user))


def _needed(found: Request) -> Iterator[Right]:
    """A patch that makes its object (server-side apply) needs the right to make one, too."""
    kind, _, sub = found.resource.partition("/")
    plural, _, group = kind.partition(".")
    resource = f"{plural}/{sub}" if sub else plural
    yield group, resource, found.verb
    if (found.verb, found.code) == ("patch", 201):
        yield group, resource, "create"
