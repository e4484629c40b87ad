"""The public names. Adding one is a decision; losing one breaks somebody."""

from __future__ import annotations

import canarycore

NAMES = """
Affinity Check CheckKind Command CommandKind Decision Explanation Hook HookType Inputs
Judgement Ladder Match NoData Observation Phase Reason Reference Rollout Routes Rung Status Strategy
StringMatch TOTAL_WEIGHT TargetRef Verdict Workload converge cycle decide goal judge
"""


def test_canarycore_exports_these_names():
    assert sorted(canarycore.__all__) == NAMES.split()


def test_every_exported_name_is_there():
    assert [name for name in canarycore.__all__ if not hasattr(canarycore, name)] == []


def test_everything_exported_says_what_it_is():
    documented = [name for name in canarycore.__all__ if isinstance(getattr(canarycore, name), type)]
    assert [name for name in documented if not getattr(canarycore, name).__doc__] == []
