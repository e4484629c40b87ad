"""The command lines of hey, wrk and ghz."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from canarycore_loadtester.generator.command_lines import UsageError, parse_command_line
from canarycore_loadtester.generator.plan import LoadPlan, Protocol
from canarycore_loadtester.options import LoadtesterOptions
from canarycore_loadtester.payload import Payload
from canarycore_loadtester.tasks import parse_task
from tests.house.projects import ROOT

EXAMPLES = sorted((ROOT / "examples" / "manifests").rglob("*.yaml"))
COMMANDS = [
    (kind or "cmd", shlex.split(command)[0])
    for path in EXAMPLES
    for kind, command in re.findall(r"(?:type: (\w+)\s+)?cmd: (.+)", path.read_text())
]


def parse(line: str) -> LoadPlan:
    return parse_command_line(shlex.split(line))


def test_the_commands_of_the_examples_are_allowed_tasks(tmp_path: Path):
    options = LoadtesterOptions(state_file=tmp_path / "gates.json")
    assert COMMANDS
    for kind, command in COMMANDS:
        parse_task(Payload(metadata={"type": kind, "cmd": command}), options)


def test_the_load_test_of_the_guide():
    plan = parse("hey -z 1m -q 10 -c 2 -H 'Cookie: canary=insider' http://podinfo.test:9898/")
    assert (plan.rate, plan.connections, plan.duration, plan.requests) == (20.0, 2, 60.0, None)
    assert ("Cookie", "canary=insider") in plan.headers
    assert (plan.target.host, plan.target.port, plan.method) == ("podinfo.test", 9898, "GET")
    assert plan.protocol is Protocol.HTTP1


def test_hey_without_a_rate_and_a_duration_sends_two_hundred_requests():
    plan = parse("hey http://podinfo/")
    assert (plan.rate, plan.connections, plan.duration, plan.requests) == (None, 50, None, 200)


def test_hey_posts_a_body():
    plan = parse("hey -z 1m -q 10 -c 2 -m POST -d '{test: 2}' -T application/json -a me:pw http://podinfo-canary/echo")
    assert (plan.method, plan.body, plan.target.path) == ("POST", b"{test: 2}", "/echo")
    assert ("Content-Type", "application/json") in plan.headers
    assert ("Authorization", "Basic bWU6cHc=") in plan.headers


@pytest.mark.parametrize(("scheme", "protocol"), [("https", Protocol.HTTP2), ("http", Protocol.HTTP1)])
def test_hey_speaks_http2_over_tls(scheme: str, protocol: Protocol):
    assert parse(f"hey -z 1m -h2 {scheme}://podinfo.example.com/").protocol is protocol


def test_go_flags_take_their_values_after_an_equals_sign_too():
    assert parse("hey -z=30s -c=3 -n=5 http://podinfo/").duration == 30.0


def test_wrk():
    plan = parse("wrk -t2 -c10 -d30s --latency -H 'Host: a' http://podinfo/")
    assert (plan.connections, plan.duration, plan.rate) == (10, 30.0, None)
    assert parse("wrk -t2 -c10 -d1m -R200 http://podinfo/").rate == 200.0


def test_ghz_calls_the_health_check():
    plan = parse("ghz -z 1m -q 10 -c 2 --insecure podinfo.test:9898")
    assert (plan.protocol, plan.rate, plan.connections) == (Protocol.GRPC, 10.0, 2)
    assert (plan.target.scheme, plan.target.path) == ("http", "/grpc.health.v1.Health/Check")
    assert plan.body == b"\0\0\0\0\0"


def test_ghz_names_a_service_of_the_health_check():
    line = "ghz --insecure --proto=/tmp/ghz/health.proto --call=grpc.health.v1.Health/Check"
    assert parse(f'{line} -d \'{{"service": "shop"}}\' podinfo.test:9898').body == b"\0\0\0\0\x06\x0a\x04shop"


def test_ghz_verifies_certificates_unless_told_otherwise():
    assert parse("ghz podinfo:443").is_verified
    assert not parse("ghz --skipTLS podinfo:443").is_verified


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ab -n 5 http://podinfo/",
        "hey",
        "hey podinfo",
        "hey ftp://podinfo/",
        "hey http://podinfo:99999/",
        "hey -z 1m -D /etc/passwd http://podinfo/",
        "hey -z 1 -x proxy http://podinfo/",
        "hey -c 0 http://podinfo/",
        "hey -c 100000 http://podinfo/",
        "hey -z 1m -q 1e9 http://podinfo/",
        "hey -z never http://podinfo/",
        "hey -z -1s http://podinfo/",
        "hey -H broken http://podinfo/",
        "hey -H 'a b: c' http://podinfo/",
        "hey -m 'GET /' http://podinfo/",
        "hey http://podinfo/ http://podinfo/",
        "wrk -s script.lua http://podinfo/",
        "wrk --scr=x http://podinfo/",
        "ghz --insecure --call=nothing podinfo:9898",
        "ghz --insecure -d '{\"a\": 1}' podinfo:9898",
        "ghz --insecure -d '[]' podinfo:9898",
    ],
)
def test_a_command_line_that_cannot_be_honoured_is_an_error(line: str):
    with pytest.raises(UsageError):
        parse(line)


def generator(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "canarycore_loadtester.generator", *arguments]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True)


def test_the_program_reports_a_load():
    result = generator("hey", "-n", "3", "-c", "1", "http://127.0.0.1:1/")
    assert result.returncode == 0
    assert "Summary:" in result.stdout
    assert "[connection refused]\t3 responses" in result.stdout


def test_the_program_refuses_what_it_does_not_understand():
    result = generator("wrk", "-s", "x.lua", "http://127.0.0.1:1/")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("wrk: ")
