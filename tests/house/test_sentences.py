"""No sentence begins with What, Who, Whoever, Of or That: a subject that names the actor comes first."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import pytest

from tests.house.test_texts import FILES, ROOT

PAGES = [name for name in FILES if name.endswith(".md")]
SOURCES = [name for name in FILES if name.endswith(".py")]

OPENERS = re.compile(r"(?:^|(?<=[.!?])\s+)(?:What|Who|Whoever|Of|That)\b[^.?]*(?:[.?]|$)", re.MULTILINE)
CODE = re.compile(r"^```.*?^```|^ {4}.*?$|<!--.*?-->", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"\n\s*\n|^\s*(?:[-*#>]+|\d+\.)\s+|\|", re.MULTILINE)
"""The boundary between two blocks of Markdown: an empty line, a list item, a heading or a cell of a table."""


def page_blocks(text: str) -> Iterator[str]:
    """Yield the paragraphs, list items, headings and table cells of a page in Markdown."""
    yield from BLOCK.split(CODE.sub("", text))


def source_blocks(text: str) -> Iterator[str]:
    """Yield the paragraphs of the docstrings, of the literals under fields, and of the comments of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from page_blocks(node.value.value)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comment = token.string.lstrip("#: ")
            yield comment[:1].upper() + comment[1:]


def openers(blocks: Iterator[str]) -> list[str]:
    """Return the sentences that begin with a banned word; a question may begin with one."""
    sentences = [match[0].strip() for block in blocks for match in OPENERS.finditer(" ".join(block.split()))]
    return [sentence for sentence in sentences if not sentence.endswith("?")]


@pytest.mark.parametrize(
    "text", ["What is held stays.", "It ends. Who waits is called.", "- Of a Service only that.", "| a | That works. |"]
)
def test_a_banned_opener_is_recognised(text: str):
    assert openers(page_blocks(text))


@pytest.mark.parametrize(
    "text",
    ["# What goes wrong?", "It names what is wrong.", "```\nWhat is code.\n```", "Whether it runs. Offers are good."],
)
def test_other_sentences_are_allowed(text: str):
    assert not openers(page_blocks(text))


def test_no_sentence_of_a_page_begins_with_a_banned_word():
    by_file = {name: openers(page_blocks((ROOT / name).read_text())) for name in PAGES}
    assert {name: sentences for name, sentences in by_file.items() if sentences} == {}


def test_no_sentence_of_a_source_begins_with_a_banned_word():
    by_file = {name: openers(source_blocks((ROOT / name).read_text())) for name in SOURCES}
    assert {name: sentences for name, sentences in by_file.items() if sentences} == {}
