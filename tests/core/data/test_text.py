"""Text from outside is safe to show: it drives no terminal, forges no line and hides no text beside it."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore.text import LONGEST_TEXT, escape_controls

CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ANY_CODE_POINT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text, süß, 日本語 and 🚀", "plain text, süß, 日本語 and 🚀"),
        ("a\x1b[2Jb\x07", r"a\x1b[2Jb\x07"),
        ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("abc\u202edef\u2066", r"abc\u202edef\u2066"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("half \ud800", r"half \ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("wide\u3000and\xa0fixed", "wide and fixed"),
        ("private \ue000", r"private \ue000"),
    ],
)
def test_terminal_sequences_are_escaped(text: str, escaped: str):
    assert escape_controls(text) == escaped


def test_no_control_and_no_mark_that_reorders_is_left():
    unsafe = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in CONTROLS or unicodedata.bidirectional(chr(code)) in BIDI
    ]
    assert [character for character in unsafe if escape_controls(character) == character] == []


@given(ANY_CODE_POINT, st.integers(1, 50))
def test_a_text_is_as_long_as_its_limit_at_most(text: str, limit: int):
    assert len(escape_controls(text, limit)) <= limit


@given(ANY_CODE_POINT)
def test_an_escaped_text_is_printable(text: str):
    assert escape_controls(text).isprintable()


@given(ANY_CODE_POINT, st.integers(1, 50))
def test_escaping_twice_changes_nothing(text: str, limit: int):
    once = escape_controls(text, limit)
    assert escape_controls(once, limit) == once


@given(ANY_CODE_POINT)
def test_an_escaped_text_can_be_encoded(text: str):
    escape_controls(text).encode()


def test_a_cut_text_ends_in_an_ellipsis():
    assert escape_controls("x" * 2000) == "x" * (LONGEST_TEXT - 1) + "…"
