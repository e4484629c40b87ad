"""The public names. Adding one is a decision; losing one breaks somebody."""

from __future__ import annotations

import canarycore

NAMES = """
Affinity Alert Answer Apply Ask Because Channel Check CheckKind Command CommandKind Commit Decision Effect Fetch
GROUND Goal Hook HookAnswer HookQuestion HookType Initialise Judgement Known Ladder Match Memory MetricAnswer
MetricQuestion NoData Notice Observe PauseScaler Pending Phase Plan Promote Publish Question ROWS Reason Reference
Request Rest Restore RestorePrimary ResumeScaler Rollout Routes Row Rule Rung Scale ScaleDown ScaleUp Seen SetRoutes
Severity SourcesAnswer SourcesQuestion Status Strategy StringMatch TRANSITIONS TargetRef Tell Verdict WAITS Workload
World converge cycle decide deliberate goal judge
"""


def test_canarycore_exports_these_names():
    assert sorted(canarycore.__all__) == NAMES.split()


def test_every_exported_name_is_there():
    assert [name for name in canarycore.__all__ if not hasattr(canarycore, name)] == []


def test_everything_exported_says_what_it_is():
    documented = [name for name in canarycore.__all__ if isinstance(getattr(canarycore, name), type)]
    assert [name for name in documented if not getattr(canarycore, name).__doc__] == []
