"""Tasks of nGrinder and Concord, against servers that answer as these do."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from canarycore_loadtester.options import DEFAULT_COMMANDS
from tests.adapters.loadtester.conftest import Start

PASSWORD = "the password"


class Script:
    """Answers by method and path; the last one of a list repeats."""

    def __init__(self, server, **answers):
        self.answers = {key.replace("__", " /").replace("_", "/"): value for key, value in answers.items()}
        self.calls = []
        server.answer = self

    def __call__(self, request):
        key = f"{request.method} {request.path}"
        self.calls.append((key, request.query_string, dict(request.headers)))
        answers = self.answers[key]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return 200, json.dumps(answer)


def ngrinder(server, **answers) -> Script:
    script = Script(server)
    script.answers = {
        "POST /perftest/api/100/clone_and_start": [{"id": 7}],
        "GET /perftest/api/7/status": [{"status": [{"status_id": "TESTING"}]}, {"status": [{"status_id": "FINISHED"}]}],
        "PUT /perftest/api/7": [{"success": True}],
        **answers,
    }
    return script


def metadata(server, /, **changes: str) -> dict[str, str]:
    password = base64.b64encode(PASSWORD.encode()).decode()
    login = {"username": "admin", "passwd": password, "pollInterval": "100ms"}
    return {"type": "ngrinder", "server": server.address, "clone": "100", **login, **changes}


def finished(kind: str, result: str) -> str:
    return f'canarycore_loadtester_tasks_total{{result="{result}",type="{kind}"}}'


async def test_a_test_of_ngrinder_runs_to_its_end(start: Start, scripted):
    script = ngrinder(scripted)
    async with start() as loadtester:
        answer = await loadtester.task(**metadata(scripted))
        assert answer.status == 202
        await loadtester.until(finished("ngrinder", "success"), 1)
    keys = [key for key, _, _ in script.calls]
    assert keys == ["POST /perftest/api/100/clone_and_start", *["GET /perftest/api/7/status"] * 2]
    credentials = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    assert all(headers["Authorization"] == f"Basic {credentials}" for _, _, headers in script.calls)


@pytest.mark.parametrize("state", ["STOP_BY_ERROR", "CANCELED", "UNKNOWN"])
async def test_a_test_of_ngrinder_fails(start: Start, scripted, state: str):
    ngrinder(scripted, **{"GET /perftest/api/7/status": [{"status": [{"status_id": state}]}]})
    async with start() as loadtester:
        await loadtester.task(**metadata(scripted))
        await loadtester.until(finished("ngrinder", "failure"), 1)


@pytest.mark.parametrize("started", [{}, {"id": "7"}, {"success": False, "id": 7}, [], "x"])
async def test_a_test_of_ngrinder_that_does_not_start_fails(start: Start, scripted, started: object):
    ngrinder(scripted, **{"POST /perftest/api/100/clone_and_start": [started]})
    async with start() as loadtester:
        await loadtester.task(**metadata(scripted))
        await loadtester.until(finished("ngrinder", "failure"), 1)


async def test_a_test_of_ngrinder_that_takes_too_long_is_stopped(start: Start, scripted):
    script = ngrinder(scripted, **{"GET /perftest/api/7/status": [{"status": []}]})
    async with start(timeout=0.5) as loadtester:
        await loadtester.task(**metadata(scripted))
        await loadtester.until(finished("ngrinder", "failure"), 1)
    assert script.calls[-1][:2] == ("PUT /perftest/api/7", "action=stop")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"server": ""}, "server, clone, username and passwd are required metadata"),
        ({"clone": "x"}, "metadata clone must be integer"),
        ({"passwd": "???"}, "metadata password is invalid: expected base64"),
        ({"server": "file:///etc"}, "invalid url: found file:///etc, expected http://host:port"),
    ],
)
async def test_ngrinder_needs_valid_metadata(start: Start, scripted, change: dict[str, str], text: str):
    async with start() as loadtester:
        answer = await loadtester.task(**metadata(scripted, **change))
        assert (answer.status, answer.text) == (400, text)


# ---------------------------------------------------------------------------------------------------------- Concord


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "key").write_text("the-key\n")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


def concord(server, *statuses: str) -> Script:
    script = Script(server)
    script.answers = {
        "POST /api/v1/process": [{"instanceId": "abc-1", "ok": True}],
        "GET /api/v1/process/abc-1": [{"instanceId": "abc-1", "status": status} for status in statuses],
    }
    return script


def process(server, /, **changes: str) -> dict[str, str]:
    place = {"org": "o", "project": "p", "repo": "r", "entrypoint": "e", "endpoint": "https://canary/"}
    settings = {"apiKeyPath": "key", "pollInterval": "1", "pollTimeout": "5", "arguments.a": "b"}
    return {"type": "concord", "server": server.address, **place, **settings, **changes}


def allowed(keys: Path) -> dict[str, object]:
    return {"allowed_commands": (*DEFAULT_COMMANDS, "concord"), "api_key_folder": keys}


async def test_a_process_of_concord_runs_to_its_end(start: Start, scripted, keys: Path):
    script = concord(scripted, "RUNNING", "FINISHED")
    async with start(**allowed(keys)) as loadtester:
        answer = await loadtester.task(**process(scripted), returnCmdOutput="true")
    assert (answer.status, answer.text) == (200, "Concord finished the process abc-1")
    assert all(headers["Authorization"] == "the-key" for _, _, headers in script.calls)
    form = scripted.bodies[0]
    for name, value in (("entryPoint", "e"), ("arguments.endpoint", "https://canary/"), ("arguments.a", "b")):
        assert f'name="{name}"\r\n\r\n{value}\r\n' in form


async def test_a_process_of_concord_fails(start: Start, scripted, keys: Path):
    concord(scripted, "FAILED")
    async with start(**allowed(keys)) as loadtester:
        answer = await loadtester.task(**process(scripted))
    assert (answer.status, answer.text) == (500, "concord instanceID: abc-1 failed")


async def test_a_process_of_concord_has_a_time_limit(start: Start, scripted, keys: Path):
    concord(scripted, "RUNNING")
    async with start(**allowed(keys)) as loadtester:
        answer = await loadtester.task(**process(scripted, pollTimeout="2"))
    assert (answer.status, answer.text) == (500, "concord process timed out, after 2 seconds")


@pytest.mark.parametrize("path", ["../secret", "link", "/etc/passwd", "none", ""])
async def test_concord_gets_only_keys_of_the_folder(start: Start, scripted, keys: Path, path: str):
    script = concord(scripted, "FINISHED")
    async with start(**allowed(keys)) as loadtester:
        answer = await loadtester.task(**process(scripted, apiKeyPath=path))
    assert answer.status == 500
    assert answer.text.startswith("`apiKeyPath`")
    assert not script.calls


async def test_concord_without_a_folder_of_keys_is_refused(start: Start, scripted):
    async with start(allowed_commands=("concord",)) as loadtester:
        answer = await loadtester.task(**process(scripted))
    assert "--api-key-folder" in answer.text


@pytest.mark.parametrize(
    "change", [{"pollInterval": "x"}, {"pollTimeout": "0"}, {"arguments.endpoint": "x"}, {"server": "x"}]
)
async def test_concord_needs_valid_metadata(start: Start, scripted, keys: Path, change: dict[str, str]):
    async with start(**allowed(keys)) as loadtester:
        assert (await loadtester.task(**process(scripted, **change))).status == 500


async def test_concord_needs_all_its_metadata(start: Start, scripted, keys: Path):
    async with start(**allowed(keys)) as loadtester:
        for name in ("server", "org", "project", "repo", "entrypoint", "apiKeyPath", "endpoint"):
            rest = {key: value for key, value in process(scripted).items() if key != name}
            answer = await loadtester.task(**rest)
            assert answer.text == f"`{name}` is required with type concord"


async def test_a_secret_is_in_no_answer(start: Start, scripted, keys: Path):
    scripted.answer = (200, "the-key the-key")
    async with start(**allowed(keys)) as loadtester:
        answer = await loadtester.task(**process(scripted))
    assert answer.status == 500
    assert "the-key" not in answer.text
    await asyncio.sleep(0)
