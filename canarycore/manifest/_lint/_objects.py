"""Lint rules about the objects around a canary: its service, workload, autoscaler and other canaries."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore.foreign import get_list, get_value
from canarycore.manifest._lint._rule import Finding, Json, LintContext, LintRule
from canarycore.text import enumerate_some

HEAVY = 50
"""Percent of traffic that one replica should not be left alone with."""

SELECTORS = ("app", "name", "app.kubernetes.io/name")
"""The labels by which Flagger tells primary and canary pods apart, unless it is configured otherwise."""


def _workload(case: LintContext) -> Json | None:
    target = case.canary.spec.target_ref
    return case.around.other(target.kind, case.canary.namespace, target.name)


def _autoscaler(case: LintContext) -> Json | None:
    reference = case.canary.spec.autoscaler_ref
    return case.around.other(reference.kind, case.canary.namespace, reference.name) if reference else None


def _no_service(case: LintContext) -> Iterator[Finding]:
    if case.canary.spec.service is None and not case.canary.spec.target_ref.knative:
        yield Finding("spec.service", "nothing")


def _knative(case: LintContext) -> Iterator[Finding]:
    target = case.canary.spec.target_ref
    if target.knative != (case.provider == "knative"):
        yield Finding("spec.targetRef", f"{target.api_version} {target.kind} on the provider {case.provider}")


def _knative_autoscaler(case: LintContext) -> Iterator[Finding]:
    if case.canary.spec.target_ref.knative and case.canary.spec.autoscaler_ref:
        yield Finding("spec.autoscalerRef", "an autoscaler of a Knative Service")


def _cluster_ip(case: LintContext) -> Iterator[Finding]:
    target = case.canary.spec.target_ref
    service = _workload(case) if target.kind == "Service" and not target.knative else None
    if service and get_value(service, "spec", "type") != "ExternalName":
        yield Finding(
            "spec.targetRef.kind", f"the {get_value(service, 'spec', 'type') or 'ClusterIP'} Service {target.name}"
        )


def _labels(case: LintContext) -> Iterator[Finding]:
    labels = get_value(_workload(case), "spec", "selector", "matchLabels")
    if isinstance(labels, dict) and not any(name in labels for name in SELECTORS):
        words = {"selectors": ", ".join(SELECTORS)}
        yield Finding("spec.targetRef.name", f"a workload selected by {enumerate_some(labels)}", words)


def _port(case: LintContext) -> Iterator[Finding]:
    service, workload = case.canary.spec.service, _workload(case)
    if service is None or case.canary.spec.target_ref.knative:
        return
    containers = get_list(workload, "spec", "template", "spec", "containers")
    ports = [port for container in containers for port in get_list(container, "ports")]
    names = [
        str(name) for port in ports for name in (get_value(port, "containerPort"), get_value(port, "name")) if name
    ]
    wanted = service.target_port or service.port
    if names and str(wanted) not in names:
        place = "targetPort" if service.target_port else "port"
        yield Finding(f"spec.service.{place}", f"the container port {wanted}", {"ports": enumerate_some(names)})


def _old_autoscaling(case: LintContext) -> Iterator[Finding]:
    reference = case.canary.spec.autoscaler_ref
    if reference and reference.api_version in {"autoscaling/v2beta1", "autoscaling/v2beta2"}:
        yield Finding("spec.autoscalerRef.apiVersion", repr(reference.api_version))


def _one_replica(case: LintContext) -> Iterator[Finding]:
    scaler = _autoscaler(case)
    field = "minReplicaCount" if get_value(scaler, "kind") == "ScaledObject" else "minReplicas"
    least = get_value(scaler, "spec", field)
    least = 1 if least is None else least
    if scaler and isinstance(least, int) and least <= 1 and case.heaviest >= HEAVY:
        yield Finding("spec.autoscalerRef", f"{field} {least}", {"weight": case.heaviest})


def _scaler_limits(case: LintContext) -> Iterator[Finding]:
    reference = case.canary.spec.autoscaler_ref
    limits = reference and reference.primary_scaler_replicas
    if limits and limits.min_replicas and limits.max_replicas and limits.min_replicas > limits.max_replicas:
        found = f"minReplicas {limits.min_replicas} above maxReplicas {limits.max_replicas}"
        yield Finding("spec.autoscalerRef.primaryScalerReplicas", found)


def _same_name(case: LintContext) -> Iterator[Finding]:
    mine = case.canary
    if len(case.around.named(mine)) > 1:
        yield Finding("metadata.name", f"more than one Canary {mine.name}.{mine.namespace}")


def _shared_target(case: LintContext) -> Iterator[Finding]:
    mine = case.canary
    for other in case.around.sharing(mine):
        if other.name != mine.name:
            yield Finding("spec.targetRef.name", f"the target of the Canary {other.name} as well")


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "no-service",
        "error",
        _no_service,
        "the service section with a port: without it no traffic can be routed",
        "Add service: {{port: ...}}.",
    ),
    LintRule(
        "knative", "error", _knative, "a Knative Service and the provider knative, both or neither", "Correct one."
    ),
    LintRule("knative-autoscaler", "error", _knative_autoscaler, "none: Knative scales by itself", "Remove it."),
    LintRule(
        "cluster-ip-target",
        "error",
        _cluster_ip,
        "an ExternalName Service: the copy of any other is refused by the API server",
        "Point targetRef to the Deployment behind the Service.",
    ),
    LintRule(
        "selector-label",
        "error",
        _labels,
        "one of the labels {selectors}: they tell the primary's pods from the canary's",
        "Add one to the workload's selector, or configure the controller's selector labels.",
    ),
    LintRule(
        "container-port",
        "warning",
        _port,
        "one of the container's ports ({ports})",
        "Correct port, or give the container's port in targetPort.",
    ),
    LintRule(
        "old-autoscaling",
        "warning",
        _old_autoscaling,
        "autoscaling/v2: current Kubernetes no longer has this version",
        "Write autoscaling/v2.",
    ),
    LintRule(
        "one-replica",
        "warning",
        _one_replica,
        "at least 2: one pod would get {weight}% of the traffic before the autoscaler reacts",
        "Raise the minimum, or stop at a lower weight.",
    ),
    LintRule("scaler-limits", "error", _scaler_limits, "minReplicas at most maxReplicas", "Swap or correct them."),
    LintRule(
        "same-name",
        "warning",
        _same_name,
        "one Canary of a name: applied together, only the last one remains",
        "Apply one of them, or rename.",
    ),
    LintRule(
        "shared-target", "error", _shared_target, "one Canary for each target: two undo each other", "Remove one."
    ),
)
