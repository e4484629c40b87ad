"""Conditions over the result of a check: a small language whose evaluation always ends with a truth or without one."""

from __future__ import annotations

from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore._condition_values import find_example, find_range, find_values
from canarycore._expressions import Conditions, ExpressionError, parse_condition
from canarycore.bounds import CONDITION, CONDITION_DEPTH, CONDITION_PARTS
from tests.growth import is_linear

TRUTHS = [
    ("result >= 0.95", 0.95, True),
    ("result[0] >= 0.95", 0.949, False),
    ("0.5 < result", 0.5, False),
    ("result == 3 || result != 3 && false", 3.0, True),
    ("true || false && false", 1.0, True),
    ("!(result > 5) && !false", 5.0, True),
    ("1 + 2 * 3 == 7", None, True),
    ("10 - 4 - 3 == 3", None, True),
    ("-result < -4", 5.0, True),
    ("result % 3 == 1", 7.0, True),
    ("(result - 1) / 4 >= 0.5", 3.0, True),
    ("result > 1 ? result < 3 : result < 0", 2.0, True),
    ("result > 1 ? result < 3 : result < 0", 1.0, False),
    ("(result > 1) == (result > 2)", 1.5, False),
    ("result > 1e-3", 0.002, True),
    ("len(result) == 0 || result < 5", None, True),
    ("len(result) > 0 && result < 5", None, False),
    ("len(result) == 1", 5.0, True),
    ("default(result, 0) < 5", None, True),
    ("default(result, 0) < 5", 7.0, False),
    ("isNaN(result) || result >= 99", nan, True),
    ("!isNaN(result) && result >= 99", nan, False),
    ("isInf(result)", -inf, True),
    ("isNaN(0 / result)", 0.0, True),
    # without a truth
    ("result < 5", None, None),
    ("result != 5", None, None),
    ("!(result < 5)", nan, None),
    ("result != result", nan, None),
    ("1 / result > 0", 0.0, None),
    ("result % 0 == 0", 1.0, None),
    ("result - result == 0", inf, None),
    ("result * 1e300 * 1e300 > 1", 1.0, True),
    ("result > 0 ? true : false", None, None),
    ("result > 0 ? 1 < 2 : 3 < 4", None, None),
]


@pytest.mark.parametrize(("text", "result", "truth"), TRUTHS)
def test_the_truth_of(text, result, truth):
    assert parse_condition(text).evaluate(result) is truth


REFUSALS = [
    ("", "the end", "Correct the condition."),
    ("result", "a number", "Compare it"),
    ("result >", "the end", "Correct the condition."),
    ("result > 1 result", "'result' at character 12", "Correct the condition."),
    ("result[1] > 2", "the index '1' at character 8", "a query of its own for each number"),
    ("result.ok > 2", "'.' at character 7", "it has no fields"),
    ("result == 'a'", '"\'" at character 11', "compare numbers"),
    ("quantile(result) > 1", "'quantile' at character 1", "one number"),
    ("all(result, # > 1)", "'#' at character 13", "a query whose result"),
    ("isNan(result)", "'isNan' at character 1", "Did you mean isNaN?"),
    ("asFloat(result) > 1", "'asFloat' at character 1", "Write its argument alone"),
    ("result > 1 and result < 2", "'and' at character 12", "Write && for and."),
    ("not (result > 1)", "'not' at character 1", "Write ! for not."),
    ("result = 1", "'=' at character 8", "Write == to compare."),
    ("1 < result < 3", "< of a truth value", "Join comparisons by && and ||."),
    ("result && true", "&& of a number", "Compare it"),
    ("!result", "! of a number", "Compare it"),
    ("-(result > 1) > 2", "- of a truth value", "Join comparisons"),
    ("result == true", "== of a truth value", "Join comparisons"),
    ("result ? true : false", "? of a number", "Compare it"),
    ("true ? 1 : true", ": of a truth value", "Join comparisons"),
    ("len(5) > 0", "'5' at character 5", "Correct the condition."),
    ("default(result + 1, 2) > 0", "default() of a computed value", "Write result alone."),
    ("isNaN(result, 1)", "',' at character 13", "Correct the condition."),
    ("result > 1e999", "'1e999' at character 10", "Write a smaller number."),
    (f"result > {'9' * 21}", "a number of more digits at character 10", "Round it."),
    ("result > 1" + " " * CONDITION.most, "1,034 characters", "Shorten the condition."),
    ("!" * 1000 + "true", "more parts", "Simplify"),
    ("(" * 1000, "deeper parts", "Simplify"),
    ("true ? " * 100 + "true", "deeper parts", "Simplify"),
    ("result > \u0661", "'\u0661' at character 10", "Remove it"),
]


@pytest.mark.parametrize(("text", "found", "remedy"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_text_outside_the_language_is_refused_with_its_remedy(text, found, remedy):
    with pytest.raises(ExpressionError) as error:
        parse_condition(text)
    assert error.value.found == found
    assert error.value.expected
    assert remedy in error.value.remedy


def test_a_condition_at_its_bounds_is_read():
    depth = CONDITION_DEPTH.most
    assert parse_condition("(" * depth + "result > 1" + ")" * depth).evaluate(2.0) is True
    terms = (CONDITION_PARTS.most - 3) // 2
    text = "+".join(["1"] * terms) + "+1>0"
    assert parse_condition(text).evaluate(None) is True


WORDS = st.sampled_from(
    [
        *("result", "result[0]", "1", "0", "0.5", "1e300", "true", "false", "isNaN(", "isInf(", "len(", "default("),
        *("(", ")", ",", "&&", "||", "!", "-", "+", "*", "/", "%", "<", "<=", "==", "!=", ">", "?", ":", " ", "[", "]"),
    ]
)
VALUES = st.sampled_from([None, nan, inf, -inf, 0.0, -0.0, 1.0, 0.5, 1e308, -1e308, 5e-324]) | st.floats()


@given(st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=60), VALUES)
def test_any_text_is_refused_or_has_a_truth_or_none(text, value):
    try:
        expression = parse_condition(text)
    except ExpressionError as error:
        assert all((error.found, error.expected, error.remedy))  # noqa: PT017  others parse
    else:
        assert expression.evaluate(value) in {True, False, None}


def numbers():
    leaves = st.sampled_from(["result", "result[0]", "0", "1", "2.5", "1e308", "default(result, 1)", "len(result)"])
    return st.recursive(
        leaves, lambda part: st.tuples(part, st.sampled_from("+-*/%"), part).map(lambda each: f"({' '.join(each)})"),
        max_leaves=5,
    )  # fmt: skip


def conditions():
    compared = st.tuples(numbers(), st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), numbers()).map(" ".join)
    return st.recursive(
        compared | st.sampled_from(["true", "isNaN(result)", "isInf(result)"]),
        lambda part: (
            st.tuples(part, st.sampled_from(["&&", "||"]), part).map(lambda each: f"({' '.join(each)})")
            | part.map("!({})".format)
        ),
        max_leaves=4,
    )


@given(conditions(), VALUES)
def test_a_negation_and_a_double_negation_never_contradict_the_condition(text, value):
    truth = parse_condition(text).evaluate(value)
    assert parse_condition(f"!({text})").evaluate(value) is (None if truth is None else not truth)
    assert parse_condition(f"({text}) || true").evaluate(value) is True
    assert parse_condition(f"({text}) && false").evaluate(value) is False


@given(conditions(), st.just("") | conditions(), st.floats(allow_nan=False, allow_infinity=False))
def test_the_values_of_conditions_show_every_decision(success, failure, value):
    pair = Conditions.of(success, failure)
    values = find_values(pair)
    assert list(values.values) == sorted(set(values.values))
    for decision in (True, False, None):
        example = find_example(pair, decision)
        assert example is None or pair.decide(example) is decision
    near = any(abs(value - each) <= 1e-9 * max(abs(value), abs(each)) for each in values.values)
    if values.is_complete and not near and abs(value) < 1e100 and "e308" not in success + failure:
        assert pair.decide(value) in {pair.decide(each) for each in values.values}


RANGES = [
    ("result >= 0.95", "", (0.95, None)),
    ("", "result > 5 || result < 1", (1.0, 5.0)),
    ("result * 100 >= 95 && result <= 2", "", (0.95, 2.0)),
    ("result >= 99", "result < 99", (99.0, None)),
    ("result >= 99", "result < 95", None),
    ("result != 3", "", None),
    ("result > 1 || result < -1", "", None),
    ("result > 1 && result < 0", "", None),
    ("true", "", None),
    ("isNaN(result) || result > 1", "", None),
    ("default(result, 0) > 1", "", None),
    ("result * result > 4", "", None),
]


@pytest.mark.parametrize(("success", "failure", "limits"), RANGES)
def test_the_range_of_conditions_is_the_values_that_pass(success, failure, limits):
    assert find_range(Conditions.of(success, failure)) == limits


def test_examples_keep_away_from_the_breaks():
    pair = Conditions.of("result >= 99", "result < 95")
    assert find_example(pair, None) == 97.0
    assert find_example(pair, True) > 100
    assert find_example(pair, False) < 90
    assert isfinite(find_example(Conditions.of("true", ""), True))


def test_reading_and_evaluating_is_linear_in_the_length():
    def work(size):
        text = " || ".join(["result > 1"] * size)
        return lambda: [parse_condition.__wrapped__(text).evaluate(0.0) for _ in range(400)]

    assert is_linear(work, 16)
