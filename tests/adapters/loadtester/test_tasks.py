"""Tasks: real programs, with bounded output, time, number and environment."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from pathlib import Path

import pytest

from canarycore_loadtester.options import DEFAULT_COMMANDS
from canarycore_loadtester.programs import run_program
from tests.adapters.loadtester.conftest import Loadtester, Service, Start

FINISHED = 'canarycore_loadtester_tasks_total{result="success",type="cmd"}'
RUNNING = "canarycore_loadtester_running"
EVERY = ("*",)


async def test_a_load_test_sends_requests_while_the_caller_goes_on(loadtester: Loadtester, service: Service):
    """The program hey is missing here, so the generator runs its command line."""
    begin = time.monotonic()
    answer = await loadtester.task(f"hey -n 20 -q 10 -c 2 -H 'X-Canary: insider' {service.address}/")
    assert (answer.status, answer.text) == (202, "")
    assert time.monotonic() - begin < 0.95  # the last request is due after 0.95 s
    await loadtester.until(FINISHED, 1)
    assert len(service.requests) == 20
    assert all(request.headers["X-Canary"] == "insider" for request in service.requests)


async def test_an_acceptance_test_passes_while_the_caller_waits(loadtester: Loadtester, service: Service):
    command = f"curl -sd 'test' {service.address}/token | grep hello"
    answer = await loadtester.task(command, type="bash")
    assert (answer.status, answer.text) == (200, "")
    assert service.bodies == [b"test"]


async def test_an_acceptance_test_fails_with_its_output(loadtester: Loadtester, service: Service):
    command = f"curl -s {service.address}/token | grep token"
    answer = await loadtester.task(command, type="bash")
    assert (answer.status, answer.text) == (500, f"command {command} failed: : exit status 1")


@pytest.mark.parametrize(("switch", "text"), [("true", "hello\n"), ("1", "hello\n"), ("false", ""), ("x", "")])
async def test_a_task_returns_its_output_on_demand(loadtester: Loadtester, switch: str, text: str):
    answer = await loadtester.task("echo hello", type="bash", returnCmdOutput=switch)
    assert (answer.status, answer.text) == (200, text)


async def test_a_task_that_runs_is_not_started_again(start: Start):
    async with start(allowed_commands=EVERY) as loadtester:
        for _ in range(3):
            assert (await loadtester.task("sleep 2")).status == 202
        await loadtester.task("sleep 2", name="other")
        await loadtester.until(RUNNING, 2)
        await loadtester.until(FINISHED, 2)
        await loadtester.task("sleep 0.1")
        await loadtester.until(FINISHED, 3)


@pytest.mark.parametrize("kind", ["cmd", "bash", "kubectl", "helm"])
async def test_a_task_needs_a_command(start: Start, kind: str):
    async with start(allowed_commands=EVERY) as loadtester:
        answer = await loadtester.task(type=kind)
        assert (answer.status, answer.text) == (400, "cmd not found in metadata")


@pytest.mark.parametrize(("kind", "program"), [("helm", "helm"), ("helmv3", "helm"), ("kubectl", "kubectl")])
async def test_a_tool_gets_its_arguments(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, program: str
):
    tool = tmp_path / program
    tool.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    command = """test podinfo --timeout 3m --set 'a={"b": 1}' $HOME; id"""
    async with start(allowed_commands=(program,)) as loadtester:
        answer = await loadtester.task(command, type=kind, returnCmdOutput="true")
    assert answer.text == """[test][podinfo][--timeout][3m][--set][a={"b": 1}][$HOME;][id]"""


@pytest.mark.parametrize("kind", ["helm", "helmv3", "kubectl", "concord"])
async def test_tools_with_rights_are_not_allowed_by_default(loadtester: Loadtester, kind: str):
    answer = await loadtester.task("version", type=kind)
    assert answer.status == 403
    assert "--allowed-commands" in answer.text


async def test_a_missing_program_fails(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    async with start(allowed_commands=("helm",)) as loadtester:
        answer = await loadtester.task("version", type="helm")
    assert answer.status == 500
    assert "helm" in answer.text


async def test_a_task_that_takes_too_long_is_killed_with_its_children(start: Start, tmp_path: Path):
    mark = tmp_path / "mark"
    async with start(allowed_commands=EVERY, timeout=0.4) as loadtester:
        answer = await loadtester.task(f"(sleep 1; touch {mark}) & sleep 60", type="bash")
    assert (answer.status, answer.text) == (500, "no end after 0.4 s: killed")
    await asyncio.sleep(1.2)
    assert not mark.exists()


async def test_a_task_leaves_no_process_behind(start: Start, tmp_path: Path):
    mark = tmp_path / "mark"
    async with start(allowed_commands=EVERY) as loadtester:
        answer = await loadtester.task(f"(sleep 0.5; touch {mark}) & echo done", type="bash", returnCmdOutput="true")
    assert (answer.status, answer.text) == (200, "done\n")
    await asyncio.sleep(0.8)
    assert not mark.exists()


async def test_the_end_of_the_load_tester_kills_its_tasks(start: Start, tmp_path: Path):
    mark = tmp_path / "mark"
    async with start(allowed_commands=EVERY) as loadtester:
        await loadtester.task(f"sleep 0.8; touch {mark}")
        await loadtester.until(RUNNING, 1)
    await asyncio.sleep(1)
    assert not mark.exists()


async def test_a_task_keeps_the_beginning_of_its_output(start: Start):
    async with start(allowed_commands=EVERY, output_limit=10) as loadtester:
        answer = await loadtester.task("head -c 1000000 /dev/zero | tr '\\0' x", type="bash", returnCmdOutput="true")
    assert answer.text == "xxxxxxxxxx… (999990 bytes more)"


async def test_a_task_beyond_the_queue_is_refused(start: Start):
    async with start(allowed_commands=EVERY, concurrency=1, queue=1) as loadtester:
        answers = [await loadtester.task(f"sleep {10 + number}") for number in range(3)]
        assert [answer.status for answer in answers] == [202, 202, 429]
        waited = await asyncio.gather(*(loadtester.task("sleep 2", type="bash") for _ in range(3)))
        assert sorted(answer.status for answer in waited) == [200, 200, 429]


async def test_tests_that_callers_wait_for_do_not_wait_for_load_tests(start: Start):
    async with start(allowed_commands=EVERY, concurrency=1) as loadtester:
        await loadtester.task("sleep 60")
        await loadtester.until(RUNNING, 1)
        begin = time.monotonic()
        assert (await loadtester.task("true", type="bash")).status == 200
        assert time.monotonic() - begin < 30


async def test_a_program_sees_no_secret_of_the_load_tester(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    async with start(allowed_commands=EVERY) as loadtester:
        answer = await loadtester.task("env", type="bash", returnCmdOutput="true")
    assert "secret" not in answer.text
    assert "KUBERNETES_SERVICE_HOST=10.0.0.1" in answer.text


async def test_a_program_reads_no_input(start: Start):
    async with start(allowed_commands=EVERY) as loadtester:
        assert (await loadtester.task("cat", type="bash")).status == 200


async def test_a_program_that_is_present_runs_instead_of_the_generator(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hey = tmp_path / "hey"
    hey.write_text("#!/bin/sh\necho the real one\n")
    hey.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    async with start() as loadtester:
        answer = await loadtester.task("hey -n 1 http://podinfo/", type="bash", returnCmdOutput="true")
    assert answer.text == "the real one\n"


@pytest.mark.parametrize("command", ["id", "hey -n 1 http://podinfo/ > /tmp/x", "curl -o /tmp/x http://podinfo/"])
@pytest.mark.parametrize("kind", ["cmd", "bash"])
async def test_a_command_that_is_not_allowed_never_starts(loadtester: Loadtester, kind: str, command: str):
    answer = await loadtester.task(command, type=kind)
    assert answer.status == 403
    assert await loadtester.metric("canarycore_loadtester_refused_total") == 1


async def test_curl_reads_no_file(loadtester: Loadtester, tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    for address in (f"file://{tmp_path}/secret", f"FILE://{tmp_path}/secret", f"file:{tmp_path}/secret"):
        answer = await loadtester.task(f"curl -s {address}", type="bash", returnCmdOutput="true")
        assert answer.status == 500
        assert "secret" not in answer.text.replace(address, "")


async def test_the_default_programs_take_the_quotes_of_their_users(loadtester: Loadtester):
    text = "it's {a,b} $HOME"
    answer = await loadtester.task(f"echo {shlex.quote(text)}", type="bash", returnCmdOutput="true")
    assert answer.text == f"{text}\n"
    assert "echo" in DEFAULT_COMMANDS


async def test_a_cancelled_program_is_dead():
    running = asyncio.create_task(run_program(["sleep", "60"], 100))
    await asyncio.sleep(0.2)
    running.cancel()
    begin = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - begin < 20


async def test_a_signal_is_named_as_go_names_it():
    result = await run_program(["sh", "-c", "kill -9 $$"], 100)
    assert (result.end, result.is_success) == ("signal: killed", False)
