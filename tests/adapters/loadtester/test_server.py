"""The endpoints: Flagger's paths, statuses and texts, and the refusals of ours."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

import aiohttp
import pytest

from canarycore_loadtester.payload import LARGEST_PAYLOAD
from tests.adapters.loadtester.conftest import Loadtester, Start

PODINFO = {"name": "podinfo", "namespace": "test"}


async def test_healthz_answers_ok(loadtester: Loadtester):
    answer = await loadtester("/healthz")
    assert (answer.status, answer.text) == (200, "OK")


@pytest.mark.parametrize(("path", "status", "text"), [("/gate/approve", 200, "OK"), ("/gate/halt", 403, "Forbidden")])
async def test_two_gates_never_change(loadtester: Loadtester, path: str, status: int, text: str):
    answer = await loadtester(path, PODINFO)
    assert (answer.status, answer.text) == (status, text)


@pytest.mark.parametrize("folder", ["gate", "rollback"])
async def test_a_gate_is_closed_until_somebody_opens_it(loadtester: Loadtester, folder: str):
    closed = await loadtester(f"/{folder}/check", PODINFO)
    assert (closed.status, closed.text) == (403, "Forbidden")
    opening = await loadtester(f"/{folder}/open", PODINFO)
    assert (opening.status, opening.text) == (202, "")
    opened = await loadtester(f"/{folder}/check", PODINFO)
    assert (opened.status, opened.text) == (200, "Approved")
    assert (await loadtester(f"/{folder}/close", PODINFO)).status == 202
    assert (await loadtester(f"/{folder}/check", PODINFO)).status == 403


@pytest.mark.parametrize(
    "other",
    [
        {"name": "podinfo", "namespace": "prod"},
        {"name": "rollback.podinfo", "namespace": "test"},
        {"name": "podinfo.test", "namespace": ""},
    ],
)
async def test_a_gate_belongs_to_one_canary(loadtester: Loadtester, other: dict[str, str]):
    await loadtester("/gate/open", PODINFO)
    assert (await loadtester("/gate/check", other)).status == 403
    assert (await loadtester("/rollback/check", PODINFO)).status == 403


async def test_gates_survive_a_restart(start: Start):
    async with start() as loadtester:
        await loadtester("/gate/open", PODINFO)
        await loadtester("/rollback/open", {"name": "shop", "namespace": "prod"})
    async with start() as loadtester:
        assert (await loadtester("/gate/check", PODINFO)).status == 200
        assert (await loadtester("/rollback/check", {"name": "shop", "namespace": "prod"})).status == 200
        assert (await loadtester("/rollback/check", PODINFO)).status == 403


async def test_a_gate_that_cannot_be_written_stays_as_it_was(start: Start, tmp_path: Path):
    async with start(state_file=tmp_path / "folder" / "gates.json") as loadtester:
        (tmp_path / "folder").touch()
        answer = await loadtester("/gate/open", PODINFO)
        assert answer.status == 500
        assert "not changed" in answer.text
        assert (await loadtester("/gate/check", PODINFO)).status == 403


@pytest.mark.parametrize("path", ["/", "/gate/check", "/gate/open", "/rollback/close"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 1}', b'{"metadata": {"a": 1}}', b"[" * 100_000])
async def test_a_body_that_is_no_payload_is_refused(loadtester: Loadtester, path: str, body: bytes):
    assert (await loadtester(path, data=body)).status == 400


async def test_a_body_that_is_too_large_is_refused(loadtester: Loadtester):
    assert (await loadtester("/", data=io.BytesIO(b" " * (LARGEST_PAYLOAD + 1)))).status == 413


@pytest.mark.parametrize("body", [b'{"name": "podinfo"}', b'{"metadata": {}}', b'{"metadata": null}', b"null"])
async def test_a_task_needs_metadata(loadtester: Loadtester, body: bytes):
    answer = await loadtester("/", data=body)
    assert (answer.status, answer.text) == (400, "metadata not found in payload")


async def test_a_task_of_an_unknown_type_is_refused(loadtester: Loadtester):
    answer = await loadtester.task("true", type="none\x1b")
    assert answer.status == 400
    assert answer.text.startswith("unknown task type 'none\\x1b', expected one of cmd, bash,")
    assert (await loadtester("/healthz")).status == 200


async def test_any_other_path_takes_tasks(loadtester: Loadtester):
    answer = await loadtester("/some/path", {**PODINFO, "metadata": {"type": "bash", "cmd": "true"}})
    assert answer.status == 200


async def test_a_pattern_limits_the_namespaces(start: Start):
    async with start(namespaces=re.compile("^test$")) as loadtester:
        assert (await loadtester("/gate/open", PODINFO)).status == 202
        for path in ("/", "/gate/open", "/gate/check", "/rollback/open"):
            answer = await loadtester(path, {"name": "podinfo", "namespace": "test-2", "metadata": {"cmd": "true"}})
            assert (answer.status, answer.text) == (403, "Forbidden")


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic c2VjcmV0", "Bearer", "secret", "Bearer s\u00e9cret"])
async def test_a_request_without_the_token_is_refused(start: Start, tmp_path: Path, header: str):
    (tmp_path / "token").write_text("secret\n")
    async with start(token_file=tmp_path / "token") as loadtester:
        for path in ("/", "/gate/open", "/gate/approve", "/rollback/check"):
            assert (await loadtester(path, PODINFO)).status == 401
            answer = await loadtester(path, PODINFO, headers={"Authorization": header})
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await loadtester("/healthz")).status == 200
        assert (await loadtester("/gate/open", PODINFO, headers={"Authorization": "Bearer secret"})).status == 202


async def test_a_new_token_counts_without_a_restart(start: Start, tmp_path: Path):
    token = tmp_path / "token"
    async with start(token_file=token) as loadtester:
        headers = {"Authorization": "Bearer new"}
        assert (await loadtester("/gate/open", PODINFO, headers=headers)).status == 503
        token.write_text("new")
        assert (await loadtester("/gate/open", PODINFO, headers=headers)).status == 202


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
async def test_a_page_in_a_browser_is_refused(loadtester: Loadtester, header: str):
    answer = await loadtester("/gate/open", PODINFO, headers={header: "http://evil.example.com"})
    assert answer.status == 403
    assert (await loadtester("/gate/check", PODINFO)).status == 403


async def test_the_default_address_is_loopback(loadtester: Loadtester):
    port = loadtester.address.rpartition(":")[2]
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.2:{port}/healthz")


async def test_the_metrics_count_tasks_refusals_and_gates(loadtester: Loadtester):
    await loadtester.task("true", type="bash")
    await loadtester.task("false", type="bash")
    await loadtester.task("true", type="none")
    await loadtester("/gate/open", PODINFO)
    prefix = "canarycore_loadtester"
    assert await loadtester.metric(f'{prefix}_tasks_total{{result="success",type="bash"}}') == 1
    assert await loadtester.metric(f'{prefix}_tasks_total{{result="failure",type="bash"}}') == 1
    assert await loadtester.metric(f'{prefix}_refused_total{{status="400"}}') == 1
    assert await loadtester.metric(f"{prefix}_open_gates") == 1


async def test_a_body_that_never_arrives_ends(loadtester: Loadtester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("canarycore_loadtester.server.BODY_TIMEOUT", 0.2)
    host, port = loadtester.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()
