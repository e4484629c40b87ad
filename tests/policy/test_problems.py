"""The linter's findings for rollouts without a manifest."""

from __future__ import annotations

import pytest

from canarycore import Check, CheckKind, Hook, HookType, Ladder, Rollout, Strategy, TargetRef
from canarycore.manifest import lint, parse, problems, resolve
from canarycore.manifest._lint import CANARY_RULES
from canarycore.manifest._lint._rollouts import ROLLOUT_RULES
from canarycore.traffic import Affinity, Match, StringMatch
from tests.manifest.samples import canary

SUCCESS = Check(name="rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
DURATION = Check(name="latency", kind=CheckKind.DURATION, maximum=500.0)
AB = Ladder(strategy=Strategy.AB, iterations=3)
HEADER = Match(headers=(("x-canary", StringMatch(kind="exact", value="always")),))


def policy(**changes) -> Rollout:
    given = {"name": "shop", "target": TargetRef(name="shop"), "ladder": Ladder(step=10, top=50), "checks": (SUCCESS,)}
    return Rollout(**{**given, **changes})


def check(**changes) -> Check:
    return Check(**{"name": "rate", "kind": CheckKind.SUCCESS_RATE, "minimum": 99.0, **changes})


def hook(**changes) -> Hook:
    return Hook(**{"name": "smoke", "type": HookType.ROLLOUT, "url": "http://hooks.example", **changes})


FINDINGS = {
    "max-below-step": ({"ladder": Ladder(step=50, top=10)}, "error", "ladder.top"),
    "overshoot": ({"ladder": Ladder(step=30, top=50)}, "warning", "ladder.top"),
    "step-fields": ({"ladder": Ladder(step=10, steps=(5, 20))}, "error", "ladder.steps"),
    "short-deadline": ({"progress_deadline": 1.0}, "warning", "progress_deadline"),
    "no-checks": ({"checks": ()}, "warning", "rollout"),
    "unit": ({"checks": (check(minimum=0.99),)}, "warning", "checks[0].minimum"),
    "long-window": ({"checks": (check(window=600.0),)}, "warning", "checks[0].window"),
    "short-window": ({"interval": 600.0}, "warning", "checks[0].window"),
    "duplicate-name": ({"checks": (SUCCESS, SUCCESS)}, "warning", "checks[1].name"),
    "long-hook": ({"hooks": (hook(timeout=120.0),)}, "warning", "hooks[0].timeout"),
    "endless-hook": ({"hooks": (hook(timeout=7200.0),)}, "warning", "hooks[0].timeout"),
    "bad-url": ({"hooks": (hook(url="hooks.example"),)}, "error", "hooks[0].url"),
    "placeholder-address": ({"hooks": (hook(url="http://YOUR_HOST/"),)}, "error", "hooks[0].url"),
    "no-ab-routing": ({"provider": "linkerd", "ladder": AB, "match": (HEADER,)}, "error", "match"),
    "match-everything": ({"ladder": AB, "match": (Match(),)}, "error", "match[0]"),
    "match-ignored": ({"match": (HEADER,)}, "warning", "match"),
    "no-mirror": ({"provider": "nginx", "ladder": Ladder(step=10, top=50, mirror=True)}, "error", "ladder.mirror"),
    "mirror-weight-ignored": ({"mirror_weight": 20}, "warning", "mirror_weight"),
    "no-affinity": ({"provider": "nginx", "affinity": Affinity(cookie_name="a")}, "error", "affinity"),
    "same-cookie": (
        {"affinity": Affinity(cookie_name="a", primary_cookie_name="a")},
        "error",
        "affinity.primary_cookie_name",
    ),
}


@pytest.mark.parametrize("rule", FINDINGS)
def test_a_rollout_without_a_manifest_has_the_linters_findings(rule):
    changes, severity, path = FINDINGS[rule]
    (problem,) = (problem for problem in problems(policy(**changes)) if problem.rule == rule)
    assert problem.severity == severity
    assert problem.path == path or not path
    for text in (problem.path, problem.found, problem.expected, problem.remedy):
        assert text
        assert not {"stepWeight", "maxWeight", "thresholdRange", "sessionAffinity"} & set(text.split())


def test_a_sound_rollout_has_no_findings():
    assert problems(policy(checks=(SUCCESS, DURATION), hooks=(hook(),))) == ()
    assert problems(policy(provider="a mesh of my own")) == ()


def test_every_rule_of_rollouts_is_a_rule_of_manifests():
    assert set(ROLLOUT_RULES) <= {rule.name for rule in CANARY_RULES}


def _metric(**fields) -> dict:
    return {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m", **fields}


MANIFESTS = {
    "sound": {},
    "a share for a percentage": {"metrics": [_metric(thresholdRange={"min": 0.99})]},
    "a top below the step": {"stepWeight": 50, "maxWeight": 10},
    "a top between two steps": {"stepWeight": 30, "maxWeight": 50},
    "nothing checked": {"metrics": []},
    "a window longer than the interval": {"metrics": [_metric(interval="10m")]},
    "the same name twice": {"metrics": [_metric(), _metric()]},
    "two fields for the steps": {"stepWeight": 10, "stepWeights": [5, 20]},
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_and_its_rollout_have_the_same_findings(name):
    document = canary(analysis={"interval": "1m", "threshold": 3, "stepWeight": 10, "maxWeight": 50, **MANIFESTS[name]})
    of_manifest = [(each.rule, each.severity) for each in lint([document]) if each.rule in ROLLOUT_RULES]
    of_rollout = [(each.rule, each.severity) for each in problems(resolve(parse(document)))]
    assert of_rollout == of_manifest
