"""The public names. A removed name breaks users' programs."""

from __future__ import annotations

import canarycore

NAMES = """
CanarySize Check CheckKind CheckLimits Command CommandKind DRAIN Decision Explanation GradualReturn Hook
HookType Inputs Judgement Ladder NoData Observation OnFailure Phase Reason Reference RollbackWindow Rollout
RouteRefusal Routes Rung Status Step Strategy TOTAL_WEIGHT TargetRef Verdict Workload converge cycle decide goal judge
"""


def test_canarycore_exports_these_names():
    assert sorted(canarycore.__all__) == NAMES.split()


def test_every_exported_name_exists():
    assert [name for name in canarycore.__all__ if not hasattr(canarycore, name)] == []


def test_every_exported_class_has_a_docstring():
    classes = [name for name in canarycore.__all__ if isinstance(getattr(canarycore, name), type)]
    assert [name for name in classes if not getattr(canarycore, name).__doc__] == []
