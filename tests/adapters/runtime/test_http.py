"""Bounded exchanges with servers that are hostile, against real sockets."""

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import asynccontextmanager, suppress

import pytest
from yarl import URL

from canarycore_runtime.http import (
    EXCERPT_LIMIT,
    METRIC_ANSWER_LIMIT,
    SHORT_ANSWER_LIMIT,
    AllowedHosts,
    ExchangeError,
    ExchangeTimeout,
    FailedConnection,
    ForbiddenHost,
    HttpAnswer,
    InvalidRequest,
    MalformedAnswer,
    RefusedRedirect,
    describe_answer,
    environment_proxy,
    exchange,
    extract_secrets,
    open_session,
    redact,
)
from tests.adapters.metrics.world import certificate, everywhere
from tests.adapters.runtime.raw_http_server import answer, endless, raw_server

BOMB = gzip.compress(bytes(64 * 1024 * 1024))
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"


@asynccontextmanager
async def asking(write):
    """Yield a function that asks a server, with a limit of 64 KiB and of 20 s, and the server."""
    async with raw_server(write) as server, open_session() as session:

        async def ask(url=None, method="GET", **arguments):
            settings = {"limit": SHORT_ANSWER_LIMIT, "timeout": 20.0, **arguments}
            return await exchange(session, method, url or server.address, **settings)

        yield ask, server


async def asked(write, **arguments):
    async with asking(write) as (ask, _):
        return await ask(**arguments)


# memory ---------------------------------------------------------------------------------------------------------------


async def test_a_whole_answer_arrives_with_its_status_and_kind():
    received = await asked(answer(b'{"a": 1}', "Content-Type: application/json; charset=utf-8", status="404 Not Found"))
    assert received == HttpAnswer(status=404, text='{"a": 1}', is_textual=True)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"one") + gzip.compress(b" two")),
        ("x-gzip", gzip.compress(b"one two")),
        ("deflate", zlib.compress(b"one two")),
        ("deflate", zlib.compress(b"one two", wbits=-15)),
        ("identity", b"one two"),
        ("gzip", b""),
    ],
    ids=["two members", "old name", "zlib", "raw deflate", "none", "empty"],  # gzip's bytes tell the time
)
async def test_a_compressed_answer_is_inflated(encoding, body):
    received = await asked(answer(body, f"Content-Encoding: {encoding}"))
    assert received.text == ("one two" if body else "")
    assert not received.is_truncated


async def test_an_answer_of_exactly_the_limit_is_whole():
    received = await asked(answer(b"x" * SHORT_ANSWER_LIMIT))
    assert (len(received.text), received.is_truncated) == (SHORT_ANSWER_LIMIT, False)


@pytest.mark.parametrize(
    "write",
    [
        answer(b"x" * (SHORT_ANSWER_LIMIT + 1)),
        endless(),
        endless("Transfer-Encoding: chunked", part=b"4\r\nabcd\r\n" * 400),
        endless("Content-Length: 999999999999"),
    ],
)
async def test_an_answer_beyond_the_limit_is_truncated(write):
    received = await asked(write)
    assert (len(received.text), received.is_truncated) == (SHORT_ANSWER_LIMIT, True)


async def test_a_bomb_is_inflated_no_further_than_the_limit():
    async with asking(answer(BOMB, "Content-Encoding: gzip")) as (ask, _):
        tracemalloc.start()
        try:
            received = await ask(limit=METRIC_ANSWER_LIMIT)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (len(received.text), received.is_truncated) == (METRIC_ANSWER_LIMIT, True)
    assert peak < 8 * METRIC_ANSWER_LIMIT


async def test_a_compressed_stream_without_content_ends_too():
    """Empty blocks go on for ever and inflate to nothing."""
    async with asking(endless("Content-Encoding: deflate", part=EMPTY_BLOCK * 1000)) as (ask, server):
        received = await ask()
    assert (received.text, received.is_truncated) == ("", True)
    assert server.sent < 100 * SHORT_ANSWER_LIMIT  # some bytes are in the buffers of sockets


# time -----------------------------------------------------------------------------------------------------------------


async def silence(head):
    await asyncio.sleep(3600)
    yield b""


@pytest.mark.parametrize(
    "write",
    [
        silence,
        endless(part=b"x", pause=0.01),
        endless("Content-Encoding: gzip", part=b"", pause=0.01),
        endless("Transfer-Encoding: chunked", part=b"1\r\nx\r\n", pause=0.01),
    ],
)
async def test_the_time_limit_holds_however_the_body_drips(write):
    with pytest.raises(ExchangeTimeout, match=r"no answer within 0\.2 s"):
        await asked(write, timeout=0.2)


async def test_headers_that_never_end_are_an_error_within_the_time_limit():
    async def write(head):
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: 1\r\n"
            await asyncio.sleep(0.001)

    with pytest.raises(ExchangeError):
        await asked(write, timeout=0.3)


async def test_a_cancelled_exchange_is_cancelled():
    async with asking(silence) as (ask, _):
        task = asyncio.create_task(ask())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# redirects ------------------------------------------------------------------------------------------------------------


def redirecting(location, status="307 Temporary Redirect"):
    """A server that redirects /start and answers everything else with its request."""

    async def write(head):
        line, port = head.splitlines()[0], head.partition("127.0.0.1:")[2].split()[0]
        if " /start" in line:
            target = location.replace("{port}", port)
            yield f"HTTP/1.1 {status}\r\nConnection: close\r\nLocation: {target}\r\n\r\n".encode()
        else:
            yield f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{line}".encode()

    return write


@pytest.mark.parametrize(
    ("method", "status", "line"),
    [
        ("GET", "301 Moved", "GET /next?a=1 HTTP/1.1"),
        ("GET", "307 Moved", "GET /next?a=1 HTTP/1.1"),
        ("POST", "307 Moved", "POST /next?a=1 HTTP/1.1"),
        ("POST", "308 Moved", "POST /next?a=1 HTTP/1.1"),
    ],
)
async def test_a_redirect_within_the_origin_is_followed(method, status, line):
    async with asking(redirecting("/next?a=1#part", status)) as (ask, server):
        received = await ask(f"{server.address}/start", method, params={"q": "1"}, headers={"X-Key": "k"})
    assert received.text == line
    assert all("X-Key: k" in head for head in server.heads)


@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/x", "https://127.0.0.1:{port}/x", "http://127.0.0.1:{other}/x", "//localhost/x"]
)
async def test_no_request_follows_a_redirect_to_another_origin(target):
    async with raw_server(answer(b"stolen")) as thief:
        other = URL(thief.address).port
        async with asking(redirecting(f"{target.replace('{other}', str(other))}?token=hush")) as (ask, server):
            with pytest.raises(RefusedRedirect, match=r"another origin, http.*configure the final address") as refused:
                await ask(f"{server.address}/start", headers={"DD-API-KEY": "s3cret"})
    assert "hush" not in str(refused.value)
    assert "/x" not in str(refused.value)
    assert (len(server.heads), thief.heads) == (1, [])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other"])
async def test_a_redirect_that_would_lose_the_body_is_an_error(status):
    async with asking(redirecting("/next", status)) as (ask, server):
        with pytest.raises(RefusedRedirect, match=r"redirects a POST with status 30\d, which loses its body"):
            await ask(f"{server.address}/start", "POST", json={})


async def test_a_redirect_in_a_circle_is_an_error():
    async with asking(redirecting("/start")) as (ask, server):
        with pytest.raises(RefusedRedirect, match="more than 5 times"):
            await ask(f"{server.address}/start")


@pytest.mark.parametrize("location", ["http://[", "http://:1:2:3/", "file:///etc/passwd", "data:,x", "http://a b/"])
async def test_a_redirect_to_nowhere_is_an_error(location):
    async with asking(redirecting(location)) as (ask, server):
        with pytest.raises(RefusedRedirect):
            await ask(f"{server.address}/start")


async def test_credentials_of_a_redirect_s_address_are_not_used():
    async with asking(redirecting("http://user:word@127.0.0.1:{port}/next")) as (ask, server):
        await ask(f"{server.address}/start")
    assert "Authorization" not in server.heads[1]


# ambient credentials --------------------------------------------------------------------------------------------------


async def test_neither_a_netrc_nor_a_cookie_goes_along(monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with asking(answer(b"", "Set-Cookie: session=s3cret; Path=/")) as (ask, server):
        await ask()
        await ask()
    assert len(server.heads) == 2
    assert all("Authorization" not in head and "Cookie" not in head for head in server.heads)


async def test_a_proxy_of_the_environment_gets_its_own_credentials_only(monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(file))
    async with asking(answer(b"by the proxy")) as (ask, server):
        monkeypatch.setenv("http_proxy", server.address)
        monkeypatch.setenv("no_proxy", "direct.example")
        received = await ask("http://shop.example/x", proxy=environment_proxy(URL("http://shop.example/x")))
    assert received.text == "by the proxy"
    assert server.heads[0].startswith("GET http://shop.example/x ")
    assert "uthorization" not in server.heads[0]
    assert environment_proxy(URL("http://direct.example/")) is None


# errors ---------------------------------------------------------------------------------------------------------------

LABEL = "a" * 64


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no address",
        "http://",
        "http://[::1",
        "http://host:99999/",
        "ftp://host/",
        f"http://{LABEL}.example/",
        f"http://{'ü' * 80}.example/",
        "http://a..b/",
        "http://\x00/",
        "http:///path",
    ],
)
async def test_an_invalid_address_is_an_exchange_error(url):
    async with open_session() as session:
        with pytest.raises(ExchangeError) as failed:
            await exchange(session, "GET", url, limit=10, timeout=5.0)
    assert "secret" not in str(failed.value)


async def test_an_address_of_another_scheme_is_not_worth_another_attempt():
    async with open_session() as session:
        with pytest.raises(InvalidRequest):
            await exchange(session, "GET", "http+unix://socket/", limit=10, timeout=5.0)


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nEvil: 1"},
        {"X\r\nEvil": "1"},
        {"X": "\x00"},
    ],
)
async def test_a_header_that_cannot_be_sent_is_an_error_of_the_family(headers):
    with pytest.raises(ExchangeError):
        await asked(answer(b""), headers=headers, json={}, method="POST", timeout=1.0)


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "much"}, {"Transfer-Encoding": "chunked"}, {"X": "\ud800"}, {1: "x"}, {"X": 1}, [("X",)]],
)
async def test_an_odd_header_is_sent_or_an_error_of_the_family(headers):
    with suppress(ExchangeError):
        assert (await asked(answer(b""), headers=headers, timeout=1.0)).status == 200


async def raw(text):
    yield text


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "nothing": b"",
    "a wrong status": b"HTTP/1.1 much OK\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
    "a chunked body that breaks off": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\nabc",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
    "a body that breaks off": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "half a gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"abc" * 100)[:-9],
    "no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\xff\xff\xff\xff",
    "a gzip and more": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"abc") + b"more",
    "a wrong checksum": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"abc")[:-8] + bytes(8),
    "brotli": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nabc",
    "two encodings": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\nabc",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "a location that is no text": b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\xff\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_answer_is_an_error_of_the_family(name):
    with pytest.raises(ExchangeError):
        await asked(lambda head: raw(MALFORMED[name]))


@pytest.mark.parametrize("name", ["brotli", "half a gzip", "no gzip", "a gzip and more", "a broken chunk"])
async def test_a_broken_body_is_a_malformed_answer(name):
    with pytest.raises(MalformedAnswer):
        await asked(lambda head: raw(MALFORMED[name]))


async def test_an_unreachable_server_is_a_failed_connection_that_names_it():
    async with open_session() as session:
        with pytest.raises(FailedConnection, match=r"cannot connect to 127\.0\.0\.1:9: ") as failed:
            await exchange(session, "GET", "http://127.0.0.1:9/services/s3cret?key=s3cret", limit=10, timeout=5.0)
    assert "s3cret" not in str(failed.value)


async def test_a_certificate_that_is_not_trusted_is_a_failed_connection_that_says_so(tmp_path):
    made, key = certificate(tmp_path, ["evil.example"])
    async with everywhere(made, key) as world, open_session() as session:
        with pytest.raises(FailedConnection, match=r"cannot connect to evil\.example:443: .*certificate"):
            await exchange(session, "GET", "https://evil.example", limit=10, timeout=20.0, proxy=world.proxy)
    assert not world.requests


@pytest.mark.parametrize(
    "charset", ["utf-8", "no-such-charset", "idna", "punycode", "unicode_escape", "zip", "utf-7", "\x7f", "undefined"]
)
async def test_any_charset_comes_to_a_text(charset):
    received = await asked(answer(b"a\xff\\u0041-b", f"Content-Type: text/plain; charset={charset}"))
    assert received.text == "a\N{REPLACEMENT CHARACTER}\\u0041-b"


async def test_a_known_charset_is_decoded():
    assert (await asked(answer(b"a\xfc", 'Content-Type: text/plain; Charset="ISO-8859-1"'))).text == "aü"


async def test_a_caller_cannot_ask_for_an_encoding_that_is_not_undone():
    async with asking(answer(b"")) as (ask, server):
        await ask(headers=[("accept-encoding", "br"), ("X-A", "1"), ("X-A", "2")])
    (head,) = server.heads
    assert "Accept-Encoding: gzip, deflate" in head
    assert "br" not in head
    assert head.count("X-A") == 2


# messages -------------------------------------------------------------------------------------------------------------


def test_an_excerpt_is_the_status_and_the_first_line():
    received = HttpAnswer(status=503, text="\n no\tway\x1b[31m\u202e \nsecond", is_textual=True)
    assert describe_answer(received) == "status 503 Service Unavailable: no\\tway\\x1b[31m\\u202e "


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (413, "Request Entity Too Large"),
        (414, "Request URI Too Long"),
        (416, "Requested Range Not Satisfiable"),
        (422, "Unprocessable Entity"),
    ],
)
def test_an_excerpt_has_flaggers_phrase_on_each_version_of_python(status, phrase):
    assert describe_answer(HttpAnswer(status=status, text="", is_textual=True)) == f"status {status} {phrase}"


def test_an_excerpt_of_something_else_than_text_is_the_status():
    assert describe_answer(HttpAnswer(status=599, text="root:x:0:0", is_textual=False)) == "status 599"


def test_an_excerpt_is_short_and_cuts_no_secret_in_two():
    secret = "s3cret" * 10
    text = "x" * (EXCERPT_LIMIT - 3) + secret + "y" * 10_000
    excerpt = describe_answer(HttpAnswer(status=200, text=text, is_textual=True), [secret, ""])
    assert len(excerpt) < EXCERPT_LIMIT + 20
    assert "s3c" not in excerpt


def test_secrets_that_overlap_or_repeat_are_all_blotted_out():
    text = "tokentokens and okentok, then token"
    assert redact(text, ["token", "okentok", "", "absent"], len(text)) == "…s and …, then …"


def test_a_secret_that_ends_behind_the_limit_leaves_nothing_before_it():
    assert redact("ab" + "s3cret" * 3 + "tail", ["s3crets3crets3cret"], 5) == "ab…"


def test_thousands_of_secrets_search_no_more_of_a_long_answer_than_is_shown():
    class Text(str):
        __slots__ = ()
        searched = 0

        def find(self, secret, start, end):
            Text.searched += end - start
            return super().find(secret, start, end)

    redact(Text("0" * 1_000_000), [f"{number:08}" for number in range(1, 20_000)], EXCERPT_LIMIT)
    assert Text.searched < 20_000 * (EXCERPT_LIMIT + 8)


def test_the_secrets_of_an_address_are_all_of_it_but_its_host():
    url = URL("https://me:p%40ss@chat.example/services/T0KEN-T0KEN-T0KEN?key=qu%20ery")
    secrets = extract_secrets(url)
    path = "/services/T0KEN-T0KEN-T0KEN"
    for secret in ("p@ss", path, f"{path}?key=qu%20ery", "T0KEN-T0KEN-T0KEN", "qu ery", "bWU6cEBzcw=="):
        assert secret in secrets
    assert not any("chat.example" in secret for secret in secrets)
    assert extract_secrets(URL("https://chat.example/")) == extract_secrets(None) == ()


def test_a_body_is_not_printed():
    assert "hush" not in repr(HttpAnswer(status=200, text="hush"))


# allowed hosts --------------------------------------------------------------------------------------------------------

ALLOWED = AllowedHosts.parse("prometheus.monitoring, *.Example.com, hooks.shop:8080,*.metrics.io:443,[::1]:9090,")


@pytest.mark.parametrize(
    "url",
    [
        "http://prometheus.monitoring:9090/api",
        "https://PROMETHEUS.monitoring./api",
        "https://a.example.com",
        "https://a.b.example.com:8443/x?y",
        "http://hooks.shop:8080/",
        "https://eu.metrics.io/",
        "http://[::1]:9090/",
        "https://user:word@prometheus.monitoring/",
    ],
)
def test_a_host_of_the_list_is_allowed(url):
    ALLOWED.check(url)
    ALLOWED.check(URL(url))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://notexample.com/",
        "http://example.com.evil.io/",
        "http://hooks.shop/",
        "http://hooks.shop:8081/",
        "http://eu.metrics.io/",
        "http://prometheus.monitoring.svc/",
        "http://prometheus.monitoring@evil.io/",
        "http://evil.io/?prometheus.monitoring",
        "http://evil.io#prometheus.monitoring",
        "http://[::1]/",
        "http://169.254.169.254/latest",
    ],
)
def test_a_host_outside_the_list_is_refused_by_name_and_option(url):
    with pytest.raises(ForbiddenHost, match=f"host {URL(url).host}".replace("[", ".")) as refused:
        ALLOWED.check(url)
    assert "--allowed-hosts" in str(refused.value)


@pytest.mark.parametrize("url", ["", "no address", "http://[", "/path"])
def test_an_address_without_a_host_is_refused(url):
    with pytest.raises(InvalidRequest):
        ALLOWED.check(url)


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_list_allows_every_host(text):
    AllowedHosts.parse(text).check("http://anywhere/")


@pytest.mark.parametrize("entry", ["http://a", "a/b", "a b", "*", "*.", "a.*", "a:b", "user@a", "a?b", "a:99999"])
def test_an_entry_that_is_no_host_is_refused_by_its_option(entry):
    with pytest.raises(ValueError, match=r"--allow: found .*expected a host"):
        AllowedHosts.parse(f"good.example,{entry}", option="--allow")
