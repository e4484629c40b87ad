"""The installed rights of the controller: an account with them, and their use by the audit log.

access = installed(plane.api, namespace, ["istio"])
…
requests = plane.audit.requests(0)
used(requests)          {("apps", "deployments", "get"), …}: the rights in use; without one the answer is a 403
refused(requests)       the requests that no right of the controller allows
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from canarycore_kubernetes.deploy.objects import (
    ELECTION,
    NAME,
    OBSERVER,
    InstallOptions,
    objects,
    observer_rules,
    rules,
)
from canarycore_planes.bench import Installation
from canarycore_planes.control_plane.api import Access, Api, Json
from canarycore_planes.control_plane.audit import Request

Right = tuple[str, str, str]
"""API group, resource, verb."""

IN_PASSING = "is being terminated"
"""The text of a 403 without a relation to rights: the namespace is terminating."""

_ACCOUNT = re.compile(rf"system:serviceaccount:[^:]+:{NAME}")


def installed(api: Api, namespace: str, providers: Iterable[str]) -> Access:
    """Create the account and the rights of a controller for these providers, in this namespace."""
    return api.service_account(namespace, NAME, [*rules(providers), *ELECTION])


def installation(provider: str) -> Installation:
    """Return what `canary install` installs for a provider."""
    bodies = objects(InstallOptions(providers=(provider,)))
    return Installation(
        definitions=[body for body in bodies if body["kind"] == "CustomResourceDefinition"],
        account=NAME,
        rules=[*rules([provider]), *ELECTION],
        command=(str(Path(sys.executable).with_name("canary")), "controller"),
    )


def observing(api: Api, namespace: str, providers: Iterable[str]) -> Access:
    """Create the account and the rights of an observer beside the controller of these providers."""
    return api.service_account(namespace, OBSERVER, observer_rules(providers))


def account(namespace: str, name: str = NAME) -> str:
    """Return the account's name in the audit log."""
    return f"system:serviceaccount:{namespace}:{name}"


def rights(granted: Iterable[Json]) -> set[Right]:
    """Return the rights that the rules of a role grant."""
    return {
        (group, resource, verb)
        for rule in granted
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: Iterable[Request]) -> set[Right]:
    """Return the rights that installed controllers used in these requests."""
    return {right for found in _asked(requests) if found.code != 403 for right in _needed(found)}


def refused(requests: Iterable[Request]) -> list[Request]:
    """Return the requests of installed controllers that the server refused."""
    return [found for found in _asked(requests) if found.code == 403 and IN_PASSING not in found.message]


def _asked(requests: Iterable[Request]) -> Iterator[Request]:
    return (found for found in requests if _ACCOUNT.fullmatch(found.user))


def _needed(found: Request) -> Iterator[Right]:
    """Yield the rights of a request. A patch that creates its object (server-side apply) also needs "create"."""
    kind, _, sub = found.resource.partition("/")
    plural, _, group = kind.partition(".")
    resource = f"{plural}/{sub}" if sub else plural
    yield group, resource, found.verb
    if (found.verb, found.code) == ("patch", 201):
        yield group, resource, "create"
