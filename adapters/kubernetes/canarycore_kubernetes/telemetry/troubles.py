"""The troubles of rollouts: the reason of each as one name, and a message for the owner of the Canary.

`find_trouble` returns the trouble of a cycle. Its message names the object, the answer of the cluster, and the remedy.
`REASONS` has all names, in the order of the table in docs/kubernetes.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import Conflict, Refused, UnknownProvider, WorldError
from canarycore.phases import OVER
from canarycore.questions import SourcesAnswer
from canarycore.text import escape_controls
from canarycore_kubernetes.api.client import ApiError, KindMissing
from canarycore_kubernetes.api.leader_election import NotLeader
from canarycore_kubernetes.api.ownership import MissingObjectError
from canarycore_runtime import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_runtime import CycleReport

LONGEST_TROUBLE = 4096
"""Most characters of the message of a trouble."""


@frozen(kw_only=True)
class TroubleReason:
    """A kind of trouble."""

    name: str
    """The reason of the condition."""

    meaning: str
    """The trouble, as a sentence."""

    remedy: str
    """The remedy, as a sentence. A message that has its own remedy does not repeat it."""

    is_lasting: bool = True
    """Whether the trouble stays until somebody changes an object. The others are reported once they have lasted."""


REFUSED = TroubleReason(
    name="Refused",
    meaning="The manifest or the objects in the cluster do not allow the next step.",
    remedy="The message names the object and the change.",
)
TARGET_MISSING = TroubleReason(
    name="TargetMissing",
    meaning="The target does not exist.",
    remedy="Create it, or correct spec.targetRef.",
)
OBJECT_MISSING = TroubleReason(
    name="ObjectMissing",
    meaning="An object that the rollout needs does not exist: an autoscaler, a Secret or a ConfigMap.",
    remedy="Create it, or correct the reference to it.",
)
PROVIDER_UNKNOWN = TroubleReason(
    name="ProviderUnknown",
    meaning="No adapter has the name of the provider.",
    remedy="Correct spec.provider, or the controller's option --mesh-provider.",
)
KIND_MISSING = TroubleReason(
    name="KindMissing",
    meaning="The cluster does not define a kind of the provider.",
    remedy="Install the definitions of the provider, or name another one in spec.provider.",
)
FORBIDDEN = TroubleReason(
    name="Forbidden",
    meaning="The controller's role lacks a right.",
    remedy="Ask the operator to grant it: canary install adds the rights of each provider.",
)
QUOTA_EXCEEDED = TroubleReason(
    name="QuotaExceeded",
    meaning="A quota of the namespace is used up.",
    remedy="Raise the quota, or delete what is not needed.",
)
ADMISSION_DENIED = TroubleReason(
    name="AdmissionDenied",
    meaning="A webhook or a policy of the cluster denies the request.",
    remedy="Change the Canary or its target so that the policy allows the object, or ask for an exception.",
)
NAMESPACE_TERMINATING = TroubleReason(
    name="NamespaceTerminating",
    meaning="The namespace is being deleted.",
    remedy="Wait for its end, and create the Canary in another one.",
)
NAME_TOO_LONG = TroubleReason(
    name="NameTooLong",
    meaning="A name, or the value of a label, is longer than Kubernetes allows.",
    remedy="Give the target or the Service a shorter name.",
)
REQUEST_REJECTED = TroubleReason(
    name="RequestRejected",
    meaning="The API server rejects an object as invalid.",
    remedy="Correct the field in the Canary, or in the object that it comes from.",
)
ROUTES_REFUSED = TroubleReason(
    name="RoutesRefused",
    meaning="The mesh or the gateway does not accept the routes.",
    remedy="Correct the field that its controller names.",
)
ROUTES_CHANGED_BACK = TroubleReason(
    name="RoutesChangedBack",
    meaning="Another writer changes the routes back each time that the rollout has written them.",
    remedy="Leave the field out of what that writer applies, or let that writer ignore it.",
)
SELECTOR_MISMATCH = TroubleReason(
    name="SelectorMismatch",
    meaning="The target's labels do not fit the existing primary.",
    remedy="Give the target its former selector, or migrate to the new one.",
)
PODS_REFUSED = TroubleReason(
    name="PodsRefused",
    meaning="A Deployment cannot create its pods: a quota or a policy refuses them.",
    remedy="Raise the quota, or change the pod template so that the policy allows it.",
)
METRICS_UNAVAILABLE = TroubleReason(
    name="MetricsUnavailable",
    meaning="A metric source does not answer while the rollout initializes, or its template or Secret is missing.",
    remedy="Correct the template, its Secret or its address: without it every check fails.",
)
UNAVAILABLE = TroubleReason(
    name="Unavailable",
    meaning="The API server, a webhook or a source fails or does not answer. It is reported once it has lasted.",
    remedy="The controller tries again by itself.",
    is_lasting=False,
)

REASONS = (
    REFUSED,
    TARGET_MISSING,
    OBJECT_MISSING,
    PROVIDER_UNKNOWN,
    KIND_MISSING,
    FORBIDDEN,
    QUOTA_EXCEEDED,
    ADMISSION_DENIED,
    NAMESPACE_TERMINATING,
    NAME_TOO_LONG,
    REQUEST_REJECTED,
    ROUTES_REFUSED,
    ROUTES_CHANGED_BACK,
    SELECTOR_MISMATCH,
    PODS_REFUSED,
    METRICS_UNAVAILABLE,
    UNAVAILABLE,
)


@frozen
class Trouble:
    """The trouble of a rollout."""

    reason: TroubleReason
    text: str
    """The message for the owner: object, reason and remedy."""


def find_trouble(report: CycleReport) -> Trouble | None:
    """Return the trouble of a cycle: its first error, or a missing object that its decision met; None without one.

    A conflict, and a notice that waits for its receiver, are no troubles.
    """
    return next(_troubles(report), None)


def _troubles(report: CycleReport) -> Iterator[Trouble]:
    for error in report.result.errors:
        if not isinstance(error, _NO_TROUBLES):
            yield classify(error)
    decision, observed = report.result.decision, report.observed
    if decision is None or observed is None or decision.status.phase in OVER or observed.rollout.suspend:
        return
    rollout = observed.rollout
    if observed.observation.target is None and not observed.observation.is_deleted:
        text = f"{rollout.target.kind} {rollout.target.name} does not exist in the namespace {rollout.namespace}."
        yield _trouble(TARGET_MISSING, f"{text} {TARGET_MISSING.remedy}")
    for _, answer in decision.explanation.answers:
        if isinstance(answer, SourcesAnswer) and answer.error:
            yield _trouble(METRICS_UNAVAILABLE, f"{_sentence(answer.error)} {METRICS_UNAVAILABLE.remedy}")


_NO_TROUBLES = (Conflict, UndeliveredError, NotLeader)


def classify(error: WorldError) -> Trouble:
    """Return the trouble that an error means to the owner of the rollout."""
    cause = error if isinstance(error, ApiError) else error.__cause__
    if isinstance(cause, ApiError):
        reason = _reason_of_answer(cause)
        return _trouble(reason, f"{_describe_request(cause.request)}: {_sentence(cause.answer)} {reason.remedy}")
    if isinstance(cause, UnknownProvider):
        return _trouble(PROVIDER_UNKNOWN, f"{_sentence(str(error))} {PROVIDER_UNKNOWN.remedy}")
    if isinstance(error, MissingObjectError):
        return _trouble(OBJECT_MISSING, str(error))
    return _trouble(REFUSED if isinstance(error, Refused) else UNAVAILABLE, str(error))


def _trouble(reason: TroubleReason, text: str) -> Trouble:
    return Trouble(reason, escape_controls(text, LONGEST_TROUBLE))


def _reason_of_answer(error: ApiError) -> TroubleReason:
    """Return the reason of an answer: its status says the class, and its message which one of that class."""
    if isinstance(error, KindMissing):
        return KIND_MISSING
    if error.status >= 500 or error.status in _PASSING:
        return UNAVAILABLE
    for pattern, reason in _PATTERNS:
        if pattern.search(error.answer):
            return reason
    return _BY_STATUS.get(error.status, REQUEST_REJECTED)


_PASSING = (401, 408, 409, 410, 429)
"""The statuses below 500 that pass by themselves: credentials are renewed, conflicts and overload end."""

_BY_STATUS = {403: FORBIDDEN, 404: OBJECT_MISSING}

_PATTERNS = (
    (
        re.compile(r"admission webhook|ValidatingAdmissionPolicy|violates PodSecurity|denied the request"),
        ADMISSION_DENIED,
    ),
    (re.compile(r"exceeded quota|failed quota"), QUOTA_EXCEEDED),
    (re.compile(r"because it is being terminated"), NAMESPACE_TERMINATING),
    (re.compile(r"must be no more than|may not be (?:longer|more) than|[Tt]oo long"), NAME_TOO_LONG),
)

_REQUEST = re.compile(
    r"(?P<verb>[A-Z]+|watch of) /apis?/(?:(?P<group>[^/ ]+\.[^/ ]+|apps|autoscaling|batch)/)?v[^/ ]+"
    r"(?:/namespaces/[^/ ]+)?/(?P<plural>[^/? ]+)(?:/(?P<name>[^/? ]+))?"
)

_VERBS = {"POST": "create", "PATCH": "change", "PUT": "change", "DELETE": "delete"}


def _describe_request(request: str) -> str:
    """Return a request in the owner's words: `cannot change virtualservices.networking.istio.io podinfo`."""
    parts = _REQUEST.match(request)
    if parts is None:
        return request or "cannot reach the API server"
    kind = f"{parts['plural']}.{parts['group']}" if parts["group"] else parts["plural"]
    return " ".join(filter(None, ("cannot", _VERBS.get(parts["verb"], "read"), kind, parts["name"])))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
