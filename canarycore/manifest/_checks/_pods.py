"""The limits of a split by the numbers of both sides' pods, which sees pods and no request, and of StatefulSets."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore.errors import Problem
from canarycore.manifest._model import Analysis, Canary
from canarycore.manifest.routing import splits_by_pods
from canarycore.text import shorten

POD_RULES = ("pods-target", "pods-autoscaler", "pods-match")
"""The rules of `check_pods` beside `no-mirror`."""

STATEFUL_RULE = "stateful-set"
"""The rule of `check_stateful_set`."""

MOST_WEIGHT = 99
"""The greatest weight of a StatefulSet, in percent: a pod at least keeps the stable revision."""


def check_pods(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problems of a Canary whose provider would split by numbers of pods."""
    spec, analysis = canary.spec, canary.analysis
    chosen = spec.provider or provider
    if not splits_by_pods(chosen):
        return
    target, scaler = spec.target_ref, spec.autoscaler_ref
    if target.kind != "Deployment" and not target.stateful:
        yield Problem(
            path="spec.targetRef.kind",
            found=shorten(target.kind),
            expected=f"Deployment or StatefulSet: the provider {chosen} sets the pods of both sides",
            remedy="Name one of them, or choose another provider.",
            rule="pods-target",
        )
    if scaler is not None:
        yield Problem(
            path="spec.autoscalerRef",
            found=f"the {scaler.kind} {shorten(scaler.name)}",
            expected=f"no autoscaler: it and the provider {chosen} would change the replicas against each other",
            remedy="Remove autoscalerRef and the autoscaler, or choose a provider that splits requests.",
            rule="pods-autoscaler",
        )
    if analysis is not None and analysis.match:
        yield Problem(
            path=f"{canary.analysis_path}.match",
            found="match",
            expected=f"no match: the provider {chosen} splits by numbers of pods and sees no header",
            remedy="Remove match, or choose a provider that routes.",
            rule="pods-match",
        )
    if analysis is not None and analysis.mirror:
        yield Problem(
            path=f"{canary.analysis_path}.mirror",
            found="mirror",
            expected=f"no mirror: the provider {chosen} splits by numbers of pods and copies no request",
            remedy="Remove mirror, or choose a provider that routes.",
            rule="no-mirror",
        )


def check_stateful_set(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problems of a Canary whose target is a StatefulSet and that its partition cannot roll out."""
    spec, analysis = canary.spec, canary.analysis
    if not spec.target_ref.stateful:
        return
    chosen = spec.provider or provider
    if not splits_by_pods(chosen):
        yield Problem(
            path="spec.provider",
            found=shorten(chosen),
            expected="replicas for a StatefulSet: its pods have names and volumes of their own, so it has no primary "
            "copy, and its partition divides its pods between two revisions",
            remedy="Set provider: replicas, or move the part without state to a Deployment.",
            rule=STATEFUL_RULE,
        )
    if spec.service is not None:
        yield Problem(
            path="spec.service",
            found="service",
            expected="none for a StatefulSet: its own Services lead to the pods of both revisions, and stay",
            remedy="Remove service.",
            rule=STATEFUL_RULE,
        )
    if analysis is None:
        return
    if analysis.iterations:
        yield Problem(
            path=f"{canary.analysis_path}.iterations",
            found=str(analysis.iterations),
            expected="weights for a StatefulSet: it cannot run a second set of pods beside the first one",
            remedy="Give stepWeight and maxWeight, stepWeights or steps instead.",
            rule=STATEFUL_RULE,
        )
    for index, metric in enumerate(analysis.metrics):
        if not (metric.query or metric.template_ref):
            yield Problem(
                path=f"{canary.analysis_path}.metrics[{index}].name",
                found=shorten(metric.name),
                expected="a query of your own for a StatefulSet: the pods of both revisions have the names of one "
                "workload, so a built-in query cannot tell them apart",
                remedy="Add templateRef with a query by a label of the revision, such as the version of the app.",
                rule=STATEFUL_RULE,
            )
    for field, weight in _last_weights(analysis):
        if weight > MOST_WEIGHT:
            yield Problem(
                path=f"{canary.analysis_path}.{field}",
                found=f"a last weight of {weight:g}",
                expected=f"at most {MOST_WEIGHT} for a StatefulSet: a pod at least keeps the stable revision until the "
                "promotion, so that a rollback has one",
                remedy="Set maxWeight, or end with a lower step.",
                rule=STATEFUL_RULE,
            )


def _last_weights(analysis: Analysis) -> Iterator[tuple[str, float]]:
    """Yield the last weight in percent that each field of an analysis leads to."""
    if analysis.bake:
        yield "bake", 100
    if analysis.steps:
        yield "steps", max(step.weight or 0 for step in analysis.steps)
    if analysis.step_weights:
        yield "stepWeights", max(analysis.step_weights)
    elif analysis.step_weight and not analysis.steps:
        top, step = analysis.max_weight or 100, analysis.step_weight
        yield "maxWeight", min(100, -(-top // step) * step)
