"""Where each credential of each provider can go.

The pod of these tests has every credential that a pod can have besides its templates' Secrets: a token of its service
account, keys of Amazon, a key of Google, a netrc for every host, a proxy with a password.
"""

import base64
import json
import ssl
import subprocess
from importlib.metadata import entry_points

import pytest
from attrs import field, frozen
from yarl import URL

from canarycore_metrics import cluster
from canarycore_metrics.cluster import ClusterSource
from canarycore_metrics.source import HttpSource
from canarycore_runtime import load
from tests.adapters.metrics.world import PROXY_SECRET, certificate, everywhere

pytest.importorskip("botocore", reason="pip install canarycore-metrics[cloudwatch]")
pytest.importorskip("google.auth", reason="pip install canarycore-metrics[stackdriver]")

OWN = "OWN-credential-of-the-template"
NETRC = "AMBIENT-netrc"
AMBIENT = {
    "pod": "AMBIENT-token-of-the-pod",
    "amazon": "AMBIENTKEYIDOFTHEPOD",
    "amazon session": "AMBIENT-session-of-amazon",
    "google": "AMBIENT-token-of-google",
    "netrc": base64.b64encode(f"me:{NETRC}".encode()).decode(),
    "proxy": base64.b64encode(f"me:{PROXY_SECRET}".encode()).decode(),
}
CLUSTER, GOOGLE = "kubernetes.default.svc", "monitoring.googleapis.com"
AMAZON = "monitoring.eu-west-1.amazonaws.com"


@frozen(kw_only=True)
class Row:
    """secret: what a template's Secret has. ambient: which of the pod's credentials may be sent, and to which host."""

    secret: dict = field(factory=dict)
    least: dict = field(factory=dict)
    """Keys that the Secret must have when the template has no credentials of its own."""
    query: str = "up"
    ambient: tuple = ()
    host: str = ""


WHERE = {
    "prometheus": Row(secret={"token": OWN}),
    "datadog": Row(secret={"datadog_api_key": OWN, "datadog_application_key": OWN}),
    "dynatrace": Row(secret={"dynatrace_token": OWN}),
    "graphite": Row(secret={"username": OWN, "password": OWN}, query="target=a"),
    "influxdb": Row(secret={"token": OWN, "org": "us"}),
    "newrelic": Row(secret={"newrelic_account_id": "1", "newrelic_query_key": OWN}),
    "splunk": Row(secret={"sf_token_key": OWN}),
    "externalmetrics": Row(secret={"token": OWN}, query="shop/jobs", ambient=("pod",), host=CLUSTER),
    "keptn": Row(secret={"token": OWN}, query="keptnmetric/shop/latency", ambient=("pod",), host=CLUSTER),
    "stackdriver": Row(
        secret={"project": "shop", "serviceAccountKey": OWN},
        least={"project": "shop"},
        ambient=("google",),
        host=GOOGLE,
    ),
    "cloudwatch": Row(
        secret={"aws_access_key_id": OWN, "aws_secret_access_key": OWN},
        query="[]",
        ambient=("amazon", "amazon session"),
        host=AMAZON,
    ),
    "local": Row(),
}
"""Each provider that is installed. `local` reads an Envoy's own statistics and has no credentials."""

HTTP = [name for name in WHERE if name != "local"]
each = pytest.mark.parametrize("name", HTTP)
ambient_ones = pytest.mark.parametrize("name", [name for name in HTTP if WHERE[name].ambient])


def test_the_table_has_every_provider():
    assert set(WHERE) == {entry.name for entry in entry_points(group="canarycore.metrics")}


@pytest.fixture(scope="module")
def google_key(tmp_path_factory):
    made = subprocess.run(["openssl", "genrsa", "2048"], check=True, capture_output=True, text=True)
    return {"type": "service_account", "client_email": "canary@shop.example", "private_key": made.stdout}


@pytest.fixture(scope="module")
def world_certificate(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("world"), [CLUSTER, GOOGLE, AMAZON, "evil.example", "*.evil.example"])


@pytest.fixture
async def pod(tmp_path, monkeypatch, google_key, world_certificate):
    """The world, seen from a pod that has all ambient credentials."""
    async with everywhere(*world_certificate) as world:
        account = tmp_path / "account"
        account.mkdir()
        (account / "token").write_text(AMBIENT["pod"])
        (account / "ca.crt").write_text(world_certificate[0].read_text())
        monkeypatch.setattr(cluster, "ACCOUNT", account)
        monkeypatch.setattr(
            HttpSource, "trusted_certificates", lambda source: ssl.create_default_context(cafile=world.authority)
        )
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "none"))
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", AMBIENT["amazon"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "AMBIENT-secret-of-amazon")
        monkeypatch.setenv("AWS_SESSION_TOKEN", AMBIENT["amazon session"])
        key = tmp_path / "key.json"
        key.write_text(json.dumps(google_key | {"token_uri": f"{world.here}/pod/token"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        netrc = tmp_path / "netrc"
        netrc.write_text(f"default login me password {NETRC}\n")
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, world.proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "127.0.0.1")
        world.answers["/pod/token"] = (
            200,
            json.dumps({"access_token": AMBIENT["google"], "expires_in": 3600}),
        )
        yield world


def opened(name, address, secret, **options):
    return load("metrics", name)(address, secret=secret, region="eu-west-1", timeout=10.0, **options)


def own(name, address, google_key):
    """The Secret of a template with credentials of its own."""
    if name != "stackdriver":
        return WHERE[name].secret
    token_uri = f"{URL(address).origin()}/token"
    return {"project": "shop", "serviceAccountKey": json.dumps(google_key | {"token_uri": token_uri})}


async def asked(source, name):
    """Return the answers of both methods of the source."""
    async with source:
        return f"{await source.value(WHERE[name].query)} {await source.online(None)}"


def ambient_in(text):
    return [kind for kind, value in AMBIENT.items() if value in text]


def to_templates(world):
    """The requests that the pod's own look-up of a Google token is no part of."""
    return [request for request in world.requests if "/pod/token" not in request.text]


# an address of its own ------------------------------------------------------------------------------------------------


@each
async def test_another_address_gets_no_credentials_of_the_pod(pod, name):
    """Without credentials in the template's Secret it gets none at all."""
    try:
        source = opened(name, pod.here, WHERE[name].least)
    except ValueError:
        return  # a provider that needs a Secret is not asked without one
    answer = await asked(source, name)
    assert [ambient_in(request.text) for request in to_templates(pod)] == [[] for _ in to_templates(pod)]
    assert not ambient_in(answer)


@each
async def test_an_address_gets_the_credentials_of_the_template_s_secret_and_no_others(pod, name, google_key):
    pod.answers["/token"] = (200, json.dumps({"access_token": OWN}))
    answer = await asked(opened(name, pod.here, own(name, pod.here, google_key)), name)
    texts = [request.text for request in to_templates(pod)]
    basic = base64.b64encode(f"{OWN}:{OWN}".encode()).decode()
    assert [text for text in texts if OWN in text or basic in text]
    assert not [text for text in texts if ambient_in(text)]
    assert OWN not in answer


LOOKALIKES = [
    "http://{host}",
    "https://{host}.evil.example",
    "https://{host}:8443",
    "https://{host}@evil.example",
    "https://evil.example/{host}",
    "https://evil.example#{host}",
    "https://me@{host}",
]


@ambient_ones
@pytest.mark.parametrize("address", LOOKALIKES)
async def test_an_address_that_looks_like_the_provider_s_own_is_another(pod, name, address):
    await asked(opened(name, address.format(host=WHERE[name].host), WHERE[name].least), name)
    assert not [ambient_in(request.text) for request in to_templates(pod) if ambient_in(request.text)]


# the provider's own address -------------------------------------------------------------------------------------------


@ambient_ones
@pytest.mark.parametrize("address", ["", "https://{host}", "https://{host}:443/"])
async def test_the_pod_s_credentials_go_to_the_provider_s_own_server(pod, name, address):
    row = WHERE[name]
    await asked(opened(name, address.format(host=row.host), row.least), name)
    sent = [request for request in to_templates(pod) if ambient_in(request.text)]
    assert {(request.host, request.is_secure) for request in sent} == {(row.host, True)}
    assert {kind for request in sent for kind in ambient_in(request.text)} == set(row.ambient)


@ambient_ones
async def test_the_pod_s_credentials_go_without_the_template_s_headers(pod, name):
    headers = {"Impersonate-User": "admin", "Host": "evil.example", "X-Test": "template"}
    await asked(opened(name, "", WHERE[name].least, headers=headers), name)
    sent = [request.text for request in to_templates(pod)]
    assert sent
    assert not [text for text in sent if "admin" in text or "evil.example" in text or "X-Test" in text]


@ambient_ones
async def test_the_pod_s_credentials_go_to_no_server_without_a_certificate(pod, name, monkeypatch, tmp_path):
    """Whatever the template says of certificates."""
    monkeypatch.setattr(HttpSource, "trusted_certificates", lambda source: True)
    (cluster.ACCOUNT / "ca.crt").unlink()
    answer = await asked(opened(name, "", WHERE[name].least, insecure_skip_verify=True), name)
    assert not to_templates(pod)
    assert "certificate" in answer


@ambient_ones
async def test_the_template_s_credentials_take_the_place_of_the_pod_s(pod, name, google_key):
    if name == "stackdriver":
        pytest.skip("its token comes from Google's own service, which this world has not")
    await asked(opened(name, "", own(name, "", google_key)), name)
    assert to_templates(pod)
    assert not [request for request in to_templates(pod) if ambient_in(request.text)]


# redirects ------------------------------------------------------------------------------------------------------------


@each
async def test_nothing_follows_a_redirect_to_another_origin(pod, name, google_key):
    """Neither the template's credentials nor its headers, nor a request without them."""
    pod.answers["127.0.0.1"] = (307, "http://evil.example/stolen")
    source = opened(name, pod.here, own(name, pod.here, google_key), headers={"X-Scope-OrgID": OWN})
    answer = await asked(source, name)
    assert {request.host for request in pod.requests} == {"127.0.0.1"}
    assert "redirects to another origin, http://evil.example" in answer


@ambient_ones
async def test_no_ambient_credential_follows_a_redirect(pod, name):
    pod.answers[WHERE[name].host] = (307, f"https://{WHERE[name].host}.evil.example/stolen")
    await asked(opened(name, "", WHERE[name].least), name)
    assert {request.host for request in to_templates(pod)} == {WHERE[name].host}


# a path of its own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("externalmetrics", "../secrets"),
        ("externalmetrics", "shop/.."),
        ("externalmetrics", "sh%2Fop/x"),
        ("externalmetrics", "../.."),
        ("keptn", "keptnmetric/../secrets"),
        ("keptn", "keptnmetric/shop/.."),
        ("keptn", "analysis/../x"),
        ("keptn", "keptnmetric/shop/%2e%2e"),
    ],
)
async def test_a_query_cannot_leave_its_part_of_the_cluster_s_api(pod, name, query):
    async with opened(name, "", {}) as source:
        assert "expected <" in (await source.value(query)).error
    assert not pod.requests


OF_OTHERS = (
    *(("externalmetrics", query) for query in ("bank/jobs", "jobs", "/jobs", "Bank.x/jobs?labelSelector=a%3Db")),
    *(("keptn", f"{kind}/bank/latency") for kind in ("keptnmetric", "KeptnMetrics", "analysis", "analyses")),
)


@pytest.mark.parametrize(("name", "query"), OF_OTHERS)
async def test_the_pod_s_token_reads_no_other_namespace_for_a_tenant(pod, name, query):
    """A template with a token of its own may ask for whatever that token may see."""
    async with opened(name, "", {}, only_namespace="shop") as source:
        error = (await source.value(query)).error
    assert not pod.requests
    assert ("expected shop" in error and "token of its own" in error) or "expected <namespace>" in error
    async with opened(name, "", {"token": OWN}, only_namespace="shop") as source:
        await source.value(query.lower())
    assert pod.requests


@pytest.mark.parametrize(("name", "query"), [("externalmetrics", "shop/jobs"), ("keptn", "keptnmetric/shop/latency")])
async def test_the_pod_s_token_reads_the_tenant_s_own_namespace(pod, name, query):
    async with opened(name, "", {}, only_namespace="shop") as source:
        await source.value(query)
    assert ambient_in(to_templates(pod)[0].text) == ["pod"]


def test_the_cluster_s_certificates_are_trusted_within_the_cluster_only(tmp_path, monkeypatch):
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=cluster")
    command = ("openssl", "req", "-x509", *made, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "ca.crt"))
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setattr(cluster, "ACCOUNT", tmp_path)
    trusting = [
        load("metrics", "keptn")(address).trusted_certificates() for address in ("", "https://metrics.shop.svc:6443")
    ]
    assert all(isinstance(context, ssl.SSLContext) for context in trusting)
    assert load("metrics", "keptn")("https://metrics.example").trusted_certificates() is True
    assert issubclass(load("metrics", "externalmetrics"), ClusterSource)
