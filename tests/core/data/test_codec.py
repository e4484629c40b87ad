"""The codec: reading returns the written value, and a refusal names the path."""

import math
import re
import types
import typing

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import canarycore
from canarycore import Phase, Status, effects, questions
from canarycore.codec import from_data, from_json, to_data, to_json
from canarycore.notices import Notice, NoticeKind
from canarycore.questions import MetricAnswer

DATA = (
    canarycore.Rollout,
    canarycore.Status,
    canarycore.Observation,
    questions.Ask,
    canarycore.Decision,
    canarycore.Explanation,
    effects.Plan,
    effects.Goal,
    canarycore.Inputs,
    questions.HookAnswer,
    questions.MetricAnswer,
    questions.SourcesAnswer,
)

# within what every validator allows
PLAIN = {
    int: st.integers(1, 100),
    float: st.floats(0.5, 1e9),
    str: st.text(max_size=8),
    bool: st.booleans(),
    types.NoneType: st.none(),
}


def values(kind):
    """Return a strategy for values of a type, built from the class definitions alone, so that it covers new fields."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*map(values, args))
    if origin is tuple and args[-1] is Ellipsis:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, args))
    if origin is not None:
        return st.dictionaries(*map(values, args), max_size=3)
    if attrs.has(kind):
        return built(kind)
    return st.sampled_from(kind)


@st.composite
def built(draw, kind):
    given_fields = {field.name: draw(values(field.type)) for field in attrs.fields(kind) if field.init}
    try:
        return kind(**given_fields)
    except ValueError:
        assume(False)


@given(st.one_of(*map(values, DATA)))
def test_reading_returns_the_written_value(value):
    assert from_json(to_json(value), type(value)) == value


@given(st.one_of(*map(values, DATA)))
def test_data_and_text_say_the_same(value):
    assert from_data(to_data(value), type(value)) == from_json(to_json(value), type(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_survive(value):
    read = from_json(to_json(MetricAnswer(value=value)), MetricAnswer).value

    assert read == value or (math.isnan(read) and math.isnan(value))


def test_a_notice_is_stored_by_the_name_of_its_kind():
    notice = Notice(NoticeKind.COPYING, "key", Phase.PROMOTING, (("target", "a.b"), ("primary", "a-primary.b")))

    assert to_data(notice)["tell"] == "COPYING"
    assert from_data(to_data(notice), Notice).text == "Copying a.b template spec to a-primary.b"


def test_a_refusal_names_each_bad_path():
    wrong = to_data(Status()) | {"phase": "Sleeping", "rung": {"weight": "heavy"}}

    with pytest.raises(ValueError, match=r"no Status: .*Phase @ \$\.phase; .*int @ \$\.rung\.weight"):
        from_data(wrong, Status)


WRONG = {
    "a list": ("[]", "$"),
    "a text": ('"Progressing"', "$"),
    "a number": ("7", "$"),
    "nothing": ("null", "$"),
    "a list for an object": ('{"rung": []}', "$.rung"),
    "a text for a number": ('{"failed_checks": "7"}', "$.failed_checks"),
    "a fraction for a count": ('{"failed_checks": 1.5}', "$.failed_checks"),
    "a boolean for a number": ('{"rung": {"weight": true}}', "$.rung.weight"),
    "a number for a boolean": ('{"paused": 1}', "$.paused"),
    "a text for a boolean": ('{"paused": "false"}', "$.paused"),
    "a list for a text": ('{"applied": []}', "$.applied"),
    "a number for a text": ('{"applied": 5}', "$.applied"),
    "an object for a list": ('{"outbox": {}}', "$.outbox"),
    "a text for a list": ('{"outbox": "abc"}', "$.outbox"),
    "a number in a list": ('{"outbox": [1]}', "$.outbox[0]"),
    "a list for a choice": ('{"phase": []}', "$.phase"),
    "an unknown notice": ('{"outbox": [{"tell": "X"}]}', "$.outbox[0].kind"),
    "a list for a notice": ('{"outbox": [{"tell": []}]}', "$.outbox[0].kind"),
    "a weight above all": ('{"rung": {"weight": 101}}', "$.rung"),
    "a count below 0": ('{"failed_checks": -1}', "Status.failed_checks: found -1"),
    "a time that is no number": ('{"since": "nan"}', "Status.since: found nan"),
    "infinity": ('{"drain_until": Infinity}', "Infinity, which JSON does not know"),
    "a number beyond all": ('{"since": 1e999}', "$.since"),
    "a number of 5,000 digits": ('{"failed_checks": ' + "9" * 5000 + "}", "20 digits"),
    "a number of 100 digits": ('{"since": ' + "9" * 100 + "}", "20 digits"),
    "brackets": ("[" * 100_000, "64 levels"),
    "brackets in a field": ('{"applied": ' + "[" * 100_000, "64 levels"),
    "a long list": ('{"pending": [' + ",".join(['"settle"'] * 10_001) + "]}", "$.pending"),
    "a long text": (f'{{"applied": "{"x" * 4_000_000}"}}', "3,145,728 characters"),
    "no JSON": ("{", "line 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_bad_status_is_refused_with_its_path_in_few_words(name):
    text, place = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(place)) as refusal:
        from_json(text, Status)
    assert str(refusal.value).startswith("this is no Status: ")
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("text", ["[]", "{}", '{"is": "Status"}', '{"is": []}', '{"is": {}}', "null"])
def test_a_bad_answer_is_refused(text):
    with pytest.raises(ValueError, match="this is no"):
        from_json(text, questions.Answer)


@pytest.mark.parametrize("value", [10**400, -(10**400), 10**5000, math.inf, object(), b"x"], ids=type)
def test_data_that_is_no_json_is_refused(value):
    for field in ("since", "failed_checks", "applied", "paused", "outbox", "phase", "rung"):
        with pytest.raises(ValueError, match="this is no Status"):
            from_data({field: value}, Status)


def test_an_unknown_field_is_ignored():
    assert from_json('{"phase": "Succeeded", "of_a_later_release": [1]}', Status) == Status(phase=Phase.SUCCEEDED)


def test_a_ladder_without_end_is_not_read():
    with pytest.raises(ValueError, match=r"Ladder\.top: found 500.* @ \$"):
        from_json('{"step": 10, "top": 500}', canarycore.Ladder)
