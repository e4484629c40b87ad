"""The requests: rights, forged forms, headers, bounds."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest

from canarycore_runtime.page import server
from canarycore_runtime.page.local import KeyDoor, serve_locally
from canarycore_runtime.page.server import POLICY, SignInRefused, serve_page
from tests.adapters.page.browser import Browser
from tests.adapters.page.samples import Gate, Person, Source

ROLLOUT = "/canary/shop/podinfo"


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def person():
    return Person()


@pytest.fixture
async def browser(source, person):
    async with (
        serve_page(source, Gate(person), host="127.0.0.1", port=0, hosts=("canary.example.com",)) as port,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        yield Browser(session, port)


@pytest.mark.parametrize("path", ["/", ROLLOUT, "/sign-in", "/style.css", "/script.js", "/icon.svg", "/missing"])
async def test_every_answer_has_a_strict_policy(browser, path):
    answer, _ = await browser.get(path)
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_without_a_sign_in_the_page_only_reads(browser, person):
    answer, text = await browser.get(ROLLOUT)
    assert answer.status == 200
    assert 'name="command"' not in text
    await browser.get("/sign-in")
    answer, text = await browser.post(f"{ROLLOUT}/command", {"command": "promote"})
    assert (answer.status, person.sent) == (403, [])
    assert "Sign in to send commands." in text


@pytest.mark.parametrize("command", ["promote", "abort", "pause", "resume", "retry"])
async def test_a_viewer_sends_commands(browser, person, command):
    await browser.sign_in()
    answer, _ = await browser.post(f"{ROLLOUT}/command", {"command": command})
    assert (answer.status, answer.headers["Location"]) == (303, "../podinfo")
    assert person.sent == [("shop/podinfo", command)]


async def test_the_viewer_who_may_not_is_refused_by_the_cluster(browser, person):
    person.refusal = "403 <b>jane</b> cannot patch canaries"
    await browser.sign_in()
    answer, text = await browser.post(f"{ROLLOUT}/command", {"command": "promote"})
    assert answer.status == 403
    assert "promote was refused: 403 &lt;b&gt;jane&lt;/b&gt; cannot patch canaries" in text


async def test_the_viewer_who_may_not_gets_no_button(browser, person):
    person.may = False
    await browser.sign_in()
    _, text = await browser.get(ROLLOUT)
    assert "jane may not send commands to this Canary." in text


@pytest.mark.parametrize(
    "forgery",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"token": ""},
        {"token": "0" * 64},
        {"Sec-Fetch-Site": "cross-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json"},
    ],
)
@pytest.mark.parametrize("path", [f"{ROLLOUT}/command", "/sign-out", "/sign-in"])
async def test_a_forged_form_is_refused(browser, person, forgery, path):
    await browser.sign_in()
    fields = "command=promote&secret=sesame" if "Content-Type" in forgery else {"command": "promote"}
    if isinstance(fields, str):
        headers = {"Origin": browser.address} | forgery
        async with browser.session.post(browser.address + path, data=fields, headers=headers) as answer:
            status = answer.status
    else:
        answer, _ = await browser.post(path, fields, **forgery)
        status = answer.status
    assert status in {403, 415}
    assert person.sent == []
    _, text = await browser.get(ROLLOUT)
    assert 'value="promote"' in text, "the viewer is still signed in"


@pytest.mark.parametrize("path", [f"{ROLLOUT}/command?command=promote", "/sign-out"])
async def test_a_get_changes_nothing(browser, person, path):
    await browser.sign_in()
    answer, _ = await browser.get(path)
    assert answer.status == 405
    assert person.sent == []


async def test_a_wrong_secret_signs_nobody_in(browser):
    answer, text = await browser.sign_in("guess")
    assert answer.status == 403
    assert "This is not the key." in text
    _, text = await browser.get("/")
    assert "Read-only." in text


async def test_a_session_gets_a_new_id_that_no_script_can_read(browser):
    answer, _ = await browser.get("/sign-in")
    before = next(iter(answer.cookies.values()))
    answer, _ = await browser.post("/sign-in", {"secret": "sesame"})
    cookie = next(iter(answer.cookies.values()))
    assert cookie.value != before.value
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    answer, _ = await browser.get("/", **{"X-Forwarded-Proto": "https", "Cookie": "other=1"})


async def test_a_signed_out_viewer_is_a_visitor(browser, person):
    await browser.sign_in()
    stolen = {cookie.key: cookie.value for cookie in browser.session.cookie_jar}
    answer, _ = await browser.post("/sign-out")
    assert answer.status == 303
    async with aiohttp.ClientSession(cookies=stolen) as session, session.get(browser.address + "/") as answer:
        assert "Read-only." in await answer.text()


async def test_the_page_does_not_answer_as_a_foreign_name(browser):
    answer, text = await browser.get("/", Host="rebound.example")
    assert answer.status == 421
    assert "shop/podinfo" not in text
    answer, _ = await browser.get("/", Host="canary.example.com")
    assert answer.status == 200


async def test_an_unknown_rollout_is_not_found(browser):
    answer, text = await browser.get("/canary/shop/%3Cb%3E")
    assert answer.status == 404
    assert "There is no Canary shop/&lt;b&gt;." in text


async def test_a_page_that_has_not_changed_is_not_sent_again(browser):
    answer, _ = await browser.get("/")
    answer, text = await browser.get("/", **{"If-None-Match": answer.headers["ETag"]})
    assert (answer.status, text) == (304, "")


async def test_viewers_share_one_reading_of_a_thousand_rollouts(browser, source, monkeypatch):
    monkeypatch.setattr(server, "LIST_AGE", 60.0)
    status = source.statuses["shop/podinfo"]
    source.statuses = {f"shop/app-{number:04}": status for number in range(1000)}
    answers = await asyncio.gather(*(browser.get("/") for _ in range(20)))
    assert all("Page 1 of 20" in text for _, text in answers)
    assert max(len(text) for _, text in answers) < 200_000
    assert source.reads == 1


async def test_requests_at_once_are_bounded(browser, source, monkeypatch):
    entered = asyncio.Event()

    async def wait():
        await entered.wait()
        return []

    source.read_rows = wait
    waiting = [asyncio.create_task(browser.get("/")) for _ in range(server.MOST_REQUESTS)]
    async with asyncio.timeout(10):
        while (await browser.get("/sign-in"))[0].status != 503:  # noqa: ASYNC110 - until all have arrived
            await asyncio.sleep(0.01)
    entered.set()
    assert {answer.status for answer, _ in await asyncio.gather(*waiting)} == {200}
    assert (await browser.get("/"))[0].status == 200


async def test_a_long_form_is_refused(browser):
    await browser.sign_in()
    answer, _ = await browser.post(f"{ROLLOUT}/command", {"command": "x" * 100_000})
    assert answer.status == 413


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=-1", "?page=1e9", "?page=99999999999", "?state=odd", "?q=" + "x" * 500]
)
async def test_an_odd_query_is_harmless(browser, query):
    answer, _ = await browser.get(f"/{query}")
    assert answer.status == 200


async def test_a_key_opens_the_door_of_ones_own_machine(person):
    door = KeyDoor("sesame", person)
    assert await door.admit("sesame") is person
    for secret in ("", "sesam", "sesame ", "ü", "\ud800"):
        with pytest.raises(SignInRefused):
            await door.admit(secret)


async def test_the_address_of_ones_own_machine_has_the_key_where_no_server_sees_it(source, person):
    async with serve_locally(source, person) as address, aiohttp.ClientSession() as session:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/sign-in#key=[\w-]{32}", address)
        async with session.get(address) as answer:
            assert answer.status == 200


async def test_a_failure_of_the_page_is_answered_and_logged(browser, source, caplog):
    async def fail():
        raise KeyError("secret")

    source.read_rows = fail
    answer, text = await browser.get("/")
    assert answer.status == 500
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "secret" not in text
    assert "KeyError" in caplog.text
