"""Sessions, tokens, origins and hosts."""

from __future__ import annotations

import pytest

from canarycore_runtime.page.protection import (
    LONGEST_IDLE,
    MOST_SESSIONS,
    FormTokens,
    Sessions,
    is_known_host,
    is_same_origin,
)


def test_a_session_ends_after_a_while_without_a_request():
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    session = sessions.begin("jane")
    now[0] = LONGEST_IDLE - 1
    assert sessions.find(session) == "jane"
    now[0] += LONGEST_IDLE
    assert sessions.find(session) == "jane"
    now[0] += LONGEST_IDLE + 1
    assert sessions.find(session) is None


def test_the_number_of_sessions_is_bounded_and_the_idle_ones_end_first():
    sessions = Sessions(lambda: 0.0)
    first, second = sessions.begin("jane"), sessions.begin("bob")
    sessions.find(first)
    for number in range(MOST_SESSIONS - 1):
        sessions.begin(number)
    assert (sessions.find(first), sessions.find(second)) == ("jane", None)


def test_a_token_belongs_to_one_visitor_of_one_server():
    tokens = FormTokens(b"key")
    assert tokens.matches("ada", tokens.make("ada"))
    assert not tokens.matches("bob", tokens.make("ada"))
    assert not FormTokens(b"other").matches("ada", tokens.make("ada"))
    assert not tokens.matches("", tokens.make(""))
    assert not tokens.matches("ada", "\ud800é")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://127.0.0.1:8000"}, True),
        ({"Origin": "https://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://127.0.0.1:9000"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[::1"}, False),
        ({}, False),
    ],
)
def test_a_form_comes_from_the_origin_of_the_page(headers, expected):
    assert is_same_origin(headers, "127.0.0.1:8000") is expected


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "[::1]:8080", "10.1.2.3", "canarycore:8081",
                                  "canarycore.flagger.svc", "canarycore.flagger.svc.cluster.local:8081",
                                  "Canary.Example.com"])  # fmt: skip
def test_a_page_answers_as_a_name_of_the_machine_or_the_cluster_or_of_the_operator(host):
    assert is_known_host(host, {"canary.example.com"})


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "a.svc.evil.example", "", "a b", "x" * 999]
)
def test_a_page_does_not_answer_as_a_foreign_name(host):
    """Otherwise a foreign page could point its own name here, and read what the page shows."""
    assert not is_known_host(host)
