"""Parts of documents without an equivalent: one problem for each."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from canarycore.argo._document import DocumentPart
from canarycore.errors import Problem
from canarycore.text import shorten

_OF_ARGO = (
    ("ambassador", "another provider", "Choose a provider that canarycore has, and set spec.provider."),
    ("plugins", "another provider", "Choose a provider that canarycore has, and set spec.provider."),
    ("managedRoutes", "nothing", "The controller makes its routes itself: remove them."),
    ("maxTrafficWeight", "nothing: weights are percent", "Write the weights in percent."),
    ("antiAffinity", "nothing", "Write an anti-affinity between the two versions into the pod template."),
    ("canaryMetadata", "nothing", "The Deployment NAME has the pods of the canary: write the labels there."),
    ("stableMetadata", "nothing", "The Deployment NAME-primary has the stable pods; it is a copy."),
    ("activeMetadata", "nothing", "The Deployment NAME-primary has the stable pods; it is a copy."),
    ("previewMetadata", "nothing", "The Deployment NAME has the pods of the canary: write the labels there."),
    ("abortScaleDownDelaySeconds", "nothing", "Set analysis.drain, the time between traffic and pods."),
    ("scaleDownDelaySeconds", "nothing", "Set analysis.drain, or analysis.bake for a fast way back."),
    ("scaleDownDelayRevisionLimit", "nothing", "One old version is kept: that of the primary."),
    ("dynamicStableScale", "nothing", "The primary keeps its size, so that it can take all traffic back."),
    ("previewReplicaCount", "nothing", "The canary has the replicas of the target."),
    ("minPodsPerReplicaSet", "nothing", "Set replicas, or minReplicas of an autoscaler."),
    ("replicaProgressThreshold", "nothing", "Set analysis.canaryReadyThreshold."),
    ("pingPong", "nothing", "The Services keep their sides: remove it."),
    ("autoPromotionEnabled", "nothing", "Add a webhook of type confirm-promotion, or a step with approval."),
    (
        "setCanaryScale",
        "a size of a step above 0, by a provider that splits requests",
        "Write it right before setWeight, with replicas or weight above 0.",
    ),
    (
        "setHeaderRoute",
        "a match beside a weight, by a provider that has it",
        "Choose istio, gatewayapi:v1, contour, gloo or nginx, and set match of the step.",
    ),
    (
        "setMirrorRoute",
        "a mirror of all requests, by a provider that has it",
        "Choose istio or gatewayapi:v1, and set mirror of the step.",
    ),
    ("ingresses", "one Ingress", "Make a Canary for each Ingress, or use one Ingress."),
    ("stableIngresses", "one Ingress", "Make a Canary for each Ingress, or use one Ingress."),
    ("experiment", "nothing", "Run the test by a webhook of type pre-rollout."),
    ("plugin", "nothing", "Call your own service by a webhook."),
    ("restartAt", "nothing", "Use kubectl rollout restart."),
    (
        "postPromotionAnalysis",
        "no analysis after the switch of the provider kubernetes",
        "Set spec.provider to your mesh or ingress, analysis.bake, and fromWeight: 100 of these metrics.",
    ),
    ("rollbackWindow", "a number of revisions", "Write rollbackWindow.revisions, and no other field."),
    ("successfulRunHistoryLimit", "nothing", "There are no AnalysisRuns: the status keeps the last analysis."),
    ("unsuccessfulRunHistoryLimit", "nothing", "There are no AnalysisRuns: the status keeps the last analysis."),
    ("measurementRetention", "nothing", "There are no AnalysisRuns: the status keeps the last analysis."),
    ("authentication", "a Secret", "Name a Secret in the provider's secretRef."),
    ("rangeQuery", "an instant query", "Write a query whose result is one number."),
)
"""Fields of Argo: the name of a field, the value that the Canary takes there, and the remedy."""

_OF_CANARIES = (
    ("webhooks", "nothing", "Write a metric of Argo's providers web or job for each."),
    ("alerts", "nothing", "Subscribe to Argo's notifications by annotations."),
    ("sessionAffinity", "nothing", "Set it in the routes of your mesh."),
    ("mirror", "a mirror of a step", "Set mirror of the steps."),
    ("match", "a match of a step", "Set match of the steps."),
    ("bake", "nothing", "Set scaleDownDelaySeconds of the Rollout."),
    ("drain", "nothing", "Set abortScaleDownDelaySeconds of the Rollout."),
    ("autoscalerRef", "nothing", "Let the autoscaler refer to the Rollout."),
    ("rollbackWindow", "a number of revisions", "Remove rollbackWindow.steps."),
    ("templateVariables", "nothing", "Write the values into the query."),
)
"""Fields of Canaries: the name of a field, the value that the Rollout takes there, and the remedy."""

_TABLES = {"Canary": _OF_ARGO, "Rollout": _OF_CANARIES}
"""The fields without an equivalent, by the kind that a document becomes."""


@define
class Gaps:
    """The gaps of one conversion, in the order of their discovery."""

    to: str = "Canary"
    """The kind that the document becomes."""
    has_secrets: bool = False
    """Whether the values of the document are not shown: other people read the problems, too."""
    problems: list[Problem] = field(factory=list)
    _known: set[Problem] = field(factory=set, init=False, repr=False)

    def report(self, node: DocumentPart, found: str, expected: str, remedy: str) -> None:
        """Add a part without an equivalent, once: several Rollouts may refer to one template."""
        problem = Problem(
            path=node.path, found=found, expected=expected, remedy=remedy, rule="no-equivalent", severity="warning"
        )
        if problem not in self._known:
            self._known.add(problem)
            self.problems.append(problem)

    def report_unread(self, document: DocumentPart) -> None:
        """Add all parts of a document that nobody has read."""
        for node in document.unread():
            for part in self._split(node):
                fields = part.path.replace("[", ".[").split(".")
                known = next((each for each in _TABLES[self.to] if each[0] in fields), None)
                _, expected, remedy = known or ("", f"nothing: a {self.to} has no such field", "Remove it.")
                found = "a value that is not shown" if self.has_secrets else shorten(str(part.value))
                self.report(part, found, expected, remedy)

    def _split(self, node: DocumentPart) -> list[DocumentPart]:
        """Return the fields of a part if one of them is known, else the part."""
        if isinstance(node.value, Mapping) and any(name in node.value for name, _, _ in _TABLES[self.to]):
            return [inner for inner in map(node.at, map(str, node.value)) if inner]
        return [node]
