"""The reader of answers of HTTP/1.1."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore_loadtester.generator.http1 import LONGEST_HEAD, BadAnswer, ResponseReader

ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": (200, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n": (200, False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx": (200, False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx": (200, True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, True),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n": (304, True),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length:2\r\n\r\nok": (201, True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n": (200, True),
    b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: t\r\n\r\n": (500, True),
}


@pytest.mark.parametrize("answer", ANSWERS)
@given(cuts=st.lists(st.integers(0, 200)))
def test_the_parts_in_which_an_answer_arrives_do_not_matter(answer: bytes, cuts: list[int]):
    reader = ResponseReader(is_head=False)
    places = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    parts = [answer[begin:end] for begin, end in pairwise(places)]
    complete = [reader.feed(part) for part in parts if part]
    assert complete[-1] is True
    assert not any(complete[:-1])
    assert (reader.status, reader.keep_alive) == ANSWERS[answer]
    assert reader.size == len(answer)


def test_an_answer_without_a_length_ends_with_its_connection():
    reader = ResponseReader(is_head=False)
    assert not reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert reader.end()
    assert not reader.keep_alive


def test_an_answer_that_breaks_off_is_not_complete():
    reader = ResponseReader(is_head=False)
    assert not reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    assert not reader.end()


def test_an_answer_to_head_has_no_body():
    assert ResponseReader(is_head=True).feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")


def test_bytes_after_an_answer_end_the_connection():
    reader = ResponseReader(is_head=False)
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n")
    assert not reader.keep_alive


@given(st.binary(max_size=200))
def test_no_bytes_raise_another_error(data: bytes):
    for head in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        reader = ResponseReader(is_head=False)
        try:
            reader.feed(head + data)
        except BadAnswer:
            continue


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_an_endless_line_is_refused(head: bytes):
    reader = ResponseReader(is_head=False)
    reader.feed(head + b"1" * LONGEST_HEAD)
    with pytest.raises(BadAnswer):
        reader.feed(b"1" * LONGEST_HEAD)
