"""The progress deadline on a platform that reports no unready pods."""

from __future__ import annotations

import pytest

from canarycore import Phase
from canarycore.simulation import NEVER, Deploy, SetPace
from tests.core.scenarios import idle, is_advancing, policy


@pytest.mark.parametrize("pods", ["primary/v2", "v3"])
def test_missing_new_pods_fail_the_rollout_at_the_deadline_although_old_ones_serve(pods):
    """Enough old pods stay available, so the deadline counts from the last analysis."""
    world = idle(policy(progress_deadline=45.0)).do(SetPace(pods, NEVER), Deploy("v2"))
    if pods == "v3":
        world.run(until=is_advancing).do(Deploy("v3"))
    assert world.run(until=300.0).phase is Phase.FAILED
