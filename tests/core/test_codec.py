"""The codec: what is written is read back, and what cannot be read is said with its path."""

import math
import types
import typing

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import canarycore
from canarycore import MetricAnswer, Notice, Phase, Status, Tell
from canarycore.codec import from_data, from_json, to_data, to_json

DATA = (
    canarycore.Rollout,
    canarycore.Status,
    canarycore.World,
    canarycore.Ask,
    canarycore.Decision,
    canarycore.Because,
    canarycore.Plan,
    canarycore.Goal,
    canarycore.Known,
    canarycore.HookAnswer,
    canarycore.MetricAnswer,
    canarycore.SourcesAnswer,
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
    """Any value of a field's type, made from the class definitions alone: a new field is covered when it is added."""
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
def test_what_is_read_is_equal_to_what_was_written(value):
    assert from_json(to_json(value), type(value)) == value


@given(st.one_of(*map(values, DATA)))
def test_data_and_text_say_the_same(value):
    assert from_data(to_data(value), type(value)) == from_json(to_json(value), type(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_survive(value):
    read = from_json(to_json(MetricAnswer(value=value)), MetricAnswer).value

    assert read == value or (math.isnan(read) and math.isnan(value))


def test_a_text_is_written_by_its_name_and_reads_as_the_same_text():
    notice = Notice(Tell.COPYING, "key", Phase.PROMOTING, (("target", "a.b"), ("primary", "a-primary.b")))

    assert to_data(notice)["tell"] == "COPYING"
    assert from_data(to_data(notice), Notice).text == "Copying a.b template spec to a-primary.b"


def test_each_thing_that_cannot_be_read_is_named_with_its_path():
    wrong = to_data(Status()) | {"phase": "Sleeping", "rung": {"weight": "heavy"}}

    with pytest.raises(ValueError, match=r"no Status: .*Phase @ \$\.phase; .*int @ \$\.rung\.weight"):
        from_data(wrong, Status)
