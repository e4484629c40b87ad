"""The names that the controller composes from a manifest's names, and their limits in Kubernetes.

Kubernetes takes 253 characters for most names, and 63 for a Service's name. `check_names` refuses a manifest whose
composed names would be longer, before anything is created. Label values, and names that nobody but the controller
reads, are shortened instead (`canarycore.text.compose_name`).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from canarycore.bounds import LABEL, NAME
from canarycore.errors import Problem
from canarycore.manifest._model import Canary
from canarycore.manifest.routing import PROVIDER_CAPABILITIES, copies_ingress
from canarycore.text import shorten

_SIDE = len("-primary")
_COPY = len("-canary")

LONGEST_APEX = LABEL.most - _SIDE
"""Most characters of the name of the Service that users call."""

LONGEST_TARGET = NAME.most - _SIDE
"""Most characters of a target's and a HorizontalPodAutoscaler's name."""

LONGEST_SCALED_OBJECT = LABEL.most - _SIDE
"""Most characters of a ScaledObject's name: KEDA writes the name into a label."""

LONGEST_INGRESS = NAME.most - _COPY
"""Most characters of an Ingress's name."""

LONGEST_ROUTE = NAME.most - _COPY - 1
"""Most characters of an ApisixRoute's name and the app's name together."""


@frozen(kw_only=True)
class _Source:
    """A name of the manifest from which the controller composes others."""

    path: str
    name: str
    most: int
    """Most characters of the name."""
    composed: str
    """The composed names and their limit, as a clause."""
    remedy: str
    allows_dots: bool = True


def check_names(canary: Canary, provider: str) -> Iterator[Problem]:
    """Yield a problem for each name that is too long for a composed name.

    provider: the controller's default, for a Canary without a provider.
    """
    for source in _sources(canary, canary.spec.provider or provider):
        if len(source.name) > source.most:
            found, expected = f"a name of {len(source.name)} characters", f"at most {source.most}"
        elif "." in source.name and not source.allows_dots:
            found, expected = f"the name {shorten(source.name)}", "a name without a dot"
        else:
            continue
        yield Problem(
            path=source.path,
            found=found,
            expected=f"{expected}: {source.composed}",
            remedy=source.remedy,
            rule="long-name",
        )


def _sources(canary: Canary, provider: str) -> Iterator[_Source]:
    spec = canary.spec
    target, service = spec.target_ref, spec.service
    if target.knative:
        return
    apex = (service.name if service else "") or target.name
    if target.kind == "Service":
        yield _Source(
            path="spec.targetRef.name",
            name=target.name,
            most=LONGEST_APEX,
            composed=f"its copies, the Services NAME-primary and NAME-canary, have {LABEL}",
            remedy="Give the Service a shorter name.",
        )
    else:
        yield _Source(
            path="spec.service.name" if apex != target.name else "spec.targetRef.name",
            name=apex,
            most=LONGEST_APEX,
            composed=f"the Services NAME, NAME-primary and NAME-canary have {LABEL} and no dot",
            remedy="Set spec.service.name to another name, which may differ from the target's.",
            allows_dots=False,
        )
        yield _Source(
            path="spec.targetRef.name",
            name=target.name,
            most=LONGEST_TARGET,
            composed=f"its copy, the {target.kind} NAME-primary, has {NAME}",
            remedy=f"Give the {target.kind} a shorter name.",
        )
    yield from _reference_sources(canary, provider, apex)


def _reference_sources(canary: Canary, provider: str, apex: str) -> Iterator[_Source]:
    spec, capabilities = canary.spec, PROVIDER_CAPABILITIES.get(provider)
    needs = capabilities.needs if capabilities else ""
    scaler = spec.autoscaler_ref
    if scaler is not None:
        is_keda = scaler.kind == "ScaledObject"
        limit = f"{LABEL}, as KEDA writes the name into a label" if is_keda else str(NAME)
        yield _Source(
            path="spec.autoscalerRef.name",
            name=scaler.name,
            most=LONGEST_SCALED_OBJECT if is_keda else LONGEST_TARGET,
            composed=f"its copy, the {scaler.kind} NAME-primary, has {limit}",
            remedy=f"Give the {scaler.kind} a shorter name.",
        )
    if spec.ingress_ref is not None and copies_ingress(provider):
        yield _Source(
            path="spec.ingressRef.name",
            name=spec.ingress_ref.name,
            most=LONGEST_INGRESS,
            composed=f"its copy, the Ingress NAME-canary, has {NAME}",
            remedy="Give the Ingress a shorter name.",
        )
    if spec.route_ref is not None and needs == "spec.routeRef":
        yield _Source(
            path="spec.routeRef.name",
            name=spec.route_ref.name,
            most=LONGEST_ROUTE - len(apex),
            composed=f"its copy, the ApisixRoute NAME-APP-canary, has {NAME}",
            remedy="Give the ApisixRoute a shorter name.",
        )
