"""The status of a Canary: Flagger's fields, and the sealed memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore import Phase, Rollout, Rung, Status, TargetRef
from canarycore.testing.strategies import rollouts
from canarycore_kubernetes.resources.status_codec import SEALED_FIELDS, read_status, write_status
from canarycore_runtime.testing.contracts.store import STATUS

ROLLOUT = Rollout(name="podinfo", target=TargetRef(name="podinfo"), skip_analysis=True)

STATUSES = st.builds(
    Status,
    phase=st.sampled_from(Phase),
    since=st.none() | st.floats(1, 2e9),
    analysed_at=st.floats(0, 2e9),
    rung=st.builds(Rung, weight=st.integers(0, 100)),
    failed_checks=st.integers(0, 9),
    applied=st.text("0123456789abcdef", max_size=8),
    promoted=st.text("0123456789abcdef", max_size=8),
    paused=st.booleans(),
    handled=st.text(max_size=9),
)


def merged(found, patch):
    """As the API server merges a patch."""
    kept = {name: value for name, value in found.items() if name not in patch}
    return kept | {name: value for name, value in patch.items() if value is not None}


@given(rollout=rollouts(), status=STATUSES, before=STATUSES)
def test_a_status_written_over_any_other_is_read_back(rollout, status, before):
    found = merged(merged({}, write_status(rollout, before)), write_status(rollout, status))
    if status.since is not None:
        assert read_status(rollout, found) == (status, False)


def test_flaggers_definition_keeps_every_field():
    """It knows these, and removes all others."""
    known = {"phase", "failedChecks", "canaryWeight", "iterations", "trackedConfigs", "lastAppliedSpec"}
    known |= {"lastPromotedSpec", "lastTransitionTime", "sessionAffinityCookie", "primarySessionAffinityCookie"}
    known |= {"previousSessionAffinityCookie", "conditions"}
    given_values = {name for name, value in write_status(ROLLOUT, STATUS).items() if value is not None}
    assert given_values <= known


@pytest.mark.parametrize("field", SEALED_FIELDS)
def test_a_changed_field_breaks_the_seal(field):
    found = merged({}, write_status(ROLLOUT, STATUS))
    found[field] = "Failed" if field == "phase" else "other" if isinstance(found[field], str) else 77
    status, flaggers = read_status(ROLLOUT, found)
    assert flaggers
    assert status.outbox == ()


def test_a_status_of_flaggers_is_taken_at_its_word():
    found = {"phase": "Progressing", "canaryWeight": 30, "failedChecks": 1, "lastAppliedSpec": "7c9", "conditions": []}
    status, flaggers = read_status(ROLLOUT, found)
    assert flaggers
    assert (status.phase, status.rung, status.failed_checks) == (Phase.PROGRESSING, Rung(weight=30), 1)


def test_a_phase_without_a_time_is_not_taken_for_a_rollout_that_has_not_begun():
    status, _ = read_status(ROLLOUT, {"phase": "Progressing", "canaryWeight": 30, "lastAppliedSpec": "7c9"})
    assert status.since == 0.0


def test_an_empty_status_is_not_flaggers():
    assert read_status(ROLLOUT, {}) == (Status(), False)
