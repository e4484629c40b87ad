"""Readers of foreign objects: a value of another type counts as absent."""

import pytest

from canarycore.foreign import (
    get_integer,
    get_items,
    get_list,
    get_mapping,
    get_text,
    get_texts,
    get_time,
    get_value,
    parse_json,
    parse_percent,
)

NOTHING = {get_mapping: {}, get_list: [], get_items: [], get_text: "", get_texts: {}, get_integer: None, get_time: None}
FOREIGN = (None, True, 1.5, -1, "text", [], {}, [1], {"a": 1}, 10**30)
RIGHT = {get_mapping: dict, get_list: list, get_items: list, get_text: str, get_texts: dict}


@pytest.mark.parametrize("read", NOTHING)
@pytest.mark.parametrize("body", [None, 1, "text", [], {}, {"a": None}, {"a": 1}, {"a": []}, {"a": {"c": 1}}])
def test_a_path_that_leads_nowhere_is_absent(read, body):
    assert read(body, "a", "b") == NOTHING[read]


@pytest.mark.parametrize("read", RIGHT)
@pytest.mark.parametrize("value", FOREIGN, ids=repr)
def test_a_value_of_another_type_is_absent(read, value):
    result = read({"a": value}, "a")
    assert isinstance(result, RIGHT[read])
    assert isinstance(value, RIGHT[read]) or result == NOTHING[read]


def test_an_item_that_is_no_mapping_keeps_its_place():
    assert get_items([{"a": 1}, None, "text", {"b": 2}]) == [{"a": 1}, {}, {}, {"b": 2}]


def test_labels_that_are_no_texts_are_left_out():
    assert get_texts({"a": "b", "c": 1, "d": None}) == {"a": "b"}


def test_a_reader_returns_the_value_itself():
    body = {"a": {"b": []}}
    assert get_mapping(body, "a") is body["a"]
    assert get_list(body, "a", "b") is body["a"]["b"]
    assert get_value(body) is body


@pytest.mark.parametrize(
    ("value", "read"), [(0, 0), (7, 7), (-1, None), (True, None), (1.0, None), ("1", None), (10**4000, None)]
)
def test_a_number_is_a_whole_one_that_the_api_knows(value, read):
    assert get_integer(value) == read


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-01-01T00:00:00Z", 1_704_067_200.0),
        ("2024-13-45T99:99:99Z", None),
        ("0001-01-01T00:00:00", None),
        ("", None),
        (5, None),
    ],
)
def test_a_bad_time_is_absent(text, seconds):
    assert get_time({"at": text}, "at") == seconds


@pytest.mark.parametrize(
    ("value", "percent"),
    [(0, 0), (100, 100), ("50", 50), (101, None), (-1, None), (True, None), ("²", None), ("9" * 5000, None)]
    + [(value, None) for value in (None, 1.5, [], {}, "", "5%", " 5")],
)
def test_a_weight_is_a_percent_or_unknown(value, percent):
    assert parse_percent(value) == percent


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000])
def test_a_text_that_is_no_json_has_no_data(text):
    assert parse_json(text) is None


def test_json_is_read():
    assert parse_json('{"a": [1]}') == {"a": [1]}
