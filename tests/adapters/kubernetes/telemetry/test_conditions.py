"""The conditions of a Canary, phase by phase, as kstatus, Argo CD and Headlamp read them.

The three readers' rules stand here as data in our own words; the facts are from sigs.k8s.io/cli-utils (kstatus),
argoproj/argo-cd (resource_customizations/flagger.app) and headlamp-k8s/plugins (flux/src/flagger).
"""

from __future__ import annotations

import pytest
from attrs import evolve, frozen

from canarycore import Phase, Reason, Rollout, Rung, Status, TargetRef, Verdict
from canarycore.phases import Approval
from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
from canarycore_kubernetes.resources.status_codec import write_status
from canarycore_kubernetes.telemetry.conditions import (
    LONGEST_CONDITION,
    READINESS_TYPES,
    make_readiness_conditions,
)

ROLLOUT = Rollout(name="podinfo", target=TargetRef(name="podinfo"), skip_analysis=True)
GENERATION = 7


@frozen
class Reading:
    """A Canary in a phase, as its readers see it."""

    ready: str
    """The status of the condition Ready."""

    others: tuple[str, ...]
    """The other conditions, all true."""

    kstatus: str
    argo: str
    headlamp: str


UNDER_WAY = Reading("Unknown", ("Reconciling",), "InProgress", "Progressing", "")

READINGS = {
    Phase.INITIALIZING: evolve(UNDER_WAY, argo="Unknown"),
    Phase.INITIALIZED: Reading("True", (), "Current", "Healthy", ""),
    Phase.WAITING: evolve(UNDER_WAY, argo="Unknown"),
    Phase.PROGRESSING: evolve(UNDER_WAY, headlamp="warning"),
    Phase.WAITING_PROMOTION: evolve(UNDER_WAY, argo="Unknown"),
    Phase.PROMOTING: UNDER_WAY,
    Phase.FINALISING: UNDER_WAY,
    Phase.SUCCEEDED: Reading("True", (), "Current", "Healthy", "success"),
    Phase.FAILED: Reading("False", ("Stalled",), "Failed", "Degraded", "error"),
    Phase.TERMINATING: Reading("False", ("Reconciling",), "InProgress", "Unknown", ""),
    Phase.TERMINATED: Reading("False", (), "InProgress", "Unknown", ""),
}


KSTATUS = (
    (lambda body: "deletionTimestamp" in body["metadata"], "Terminating"),
    (lambda body: body["status"].get("observedGeneration", GENERATION) != GENERATION, "InProgress"),
    (lambda body: _value(body, "Reconciling") == "True", "InProgress"),
    (lambda body: _value(body, "Stalled") == "True", "Failed"),
    (lambda body: _value(body, "Ready") in {"False", "Unknown"}, "InProgress"),
    (lambda body: True, "Current"),
)
"""The rules of kstatus for a resource that it does not know; the first that holds decides."""

ARGO = (
    ({"Failed"}, "Degraded"),
    ({"Progressing", "Finalising", "Promoting"}, "Progressing"),
    ({"Succeeded", "Initialized"}, "Healthy"),
)
"""The phases that Argo CD's script knows; every other one is Unknown."""

HEADLAMP = {"Progressing": "warning", "Succeeded": "success", "Failed": "error"}
"""The colours of Headlamp's labels by phase; any other phase has none."""


def read_kstatus(body):
    return next(verdict for holds, verdict in KSTATUS if holds(body))


def read_argo(body):
    """Return health and message. The script compares the weight as a number, and joins the messages of all conditions.

    A weight, a phase or a message that is missing is an error of the script.
    """
    status = body["status"]
    weight = [f"Canary Weight: {status['canaryWeight']} %"] if float(status["canaryWeight"]) > 0 else []
    message = " --- ".join([*weight, *(condition["message"] for condition in status["conditions"])])
    health = next((health for phases, health in ARGO if status["phase"] in phases), "Unknown")
    return health, f"{status['phase']} --- {message}"


def read_headlamp(body):
    """Return the label, its colour, and the bar: the weight in percent of the highest weight."""
    phase = body["status"]["phase"] or "Unknown"
    return phase, HEADLAMP.get(phase, ""), 100 * body["status"]["canaryWeight"] / body["spec"]["analysis"]["maxWeight"]


def _value(body, kind):
    return next((one["status"] for one in body["status"]["conditions"] if one["type"] == kind), "")


def stored(status, *, is_pruned=False):
    """Return a Canary as the API server stores it, with our definition or Flagger's."""
    written = write_status(ROLLOUT, status, generation=GENERATION)
    ours = {"observedGeneration", "lastAnalysis", "lastEnd", "rejectedRevisions"} if is_pruned else set()
    fields = {name: value for name, value in written.items() if value is not None and name not in ours}
    return {"metadata": {"generation": GENERATION}, "spec": {"analysis": {"maxWeight": 50}}, "status": fields}


def status_in(phase):
    return Status(phase=phase, since=1_700_000_000.0, rung=Rung(weight=20), applied="v2", promoted="v1")


def test_the_table_has_every_phase():
    assert set(READINGS) == set(Phase)


@pytest.mark.parametrize("is_pruned", [False, True], ids=["our definition", "Flagger's definition"])
@pytest.mark.parametrize(("phase", "reading"), READINGS.items(), ids=lambda value: getattr(value, "value", ""))
def test_each_phase_reads_correctly_in_each_tool(phase, reading, is_pruned):
    body = stored(status_in(phase), is_pruned=is_pruned)
    types = {one["type"] for one in body["status"]["conditions"] if one["type"] in READINESS_TYPES}
    assert _value(body, "Ready") == reading.ready
    assert types == {"Ready", *reading.others}
    assert read_kstatus(body) == reading.kstatus
    health, message = read_argo(body)
    assert health == reading.argo
    assert message.startswith(f"{phase.value} --- Canary Weight: 20 % --- ")
    assert read_headlamp(body) == (phase.value, reading.headlamp, 40.0)


@pytest.mark.parametrize("phase", Phase)
def test_each_condition_has_what_the_definitions_demand(phase):
    for condition in stored(status_in(phase))["status"]["conditions"]:
        assert all(condition[name] for name in ("type", "status", "reason", "message", "lastTransitionTime"))
        assert condition["reason"].isalnum()


def test_an_edit_that_the_controller_has_not_loaded_is_in_progress():
    body = stored(status_in(Phase.SUCCEEDED))
    body["status"]["observedGeneration"] = GENERATION - 1
    assert read_kstatus(body) == "InProgress"


def test_a_blocked_rollout_is_stalled_in_every_phase():
    for phase in Phase:
        ready, stalled = make_readiness_conditions(status_in(phase), "Secret db-primary belongs to no Canary")
        assert (ready["status"], stalled["type"], stalled["reason"]) == ("False", "Stalled", "Refused")
        assert "Secret db-primary belongs to no Canary" in ready["message"]


def test_a_failure_shows_check_value_range_samples_and_revision():
    check = CheckResult("request-success-rate", Verdict.FAIL, 92.5, 99.0, None, 40)
    analysis = AnalysisResult(1_700_000_000.0, "v2", 20, checks=(check,))
    end = RolloutEnd(1_700_000_000.0, Phase.FAILED, Reason.CHECKS, "v2", "Rolling back", analysis)
    ready, stalled = make_readiness_conditions(status_in(Phase.FAILED).but(reason=Reason.CHECKS, end=end))
    assert (
        ready["message"]
        == stalled["message"]
        == (
            "2023-11-14T22:13:20Z revision v2 Failed (FailedChecks): Rolling back; "
            "request-success-rate 92.5: fail (expected at least 99, 40 requests)"
        )
    )
    assert ready["reason"] == "FailedChecks"


def test_a_halted_analysis_shows_its_failed_check():
    analysis = AnalysisResult(1.0, "v2", 20, checks=(CheckResult("latency", Verdict.FAIL, 600.0, None, 500.0),))
    ready, _ = make_readiness_conditions(status_in(Phase.PROGRESSING).but(analysis=analysis))
    assert ready["message"] == ("Progressing of v2, weight 20; last analysis: latency 600: fail (expected at most 500)")


def test_a_paused_rollout_says_so():
    ready, reconciling = make_readiness_conditions(status_in(Phase.PROGRESSING).but(paused=True))
    assert (ready["reason"], reconciling["reason"]) == ("Paused", "Paused")
    assert ready["message"].endswith(", paused")


def test_a_rollout_that_waits_for_an_approval_says_so():
    ready, reconciling = make_readiness_conditions(status_in(Phase.PROGRESSING).but(approval=Approval.ASKED))
    assert (ready["reason"], reconciling["reason"]) == ("WaitingForApproval", "WaitingForApproval")
    assert ready["message"].endswith(", waiting for approval")


def test_a_text_from_outside_is_escaped_and_bounded():
    """Flagger's status, or a user, may name any revision."""
    for status in (status_in(Phase.PROGRESSING).but(applied="\x1b[31m" * 9_000), status_in(Phase.FAILED)):
        for condition in make_readiness_conditions(status, "\x1b[2J"):
            assert condition["message"].isprintable()
            assert len(condition["message"]) <= LONGEST_CONDITION
