"""Tests of example requests for match conditions."""

import re

import pytest

from canarycore.traffic import Match, StringMatch
from canarycore_local.requests.matching import NoExample, example


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        ("^(.*?;)?(canary=insider)(;.*)?$", "canary=insider"),
        (".*Firefox.*", "Firefox"),
        ("^(?:iPhone|iPad) [0-9]{2}", "iPhone 00"),
        (r"[^a-z]\d+\w", None),
        ("(?i)yes", "yes"),
        ("[^;]+=on", None),
        (r"(^|;)\bcanary\b($|;)", "canary"),
        ("(?i)[^A]b", None),
    ],
)
def test_the_shortest_string_that_a_regex_matches_is_its_example(regex, text):
    _, headers = example(Match(headers=(("cookie", StringMatch(kind="regex", value=regex)),)))

    assert re.fullmatch(regex, headers["cookie"])
    assert text is None or headers["cookie"] == text


@pytest.mark.parametrize("kind", ["exact", "prefix", "suffix"])
def test_a_plain_condition_is_its_own_example(kind):
    match = Match(headers=(("x-canary", StringMatch(kind=kind, value="in")),), uri=StringMatch(kind=kind, value="/a"))

    assert example(match) == ("/a", {"x-canary": "in"})


HOSTILE = {
    "backtracking": "(a|a)*(a|a)*(a|a){30}[^b]c",
    "repetitions of repetitions": "(((a{1000}){1000}){1000})",
    "repetitions of nothing": "((((){9999}){9999}){9999})",
    "a count beyond all words": "a{99999999999999999999}",
    "a count of many digits": "a{" + "9" * 10_000 + "}",
    "many groups": "(" * 5_000 + "a" + ")" * 5_000,
    "a large set": "(?:[^" + "".join(map(chr, range(0x4E00, 0x7000))) + "]){4000}",
    "a long text": "a" * 16_000,
    "a line end": "a\\nb",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_regex_has_a_short_example_or_is_refused(name):
    try:
        path, _ = example(Match(uri=StringMatch(kind="regex", value=HOSTILE[name])))
    except NoExample as error:
        path = str(error)

    assert len(path) < 300


@pytest.mark.parametrize("regex", [r"(a)\1", "a(?=b)b", "(", r"[^\s\S]", "a*+a", "(?>a*)a", "a$b", r"a\bb"])
def test_a_regex_without_an_example_is_refused(regex):
    with pytest.raises(NoExample, match="set the headers yourself"):
        example(Match(headers=(("x", StringMatch(kind="regex", value=regex)),)))


@pytest.mark.parametrize("condition", ["((a{1000}){1000}){1000}", "a{1000000000}", "(" * 5000 + ")" * 5000])
def test_a_condition_without_a_short_example_is_refused_at_once(condition):
    with pytest.raises(NoExample, match="set the headers yourself"):
        example(Match(headers=(("x-user", StringMatch(kind="regex", value=condition)),)))
