"""The status subresource: Flagger's fields keep their meaning, and the status survives a round trip."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Phase, Reason, Rollout, Rung, Status, TargetRef, Verdict
from canarycore.manifest import ManifestError, parse, resolve, status_from_dict, status_to_dict
from canarycore.notices import Notice, NoticeKind
from canarycore.phases import Approval, CutShort, Pending
from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
from canarycore.testing.strategies import tallies
from canarycore.traffic import Affinity
from tests.manifest.samples import AB, BLUE_GREEN, canary, shared

TEXTS = st.text(max_size=8)
TIMES = st.floats(0, 1e12)

NOTICES = st.builds(
    Notice,
    kind=st.sampled_from(NoticeKind),
    key=TEXTS,
    phase=st.sampled_from(Phase),
    names=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    args=st.lists(TEXTS, max_size=2).map(tuple),
    detail=TEXTS,
    template=TEXTS,
)
CHECK_RESULTS = st.builds(
    CheckResult,
    name=TEXTS,
    verdict=st.sampled_from(Verdict),
    value=st.none() | st.floats(allow_nan=False),
    minimum=st.none() | TIMES,
    maximum=st.none() | TIMES,
    samples=st.none() | st.integers(0, 99),
    error=TEXTS,
)
ANALYSES = st.builds(
    AnalysisResult,
    at=TIMES,
    revision=TEXTS,
    weight=st.integers(0, 100),
    iteration=st.integers(0, 20),
    checks=st.lists(CHECK_RESULTS, max_size=2).map(tuple),
    omitted=st.integers(0, 9),
    hook=TEXTS,
    answer=TEXTS,
)
ENDS = st.builds(
    RolloutEnd,
    at=TIMES,
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    revision=TEXTS,
    detail=TEXTS,
    analysis=st.none() | ANALYSES,
)
RUNGS = st.builds(
    Rung, weight=st.integers(0, 100), mirrored=st.booleans(), matched=st.booleans(), iteration=st.integers(0, 20)
)
STATUSES = st.builds(
    Status,
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    since=st.none() | TIMES,
    analysed_at=TIMES,
    rung=RUNGS,
    failed_checks=st.integers(0, 50),
    holds=st.integers(0, 50),
    tallies=st.lists(tallies(TIMES), max_size=2).map(tuple),
    applied=TEXTS,
    promoted=TEXTS,
    previous=TEXTS,
    history=st.lists(TEXTS.filter(bool), max_size=3).map(tuple),
    rejected=st.lists(TEXTS.filter(bool), max_size=3).map(tuple),
    drain_until=TIMES,
    paused=st.booleans(),
    returning=st.booleans(),
    capacity=st.integers(0, 50),
    cut_short=st.sampled_from(CutShort),
    handled=TEXTS,
    refusal=TEXTS,
    reached_at=st.none() | TIMES,
    approval=st.sampled_from(Approval),
    pending=st.lists(st.sampled_from(Pending), max_size=2).map(tuple),
    outbox=st.lists(NOTICES, max_size=2).map(tuple),
    analysis=st.none() | ANALYSES,
    end=st.none() | ENDS,
)
ROLLOUTS = st.sampled_from(
    [
        resolve(parse(canary(analysis=analysis)))
        for analysis in (
            {},
            {"mirror": True},
            AB,
            BLUE_GREEN,
            {"sessionAffinity": {"cookieName": "sticky"}},
        )
    ]
)
AT = 1_600_000_000.0
"""2020-09-13T12:26:40Z"""


@given(rollout=ROLLOUTS, status=STATUSES)
def test_a_status_survives_a_round_trip_through_json(rollout, status):
    restored = status_from_dict(rollout, json.loads(json.dumps(status_to_dict(rollout, status))))
    assert restored == status
    assert (restored.analysis, restored.end, restored.refusal) == (status.analysis, status.end, status.refusal)
    assert [(notice.detail, notice.template) for notice in restored.outbox] == [
        (notice.detail, notice.template) for notice in status.outbox
    ]


def test_a_gradual_return_is_a_failed_rollout_with_a_weight_for_flagger():
    status = Status(phase=Phase.FAILED, reason=Reason.CHECKS, since=AT, rung=Rung(weight=30), returning=True)
    written = status_to_dict(resolve(parse(canary())), status)
    assert (written["phase"], written["canaryWeight"]) == ("Failed", 30)
    assert json.loads(written["canarycore"])["returning"] is True
    (condition,) = written["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Failed")
    assert condition["message"] == "Rollout failed, traffic goes back to the primary by steps."


def test_the_property_covers_every_field_of_a_status():
    assert {field.name for field in attrs.fields(Status) if field.init} == {
        *("phase", "reason", "since", "analysed_at", "rung", "failed_checks", "holds", "applied", "promoted"),
        *(
            "previous",
            "history",
            "rejected",
            "drain_until",
            "paused",
            "returning",
            "capacity",
            "cut_short",
            "handled",
            "refusal",
            "reached_at",
            "approval",
            "pending",
            "tallies",
            "outbox",
            "analysis",
            "end",
        ),
    }
    names = {field.name for field in attrs.fields(Notice)}
    assert names == {"kind", "key", "phase", "names", "args", "detail", "template"}


def test_flaggers_fields_have_flaggers_values():
    status = Status(
        phase=Phase.PROGRESSING,
        since=AT,
        analysed_at=AT + 60,
        rung=Rung(weight=20),
        failed_checks=2,
        applied="new",
        promoted="old",
    )
    written = status_to_dict(resolve(parse(canary())), status)
    del written["canarycore"]
    assert written == {
        "phase": "Progressing",
        "failedChecks": 2,
        "canaryWeight": 20,
        "iterations": 0,
        "lastAppliedSpec": "new",
        "lastPromotedSpec": "old",
        "lastTransitionTime": "2020-09-13T12:27:40Z",
        "conditions": [
            {
                "type": "Promoted",
                "status": "Unknown",
                "reason": "Progressing",
                "message": "New revision detected, progressing canary analysis.",
                "lastUpdateTime": "2020-09-13T12:26:40Z",
                "lastTransitionTime": "2020-09-13T12:26:40Z",
            }
        ],
    }


@pytest.mark.parametrize(
    ("phase", "reason", "promoted", "message"),
    [
        (Phase.FAILED, Reason.CHECKS, "False", "Canary analysis failed, DaemonSet scaled to zero."),
        (Phase.FAILED, Reason.DEADLINE, "False", "Canary analysis failed, DaemonSet scaled to zero."),
        (Phase.FAILED, Reason.ABORTED, "False", "Rollout aborted, DaemonSet scaled to zero."),
        (Phase.FAILED, Reason.INCONCLUSIVE, "False", "Canary analysis inconclusive, DaemonSet scaled to zero."),
        (Phase.FAILED, Reason.PROMOTION, "False", "Promotion failed, the primary did not get ready."),
        (Phase.SUCCEEDED, Reason.PASSED, "True", "Canary analysis completed successfully, promotion finished."),
        (Phase.SUCCEEDED, Reason.WITHDRAWN, "True", "Rollout withdrawn, DaemonSet is back at the promoted revision."),
        (Phase.SUCCEEDED, Reason.COMMANDED, "True", "Promotion commanded, promotion finished."),
        (Phase.INITIALIZED, Reason.NONE, "True", "DaemonSet initialization completed."),
        (Phase.WAITING, Reason.NONE, "Unknown", "Waiting for approval."),
    ],
)
def test_the_condition_promoted_has_its_message(phase, reason, promoted, message):
    rollout = Rollout(name="a", target=TargetRef(kind="DaemonSet", name="a"), skip_analysis=True)
    (condition,) = status_to_dict(rollout, Status(phase=phase, reason=reason))["conditions"]
    assert (condition["status"], condition["reason"], condition["message"]) == (promoted, phase.value, message)


def test_the_status_has_cookies_that_the_routes_set_or_expire():
    rollout = Rollout(name="a", target=TargetRef(name="a"), skip_analysis=True, affinity=Affinity(cookie_name="sticky"))
    climbing = Status(phase=Phase.PROGRESSING, rung=Rung(weight=10), applied="r2")
    assert status_to_dict(rollout, climbing)["sessionAffinityCookie"] == "sticky=r2"
    over = status_to_dict(rollout, climbing.but(phase=Phase.SUCCEEDED))
    assert (over["previousSessionAffinityCookie"], over.get("sessionAffinityCookie")) == ("sticky=r2", None)


@pytest.mark.parametrize("subresource", [None, {}, {"phase": ""}])
def test_an_empty_status_is_a_new_rollout(subresource):
    assert status_from_dict(resolve(parse(canary())), subresource) == Status()


@pytest.mark.parametrize(
    ("analysis", "subresource", "rung"),
    [
        ({}, {"phase": "Progressing", "canaryWeight": 20}, Rung(weight=20)),
        ({}, {"phase": "WaitingPromotion", "canaryWeight": 0, "iterations": -1}, Rung(weight=50)),
        (AB, {"phase": "Progressing", "iterations": 3}, Rung(iteration=3, matched=True)),
        (AB, {"phase": "WaitingPromotion", "iterations": 9}, Rung(iteration=10, matched=True)),
        (BLUE_GREEN | {"mirror": True}, {"phase": "Progressing", "iterations": 3}, Rung(iteration=3, mirrored=True)),
        (BLUE_GREEN, {"phase": "Promoting", "iterations": 11}, Rung(iteration=11, weight=100)),
        (BLUE_GREEN, {"phase": "Succeeded", "iterations": 0}, Rung()),
    ],
)
def test_a_status_of_flaggers_keeps_its_traffic(analysis, subresource, rung):
    rollout = resolve(parse(canary(analysis=analysis)))
    flaggers = subresource | {"failedChecks": 2, "lastAppliedSpec": "b", "lastPromotedSpec": "a", "trackedConfigs": {}}
    adopted = status_from_dict(rollout, flaggers | {"lastTransitionTime": "2020-09-13T12:26:40Z"})
    assert (adopted.rung, adopted.since, adopted.analysed_at) == (rung, AT, AT)
    assert (adopted.failed_checks, adopted.applied, adopted.promoted) == (2, "b", "a")


def test_every_recorded_status_is_adopted_and_written_back_as_flagger_wrote_it():
    untrue = {("canaryWeight", "WaitingPromotion"), ("iterations", "WaitingPromotion"), ("conditions", "Terminating")}
    subresource = 0
    for path in sorted(shared("golden").glob("*/trace.json")):
        trace = json.loads(path.read_text())
        provider = next(flag.partition("=")[2] for flag in trace["flags"] if flag.startswith("-mesh-provider"))
        rollout = resolve(parse(trace["input"]["canary"]), provider=provider)
        for status in trace["statuses"]:
            written = status_to_dict(rollout, status_from_dict(rollout, status))
            for field in ("phase", "failedChecks", "canaryWeight", "iterations", "lastAppliedSpec", "conditions"):
                subresource += 1
                last_of_blue_green = field == "canaryWeight" and written["canaryWeight"] == 100 and status["iterations"]
                forgotten = field == "iterations" and status["iterations"] < 0
                if (field, status["phase"]) not in untrue and not last_of_blue_green and not forgotten:
                    assert written.get(field) == status.get(field), (path.parent.name, field)
    assert subresource


@pytest.mark.parametrize(
    "subresource",
    [
        {"phase": "Progressing", "canarycore": "[" * 100_000},
        {"phase": "Progressing", "canarycore": '{"failed_checks": ' + "9" * 5000 + "}"},
        {"phase": "Progressing", "canarycore": "[]"},
        {"phase": "Progressing", "failedChecks": 10**30},
        {"phase": "Dreaming"},
        {"phase": "Failed", "failedChecks": "many"},
        {"phase": "Failed", "canarycore": "{"},
        {"phase": "Failed", "canarycore": "[]"},
        {"phase": "Failed", "canarycore": '{"reason": "Whim"}'},
        {"phase": "Failed", "lastTransitionTime": "yesterday"},
    ],
)
def test_an_invalid_status_raises(subresource):
    with pytest.raises(ManifestError, match="an invalid status"):
        status_from_dict(resolve(parse(canary())), subresource)
