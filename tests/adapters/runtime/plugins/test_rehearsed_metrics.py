"""The metric provider of a plug-in in a rehearsal: it answers the checks whose templates name it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from canarycore.manifest import load, resolve
from canarycore.questions import MetricAnswer, MetricQuestion
from canarycore_cli.console import BadInput
from canarycore_cli.manifests.read import read_rollout_and_templates
from canarycore_cli.rehearsal.plugin_metrics import find_places, find_plugin_templates, open_plugin_metrics
from tests.adapters.runtime.plugins.acme import installed_acme
from tests.manifest.samples import canary, template


@pytest.fixture
def acme(tmp_path):
    with installed_acme(tmp_path):
        yield tmp_path


@asynccontextmanager
async def server(answer):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        headers = f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(answer)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{answer}".encode())
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def manifest(address="http://127.0.0.1:1", **provider):
    fields = {"name": "errors", "templateRef": {"name": "errors"}, "thresholdRange": {"max": 1}, "interval": "1m"}
    body = canary(analysis={"metrics": [fields]})
    return f"{json.dumps(body)}\n---\n{json.dumps(template(type='acme', address=address, **provider))}\n"


class Prometheus:
    async def query(self, rollout, question):
        return MetricAnswer(value=1.0)

    async def online(self, rollout):
        return "no Prometheus"


async def test_a_plugin_answers_the_check_of_its_template(acme):
    async with server('{"value": 0.25}') as address:
        report = load([("canary.yaml", manifest(address))])
        rollout = resolve(report.canaries[0], templates=report.templates)
        (check,) = rollout.checks
        documents = find_plugin_templates(rollout, report.templates)
        assert find_places(json.loads(json.dumps(documents))) == {("test", "errors")}
        async with open_plugin_metrics(documents, Prometheus()) as source:
            assert (await source.query(rollout, MetricQuestion("key", check, "two"))).value == 0.25
            assert not await source.online(rollout)
            other = evolve(check, template=None, query="up")
            assert (await source.query(rollout, MetricQuestion("key", other, "two"))).value == 1.0
            assert await source.online(evolve(rollout, checks=(check, other))) == "no Prometheus"
        async with open_plugin_metrics(documents, None) as source:
            assert "give it a value" in (await source.query(rollout, MetricQuestion("key", other, "two"))).error


def test_a_template_with_a_secret_or_of_another_provider_is_no_plugins(acme):
    for provider in ({"secretRef": {"name": "acme"}}, {"type": "datadog"}):
        document = template(**{"type": "acme", **provider})
        report = load([("canary.yaml", manifest().partition("---")[0] + f"---\n{json.dumps(document)}\n")])
        rollout = resolve(report.canaries[0], templates=report.templates)
        assert find_plugin_templates(rollout, report.templates) == ()


def test_a_manifest_is_read_with_its_templates(acme):
    file = acme / "canary.yaml"
    file.write_text(manifest())
    rollout, templates = read_rollout_and_templates(str(file))
    assert [each.name for each in templates] == ["errors"]
    assert rollout.checks[0].query
    with pytest.raises(BadInput):
        read_rollout_and_templates(str(file), "another")
