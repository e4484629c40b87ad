"""Each setting of an installed Flagger has an equivalent, or a remedy; secrets stay where they are."""

from __future__ import annotations

import json

import pytest
from attrs import fields
from typer.main import get_command

from canarycore_cli.main import app
from canarycore_kubernetes.deploy.chart import VALUES
from canarycore_kubernetes.deploy.objects import InstallOptions
from canarycore_kubernetes.migration.equivalent import find_equivalent
from canarycore_kubernetes.migration.flags import FLAGS, parse_flags
from canarycore_kubernetes.migration.plan import find_deployment, make_plan
from canarycore_kubernetes.migration.settings import FlaggerSettings, is_flagger, read_deployment, read_values
from canarycore_kubernetes.options import Options
from tests.house.deploy.test_flagger_values import FLAGGER, Refused
from tests.house.deploy.test_flagger_values import values_of as example_of

TOKEN = "T0K3N"
LABELS = {"app.kubernetes.io/name": "flagger"}


def deployment(*flags, image="ghcr.io/fluxcd/flagger:1.44.0", name="flagger", **pod):
    container = {"name": name, "image": image, "command": ["./flagger", *flags], **pod.pop("container", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "flagger", "namespace": "flagger-system"},
        "spec": {
            "replicas": pod.pop("replicas", 1),
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container], **pod}},
        },
    }


def equivalent_of(*flags, **pod):
    return find_equivalent(read_deployment(deployment(*flags, **pod)))


def values_of(values, providers=()):
    return find_equivalent(read_values(values, "values.yaml"), providers)


# the table of the flags ---------------------------------------------------------------------------------------------


def test_the_table_has_each_flag_once_and_values_that_the_chart_has():
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)
    assert {flag.value for flag in FLAGS if flag.value} <= {value.path for value in VALUES if value.has_flagger}


def test_each_option_of_ours_with_a_flag_of_flagger_is_in_the_table():
    own = {"listen", "page_port", "page_hosts", "shared_gateway_namespaces", "allowed_hosts", "identity"}
    own |= {"alert_links", "cloud_events", "log_format"}
    named = {flag.name.replace("-", "_") for flag in FLAGS} | {"log_encoding"}
    assert {option.name for option in fields(Options)} - own <= named


def test_the_controller_knows_each_flag_that_the_table_passes_on():
    controller = get_command(app).commands["controller"]
    names = {name for parameter in controller.params for name in parameter.opts}
    assert {f"--{flag.name}" for flag in FLAGS if not flag.replacement} <= names


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (["./flagger", "-log-level=info", "--threadiness=4"], {"log-level": "info", "threadiness": "4"}),
        (
            ["-mesh-provider", "nginx", "-enable-leader-election"],
            {"mesh-provider": "nginx", "enable-leader-election": "true"},
        ),
        (["-enable-config-tracking=0", "rest"], {"enable-config-tracking": "false"}),
        (["-metrics-server=http://a/?b=c"], {"metrics-server": "http://a/?b=c"}),
        (["-slack-user="], {"slack-user": ""}),
    ],
)
def test_flags_have_the_forms_of_go(arguments, flags):
    assert parse_flags(arguments) == flags


# deployments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "name", "runs_flagger"),
    [
        ("ghcr.io/fluxcd/flagger:1.44.0", "flagger", True),
        ("mirror.example.com:5000/fluxcd/flagger@sha256:12", "controller", True),
        ("own/build:3", "flagger", True),
        ("ghcr.io/fluxcd/flagger-loadtester:0.34.0", "loadtester", False),
    ],
)
def test_flagger_is_recognised_by_its_image_or_its_container(image, name, runs_flagger):
    body = deployment(image=image, name=name)
    assert is_flagger(body) is runs_flagger
    assert (find_deployment([{"kind": "List", "items": [body]}]) is not None) is runs_flagger


def test_the_flags_of_a_deployment_become_values_and_arguments():
    found = equivalent_of("-mesh-provider=nginx", "-metrics-server=http://prom", "-threadiness=4", "-namespace=shop")
    assert found.values["meshProvider"] == "nginx"
    assert found.values["namespace"] == "shop"
    assert found.install == (
        *("--namespace", "flagger-system", "--provider", "nginx"),
        *("--metrics-server", "http://prom", "--flag=--threadiness=4", "--watched", "shop"),
    )
    assert not found.refusals
    assert not found.chart_only


def test_flaggers_defaults_become_arguments_where_canary_install_has_others():
    assert equivalent_of().install[2:] == ("--provider", "istio", "--metrics-server", "http://prometheus:9090")
    assert InstallOptions().providers != ("istio",)


def test_a_switch_that_is_off_is_passed_on():
    assert "--flag=--no-enable-config-tracking" in equivalent_of("-enable-config-tracking=false").install
    assert "--flag=--no-cross-namespace-refs" in equivalent_of("-no-cross-namespace-refs=true").install


def test_the_settings_of_the_pod_become_values_that_only_the_chart_has():
    pod = {
        "nodeSelector": {"disk": "ssd"},
        "priorityClassName": "high",
        "volumes": [{"name": "mesh", "secret": {"secretName": "mesh"}}, {"name": "tmp", "emptyDir": {}}],
        "container": {
            "resources": {"limits": {"cpu": "1"}},
            "volumeMounts": [
                {"name": "mesh", "mountPath": "/tmp/controlplane"},
                {"name": "tmp", "mountPath": "/tmp/x"},
            ],
        },
    }
    found = equivalent_of("-kubeconfig-service-mesh=/tmp/controlplane/config", **pod)
    assert found.values["controlplane"] == {"kubeconfig": {"secretName": "mesh", "key": "config"}}
    assert found.values["additionalVolumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert found.values["additionalVolumeMounts"] == [{"name": "tmp", "mountPath": "/tmp/x"}]
    assert {"nodeSelector", "podPriorityClassName", "resources"} <= set(found.chart_only)


def test_a_term_that_keeps_the_pods_of_flagger_apart_is_left_out():
    term = {"podAffinityTerm": {"labelSelector": {"matchLabels": LABELS}}, "weight": 1}
    affinity = {
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]},
        "nodeAffinity": {"a": 1},
    }
    assert equivalent_of(affinity=affinity).values["affinity"] == {"nodeAffinity": {"a": 1}}


def test_the_annotations_of_the_service_account_are_kept():
    account = {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "r", "meta.helm.sh/release-name": "flagger"}}}
    settings = read_deployment(deployment(), account)
    assert settings.values["serviceAccount.annotations"] == {"eks.amazonaws.com/role-arn": "r"}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.variable], ids=lambda flag: flag.name)
def test_an_address_with_a_token_is_named_and_never_repeated(flag):
    body = deployment(f"-{flag.name}=https://{TOKEN}", container={"env": [{"name": flag.variable, "value": TOKEN}]})
    plan = make_plan(read_deployment(body))
    assert TOKEN not in json.dumps(plan.to_json())
    assert flag.variable in plan.equivalent.secrets.values()


def test_a_variable_from_a_secret_is_passed_on():
    variable = {"name": "SLACK_URL", "valueFrom": {"secretKeyRef": {"name": "chat", "key": "url"}}}
    assert equivalent_of(container={"env": [variable]}).values["env"] == [variable]


@pytest.mark.parametrize("name", ["zap-replace-globals=true", "v=4", "version", "port=9090"])
def test_a_flag_without_an_equivalent_is_refused_with_its_remedy(name):
    found = equivalent_of(f"-{name}")
    (refused,) = found.refusals
    assert refused.name == f"-{name.partition('=')[0]}"
    assert "leave it out" in refused.remedy
    assert not any(name in text for text in found.install)


def test_the_namespace_of_the_lease_needs_no_flag_where_flagger_is():
    assert not equivalent_of("-enable-leader-election", "-leader-election-namespace=flagger-system").refusals
    (refused,) = equivalent_of("-leader-election-namespace=kube-public").refusals
    assert refused.remedy.startswith("install into the namespace of Flagger's Lease")


def test_an_unset_flag_with_another_default_is_a_difference():
    found = {each.name: (each.flagger, each.own) for each in equivalent_of("-threadiness=4").differences}
    assert found["-kubeconfig-qps"] == ("100", "2000")
    assert found["-log-level"] == ("debug", "info")
    assert "-threadiness" not in found


def test_an_ignored_flag_is_a_difference_and_no_argument():
    found = equivalent_of("-control-loop-interval=5s")
    assert any(each.name == "-control-loop-interval" and "Ignored" in each.note for each in found.differences)
    assert "control-loop-interval" not in str(found.install)


# values -------------------------------------------------------------------------------------------------------------


def test_values_are_those_of_the_chart_of_ours():
    values = {
        "meshProvider": "linkerd",
        "podAnnotations": {"a.b/c": "d"},
        "rbac": {"create": False},
        "crd": {"create": True},
        "prometheus": {"install": False, "retention": "2h"},
    }
    found = values_of(values)
    assert found.values == values
    assert not found.refusals
    assert found.chart_only == ("podAnnotations", "rbac.create")


def test_a_refused_value_has_the_replacement_of_the_chart_and_no_place_in_the_values():
    found = values_of(
        {"prometheus": {"install": True}, "image": {"repository": "ghcr.io/fluxcd/flagger", "tag": "1.44"}}
    )
    assert {each.name for each in found.refusals} == {"prometheus.install", "image.repository", "image.tag"}
    assert found.values == {}
    replacements = {value.path: value.replacement for value in VALUES}
    assert (
        next(each.remedy for each in found.refusals if each.name == "prometheus.install")
        == replacements["prometheus.install"]
    )


@pytest.mark.parametrize("path", FLAGGER)
def test_each_value_of_flaggers_chart_is_passed_on_secret_or_refused(path):
    values, effect = example_of(path), FLAGGER[path][1]
    found = values_of(values)
    if isinstance(effect, Refused):
        assert path in {each.name for each in found.refusals}
    elif path == "image.tag":
        assert [each.name for each in found.refusals] == [path]  # Flagger's tag
    elif path in found.secrets:
        assert str(FLAGGER[path][0]) not in json.dumps(found.values)
    else:
        assert not found.refusals
        assert found.values == values


@pytest.mark.parametrize("values", [{"colour": "red"}, {"slack": {"colour": "red"}}, {"replicaCount": 2}])
def test_an_unknown_value_is_refused_by_name(values):
    (refused,) = values_of(values).refusals
    assert "colour" in refused.name or "leaderElection" in refused.remedy


@pytest.mark.parametrize("value", [7, "x", True, ["x"], [{"name": 1}], {"a": {"b": []}}])
def test_values_of_a_wrong_type_break_nothing(value):
    for path in FLAGGER:
        json.dumps(make_plan(read_values(example_of(path) | {path.partition(".")[0]: value}, "x")).to_json())


def test_an_unknown_provider_is_refused_with_the_known_ones():
    (refused,) = values_of({"meshProvider": "supergloo:istio"}).refusals
    assert "gatewayapi:v1" in refused.remedy


def test_the_default_of_flaggers_chart_counts_for_its_values():
    assert "-log-level" not in {each.name for each in values_of({}).differences}


def test_the_providers_of_the_canaries_get_their_rights():
    found = values_of({"meshProvider": "istio"}, ["nginx", "istio", "", "nginx"])
    assert found.values["providers"] == ["nginx"]
    assert found.install[:4] == ("--provider", "istio", "--provider", "nginx")


# the plan -----------------------------------------------------------------------------------------------------------


def test_the_plan_has_the_way_back_with_its_warning():
    plan = make_plan(FlaggerSettings(source="values.yaml"))
    commands = [step.command for step in plan.way_back]
    assert commands.index("canary migrate --back") < next(
        number for number, command in enumerate(commands) if command.endswith("--replicas=1")
    )
    assert "rejected" in plan.to_json()["warning"]


def test_the_plan_names_rollouts_under_way():
    canaries = [
        {"metadata": {"namespace": "shop", "name": name}, "status": {"phase": phase}, "spec": {}}
        for name, phase in {"a": "Progressing", "b": "Failed", "c": ""}.items()
    ]
    assert make_plan(FlaggerSettings(source="x"), canaries).under_way == ("shop/a", "shop/c")
