"""Sizes of steps: the replicas of the canary, which nobody else may set."""

from __future__ import annotations

from collections.abc import Iterator

from canarycore.errors import Problem
from canarycore.manifest._model import Canary
from canarycore.manifest.routing import splits_by_pods
from canarycore.text import shorten

SIZE_RULE = "step-size"
"""The rule of `check_step_sizes`."""


def check_step_sizes(canary: Canary, provider: str) -> Iterator[Problem]:
    """Return the problems of sizes of steps that something else contradicts. provider: the provider of the Canary."""
    objection = _find_objection(canary, provider)
    if objection is None:
        return
    expected, remedy = objection
    for path, size in canary.step_sizes.items():
        yield Problem(path=path, found=f"the size {size}", expected=expected, remedy=remedy, rule=SIZE_RULE)


def _find_objection(canary: Canary, provider: str) -> tuple[str, str] | None:
    """Return the expected value and the remedy of a size that contradicts the Canary; None if it does not."""
    target, scaler = canary.spec.target_ref, canary.spec.autoscaler_ref
    if target.kind != "Deployment":
        return f"none: a target of kind {shorten(target.kind)} has no number of replicas", "Remove it."
    if scaler is not None:
        reason = f"none: the {scaler.kind} {shorten(scaler.name)} and the size would change the replicas in turn"
        return reason, "Remove it, or autoscalerRef and the autoscaler."
    if splits_by_pods(provider):
        reason = f"none: the provider {provider} splits by numbers of pods, so the weight sets them"
        return reason, "Remove it, or choose a provider that splits requests."
    return None


def read_percent(size: int | str | None) -> int:
    """Return the percentage of a size; 0 for a number of replicas."""
    return int(size.removesuffix("%")) if isinstance(size, str) else 0
