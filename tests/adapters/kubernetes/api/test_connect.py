"""Connecting to a cluster: its address and the credentials."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from kubernetes_asyncio.config import incluster_config

from canarycore.errors import WorldError
from canarycore_kubernetes.api import client as clients
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.kinds import CONFIG_MAP

EXEC = """
import json, pathlib, sys
count = pathlib.Path(sys.argv[1])
count.write_text(str(int(count.read_text()) + 1))
status = {"token": f"token-{count.read_text()}", "expirationTimestamp": "2020-01-01T00:00:00Z"}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


@pytest.fixture
def impatient(monkeypatch):
    """Credentials are looked for at every request, not once a minute."""
    monkeypatch.setattr(clients, "RENEWAL_INTERVAL", 0.0)


def kubeconfig(tmp_path, server, **user):
    config = server.access.kubeconfig
    config["users"][0]["user"] = user
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    return str(path)


async def ask(client):
    await client.get(CONFIG_MAP, "test", "one")


async def test_the_error_without_credentials_names_the_remedy(tmp_path):
    with pytest.raises(WorldError, match=r"found no way to connect to a cluster in .*: .* Give a kubeconfig"):
        async with connect(str(tmp_path / "nowhere")):
            pass


async def test_an_invalid_kubeconfig_is_an_error(tmp_path):
    path = tmp_path / "config"
    path.write_text("- not\n- one")
    with pytest.raises(WorldError, match="found no way to connect to a cluster"):
        async with connect(str(path)):
            pass


async def test_the_error_of_a_silent_cluster_hides_the_token(tmp_path, server):
    path = kubeconfig(tmp_path, server, token="very-secret")
    async with connect(path, server="http://127.0.0.1:9") as client:
        with pytest.raises(WorldError, match="cannot reach the API server") as caught:
            await client.merge(CONFIG_MAP, "test", "one", {})
    assert "very-secret" not in f"{caught.value!r} {client!r}"


async def test_a_token_that_was_changed_in_its_file_is_used(tmp_path, server, impatient):
    token = tmp_path / "token"
    token.write_text("first")
    async with connect(kubeconfig(tmp_path, server, tokenFile=str(token))) as client:
        await ask(client)
        token.write_text("second")
        await ask(client)
    assert server.tokens == ["first", "second"]


async def test_an_exec_plugin_is_asked_again_when_its_token_has_expired(tmp_path, server, impatient):
    plugin, count = tmp_path / "plugin.py", tmp_path / "count"
    plugin.write_text(EXEC)
    count.write_text("0")
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(plugin), str(count)],
        "interactiveMode": "Never",
    }
    async with connect(kubeconfig(tmp_path, server, exec=command)) as client:
        await ask(client)
        await ask(client)
    assert server.tokens == ["token-2", "token-3"]


async def test_a_failing_exec_plugin_is_an_error(tmp_path, server, impatient):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("import sys\nprint(open(sys.argv[1]).read())")
    said = tmp_path / "said"
    kind = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    said.write_text(json.dumps(kind | {"status": {"token": "a"}}))
    command = {"apiVersion": kind["apiVersion"], "command": sys.executable, "args": [str(plugin), str(said)]}
    async with connect(kubeconfig(tmp_path, server, exec=command)) as client:
        await ask(client)
        said.unlink()
        with pytest.raises(WorldError, match="cannot renew the credentials"):
            await client.merge(CONFIG_MAP, "test", "one", {})


async def test_in_a_pod_its_service_account_is_used(tmp_path, server, monkeypatch):
    (tmp_path / "token").write_text("of-the-pod")
    (tmp_path / "ca.crt").write_text("a certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    configuration = clients.Configuration()
    await clients._authenticate(configuration, "", "")
    assert configuration.host == "https://10.0.0.1:443"
    assert await configuration.get_api_key_with_prefix("BearerToken") == "Bearer of-the-pod"


async def test_a_proxy_of_the_environment_is_passed_unless_the_server_is_excepted(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.1")
    assert clients._proxy_of_environment("https://cluster.example.com:6443") == "http://proxy:3128"
    assert clients._proxy_of_environment("https://10.0.0.1:443") is None


async def test_a_limit_is_passed_by_every_request_but_watches(tmp_path, server):
    limit = asyncio.Semaphore(1)
    async with connect(kubeconfig(tmp_path, server, token="a"), limit=limit) as client, limit:
        asked = asyncio.ensure_future(ask(client))
        async with client.watch(CONFIG_MAP, "test", version="0") as events:
            await anext(events)  # a bookmark
        assert not asked.done()
        asked.cancel()


async def test_a_delayed_write_asks_the_fence_right_before_it_is_sent(tmp_path, server):
    closed = asyncio.Event()

    def fence():
        if closed.is_set():
            raise WorldError("closed meanwhile")

    limit = asyncio.Semaphore(1)
    async with connect(kubeconfig(tmp_path, server, token="a"), limit=limit) as client:
        async with limit:
            write = asyncio.ensure_future(client.fenced(fence).delete(CONFIG_MAP, "test", "one"))
            await asyncio.sleep(0.01)
            closed.set()
        with pytest.raises(WorldError, match="closed meanwhile"):
            await write
    assert server.tokens == []


async def test_each_request_is_reported_and_a_prevented_write_is_not(tmp_path, server):
    reports = []

    def prevent():
        raise WorldError("closed")

    async with connect(kubeconfig(tmp_path, server, token="a")) as client:
        reporting = client.reporting(reports.append)
        await ask(reporting)
        async with reporting.watch(CONFIG_MAP, "test", version="0") as events:
            await anext(events)
        with pytest.raises(WorldError, match="closed"):
            await reporting.fenced(prevent).delete(CONFIG_MAP, "test", "one")
        await ask(client)
    path = "/api/v1/namespaces/test/configmaps"
    assert [(report.method, report.path) for report in reports] == [("GET", f"{path}/one"), ("WATCH", path)]
    assert all(report.seconds > 0 for report in reports)


async def test_each_attempt_of_a_request_without_an_answer_is_reported(tmp_path, server):
    reports = []
    async with connect(kubeconfig(tmp_path, server, token="a"), server="http://127.0.0.1:9") as client:
        with pytest.raises(WorldError):
            await ask(client.reporting(reports.append))
    assert {report.error for report in reports} == {clients.UNREACHABLE}
    assert len(reports) == clients.REQUEST_ATTEMPTS
