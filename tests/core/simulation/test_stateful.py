"""The state machine: the real loop survives it, each broken loop does not, and a failure can be read and run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from canarycore.testing.stateful import RolloutMachine
from canarycore.verification import STRATEGIES
from tests.same_series import SAME_SERIES
from tests.verify import drivers

ALWAYS_THE_SAME = settings(SAME_SERIES, max_examples=10_000)


class TestAnyLife(RolloutMachine.TestCase):
    """As many series as the profile says."""


class LongLives(RolloutMachine):
    pass


@pytest.mark.deep
class TestLongLives(LongLives.TestCase):
    settings = settings(max_examples=max(settings.default.max_examples // 10, 1), stateful_step_count=100)


def machine(loop) -> type[RolloutMachine]:
    """With this loop, and one policy."""

    class Mine(RolloutMachine):
        policies = {"mine": STRATEGIES["canary"]}  # noqa: RUF012 - the base class annotates it
        driver = staticmethod(loop)

    return Mine


def what_is_found(loop) -> str:
    """The failure, with the shortest series of rules that leads to it."""
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine(loop), settings=ALWAYS_THE_SAME)
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])


@pytest.mark.parametrize("loop", drivers.DEFECTS, ids=lambda loop: loop.__name__)
def test_a_defect_of_the_loop_is_found_and_shown_as_rules_and_as_a_program(loop):
    found = what_is_found(loop)
    assert f"driver={loop.__name__})\ncluster.do(Deploy('v1'))" in found
    assert "state = Mine()\nstate.start(policy='mine', idle=" in found


def test_missing_hypothesis_is_told_with_what_to_install():
    code = "import sys; sys.modules['hypothesis'] = None; import canarycore.testing.stateful"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install canarycore[testing]" in result.stderr
