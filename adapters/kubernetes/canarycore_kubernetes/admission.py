"""What lint calls an error and CEL can say: Canaries that could never work are refused where they are applied.

Each row is a lint rule; its message ends with what to do, as lint's does. A row holds when its expression is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_runtime.mesh import Json

NAME = "canaries.canarycore"

_ANALYSIS = "variables.analysis"
_STEPS = f"has({_ANALYSIS}.stepWeight) && {_ANALYSIS}.stepWeight > 0"
_LIST = f"has({_ANALYSIS}.stepWeights) && size({_ANALYSIS}.stepWeights) > 0"
_ITERATIONS = f"has({_ANALYSIS}.iterations) && {_ANALYSIS}.iterations > 0"

RULES: tuple[tuple[str, str, str], ...] = (
    (
        "no-steps",
        f"variables.none || variables.unrouted || ({_STEPS}) || ({_LIST}) || ({_ITERATIONS})",
        "spec.analysis has no step, it would never advance: give stepWeight and maxWeight, stepWeights, or iterations.",
    ),
    (
        "first-step",
        (
            f"variables.none || !({_STEPS}) || ({_LIST}) || ({_ITERATIONS}) || !has({_ANALYSIS}.maxWeight)"
            f" || {_ANALYSIS}.maxWeight == 0 || {_ANALYSIS}.maxWeight >= {_ANALYSIS}.stepWeight"
        ),
        "spec.analysis.maxWeight is below stepWeight, no step would be taken: raise maxWeight or lower stepWeight.",
    ),
    (
        "rising",
        (
            f"variables.none || !({_LIST}) || {_ANALYSIS}.stepWeights.isSorted() && {_ANALYSIS}.stepWeights.all("
            f"w, {_ANALYSIS}.stepWeights.filter(v, v == w).size() == 1)"
        ),
        "spec.analysis.stepWeights do not rise: list them in strictly rising order.",
    ),
    (
        "target",
        "object.spec.targetRef.kind in ['Deployment', 'DaemonSet', 'Service']",
        "spec.targetRef.kind is not one that can be rolled out: use Deployment, DaemonSet or Service.",
    ),
)
"""(lint rule, CEL expression that must hold, what the owner is told)."""


def admission() -> Iterator[Json]:
    """The policy, and its binding, which denies."""
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Ignore",  # a canary must be able to roll back whatever becomes of this
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["flagger.app"],
                        "apiVersions": ["v1beta1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["canaries"],
                    }
                ]
            },
            "matchConditions": [{"name": "not-deleted", "expression": "!has(object.metadata.deletionTimestamp)"}],
            "variables": [
                {"name": "none", "expression": "!has(object.spec.analysis) && !has(object.spec.canaryAnalysis)"},
                {
                    "name": "analysis",
                    "expression": "has(object.spec.analysis) ? object.spec.analysis : object.spec.canaryAnalysis",
                },
                {
                    "name": "unrouted",
                    "expression": "has(object.spec.provider) && object.spec.provider == 'kubernetes'",
                },
            ],
            "validations": [{"expression": rule, "message": f"{message} ({name})"} for name, rule, message in RULES],
        },
    }
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
