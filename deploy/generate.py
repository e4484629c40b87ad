"""Write the files of this folder that follow from `canarycore_kubernetes.deploy`: `python deploy/generate.py`.

A test compares the files with the current output.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

from canarycore_cli.manifests.write import write_yaml
from canarycore_kubernetes.deploy.admission import admission
from canarycore_kubernetes.deploy.alert_rules import rule_groups
from canarycore_kubernetes.deploy.chart import refusals, values_schema, values_table
from canarycore_kubernetes.deploy.dashboards import dashboards
from canarycore_kubernetes.deploy.network_policy import EVERYWHERE, Destination
from canarycore_kubernetes.deploy.objects import (
    NAME,
    RIGHTS,
    ROUTING_RIGHTS,
    InstallOptions,
    definitions,
    objects,
    rules,
)

HERE = Path(__file__).parent
CHART = "helm/canarycore"

DASHBOARD_LABEL = {"grafana_dashboard": "1"}
"""The label of ConfigMaps that the sidecar of Grafana's chart loads."""

DASHBOARD_FOLDERS = ("kustomize/dashboards", f"{CHART}/files/dashboards")
"""A chart and a kustomization read only files inside their own folders."""

FILES = {
    "CustomResourceDefinition": "definitions",
    "ValidatingAdmissionPolicy": "admission",
    "ValidatingAdmissionPolicyBinding": "admission",
    "ServiceAccount": "rights",
    "ClusterRole": "rights",
    "ClusterRoleBinding": "rights",
    "Role": "rights",
    "RoleBinding": "rights",
}
"""The file of the kustomize base for each kind; the file of any other kind is `controller`."""


def files() -> dict[str, str]:
    """Return the text of each file, by its path below this folder."""
    base: dict[str, list[Any]] = {"definitions": [], "admission": [], "rights": [], "controller": []}
    for body in objects(InstallOptions()):
        base[FILES.get(body["kind"], "controller")].append(body)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{name}.yaml" for name in base],
    }
    return {
        "kustomize/kustomization.yaml": _yaml(kustomization),
        **{f"kustomize/{name}.yaml": _yaml(*bodies) for name, bodies in base.items()},
        **{f"kustomize/providers/{_slug(name)}/kustomization.yaml": _yaml(_component(name)) for name in ROUTING_RIGHTS},
        **{f"{CHART}/crds/{body['spec']['names']['plural']}.yaml": _yaml(body) for body in definitions()},
        "kustomize/network-policy/kustomization.yaml": _yaml(_resource_component("policy.yaml")),
        "kustomize/network-policy/policy.yaml": _yaml(_policy()),
        f"{CHART}/files/metadata.yaml": _yaml(_metadata_addresses()),
        f"{CHART}/files/admission.yaml": _yaml(next(admission("{{ include `canarycore.provider` . }}"))),
        f"{CHART}/files/refused.yaml": _yaml(refusals()),
        **_dashboards(),
        "kustomize/alerts/kustomization.yaml": _yaml(_resource_component("rules.yaml")),
        "kustomize/alerts/rules.yaml": _yaml(_prometheus_rule()),
        f"{CHART}/files/alerts.yaml": _yaml(rule_groups()),
        "prometheus/alerts.yaml": _yaml(rule_groups()),
        f"{CHART}/values.schema.json": json.dumps(values_schema(), indent=2) + "\n",
        f"{CHART}/README.md": _readme(),
        f"{CHART}/files/rules.yaml": _yaml({"every": rules(()), "routing": _routing()}),
    }


def _component(provider: str) -> dict[str, Any]:
    """Return the component for a provider: the controller may write its routing objects, and it is the default."""
    flags = _flags(InstallOptions())
    default = next(index for index, flag in enumerate(flags) if flag.startswith("--mesh-provider="))
    argument = f"/spec/template/spec/containers/0/args/{default}"
    (variables, *_) = (body["spec"]["variables"] for body in admission(provider) if "variables" in body["spec"])
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "patches": [
            *(_patch("ClusterRole", "add", "/rules/-", rule) for rule in _routing()[provider]),
            _patch("Deployment", "replace", argument, f"--mesh-provider={provider}"),
            _patch("ValidatingAdmissionPolicy", "replace", "/spec/variables/0/expression", variables[0]["expression"]),
        ],
    }


def _resource_component(resource: str) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "resources": [resource]}


def _dashboards() -> dict[str, str]:
    """Return the dashboards for the chart, and the component whose ConfigMap has them."""
    models = {f"{name}.json": json.dumps(model, indent=2) + "\n" for name, model in dashboards().items()}
    generator = {
        "name": f"{NAME}-dashboards",
        "namespace": InstallOptions().namespace,
        "files": list(models),
        "options": {"labels": DASHBOARD_LABEL, "disableNameSuffixHash": True},
    }
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "configMapGenerator": [generator],
    }
    return {
        "kustomize/dashboards/kustomization.yaml": _yaml(component),
        **{f"{folder}/{name}": text for folder in DASHBOARD_FOLDERS for name, text in models.items()},
    }


def _prometheus_rule() -> dict[str, Any]:
    metadata = {"name": NAME, "namespace": InstallOptions().namespace, "labels": {"app.kubernetes.io/name": NAME}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": rule_groups(),
    }


def _policy() -> Any:
    (policy,) = (body for body in objects(InstallOptions(isolated=True)) if body["kind"] == "NetworkPolicy")
    return policy


def _metadata_addresses() -> dict[str, list[str]]:
    """Return the metadata addresses in each of the networks that together contain all addresses."""
    blocks = (Destination(cidr=cidr, port=443).peer["ipBlock"] for cidr in EVERYWHERE)
    return {block["cidr"]: block["except"] for block in blocks}


def _patch(kind: str, operation: str, path: str, value: Any) -> dict[str, Any]:
    return {
        "target": {"kind": kind, "name": "canar.*"},
        "patch": json.dumps([{"op": operation, "path": path, "value": value}]),
    }


def _flags(install: InstallOptions) -> list[str]:
    (controller,) = (body for body in objects(install) if body["kind"] == "Deployment")
    flags: list[str] = controller["spec"]["template"]["spec"]["containers"][0]["args"]
    return flags


def _slug(provider: str) -> str:
    return provider.replace(":", "-")


def _routing() -> dict[str, list[Any]]:
    """Return the rules of each provider in addition to those of every controller."""
    return {provider: rules((provider,))[len(RIGHTS) :] for provider in ROUTING_RIGHTS}


def _readme() -> str:
    """Return the README of the chart with the table of its values."""
    text = (HERE / CHART / "README.md").read_text(encoding="utf-8")
    parts = re.compile(r"(<!-- generated: values -->\n).*(<!-- end -->)", re.DOTALL)
    return parts.sub(lambda match: f"{match[1]}{values_table()}{match[2]}", text)


def _yaml(*bodies: Any) -> str:
    text = io.StringIO()
    write_yaml(bodies, text)
    return text.getvalue()


def main() -> None:
    """Write all files."""
    for path, text in files().items():
        file = HERE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
