"""Attacks of a hostile tenant: a row for each kind, with the objects that it is made of.

    tenant = Tenant(namespace="hostile", servers=servers)
    for body in objects_of(KINDS["a huge number of iterations"], tenant, "a-1"): api.create(body)

`KINDS` is the table; a new kind is one row. A builder gets the tenant and a name, and returns objects. The Canary and
its target have that name, so that a kind can be had many times. Whatever must be there first, such as the objects of
another team that a Canary collides with, is in `foreign`.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Any

from attrs import frozen

from canarycore_kubernetes.resources.canaries import COMMAND
from canarycore_kubernetes.resources.status_codec import MEMORY
from tests.hostile.server import RemoteServers

Json = dict[str, Any]

OLD, NEW = "app:1", "app:2"
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\r\nlevel=info msg=fake \u202e\u2028"
MEBIBYTE = 2**20
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
OWN_SECRET = "tenants-own-credential"
"""The value in the Secrets of the tenant's templates. It may reach the address of the template and nothing else."""


@frozen(kw_only=True)
class Tenant:
    """Where the tenant works, and the servers that answer for it."""

    namespace: str
    servers: RemoteServers

    def url(self, answer: str, path: str = "") -> str:
        return self.servers.url(answer, path)


Build = Callable[[Tenant, str], list[Json]]


@frozen(kw_only=True)
class Kind:
    """One kind of attack."""

    build: Build
    """The objects that the tenant makes."""
    foreign: Build = lambda tenant, name: []
    """Objects of another team in the same namespace, which are there first and must not change."""
    status: Callable[[str], Json] | None = None
    """A status that the tenant writes into the Canary."""
    is_refused: bool = False
    """Whether our own definitions refuse it at admission; Flagger's take all kinds."""


def objects_of(kind: Kind, tenant: Tenant, name: str) -> list[Json]:
    """The objects of a kind, in the tenant's namespace."""
    return [_placed(body, tenant) for body in kind.build(tenant, name)]


def foreign_objects_of(kind: Kind, tenant: Tenant, name: str) -> list[Json]:
    """The other team's objects, in the same namespace."""
    return [_placed(body, tenant) for body in kind.foreign(tenant, name)]


def _placed(body: Json, tenant: Tenant) -> Json:
    return {**body, "metadata": {**body["metadata"], "namespace": tenant.namespace}}


# ----------------------------------------------------------------------------------------------------- plain objects


def deployment(name: str, *, image: str = OLD, replicas: int = 1, pod: Json | None = None) -> Json:
    """A Deployment. pod: more of its pods' spec."""
    labels = {"app": name}
    container = {"name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **(pod or {})}},
        },
    }


def canary(name: str, *, spec: Json | None = None, **analysis: Any) -> Json:
    """A Canary of the Deployment `name`. spec, analysis: what it has more, or otherwise; None removes a field."""
    policy = {"interval": "10s", "threshold": 3, "stepWeights": [30, 60], **analysis}
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name},
        "spec": {
            "provider": "istio",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 80},
            **(spec or {}),
            "analysis": {key: value for key, value in policy.items() if value is not None},
        },
    }


def secret(name: str, **values: str) -> Json:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name}, "data": data}


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def service(name: str, **labels: str) -> Json:
    ports = [{"name": "pg", "port": 5432}]
    spec = {"selector": {"app": "of-another-team"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": spec}


def flaggers(kind: str, name: str, **spec: Any) -> Json:
    return {"apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def metric(name: str = "errors", **fields: Any) -> Json:
    return {"name": name, "interval": "1m", "thresholdRange": {"max": 1}, **fields}


def hook(url: str, **fields: Any) -> Json:
    return {"name": "hook", "url": url, **fields}


# ------------------------------------------------------------------------------------------------------------ builders


def asks(**analysis: Any) -> Build:
    """A Canary with this in its analysis, and its target."""
    return lambda tenant, name: [deployment(name), canary(name, **analysis)]


def wants(**spec: Any) -> Build:
    """A Canary with this in its spec, and its target."""
    return lambda tenant, name: [deployment(name), canary(name, spec=spec)]


def marked(**metadata: Any) -> Build:
    """A Canary with this in its metadata, and its target."""

    def build(tenant: Tenant, name: str) -> list[Json]:
        body = canary(name)
        return [deployment(name), {**body, "metadata": {**body["metadata"], **metadata}}]

    return build


def calls(answer: str, **fields: Any) -> Build:
    """A Canary with a hook at a server that answers so."""
    return lambda tenant, name: [deployment(name), canary(name, webhooks=[hook(tenant.url(answer), **fields)])]


def measures(answer: str) -> Build:
    """A Canary whose own metrics server answers so."""

    def build(tenant: Tenant, name: str) -> list[Json]:
        spec = {"metricsServer": tenant.url(answer)}
        return [deployment(name), canary(name, spec=spec, metrics=[metric(query="up")])]

    return build


def templated(provider: str, answer: str, query: str = "up", **fields: Any) -> Build:
    """A Canary with a MetricTemplate of this provider, whose address answers so; the provider has a Secret."""

    def build(tenant: Tenant, name: str) -> list[Json]:
        known = {"type": provider, "address": tenant.url(answer), "secretRef": {"name": f"{name}-provider"}, **fields}
        return [
            secret(f"{name}-provider", **dict.fromkeys(CREDENTIALS, OWN_SECRET)),
            flaggers("MetricTemplate", name, provider=known, query=query),
            deployment(name),
            canary(name, metrics=[metric(templateRef={"name": name})]),
        ]

    return build


def without_secret(provider: str, answer: str, query: str) -> Build:
    """The same without a Secret: whatever credential it sends is not the tenant's."""

    def build(tenant: Tenant, name: str) -> list[Json]:
        bodies = templated(provider, answer, query)(tenant, name)
        bodies[1]["spec"]["provider"].pop("secretRef")
        return bodies[1:]

    return build


def with_large_secret(tenant: Tenant, name: str) -> list[Json]:
    """A template whose provider has a Secret that is far larger than any credential."""
    first, *others = templated("prometheus", "good")(tenant, name)
    return [secret(first["metadata"]["name"], token="t" * 700_000), *others]


def tells(provider: str, answer: str) -> Build:
    """A Canary with an AlertProvider whose address, in its Secret, answers so."""

    def build(tenant: Tenant, name: str) -> list[Json]:
        alert = {"name": "alert", "severity": "info", "providerRef": {"name": name}}
        return [
            secret(f"{name}-chat", address=tenant.url(answer), token=OWN_SECRET),
            flaggers(
                "AlertProvider", name, type=provider, channel="c", username="u", secretRef={"name": f"{name}-chat"}
            ),
            deployment(name),
            canary(name, alerts=[alert]),
        ]

    return build


def reads(*configs: Json) -> Build:
    """A Canary whose target reads these ConfigMaps and Secrets. `NAME` in their names is the Canary's."""

    def build(tenant: Tenant, name: str) -> list[Json]:
        made = [json.loads(json.dumps(body).replace("NAME", name)) for body in configs]
        sources = [{_REFERENCES[body["kind"]]: {"name": body["metadata"]["name"]}} for body in made]
        target = deployment(name)
        target["spec"]["template"]["spec"]["containers"][0]["envFrom"] = sources
        return [*made, target, canary(name)]

    return build


_REFERENCES = {"ConfigMap": "configMapRef", "Secret": "secretRef"}

CREDENTIALS = (
    "token", "org", "username", "password", "datadog_api_key", "datadog_application_key", "dynatrace_token",
    "newrelic_account_id", "newrelic_query_key", "sf_token_key", "project",
)  # fmt: skip
"""The keys that providers look for in a Secret."""


def shares_one_target(tenant: Tenant, name: str) -> list[Json]:
    """A Canary of a target that all of this kind share. The Deployment is there once."""
    body = canary(name)
    body["spec"]["targetRef"]["name"] = SHARED
    return [body]


SHARED = "shared-target"
"""The Deployment that many Canaries have as their target. The caller that applies the kinds makes it first."""


def deep_memory(name: str) -> Json:
    """A status as ours, with JSON in our condition that nests deeper than anything can read, and a seal that fits."""
    del name
    seal = f"{zlib.crc32(b'Progressing/0/0/0/x/x'):08x}"
    entry = {"status": "True", "reason": "Memory", "message": f"{seal} {'[' * 100_000}"}
    return {
        "phase": "Progressing", "failedChecks": 0, "canaryWeight": 0, "iterations": 0,
        "lastAppliedSpec": "x", "lastPromotedSpec": "x",
        "conditions": [{"type": "Promoted", **entry}, {"type": MEMORY, **entry}],
    }  # fmt: skip


def odd_status(name: str) -> Json:
    """A status that nothing of ours could have written."""
    del name
    return {
        "phase": "Progressing", "failedChecks": -(10**15), "canaryWeight": 10**15, "iterations": 1e300,
        "lastAppliedSpec": ESCAPES * 200, "lastTransitionTime": "0001-01-01T00:00:00Z",
        "trackedConfigs": {f"configmap/{number}": ESCAPES for number in range(5000)},
        "conditions": [{"type": ESCAPES, "status": ESCAPES, "reason": ESCAPES, "message": ESCAPES * 200}] * 10,
    }  # fmt: skip


def takes_over(*foreign: Json) -> dict[str, Build]:
    """A Canary whose own objects would be called as these, which are another team's. `NAME` is the Canary's."""

    def others(tenant: Tenant, name: str) -> list[Json]:
        return [json.loads(json.dumps(body).replace("NAME", name)) for body in foreign]

    return {"foreign": others}


def _route(name: str) -> Json:
    spec = {"hosts": ["of-another-team"], "http": [{"route": [{"destination": {"host": "of-another-team"}}]}]}
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": spec,
    }


def _rule(name: str) -> Json:
    metadata = {"name": name}
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": metadata,
        "spec": {"host": "of-another-team"},
    }


DB = (secret("NAME-db", password="of-a-replica"), config_map("NAME-db", host="of-a-replica"))
DB_OF_OTHERS = (secret("NAME-db-primary", password="FOREIGN-SECRET"), config_map("NAME-db-primary", host="foreign"))


# --------------------------------------------------------------------------------------------------------- the table


_MANIFESTS: dict[str, Kind] = {
    "a huge number of iterations": Kind(build=asks(iterations=10**9, stepWeights=None), is_refused=True),
    "as many iterations as a number can tell": Kind(build=asks(iterations=1e300, stepWeights=None), is_refused=True),
    "a huge number of iterations of an A/B test": Kind(
        build=asks(iterations=2**31 - 1, stepWeights=None, match=[{"headers": {"x": {"exact": "y"}}}]),
        is_refused=True,
    ),
    "a step that is hardly one": Kind(build=asks(stepWeight=1e-9, stepWeights=None), is_refused=True),
    "a maximum weight of a billion": Kind(build=asks(stepWeight=1, maxWeight=10**9, stepWeights=None), is_refused=True),
    "100,000 steps": Kind(build=asks(stepWeights=[10] * 100_000), is_refused=True),
    "a threshold of a billion billions": Kind(build=asks(threshold=10**18), is_refused=True),
    "an interval of 20,000 digits": Kind(build=asks(interval="1s" + "1" * 20_000), is_refused=True),
    "an interval of 350,000 parts": Kind(build=asks(interval="1s" + "1ns" * 350_000), is_refused=True),
    "an interval of a thousand years": Kind(build=asks(interval=f"{10**12}s")),
    "a metric's interval of 200,000 digits": Kind(
        build=asks(metrics=[metric(interval="1s" + "1" * 200_000, query="up")]), is_refused=True
    ),
    "a hook's time limit of 200,000 digits": Kind(
        build=asks(webhooks=[hook("http://127.0.0.1:1/", timeout="1s" + "9" * 200_000)]), is_refused=True
    ),
    "a query of 32 kB of blanks": Kind(build=asks(metrics=[metric(query=" " * 2**15)]), is_refused=True),
    "a query of 32 kB of opened braces": Kind(build=asks(metrics=[metric(query="{{" * 2**14)]), is_refused=True),
    "a query of 32 kB of braces, dashes and blanks": Kind(
        build=asks(metrics=[metric(query="{{-" + " " * 2**15)]), is_refused=True
    ),
    "a query of 1 MB": Kind(build=asks(metrics=[metric(query="{{ target }}" * 90_000)]), is_refused=True),
    "a template's query of 500 kB of braces": Kind(
        build=templated("prometheus", "good", query="{{" * 250_000), is_refused=True
    ),
    "60,000 unknown fields": Kind(build=wants(**{f"unknown{number}": number for number in range(60_000)})),
    "60,000 values of a hook": Kind(
        build=asks(webhooks=[hook("http://127.0.0.1:1/", metadata={f"k{n}": "v" for n in range(60_000)})]),
        is_refused=True,
    ),
    "60,000 variables of a query": Kind(
        build=asks(metrics=[metric(query="up", templateVariables={f"k{n}": "v" for n in range(60_000)})]),
        is_refused=True,
    ),
    "3,000 metrics": Kind(build=asks(metrics=[metric(f"m{n}", query="up") for n in range(3000)]), is_refused=True),
    "3,000 hooks": Kind(
        build=lambda tenant, name: [
            deployment(name),
            canary(name, webhooks=[hook(tenant.url("hang"), name=f"h{n}") for n in range(3000)]),
        ],
        is_refused=True,
    ),
    "3,000 alerts": Kind(
        build=asks(alerts=[{"name": f"a{n}", "providerRef": {"name": f"p{n}"}} for n in range(3000)]), is_refused=True
    ),
    "20,000 hosts": Kind(
        build=wants(service={"port": 80, "hosts": [f"h{n}.test" for n in range(20_000)]}), is_refused=True
    ),
    "2,000 matches": Kind(
        build=asks(
            iterations=5, stepWeights=None, match=[{"headers": {"x": {"regex": f"(a+)+{n}"}}} for n in range(2000)]
        ),
        is_refused=True,
    ),
    "a port beyond all ports": Kind(build=wants(service={"port": 10**12}), is_refused=True),
    "a metric whose name has escape sequences": Kind(build=asks(metrics=[metric(ESCAPES, query="up")])),
    "a hook whose name has escape sequences": Kind(
        build=lambda tenant, name: [
            deployment(name),
            canary(name, webhooks=[hook(tenant.url("escapes"), name=ESCAPES, type="confirm-rollout")]),
        ]
    ),
    "a metric whose name has 100,000 characters": Kind(
        build=asks(metrics=[metric("m" * 100_000, query="up")]), is_refused=True
    ),
    "a cookie with line breaks": Kind(build=asks(sessionAffinity={"cookieName": ESCAPES})),
    "a cookie without an end": Kind(build=asks(sessionAffinity={"cookieName": "c", "maxAge": 10**18}), is_refused=True),
    "hosts of another namespace": Kind(build=wants(service={"port": 80, "hosts": ["shop-0.honest.svc", "*"]})),
}

_MARKS: dict[str, Kind] = {
    "a command with 5,000 digits": Kind(build=marked(annotations={COMMAND: f"skip-to {'9' * 5000} x"})),
    "a command of 200 kB of deep JSON": Kind(build=marked(annotations={COMMAND: "[" * 200_000})),
    "a command with escape sequences": Kind(build=marked(annotations={COMMAND: f"promote{ESCAPES} {ESCAPES}"})),
    "250 kB of annotations": Kind(build=marked(annotations={LAST_APPLIED: "[" * 120_000, "x": "\x1b" * 120_000})),
    "2,000 labels": Kind(build=marked(labels={f"k{n}": "v" for n in range(2000)})),
    "500 finalizers": Kind(build=marked(finalizers=[f"hostile.test/f{n}" for n in range(500)])),
    "a status with deep JSON": Kind(build=asks(), status=deep_memory),
    "a status that nobody wrote": Kind(build=asks(), status=odd_status),
}

_GATES = ("confirm-rollout", "pre-rollout", "rollout", "confirm-promotion")
_SLOW = ("hang", "drip head", "drip", "flood", "gzip bomb")
_ODD = (
    "flood head", "deflate bomb", "redirect", "redirect for ever", "reset", "nonsense", "no gzip", "deep json",
    "odd charset", "unknown charset", "odd type", "escapes", "secrets", "later",
)  # fmt: skip
_ODD_FOR_HOOKS = (*_ODD, "redirect to get", "odd status")
_ODD_FOR_METRICS = (
    *_ODD, "deep object", "wide json", "long number", "whole number", "true", "infinite", "no number", "null", "nulls",
)  # fmt: skip
_HOOKS: dict[str, Kind] = {
    **{
        f"a {gate} hook that answers: {answer}": Kind(build=calls(answer, type=gate, timeout="30s"))
        for gate, answer in product(_GATES, _SLOW)
    },
    **{
        f"a hook that answers: {answer}": Kind(build=calls(answer, type="confirm-rollout")) for answer in _ODD_FOR_HOOKS
    },
    "a hook with a time limit of a year and a billion retries": Kind(
        build=calls("hang", type="confirm-rollout", timeout="8760h1s".replace("8760h", "525600m"), retries=10**9),
        is_refused=True,
    ),
    "a hook that retries for ever": Kind(build=calls("busy", type="pre-rollout", retries=10**9), is_refused=True),
    "an event hook that hangs": Kind(build=calls("hang", type="event", timeout="60s")),
    "an event hook that redirects": Kind(build=calls("redirect", type="event")),
    "a hook at a URL that is none": Kind(build=asks(webhooks=[hook("http://[::1", type="confirm-rollout")])),
    "a hook at a host of 64 characters": Kind(
        build=asks(webhooks=[hook(f"http://{'h' * 64}.test/", type="pre-rollout")])
    ),
    "a hook at a URL of 500 kB": Kind(
        build=asks(webhooks=[hook(f"http://127.0.0.1:1/{'p' * 500_000}")]), is_refused=True
    ),
}

_METRICS: dict[str, Kind] = {
    f"a metrics server that answers: {answer}": Kind(build=measures(answer)) for answer in (*_SLOW, *_ODD_FOR_METRICS)
}

_QUERIES = {
    "externalmetrics": "default/metric?labelSelector=a%3Db",
    "keptn": "keptnmetric/default/metric",
    "stackdriver": "fetch x",
    "graphite": "target=x",
}
_PROVIDERS = (
    "prometheus", "influxdb", "datadog", "externalmetrics", "stackdriver", "newrelic", "graphite", "dynatrace", "keptn",
    "splunk",
)  # fmt: skip
_TEMPLATES: dict[str, Kind] = {
    **{
        f"a template of {provider} whose server answers: {answer}": Kind(
            build=templated(provider, answer, _QUERIES.get(provider, "up"), insecureSkipVerify=True)
        )
        for provider, answer in chain(
            product(_PROVIDERS, ("redirect", "deep object")),
            zip(_PROVIDERS, ("hang", "gzip bomb", "flood", "drip", "nulls") * 2, strict=True),
            (("influxdb", "long field"), ("datadog", "wide json"), ("splunk", "redirect to get")),
        )
    },
    **{
        f"a template of {provider} without a Secret": Kind(build=without_secret(provider, "null", query))
        for provider, query in (*_QUERIES.items(), ("prometheus", "up"))
    },
    "a template whose Secret has 700 kB": Kind(build=with_large_secret),
    "an analysis of keptn that never ends": Kind(build=templated("keptn", "nulls", "analysis/a/b/1m/x=y")),
    "a region that is a host": Kind(build=templated("cloudwatch", "good", "[]", region="x@127.0.0.1:1/#")),
    "a template with headers of 200 kB": Kind(
        build=templated("prometheus", "good", headers={"X-Long": ["x" * 200_000], "X-\r\nFolded": [ESCAPES]}),
        is_refused=True,
    ),
}

_CHATS = ("slack", "msteams", "discord", "rocket", "gchat")
_ALERTS: dict[str, Kind] = {
    f"alerts to a {chat} that answers: {answer}": Kind(build=tells(chat, answer))
    for chat, answer in chain(
        product(("slack", "gchat"), ("hang", "drip", "flood", "gzip bomb", "redirect")),
        product(_CHATS, ("hang", "later")),
    )
}

_COLLISIONS: dict[str, Kind] = {
    "a Secret and a ConfigMap of others": Kind(build=reads(*DB), **takes_over(*DB_OF_OTHERS)),
    "a Deployment of others": Kind(build=asks(), **takes_over(deployment("NAME-primary", replicas=0))),
    "Services of others": Kind(
        build=asks(), **takes_over(service("NAME-primary", of="others"), service("NAME-canary"))
    ),
    "routes of others": Kind(build=asks(), **takes_over(_rule("NAME-primary"), _rule("NAME-canary"))),
    "a target that is another Canary's primary": Kind(
        build=lambda tenant, name: [
            deployment(name),
            canary(name),
            {**canary(name), "metadata": {"name": f"{name}-x"}},
            {
                **canary(f"{name}-primary"),
                "metadata": {"name": f"{name}-y"},
            },
        ]
    ),
    "many Canaries on one target": Kind(build=shares_one_target),
}

_CONTENTS: dict[str, Kind] = {
    "a Secret of 1 MiB": Kind(build=reads(secret("NAME-big", a="s" * (700 * 1024)))),
    "a ConfigMap of 1 MiB": Kind(build=reads(config_map("NAME-big", a="c" * (MEBIBYTE - 2000)))),
    "a ConfigMap of 1 MiB that is six times as long in JSON": Kind(
        build=reads(config_map("NAME-big", a="<" * (MEBIBYTE - 2000)))
    ),
    "a ConfigMap of 20,000 keys": Kind(build=reads(config_map("NAME-many", **{f"k{n}": "v" for n in range(20_000)}))),
    "a target that reads 30 ConfigMaps of 1 MiB": Kind(
        build=reads(*(config_map(f"NAME-{n}", a="<" * (MEBIBYTE - 2000)) for n in range(30)))
    ),
    "a target that reads 200 configs": Kind(build=reads(*(config_map(f"NAME-{n}", a="b") for n in range(200)))),
    "a target of 1,000 long variables": Kind(
        build=lambda tenant, name: [_with_variables(deployment(name), 1000, ESCAPES * 10), canary(name)],
    ),
    "a target of 15,000 variables": Kind(
        build=lambda tenant, name: [_with_variables(deployment(name), 15_000, "v"), canary(name)],
    ),
}


def _with_variables(target: Json, count: int, value: str) -> Json:
    variables = [{"name": f"V{number}", "value": value} for number in range(count)]
    target["spec"]["template"]["spec"]["containers"][0]["env"] = variables
    return target


KINDS: dict[str, Kind] = {
    **_MANIFESTS, **_MARKS, **_HOOKS, **_METRICS, **_TEMPLATES, **_ALERTS, **_COLLISIONS, **_CONTENTS,
}  # fmt: skip
"""All kinds, by what they are."""


def names(count: int, kinds: tuple[str, ...] = tuple(KINDS)) -> Iterator[tuple[str, Kind]]:
    """So many Canaries' names, each with its kind; every kind in turn, again and again."""
    for number in range(count):
        yield f"hostile-{number}", KINDS[kinds[number % len(kinds)]]
