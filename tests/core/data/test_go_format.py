"""Numbers and durations in Go's format, as in Flagger's texts."""

from __future__ import annotations

import math

import pytest

from canarycore._go_format import NANOSECONDS, duration, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (99.0, "99"), (99.5, "99.5"), (-2.0, "-2"), (-0.25, "-0.25")),
        *((1e16, "10000000000000000"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (2.5e22, "2.5e+22")),
        *((-1e20, "-100000000000000000000"), (-1e21, "-1e+21"), (1e-4, "0.0001"), (1e-5, "1e-05"), (1.5e-7, "1.5e-07")),
        *((math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN")),
    ],
)
def test_a_number_reads_as_go_writes_it(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        *(
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1\u00b5s"),
            (1_500, "1.5\u00b5s"),
            (999_999, "999.999\u00b5s"),
        ),
        *((1_000_000, "1ms"), (1_200_000, "1.2ms"), (500_000_000, "500ms"), (1_000_000_000, "1s")),
        *((1_200_000_000, "1.2s"), (1_000_000_001, "1.000000001s"), (10_000_000_000, "10s"), (60_000_000_000, "1m0s")),
        *((90_500_000_000, "1m30.5s"), (3_600_000_000_000, "1h0m0s"), (3_661_000_000_000, "1h1m1s")),
        *((90_000_000_000_000, "25h0m0s"), (-1_500_000_000, "-1.5s"), (-3_600_000_000_000, "-1h0m0s"), (-1, "-1ns")),
    ],
)
def test_a_duration_reads_as_go_writes_it(nanoseconds, text):
    assert duration(nanoseconds) == text


def test_both_letters_for_micro_are_accepted():
    assert NANOSECONDS["\u00b5s"] == NANOSECONDS["\u03bcs"] == NANOSECONDS["us"]
