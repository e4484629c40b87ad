"""Durations in Go's notation, parsed and formatted."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore.manifest import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1m30s", 90.0),
        ("0", 0.0),
        ("+5s", 5.0),
        ("-1.5h", -5400.0),
        ("1h15m30.918273645s", 4530.918273645),
        ("100ms", 0.1),
        ("3us", 3e-6),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("7ns", 7e-9),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("10s1m", 70.0),
        ("9223372036854775807ns", 9223372036.854776),
    ],
)
def test_a_duration_parses_as_in_go(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("-", "is empty"),
        ("30", "write '30s'"),
        ("1m30", "ends without a unit"),
        ("s", "is not a number with a unit"),
        (".s", "is not a number with a unit"),
        ("1d", "the units are ns, us"),
        ("1 m", "is not a number with a unit"),
        ("+-5s", "is not a number with a unit"),
        ("3000000h", "292 years"),
    ],
)
def test_an_invalid_duration_raises_with_the_reason(text, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (1.2, "1.2s"),
        (60, "1m0s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (4530.5, "1h15m30.5s"),
        (-1.5, "-1.5s"),
        (1.5e-6, "1.5\u00b5s"),
        (7e-9, "7ns"),
        (0.0999, "99.9ms"),
        (86400, "24h0m0s"),
    ],
)
def test_a_duration_formats_as_in_go(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(-(10**15), 10**15))
def test_a_formatted_duration_parses_to_the_same_nanosecond(nanoseconds):
    seconds = nanoseconds / 10**9
    assert round(Fraction(parse_duration(format_duration(seconds))) * 10**9) == round(Fraction(seconds) * 10**9)


@given(st.text(alphabet="0123456789.+-nuµmshd \n", max_size=12))
def test_any_text_parses_or_raises_value_error(text):
    refusal = ""
    try:
        assert isinstance(parse_duration(text), float)
    except ValueError as error:
        refusal = str(error)
    assert not refusal or repr(text) in refusal
