"""The limits of a provider that splits by the numbers of both sides' pods: it sees pods, and no request."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore.errors import Problem
from canarycore.manifest._model import Canary
from canarycore.manifest.routing import splits_by_pods
from canarycore.text import shorten

POD_RULES = ("pods-target", "pods-autoscaler", "pods-match")
"""The rules of `check_pods` beside `no-mirror`."""


def check_pods(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problems of a Canary whose provider would split by numbers of pods."""
    spec, analysis = canary.spec, canary.analysis
    chosen = spec.provider or provider
    if not splits_by_pods(chosen):
        return
    target, scaler = spec.target_ref, spec.autoscaler_ref
    if target.kind != "Deployment":
        yield Problem(
            path="spec.targetRef.kind",
            found=shorten(target.kind),
            expected=f"Deployment: the provider {chosen} sets the replicas of both sides",
            remedy="Name a Deployment, or choose another provider.",
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
