"""Wrong uses of the core's classes: each is an error at construction with field, value, expectation and remedy."""

from __future__ import annotations

import pickle
from math import inf, nan

import attrs
import pytest

from canarycore import (
    Check,
    CheckKind,
    Command,
    CommandKind,
    Hook,
    HookType,
    Inputs,
    Ladder,
    NoData,
    Observation,
    Phase,
    Reference,
    Rollout,
    Routes,
    Rung,
    Status,
    Step,
    Strategy,
    TargetRef,
    Workload,
)
from canarycore.codec import from_data, to_data
from canarycore.errors import CanaryError, FieldError, WrongType, WrongValue
from canarycore.notices import Alert, NoticeKind, Severity
from canarycore.traffic import Affinity, Match, StringMatch

LADDER = Ladder(step=10, top=50)
TARGET = TargetRef(name="shop")
CHECK = Check(name="rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0)
HOOK = Hook(name="smoke", type=HookType.ROLLOUT, url="http://hooks.example")
EXACT = StringMatch(kind="exact", value="always")
NEEDED = {
    Check: {"name": "rate", "kind": CheckKind.SUCCESS_RATE, "minimum": 99.0},
    Hook: {"name": "smoke", "type": HookType.ROLLOUT, "url": "http://hooks.example"},
    Rollout: {"name": "shop", "target": TARGET, "ladder": LADDER, "checks": (CHECK,)},
    TargetRef: {"name": "shop"},
    Reference: {"name": "latency"},
    Alert: {"name": "chat", "provider": Reference(name="chat")},
    Affinity: {"cookie_name": "canary"},
    StringMatch: {"kind": "exact", "value": "always"},
    Command: {"id": "1", "kind": CommandKind.PAUSE},
    Workload: {"revision": "v1", "desired": 1, "updated": 1, "ready": 1, "total": 1},
    Observation: {"now": 0.0},
    Inputs: {"observation": Observation(now=0.0)},
}

WRONG: list[tuple[type, dict[str, object], str, str]] = [
    # the ladder: none of these promotes a revision or climbs without end
    (Ladder, {"step": -10}, "step", "found -10, expected a whole number from 0 to 100"),
    (Ladder, {"step": 101}, "step", "found 101, expected a whole number from 0 to 100"),
    (Ladder, {"step": 10.0}, "step", "found 10.0, expected a whole number"),
    (Ladder, {"step": "10"}, "step", "found '10', expected a whole number"),
    (Ladder, {"step": True}, "step", "found True, expected a whole number"),
    (Ladder, {"step": None}, "step", "found None, expected a whole number"),
    (Ladder, {"step": 10, "top": 0}, "top", "found 0, expected a whole number from 1 to 100"),
    (Ladder, {"step": 10, "top": 101}, "top", "found 101, expected a whole number from 1 to 100"),
    (Ladder, {"step": 10, "top": 500}, "top", "found 500"),
    (Ladder, {"step": 10, "top": nan}, "top", "found nan"),
    (Ladder, {"step": 10, "step_back": -1}, "step_back", "found -1"),
    (Ladder, {"steps": [10, 20]}, "steps", "found a list, expected a tuple"),
    (Ladder, {"steps": 10}, "steps", "found 10, expected a tuple"),
    (Ladder, {"steps": (10, 10)}, "steps[1]", "found 10, expected more than 10"),
    (Ladder, {"steps": (50, 20)}, "steps[1]", "found 20, expected more than 50"),
    (Ladder, {"steps": (0, 20)}, "steps[0]", "found 0, expected a whole number from 1"),
    (Ladder, {"steps": (10, 150)}, "steps[1]", "found 150"),
    (Ladder, {"steps": (10, 0.5)}, "steps[1]", "found 0.5"),
    (Ladder, {"steps": tuple(range(1, 102))}, "steps", "found a tuple of 101 items, expected a tuple of at most 100"),
    (Ladder, {"strategy": "canary", "step": 10}, "strategy", "found 'canary', expected a member of Strategy"),
    (Ladder, {"strategy": Strategy.AB}, "iterations", "found 0, expected at least 1"),
    (Ladder, {"strategy": Strategy.BLUE_GREEN, "iterations": 0}, "iterations", "found 0, expected at least 1"),
    (Ladder, {"strategy": Strategy.AB, "iterations": 2, "step": 5}, "step", "found step with iterations"),
    (Ladder, {"iterations": 5}, "iterations", "found 5, expected 0: Strategy.WEIGHTS ignores it"),
    (Ladder, {"strategy": Strategy.AB, "iterations": -1}, "iterations", "found -1"),
    (Ladder, {"strategy": Strategy.AB, "iterations": 2**53}, "iterations", "found 9007199254740992"),
    (Ladder, {"strategy": Strategy.AB, "iterations": 10**5000}, "iterations", "found a number of more than 38 digits"),
    (Ladder, {"step": 1001, "tenths": True}, "step", "found 1001, expected a whole number from 0 to 1000"),
    (Ladder, {"steps": (5, 1001), "tenths": True}, "steps[1]", "found 1001, expected a whole number from 1 to 1000"),
    (Ladder, {"step": 10, "top": 1001, "tenths": True}, "top", "found 1001, expected a whole number from 1 to 1000"),
    (Ladder, {"steps": (Step(weight=500),)}, "steps[0].weight", "found 500, expected a whole number from 1 to 100"),
    (Step, {"weight": 1001}, "weight", "found 1001, expected a whole number from 0 to 1000"),
    (Ladder, {"step": 10, "tenths": 1}, "tenths", "found 1, expected True or False"),
    (Ladder, {"step": 10, "in_place": 1}, "in_place", "found 1, expected True or False"),
    (Ladder, {"step": 10, "step_back": 5, "in_place": True}, "step_back", "found 5, expected 0: a rollout in place"),
    (Ladder, {"strategy": Strategy.AB, "iterations": 2, "in_place": True}, "in_place", "found True, expected False"),
    (Ladder, {"step": 10, "mirror": "yes"}, "mirror", "found 'yes', expected True or False"),
    (Ladder, {"step": 10, "routed": 1}, "routed", "found 1, expected True or False"),
    (Rung, {"iteration": -1}, "iteration", "found -1"),
    (Rung, {"weight": 10, "iteration": 1.0}, "iteration", "found 1.0"),
    # checks and their ranges
    (Check, {"minimum": None}, "minimum", "found neither, expected a minimum or a maximum"),
    (Check, {"minimum": nan}, "minimum", "found nan, expected a finite number"),
    (Check, {"minimum": inf}, "minimum", "found inf, expected a finite number"),
    (Check, {"maximum": -inf}, "maximum", "found -inf, expected a finite number"),
    (Check, {"minimum": "99"}, "minimum", "found '99', expected a finite number"),
    (Check, {"minimum": True}, "minimum", "found True, expected a finite number"),
    (Check, {"minimum": 99.0, "maximum": 1.0}, "minimum", "found 99, expected at most the maximum 1"),
    (Check, {"maximum": 10**400}, "maximum", "found a number of more than 38 digits"),
    (Check, {"kind": "request-success-rate"}, "kind", "found 'request-success-rate', expected a member of CheckKind"),
    (Check, {"kind": CheckKind}, "kind", "found the class CheckKind, expected a member of CheckKind"),
    (Check, {"kind": HookType.ROLLOUT}, "kind", "found HookType.ROLLOUT, expected a member of CheckKind"),
    (Check, {"name": ""}, "name", "found an empty text"),
    (Check, {"name": None}, "name", "found None, expected a nonempty text"),
    (Check, {"name": "x" * 5000}, "name", "found 5,000 characters"),
    (Check, {"window": 0}, "window", "found 0, expected a finite number of seconds above 0"),
    (Check, {"window": -60.0}, "window", "found -60.0"),
    (Check, {"window": inf}, "window", "found inf"),
    (Check, {"window": "1m"}, "window", "found '1m'"),
    (Check, {"template": "latency"}, "template", "found 'latency', expected an object of Reference, or None"),
    (Check, {"variables": {"a": "b"}}, "variables", "found a dict, expected a tuple"),
    (Check, {"variables": (("a",),)}, "variables[0]", "found a tuple of 1 items, expected a pair"),
    (Check, {"variables": (("a", 1),)}, "variables[0][1]", "found 1, expected a text"),
    # hooks
    (Hook, {"name": ""}, "name", "found an empty text"),
    (Hook, {"type": "rollout"}, "type", "found 'rollout', expected a member of HookType"),
    (Hook, {"url": None}, "url", "found a NoneType, expected a text"),
    (Hook, {"url": b"http://token@host"}, "url", "found a bytes, expected a text"),
    (Hook, {"timeout": -1.0}, "timeout", "found -1.0"),
    (Hook, {"timeout": nan}, "timeout", "found nan"),
    (Hook, {"retries": -1}, "retries", "found -1"),
    (Hook, {"retries": 10**9}, "retries", "found 1000000000, expected a whole number from 0 to 100"),
    (Hook, {"retries": 1.5}, "retries", "found 1.5"),
    (Hook, {"mute_alert": "no"}, "mute_alert", "found 'no'"),
    # the rollout
    (Rollout, {"ladder": Ladder()}, "ladder", "found no rungs, expected a rung above the initial one"),
    (Rollout, {"ladder": None}, "ladder", "found None, expected an object of Ladder"),
    (Rollout, {"ladder": Ladder}, "ladder", "found the class Ladder, expected an object of Ladder"),
    (Rollout, {"target": "shop"}, "target", "found 'shop', expected an object of TargetRef"),
    (Rollout, {"name": ""}, "name", "found an empty text"),
    (Rollout, {"name": 5}, "name", "found 5"),
    (Rollout, {"namespace": ""}, "namespace", "found an empty text"),
    (Rollout, {"provider": ""}, "provider", "found an empty text"),
    (Rollout, {"checks": CHECK}, "checks", "found a Check, expected a tuple"),
    (Rollout, {"checks": [CHECK]}, "checks", "found a list, expected a tuple"),
    (Rollout, {"checks": (CHECK, HOOK)}, "checks[1]", "found a Hook, expected an object of Check"),
    (Rollout, {"hooks": (CHECK,)}, "hooks[0]", "found a Check, expected an object of Hook"),
    (Rollout, {"alerts": ("chat",)}, "alerts[0]", "found 'chat', expected an object of Alert"),
    (Rollout, {"match": (("x-canary", EXACT),)}, "match[0]", "expected an object of Match"),
    (Rollout, {"affinity": "canary"}, "affinity", "found 'canary', expected an object of Affinity, or None"),
    (Rollout, {"interval": 0}, "interval", "found 0"),
    (Rollout, {"interval": -10.0}, "interval", "found -10.0"),
    (Rollout, {"interval": inf}, "interval", "found inf"),
    (Rollout, {"interval": nan}, "interval", "found nan"),
    (Rollout, {"interval": "1m"}, "interval", "found '1m'"),
    (Rollout, {"threshold": 0}, "threshold", "found 0, expected a whole number from 1"),
    (Rollout, {"threshold": 2.5}, "threshold", "found 2.5"),
    (Rollout, {"threshold": True}, "threshold", "found True"),
    (Rollout, {"threshold": 10**12}, "threshold", "found 1000000000000"),
    (Rollout, {"progress_deadline": -1.0}, "progress_deadline", "found -1.0"),
    (Rollout, {"progress_deadline": inf}, "progress_deadline", "found inf"),
    (Rollout, {"drain": -5.0}, "drain", "found -5.0"),
    (Rollout, {"drain": nan}, "drain", "found nan"),
    (Rollout, {"texts": "live"}, "texts", "found 'live', expected a mapping from members of NoticeKind to texts"),
    (Rollout, {"texts": {"SUCCEEDED": "live"}}, "texts", "found 'SUCCEEDED', expected a member of NoticeKind"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: ""}}, "texts[SUCCEEDED]", "found an empty text"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: 5}}, "texts[SUCCEEDED]", "found 5, expected a nonempty text"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{flag}"}}, "texts[SUCCEEDED]", "found '{flag}', expected a text with"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{0}"}}, "texts[SUCCEEDED]", "found '{0}'"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{}"}}, "texts[SUCCEEDED]", "found '{}'"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{name"}}, "texts[SUCCEEDED]", "found '{name'"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{name.upper}"}}, "texts[SUCCEEDED]", "found '{name.upper}'"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{name:>99999999}"}}, "texts[SUCCEEDED]", "found '{name:>99999999}'"),
    (Rollout, {"texts": {NoticeKind.SUCCEEDED: "{name!r}"}}, "texts[SUCCEEDED]", "found '{name!r}'"),
    (Rollout, {"texts": ((NoticeKind.FAILED, "a"), (NoticeKind.FAILED, "b"))}, "texts[FAILED]", "found two texts"),
    (Rollout, {"mirror_weight": 101}, "mirror_weight", "found 101"),
    (Rollout, {"canary_ready": 0.5}, "canary_ready", "found 0.5"),
    (Rollout, {"min_samples": -1}, "min_samples", "found -1"),
    (Rollout, {"inconclusive_limit": -1}, "inconclusive_limit", "found -1"),
    (Rollout, {"no_data": "hold"}, "no_data", "found 'hold', expected a member of NoData"),
    (Rollout, {"suspend": None}, "suspend", "found None"),
    (Rollout, {"skip_analysis": "false"}, "skip_analysis", "found 'false'"),
    (TargetRef, {"name": ""}, "name", "found an empty text"),
    (TargetRef, {"kind": None}, "kind", "found None"),
    (Reference, {"name": ""}, "name", "found an empty text"),
    (Alert, {"provider": "chat"}, "provider", "found 'chat', expected an object of Reference"),
    (Alert, {"severity": "warn"}, "severity", "found 'warn', expected a member of Severity"),
    (Affinity, {"max_age": -1}, "max_age", "found -1"),
    (StringMatch, {"kind": "glob"}, "kind", "found 'glob', expected one of exact, prefix, suffix, regex, present"),
    (Match, {"headers": {"x": EXACT}}, "headers", "found a dict, expected a tuple"),
    (Match, {"headers": (("x", "always"),)}, "headers[0][1]", "found 'always', expected an object of StringMatch"),
    (Match, {"port": 0}, "port", "found 0, expected a whole number from 1 to 65535, or None"),
    # the values that decide reads
    (Status, {"phase": "Progressing"}, "phase", "found 'Progressing', expected a member of Phase"),
    (Status, {"since": nan}, "since", "found nan"),
    (Status, {"failed_checks": -1}, "failed_checks", "found -1"),
    (Status, {"rung": 20}, "rung", "found 20, expected an object of Rung"),
    (Status, {"pending": ("settle",)}, "pending[0]", "found 'settle', expected a member of Pending"),
    (Routes, {"weight": 101}, "weight", "found 101"),
    (Routes, {"weight": 1001, "tenths": True}, "weight", "found 1001, expected a whole number from 0 to 1000"),
    (Routes, {"weight": None}, "weight", "found None"),
    (Routes, {"weight": 0.5}, "weight", "found 0.5"),
    (Command, {"kind": "pause"}, "kind", "found 'pause', expected a member of CommandKind"),
    (Command, {"id": ""}, "id", "found an empty text"),
    (Workload, {"ready": "1"}, "ready", "found '1', expected a whole number"),
    (Workload, {"revision": None}, "revision", "found None, expected a text"),
    (Workload, {"unready_since": "now"}, "unready_since", "found 'now'"),
    (Observation, {"now": "noon"}, "now", "found 'noon', expected a finite number"),
    (Observation, {"now": nan}, "now", "found nan"),
    (Observation, {"target": "v1"}, "target", "found 'v1', expected an object of Workload, or None"),
    (Observation, {"routes": 10}, "routes", "found 10, expected an object of Routes, or None"),
    (Observation, {"command": "pause"}, "command", "found 'pause', expected an object of Command, or None"),
    (Inputs, {"observation": None}, "observation", "found None, expected an object of Observation"),
    (Inputs, {"answers": ()}, "answers", "expected an object of Mapping"),
]


@pytest.mark.parametrize(
    ("kind", "values", "field", "message"),
    WRONG,
    ids=[f"{row[0].__name__}.{row[2]}-{n}" for n, row in enumerate(WRONG)],
)
def test_a_wrong_use_is_an_error_at_construction_with_its_field_and_remedy(kind, values, field, message):
    with pytest.raises(FieldError) as error:
        kind(**{**NEEDED.get(kind, {}), **values})
    problem, text = error.value.problem, str(error.value)
    assert text.startswith(f"{kind.__name__}.{field}: ")
    assert message in text
    assert problem.expected
    assert problem.remedy.endswith(".")
    assert isinstance(error.value, WrongType if problem.rule == "type" else WrongValue)
    assert len(text) < 500


def test_a_wrong_type_is_a_type_error_and_a_wrong_value_a_value_error():
    assert (issubclass(WrongType, TypeError), issubclass(WrongValue, ValueError)) == (True, True)
    assert issubclass(FieldError, CanaryError)


def test_a_rollout_without_a_ladder_is_refused_unless_its_analysis_is_skipped():
    with pytest.raises(WrongValue, match=r"Rollout\.ladder: found no rungs"):
        Rollout(name="shop", target=TARGET, checks=(CHECK,))
    assert Rollout(name="shop", target=TARGET, skip_analysis=True).skip_analysis


def test_the_remedy_for_a_text_names_the_member_that_it_means():
    with pytest.raises(WrongType, match=r"Write CheckKind\.SUCCESS_RATE\."):
        Check(name="rate", kind="request-success-rate", minimum=99.0)
    with pytest.raises(WrongType, match=r"Write NoData\.HOLD\."):
        Rollout(**{**NEEDED[Rollout], "no_data": "hold"})
    assert NoData("hold") is NoData.HOLD


def test_a_wrong_address_is_not_shown():
    with pytest.raises(FieldError) as error:
        Hook(name="smoke", type=HookType.ROLLOUT, url="http://secret@host/" + "x" * 5000)
    assert "secret" not in str(error.value)


def test_an_error_survives_a_trip_to_another_process():
    with pytest.raises(FieldError) as error:
        Ladder(step=-10)
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), again.problem) == (WrongValue, error.value.problem)


POLICY_CLASSES = (
    *(Ladder, Rung, Check, Hook, Rollout, TargetRef, Reference, Alert, Affinity, StringMatch, Match),
    *(Status, Routes, Command),
)


@pytest.mark.parametrize("kind", POLICY_CLASSES)
def test_every_field_of_a_policy_has_a_rule(kind):
    assert [each.name for each in attrs.fields(kind) if each.init and each.validator is None] == []


STORED = [row for row in WRONG if row[0] in POLICY_CLASSES and row[0] is not Command and row[3].startswith("found -")]


@pytest.mark.parametrize(("kind", "values", "field", "message"), STORED)
def test_the_codec_raises_the_error_of_the_constructor(kind, values, field, message):
    data = {name: to_data(value) for name, value in {**NEEDED.get(kind, {}), **values}.items()}
    with pytest.raises(ValueError, match=f"{kind.__name__}.*{message}"):
        from_data(data, kind)


def test_whole_numbers_pass_for_seconds_and_limits():
    check = Check(name="rate", kind=CheckKind.SUCCESS_RATE, minimum=99, window=60)
    assert Rollout(**{**NEEDED[Rollout], "checks": (check,), "interval": 10}).interval == 10
    assert Observation(now=0, target=Workload(**NEEDED[Workload])).now == 0
    assert Status(phase=Phase.FAILED, since=1).since == 1
    assert Alert(**NEEDED[Alert]).severity is Severity.INFO
