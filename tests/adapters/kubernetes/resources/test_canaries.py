"""Every Canary is valid or has problems: no content makes it disappear."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canarycore import Phase
from canarycore.manifest import check_files
from canarycore.text import escape_controls
from canarycore_kubernetes.api.budget import UNREADABLE
from canarycore_kubernetes.resources.canaries import COMMAND, LONGEST_PART, Canaries, InvalidCanary, ValidCanary
from canarycore_kubernetes.resources.status_codec import _seal


class Unwatched:
    """A cluster of which nothing is heard."""

    def cache(self, view):
        return self

    def subscribe(self, callback):
        pass


CANARIES = Canaries(Unwatched())


def deep(levels=5_000):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def status(**fields):
    known = {"phase": "Progressing", "canaryWeight": 20, "failedChecks": 0, "iterations": 0}
    return {**known, "lastAppliedSpec": "new", "lastPromotedSpec": "old", **fields}


def remembering(text, **fields):
    """A status with a memory under a seal that fits."""
    found = status(**fields)
    message = {"type": "Canarycore", "status": "True", "reason": "Memory", "message": f"{_seal(found)} {text}"}
    return found | {"conditions": [message]}


def body(*, analysis=None, spec=None, **parts):
    metadata = {"name": "podinfo", "namespace": "shop", "uid": "7", "generation": 3, **parts.pop("metadata", {})}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}
    policy = {"interval": "10s", "threshold": 3, "stepWeight": 20, "maxWeight": 60, **(analysis or {})}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": metadata,
        "spec": {"targetRef": target, "service": {"port": 80}, "analysis": policy, **(spec or {})},
        "status": status(),
        **parts,
    }


def held(found, before=None):
    return CANARIES._project(found, before)


BROKEN = {
    "labels are a list": {"metadata": {"labels": [1]}},
    "labels nested deeply": {"metadata": {"labels": {"a": deep()}}},
    "60,000 labels": {"metadata": {"labels": {f"l{number}": "x" for number in range(60_000)}}},
    "annotations are a text": {"metadata": {"annotations": "x"}},
    "an annotation is a number": {"metadata": {"annotations": {"a": 1}}},
    "no metadata": {"metadata": None},
    "spec is a list": {"spec": None, "status": []},
    "60,000 unknown fields": {"spec": {f"f{number}": 1 for number in range(60_000)}},
    "a spec nested deeply": {"spec": {"x": deep()}},
    "a long text": {"analysis": {"interval": "1ns" * 350_000}},
    "an interval of 20,000 digits": {"analysis": {"interval": "9" * 20_000 + "s"}},
    "the status is a number": {"status": 7},
    "the status is an empty list": {"status": []},
    "a phase that is none": {"status": status(phase="Foo")},
    "a phase that is a number": {"status": status(phase=7)},
    "a phase that is gone": {"status": status(phase="")},
    "a phase that is gone, with what is remembered": {"status": {"conditions": remembering("{}")["conditions"]}},
    "conditions are a text": {"status": status(conditions="x")},
    "conditions are a mapping": {"status": status(conditions=deep())},
    "a weight of 5,000 digits": {"status": status(canaryWeight=10**5_000)},
    "a weight that is a mapping": {"status": status(canaryWeight=deep())},
    "a negative weight": {"status": status(canaryWeight=-5)},
    "a time that is none": {"status": status(lastTransitionTime="yesterday")},
    "a time that is a number": {"status": status(lastTransitionTime=7)},
    "a memory nested deeply": {"status": remembering('{"a":' * 50_000 + "1" + "}" * 50_000)},
    "a memory that is a list": {"status": remembering("[1]")},
    "a memory with a text for a number": {"status": remembering('{"holds": "x"}')},
    "a memory with a number of 5,000 digits": {"status": remembering('{"holds": %s}' % ("9" * 5_000))},
    "a memory with a time that no clock shows": {"status": remembering('{"since": 1e300}')},
    "a memory with a time that is no number": {"status": remembering('{"analysed_at": "nan"}')},
    "a memory with a weight of 999": {"status": remembering('{"rung": {"weight": 999}}')},
    "a memory of 300,000 characters": {"status": remembering("{}" + " " * 300_000)},
    "a memory without a seal": {"status": status(conditions=[{"type": "Canarycore", "message": "garbage"}])},
    "a memory that is a number": {"status": status(conditions=[{"type": "Canarycore", "message": 7}])},
    "a memory that is nothing": {"status": status(conditions=[{"type": "Canarycore"}])},
}


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
def test_the_problem_of_an_unreadable_canary_has_a_remedy(parts):
    given_parts = {name: value for name, value in parts.items() if value is not None}
    found = body(**given_parts) | {name: None for name, value in parts.items() if value is None}
    broken = held(found)
    assert isinstance(broken, InvalidCanary)
    for problem in broken.problems:
        assert problem.found
        assert problem.remedy
        assert len(problem.found) <= LONGEST_PART
        assert str(problem) == escape_controls(str(problem), 10_000)


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
def test_a_canary_is_valid_again_after_its_correction(parts):
    given_parts = {name: value for name, value in parts.items() if value is not None}
    broken = held(body(**given_parts) | {name: None for name, value in parts.items() if value is None})
    mended = held(body(), broken)
    assert isinstance(mended, ValidCanary)
    assert mended.status.phase is Phase.PROGRESSING


def test_an_invalid_canary_reports_its_interrupted_rollout():
    broken = held(body(status=status(conditions="x")))
    assert broken.rollout_summary == "its rollout stands still in Progressing, weight 20"


COMMANDS = {
    "5,000 digits": "skip-to " + "9" * 5_000 + " x",
    "more than a percentage": "skip-to 1000 x",
    "a command of 200,000 characters": "abort " + "x" * 200_000,
    "a number": 7,
    "a mapping": deep(),
    "nothing": None,
    "escape sequences": "\x1b[2J\n",
}


@pytest.mark.parametrize("said", COMMANDS.values(), ids=COMMANDS)
def test_an_unknown_command_leaves_the_canary_valid(said):
    found = held(body(metadata={"annotations": {COMMAND: said}}))
    assert isinstance(found, ValidCanary)
    assert found.command is None
    assert found.unknown_command
    assert found.unknown_command == escape_controls(found.unknown_command, LONGEST_PART)


LEFT_OUT = {
    "conditions without a type": {"status": status(conditions=[7, {"x": 1}, {"type": 7}, None])},
    "tracked configs are a number": {"status": status(trackedConfigs=7)},
    "finalizers are a mapping": {"metadata": {"finalizers": {"a": 1}}},
    "finalizers are numbers": {"metadata": {"finalizers": [1]}},
    "a generation that is a text": {"metadata": {"generation": "x"}},
    "a cookie that is a number": {"status": status(sessionAffinityCookie=7)},
    "9,000 conditions": {"status": status(conditions=[{"type": "x", "message": "y"}] * 9_000)},
}


@pytest.mark.parametrize("parts", LEFT_OUT.values(), ids=LEFT_OUT)
def test_garbage_that_no_rollout_depends_on_is_left_out(parts):
    assert isinstance(held(body(**parts)), ValidCanary)


def test_a_manifest_of_an_unknown_generation_is_read_each_time():
    before = held(body(metadata={"generation": "x"}))
    after = held(body(metadata={"generation": "x"}, analysis={"maxWeight": 80}), before)
    assert after.rollout.ladder != before.rollout.ladder


def test_many_problems_become_a_few_and_the_number_of_others():
    metrics = [{"name": f"m{number}", "interval": "soon"} for number in range(100)]
    broken = held(body(analysis={"metrics": metrics}))
    assert len(broken.problems) == 11
    assert "more problems" in str(broken.problems[-1])


TEXT = st.text(st.characters(exclude_categories=()), max_size=50)
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    ("metadata",), ("metadata", "labels"), ("metadata", "annotations"), ("metadata", "annotations", COMMAND),
    ("metadata", "generation"), ("metadata", "uid"), ("metadata", "finalizers"), ("metadata", "name"), ("spec",),
    ("spec", "analysis"), ("spec", "service"), ("spec", "targetRef"), ("spec", "analysis", "interval"), ("status",),
    ("status", "phase"), ("status", "conditions"), ("status", "canaryWeight"), ("status", "lastTransitionTime"),
    ("status", "trackedConfigs"), ("status", "iterations"), ("status", "failedChecks"), ("status", "lastAppliedSpec"),
]  # fmt: skip


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(PLACES), GARBAGE, min_size=1, max_size=3))
def test_no_garbage_anywhere_makes_a_canary_vanish(garbage):
    found = body(metadata={"annotations": {}})
    for path, value in garbage.items():
        inside = found
        for name in path[:-1]:
            inside = inside.get(name) if isinstance(inside, dict) else None
        if isinstance(inside, dict):
            inside[path[-1]] = value
    assert isinstance(held(found), (ValidCanary, InvalidCanary))


@settings(max_examples=200)
@given(TEXT | GARBAGE.map(repr))
def test_no_memory_makes_a_canary_vanish(text):
    assert isinstance(held(body(status=remembering(text))), (ValidCanary, InvalidCanary))


def test_conditions_that_cannot_be_read_are_not_written_over():
    assert held(body(status=status(conditions="x"))).conditions is None
    assert held(body(status=7)).conditions is None
    assert held(body() | {UNREADABLE: "is nested too deeply"}).conditions is None


def hooks(count):
    return {
        "webhooks": [
            {"name": f"h{place}", "url": "http://h/", "metadata": {"cmd": "x" * 16_000}} for place in range(count)
        ]
    }


def variables(count):
    pairs = {f"v{place}": "x" for place in range(250)}
    return {"metrics": [{"name": f"m{place}", "templateVariables": pairs} for place in range(count)]}


@pytest.mark.parametrize(
    ("analysis", "is_usable"), [(hooks(16), True), (hooks(17), False), (variables(39), True), (variables(40), False)]
)
def test_the_controller_has_the_bounds_of_the_linter(analysis, is_usable):
    found = body(analysis=analysis)
    lint = check_files([("canary.json", json.dumps(found))])
    assert (isinstance(held(found), ValidCanary), bool(lint.canaries)) == (is_usable, is_usable)
