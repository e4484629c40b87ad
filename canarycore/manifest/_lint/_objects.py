"""Lint rules about the objects of a Canary: its Service, workload and autoscaler, and other Canaries."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore.foreign import get_list, get_value
from canarycore.manifest._checks._names import check_names
from canarycore.manifest._lint._rule import Finding, Json, LintContext, LintRule
from canarycore.manifest.routing import copies_ingress, find_partition_obstacle, splits_by_pods
from canarycore.text import enumerate_some

HEAVY = 50
"""Percent of traffic that is too much for one replica."""

SELECTORS = ("app", "name", "app.kubernetes.io/name")
"""Flagger's default labels that distinguish primary and canary pods."""


def _workload(context: LintContext) -> Json | None:
    target = context.canary.spec.target_ref
    return context.around.other(target.kind, context.canary.namespace, target.name)


def _autoscaler(context: LintContext) -> Json | None:
    reference = context.canary.spec.autoscaler_ref
    return context.around.other(reference.kind, context.canary.namespace, reference.name) if reference else None


def _no_service(context: LintContext) -> Iterator[Finding]:
    is_needed = not (context.canary.spec.target_ref.knative or splits_by_pods(context.provider))
    if context.canary.spec.service is None and is_needed:
        yield Finding("spec.service", "nothing")


def _knative(context: LintContext) -> Iterator[Finding]:
    target = context.canary.spec.target_ref
    if target.knative != (context.provider == "knative"):
        yield Finding("spec.targetRef", f"{target.api_version} {target.kind} on the provider {context.provider}")


def _knative_autoscaler(context: LintContext) -> Iterator[Finding]:
    if context.canary.spec.target_ref.knative and context.canary.spec.autoscaler_ref:
        yield Finding("spec.autoscalerRef", "an autoscaler of a Knative Service")


def _cluster_ip(context: LintContext) -> Iterator[Finding]:
    target = context.canary.spec.target_ref
    service = _workload(context) if target.kind == "Service" and not target.knative else None
    if service and get_value(service, "spec", "type") != "ExternalName":
        yield Finding(
            "spec.targetRef.kind", f"the {get_value(service, 'spec', 'type') or 'ClusterIP'} Service {target.name}"
        )


def _labels(context: LintContext) -> Iterator[Finding]:
    labels = get_value(_workload(context), "spec", "selector", "matchLabels")
    is_copied = not context.canary.spec.target_ref.stateful
    if is_copied and isinstance(labels, dict) and not any(name in labels for name in SELECTORS):
        arguments = {"selectors": ", ".join(SELECTORS)}
        yield Finding("spec.targetRef.name", f"a workload selected by {enumerate_some(labels)}", arguments)


def _partition_obstacle(context: LintContext) -> Iterator[Finding]:
    body = _workload(context) if context.canary.spec.target_ref.stateful else None
    obstacle = None if body is None else find_partition_obstacle(body)
    if obstacle is not None:
        arguments = {"expected": obstacle.expected, "remedy": obstacle.remedy}
        yield Finding("spec.targetRef.name", f"a StatefulSet with {obstacle.path}: {obstacle.found}", arguments)


def _written_partition(context: LintContext) -> Iterator[Finding]:
    body = _workload(context) if context.canary.spec.target_ref.stateful else None
    partition = get_value(body, "spec", "updateStrategy", "rollingUpdate", "partition")
    if partition is not None:
        yield Finding("spec.targetRef.name", f"a StatefulSet with the partition {partition}")


def _port(context: LintContext) -> Iterator[Finding]:
    service, workload = context.canary.spec.service, _workload(context)
    if service is None or context.canary.spec.target_ref.knative:
        return
    containers = get_list(workload, "spec", "template", "spec", "containers")
    ports = [port for container in containers for port in get_list(container, "ports")]
    names = [
        str(name) for port in ports for name in (get_value(port, "containerPort"), get_value(port, "name")) if name
    ]
    port_name = service.target_port or service.port
    if names and str(port_name) not in names:
        place = "targetPort" if service.target_port else "port"
        yield Finding(f"spec.service.{place}", f"the container port {port_name}", {"ports": enumerate_some(names)})


def _old_autoscaling(context: LintContext) -> Iterator[Finding]:
    reference = context.canary.spec.autoscaler_ref
    if reference and reference.api_version in {"autoscaling/v2beta1", "autoscaling/v2beta2"}:
        yield Finding("spec.autoscalerRef.apiVersion", repr(reference.api_version))


def _one_replica(context: LintContext) -> Iterator[Finding]:
    scaler = _autoscaler(context)
    field = "minReplicaCount" if get_value(scaler, "kind") == "ScaledObject" else "minReplicas"
    least = get_value(scaler, "spec", field)
    least = 1 if least is None else least
    if scaler and isinstance(least, int) and least <= 1 and context.heaviest >= HEAVY:
        yield Finding("spec.autoscalerRef", f"{field} {least}", {"weight": context.heaviest})


def _scaler_limits(context: LintContext) -> Iterator[Finding]:
    reference = context.canary.spec.autoscaler_ref
    limits = reference and reference.primary_scaler_replicas
    if limits and limits.min_replicas and limits.max_replicas and limits.min_replicas > limits.max_replicas:
        found = f"minReplicas {limits.min_replicas} above maxReplicas {limits.max_replicas}"
        yield Finding("spec.autoscalerRef.primaryScalerReplicas", found)


def _long_name(context: LintContext) -> Iterator[Finding]:
    return map(Finding.of, check_names(context.canary, context.provider))


def _shared_ingress(context: LintContext) -> Iterator[Finding]:
    mine = context.canary
    reference = mine.spec.ingress_ref
    if reference is None or not copies_ingress(context.provider):
        return
    for other in context.around.sharing_ingress(mine):
        if other.name != mine.name and copies_ingress(other.spec.provider or context.around.provider):
            arguments = {"ingress": reference.name}
            yield Finding("spec.ingressRef.name", f"the Ingress of the Canary {other.name} as well", arguments)


def _shared_service(context: LintContext) -> Iterator[Finding]:
    mine = context.canary
    for other in context.around.sharing_service(mine):
        if other.name != mine.name and other.spec.target_ref != mine.spec.target_ref:
            yield Finding("spec.service.name", f"the Service of the Canary {other.name} as well")


def _same_name(context: LintContext) -> Iterator[Finding]:
    mine = context.canary
    if len(context.around.named(mine)) > 1:
        yield Finding("metadata.name", f"more than one Canary {mine.name}.{mine.namespace}")


def _shared_target(context: LintContext) -> Iterator[Finding]:
    mine = context.canary
    for other in context.around.sharing(mine):
        if other.name != mine.name:
            yield Finding("spec.targetRef.name", f"the target of the Canary {other.name} as well")


RULES: tuple[LintRule[LintContext], ...] = (
    LintRule(
        "no-service",
        "error",
        _no_service,
        "the service section with a port: without it the controller cannot route traffic",
        "Add service: {{port: ...}}, or set the provider replicas for a worker that no Service leads to.",
    ),
    LintRule(
        "knative", "error", _knative, "a Knative Service with the provider knative, or neither", "Correct one of them."
    ),
    LintRule(
        "knative-autoscaler",
        "error",
        _knative_autoscaler,
        "no autoscaler: Knative scales by itself",
        "Remove the field.",
    ),
    LintRule(
        "cluster-ip-target",
        "error",
        _cluster_ip,
        "an ExternalName Service: the API server refuses a copy of any other type",
        "Point targetRef to the Deployment behind the Service.",
    ),
    LintRule(
        "selector-label",
        "error",
        _labels,
        "one of the labels {selectors}: they distinguish the pods of primary and canary",
        "Add one to the workload's selector, or configure the controller's selector labels.",
    ),
    LintRule("partition-obstacle", "error", _partition_obstacle, "{expected}", "{remedy}"),
    LintRule(
        "written-partition",
        "warning",
        _written_partition,
        "none in the manifest: each apply would set it, and begin or end a rollout past the controller",
        "Remove spec.updateStrategy.rollingUpdate.partition from the StatefulSet's manifest.",
    ),
    LintRule(
        "container-port",
        "warning",
        _port,
        "one of the container's ports ({ports})",
        "Correct port, or set targetPort to the container's port.",
    ),
    LintRule(
        "old-autoscaling",
        "warning",
        _old_autoscaling,
        "autoscaling/v2: current Kubernetes does not have this version",
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
        "one Canary of each name: if you apply several, only the last one remains",
        "Apply one of them, or rename one.",
    ),
    LintRule(
        "shared-target",
        "error",
        _shared_target,
        "one Canary for each target: two would undo each other's changes",
        "Remove one of them.",
    ),
    LintRule(
        "shared-service",
        "error",
        _shared_service,
        "one Canary for each Service: two would undo each other's routes",
        "Set spec.service.name to another name.",
    ),
    LintRule(
        "shared-ingress",
        "error",
        _shared_ingress,
        "one Canary for each Ingress: each needs the copy {ingress}-canary for its own weights",
        "Move the paths of one app to an Ingress of their own.",
    ),
    LintRule("long-name", "error", _long_name, "{expected}", "{remedy}"),
)
