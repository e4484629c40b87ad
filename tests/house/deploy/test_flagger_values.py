"""The chart takes each value of Flagger's chart 1.44, with the effect that it has there, or names the replacement.

`FLAGGER` has all values that Flagger's chart reads or lists, each with an example and the place of its effect.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from ruamel.yaml import YAML

from canarycore_kubernetes.deploy.chart import VALUES
from canarycore_kubernetes.deploy.objects import ROUTING_RIGHTS
from tests.house.deploy.test_controller import CHART, output, read, refusal, template

pytestmark = pytest.mark.timeout(1500)  # the first test builds helm

POD = "Deployment/spec/template/spec"
CONTAINER = f"{POD}/containers/0"


@frozen
class Flag:
    """The effect is an argument of the controller."""

    text: str


@frozen
class Place:
    """The effect is a value in a rendered object: `Kind/field/field`."""

    path: str
    value: Any


@frozen
class Absent:
    """The effect is that no object of this kind, or no such field, is rendered."""

    path: str


@frozen
class Refused:
    """The chart fails with this text."""

    text: str


NO_EFFECT = object()
TOLERATION = {"key": "dedicated", "operator": "Exists"}
ADDRESSES = "Secret/stringData"

FLAGGER: dict[str, tuple[Any, Any]] = {
    "annotations": ({"team": "a"}, Place("Deployment/metadata/annotations/team", "a")),
    "image.repository": ("ghcr.io/fluxcd/flagger", Refused("image.repository: found")),
    "image.tag": (1.5, Place(f"{CONTAINER}/image", "canarycore:1.5")),
    "image.pullPolicy": ("Always", Place(f"{CONTAINER}/imagePullPolicy", "Always")),
    "image.pullSecret": ("regcred", Place(f"{POD}/imagePullSecrets", [{"name": "regcred"}])),
    "logLevel": ("debug", Flag("--log-level=debug")),
    "podAnnotations": ({"a": 1}, Place("Deployment/spec/template/metadata/annotations/a", "1")),
    "podPriorityClassName": ("high", Place(f"{POD}/priorityClassName", "high")),
    "metricsServer": ("http://prom:9090", Flag("--metrics-server=http://prom:9090")),
    "serviceMonitor.enabled": (True, Place("ServiceMonitor/metadata/name", "canarycore")),
    "serviceMonitor.honorLabels": (True, Place("ServiceMonitor/spec/endpoints/0/honorLabels", True)),
    "serviceMonitor.namespace": ("ops", Place("ServiceMonitor/metadata/namespace", "ops")),
    "serviceMonitor.labels": ({"release": "kps"}, Place("ServiceMonitor/metadata/labels/release", "kps")),
    "meshProvider": ("linkerd", Flag("--mesh-provider=linkerd")),
    "namespace": ("shop", Flag("--namespace=shop")),
    "selectorLabels": ("app,tier", Flag("--selector-labels=app,tier")),
    "includeLabelPrefix": ("team", Flag("--include-label-prefix=team")),
    "configTracking.enabled": (False, Flag("--no-enable-config-tracking")),
    "ingressAnnotationsPrefix": ("x.io", Flag("--ingress-annotations-prefix=x.io")),
    "ingressClass": ("contour", Flag("--ingress-class=contour")),
    "securityContext.enabled": (False, Absent(f"{CONTAINER}/securityContext")),
    "securityContext.context": ({"runAsUser": 1}, Place(f"{CONTAINER}/securityContext/runAsUser", 1)),
    "eventWebhook": ("http://hook", Place(f"{ADDRESSES}/EVENT_WEBHOOK_URL", "http://hook")),
    "clusterName": ("blue", Flag("--cluster-name=blue")),
    "slack.user": ("bot", Flag("--slack-user=bot")),
    "slack.channel": ("general", Flag("--slack-channel=general")),
    "slack.url": ("http://slack", Place(f"{ADDRESSES}/SLACK_URL", "http://slack")),
    "slack.proxyUrl": ("http://proxy", Place(f"{ADDRESSES}/SLACK_PROXY_URL", "http://proxy")),
    "slack.proxy": ("http://proxy", Refused("slack.proxy: found")),
    "msteams.url": ("http://teams", Place(f"{ADDRESSES}/MSTEAMS_URL", "http://teams")),
    "msteams.proxyUrl": ("http://proxy", Place(f"{ADDRESSES}/MSTEAMS_PROXY_URL", "http://proxy")),
    "podMonitor.enabled": (True, Place("PodMonitor/metadata/name", "canarycore")),
    "podMonitor.namespace": ("ops", Place("PodMonitor/metadata/namespace", "ops")),
    "podMonitor.interval": ("7s", Place("PodMonitor/spec/podMetricsEndpoints/0/interval", "7s")),
    "podMonitor.additionalLabels": ({"release": "kps"}, Place("PodMonitor/metadata/labels/release", "kps")),
    "podMonitor.honorLabels": (True, Place("PodMonitor/spec/podMetricsEndpoints/0/honorLabels", True)),
    "env": ([{"name": "A", "value": "b"}], Place(f"{CONTAINER}/env/1", {"name": "A", "value": "b"})),
    "leaderElection.enabled": (False, Place("Deployment/spec/strategy/type", "Recreate")),
    "leaderElection.replicaCount": (3, Place("Deployment/spec/replicas", 3)),
    "serviceAccount.create": (False, Absent("ServiceAccount")),
    "serviceAccount.name": ("flagger", Place(f"{POD}/serviceAccountName", "flagger")),
    "serviceAccount.annotations": ({"role": "x"}, Place("ServiceAccount/metadata/annotations/role", "x")),
    "rbac.create": (False, Absent("ClusterRole")),
    "rbac.pspEnabled": (True, Refused("rbac.pspEnabled: found")),
    "crd.create": (True, Place("CustomResourceDefinition/spec/group", "flagger.app")),
    "linkerdAuthPolicy.create": (True, Place("AuthorizationPolicy/metadata/namespace", "linkerd-viz")),
    "linkerdAuthPolicy.namespace": ("viz", Place("AuthorizationPolicy/metadata/namespace", "viz")),
    "nameOverride": ("delivery", Place("Deployment/metadata/name", "canarycore-delivery")),
    "fullnameOverride": ("delivery", Place("Deployment/metadata/name", "delivery")),
    "resources": ({"limits": {"cpu": "1"}}, Place(f"{CONTAINER}/resources/limits/cpu", "1")),
    "nodeSelector": ({"disk": "ssd"}, Place(f"{POD}/nodeSelector/disk", "ssd")),
    "tolerations": ([TOLERATION], Place(f"{POD}/tolerations/0", TOLERATION)),
    "affinity": (
        {"podAffinity": {"x": '{{ template "flagger.name" . }}'}},
        Place(f"{POD}/affinity/podAffinity/x", "canarycore"),
    ),
    "prometheus.install": (True, Refused("prometheus.install: found")),
    "prometheus.image": ("prom:1", NO_EFFECT),
    "prometheus.pullSecret": ("regcred", NO_EFFECT),
    "prometheus.retention": ("4h", NO_EFFECT),
    "prometheus.securityContext.enabled": (True, NO_EFFECT),
    "prometheus.securityContext.context": ({"runAsUser": 1}, NO_EFFECT),
    "kubeconfigQPS": (50, Flag("--kubeconfig-qps=50")),
    "kubeconfigBurst": ("100", Flag("--kubeconfig-burst=100")),
    "controlplane.kubeconfig.secretName": ("mesh", Place(f"{POD}/volumes/0/secret/secretName", "mesh")),
    "controlplane.kubeconfig.key": ("config", Flag("--kubeconfig-service-mesh=/etc/canarycore/controlplane/config")),
    "podDisruptionBudget.enabled": (True, Place("PodDisruptionBudget/spec/minAvailable", 1)),
    "podDisruptionBudget.minAvailable": ("50%", Place("PodDisruptionBudget/spec/minAvailable", "50%")),
    "podLabels": ({"tier": 1}, Place("Deployment/spec/template/metadata/labels/tier", "1")),
    "deploymentLabels": ({"tier": "1"}, Place("Deployment/metadata/labels/tier", "1")),
    "noCrossNamespaceRefs": (True, Flag("--no-cross-namespace-refs")),
    "additionalVolumes": ([{"name": "tmp", "emptyDir": {}}], Place(f"{POD}/volumes/0/name", "tmp")),
    "additionalVolumeMounts": (
        [{"name": "tmp", "mountPath": "/tmp"}],
        Place(f"{CONTAINER}/volumeMounts/0/mountPath", "/tmp"),
    ),
    "threadiness": (4, Flag("--threadiness=4")),
}
"""Each value of Flagger's chart: an example, and its effect here."""

NEEDED = {"controlplane.kubeconfig.key": {"controlplane": {"kubeconfig": {"secretName": "mesh"}}}}
"""Further values of an example, besides the `enabled` or `create` of its section."""


def values_of(path: str) -> dict[str, Any]:
    """Return a values file with the example of a value."""
    values: dict[str, Any] = {}
    section = path.partition(".")[0]
    for switch in (f"{section}.enabled", f"{section}.create"):
        if (
            switch in FLAGGER
            and switch != path
            and section in ("serviceMonitor", "podMonitor", "linkerdAuthPolicy", "podDisruptionBudget")
        ):
            put(values, switch, True)
    for name, value in NEEDED.get(path, {}).items():
        values[name] = json.loads(json.dumps(value))
    put(values, path, FLAGGER[path][0])
    return values


def put(values: dict[str, Any], path: str, value: Any) -> None:
    *tables, name = path.split(".")
    for table in tables:
        values = values.setdefault(table, {})
    values[name] = value


def rendered(values: dict[str, Any], folder: Path) -> list[Any]:
    file = folder / "values.yaml"
    file.write_text(json.dumps(values))  # JSON is YAML
    return read(output(*template(), "--values", file))


@cache
def defaults() -> str:
    return output(*template())


def lookup(bodies: list[Any], path: str) -> Any:
    """Return the value at `Kind/field/0/field` of the first object of the kind, or None."""
    kind, *names = path.split("/")
    value: Any = next((body for body in bodies if body["kind"] == kind), None)
    for name in names:
        if isinstance(value, list):
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = (value or {}).get(name)
    return value


@pytest.mark.parametrize("path", FLAGGER)
def test_a_value_of_flagger_has_its_effect_or_its_replacement(path: str, tmp_path: Path):
    values, effect = values_of(path), FLAGGER[path][1]
    if isinstance(effect, Refused):
        file = tmp_path / "values.yaml"
        file.write_text(json.dumps(values))
        assert effect.text in refusal("--values", file)
        return
    bodies = rendered(values, tmp_path)
    if effect is NO_EFFECT:
        assert bodies == read(defaults())
    elif isinstance(effect, Flag):
        assert effect.text in lookup(bodies, f"{CONTAINER}/args")
        assert effect.text not in lookup(read(defaults()), f"{CONTAINER}/args")
    elif isinstance(effect, Absent):
        assert lookup(read(defaults()), effect.path) is not None
        assert lookup(bodies, effect.path) is None
    else:
        assert lookup(bodies, effect.path) == effect.value
        assert lookup(read(defaults()), effect.path) != effect.value


def test_the_table_of_the_chart_has_all_values_of_flagger_and_all_of_its_own():
    assert {value.path for value in VALUES if value.has_flagger} == set(FLAGGER)
    own = {value.path for value in VALUES}
    assert [
        path for path in leaves(YAML(typ="safe").load((CHART / "values.yaml").read_text())) if not belongs(path, own)
    ] == []


def leaves(values: dict[str, Any], start: str = "") -> list[str]:
    return [
        path
        for name, value in values.items()
        for path in (leaves(value, f"{start}{name}.") if isinstance(value, dict) and value else [f"{start}{name}"])
    ]


def belongs(path: str, names: set[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def test_the_chart_names_all_refused_values_and_their_replacements_at_once(tmp_path: Path):
    rows = [value for value in VALUES if value.replacement]
    examples = {row.path: FLAGGER[row.path][0] if row.path in FLAGGER else "x" for row in rows}
    values: dict[str, Any] = {}
    for path, example in examples.items():
        put(values, path, example)
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))
    error = refusal("--values", file)
    expected = [f"{row.path}: found {json.dumps(examples[row.path])}. Instead, {row.replacement}." for row in rows]
    assert [line for line in expected if line not in error] == []


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("colour=red", "colour"),
        ("slack.colour=red", "colour"),
        ("logLevel=loud", "logLevel"),
        ("env=A", "env"),
        ("threadiness=many", "threadiness"),
    ],
)
def test_an_unknown_name_or_a_wrong_type_is_refused_by_name(value: str, error: str):
    assert error in refusal("--set", value)


def test_replicas_without_an_election_are_refused():
    assert "leaderElection.replicaCount: found 3" in refusal(
        "--set", "leaderElection.enabled=false", "--set", "leaderElection.replicaCount=3"
    )


def test_without_an_election_there_is_one_replica():
    assert lookup(read(output(*template(), "--set", "leaderElection.enabled=false")), "Deployment/spec/replicas") == 1


def test_the_values_file_of_flagger_renders_with_another_image(tmp_path: Path):
    """The values that Flagger's chart 1.44 comes with, those without a value too."""
    bodies = rendered(FLAGGERS_DEFAULTS, tmp_path)
    args = lookup(bodies, f"{CONTAINER}/args")
    assert "--mesh-provider=istio" in args
    assert "--metrics-server=http://prometheus:9090" in args
    assert not [argument for argument in args if "election" in argument]
    assert lookup(bodies, "Deployment/spec/replicas") == 1


def test_an_address_with_a_token_is_not_readable_in_the_deployment(tmp_path: Path):
    secret = "http://hooks.example.com/T0KEN"
    values = {"slack": {"url": secret}, "msteams": {"url": secret}, "eventWebhook": secret}
    bodies = rendered(values, tmp_path)
    assert secret not in json.dumps([body for body in bodies if body["kind"] != "Secret"])
    assert lookup(bodies, f"{CONTAINER}/envFrom/0/secretRef/name") == lookup(bodies, "Secret/metadata/name")


@pytest.mark.parametrize("namespace", ["", "shop"])
def test_the_notes_name_the_objects_of_the_release(namespace: str, tmp_path: Path):
    """Helm shows notes only on a cluster, so a copy of the chart renders them as a value."""
    chart = Path(shutil.copytree(CHART, tmp_path / "canarycore"))
    shutil.copy(chart / "templates" / "NOTES.txt", chart)
    (chart / "templates" / "notes.yaml").write_text('kind: Notes\ntext: {{ tpl (.Files.Get "NOTES.txt") . | quote }}\n')
    command = [part if part != CHART else chart for part in template("mine")]
    text = lookup(read(output(*command, "--namespace", "ops", "--set", f"namespace={namespace}")), "Notes/text")
    scope = f"-n {namespace}" if namespace else "-A"
    assert f"canary lint --cluster {scope} --account ops/mine-canarycore\n" in text
    assert "kubectl -n ops rollout status deployment/mine-canarycore\n" in text
    assert 'No registry has the image "canarycore"' in text


def test_no_rendered_line_ends_with_a_blank():
    text = output(*template(), "--set", "podMonitor.enabled=true", "--set", "podLabels.a=b")
    assert [line for line in text.splitlines() if line.endswith(" ")] == []


def test_providers_get_their_rights():
    bodies = read(output(*template(), "--set", f"providers={{{','.join(ROUTING_RIGHTS)}}}"))
    granted = {(rule["apiGroups"][0], rule["resources"][0]) for rule in lookup(bodies, "ClusterRole/rules")}
    assert {place for places in ROUTING_RIGHTS.values() for place in places} <= granted


FLAGGERS_DEFAULTS: dict[str, Any] = {
    "image": {"tag": "1.44.0", "pullPolicy": "IfNotPresent", "pullSecret": None},
    "logLevel": "info",
    "podAnnotations": {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "appmesh.k8s.aws/sidecarInjectorWebhook": "disabled",
        "linkerd.io/inject": "enabled",
    },
    "podPriorityClassName": "",
    "metricsServer": "http://prometheus:9090",
    "serviceMonitor": {"enabled": False, "honorLabels": False},
    "meshProvider": "",
    "namespace": "",
    "selectorLabels": "",
    "configTracking": {"enabled": True},
    "ingressAnnotationsPrefix": "",
    "ingressClass": "",
    "securityContext": {"enabled": True, "context": {"readOnlyRootFilesystem": True, "runAsUser": 10001}},
    "eventWebhook": "",
    "clusterName": "",
    "slack": {"user": "flagger", "channel": None, "url": None, "proxy": None},
    "msteams": {"url": None},
    "podMonitor": {
        "enabled": False,
        "namespace": None,
        "interval": "15s",
        "additionalLabels": {},
        "honorLabels": False,
    },
    "env": [],
    "leaderElection": {"enabled": False, "replicaCount": 1},
    "serviceAccount": {"create": True, "name": "", "annotations": {}},
    "rbac": {"create": True, "pspEnabled": False},
    "crd": {"create": False},
    "linkerdAuthPolicy": {"create": False, "namespace": "linkerd-viz"},
    "nameOverride": "",
    "fullnameOverride": "",
    "resources": {"limits": {"memory": "512Mi", "cpu": "1000m"}, "requests": {"memory": "32Mi", "cpu": "10m"}},
    "nodeSelector": {},
    "tolerations": [],
    "affinity": {"podAntiAffinity": {"x": ['{{ template "flagger.name" . }}', "{{ .Release.Name }}"]}},
    "prometheus": {
        "install": False,
        "image": "docker.io/prom/prometheus:v2.41.0",
        "pullSecret": None,
        "retention": "2h",
        "securityContext": {"enabled": False, "context": {"readOnlyRootFilesystem": True, "runAsUser": 10001}},
    },
    "kubeconfigQPS": "",
    "kubeconfigBurst": "",
    "controlplane": {"kubeconfig": {"secretName": "", "key": "kubeconfig"}},
    "podDisruptionBudget": {"enabled": False, "minAvailable": 1},
    "podLabels": {},
    "deploymentLabels": {},
    "noCrossNamespaceRefs": False,
    "additionalVolumes": [],
    "additionalVolumeMounts": [],
}
