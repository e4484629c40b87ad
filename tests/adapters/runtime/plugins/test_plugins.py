"""Plug-ins: one declaration makes an installed one known to lint, resolve, installation, admission and hooks."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from typer.testing import CliRunner

from canarycore import Hook, HookType, Phase
from canarycore.errors import UnknownProvider
from canarycore.manifest import lint, parse, resolve
from canarycore.questions import HookAnswer, HookQuestion
from canarycore_cli.main import app
from canarycore_kubernetes.deploy.admission import admission
from canarycore_kubernetes.deploy.objects import InstallOptions, objects, rules
from canarycore_runtime import BrokenAdapter, load
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.plugins import (
    AccessRight,
    PluginDeclaration,
    SchemeHooks,
    check_factory,
    find_installed_providers,
    list_plugins,
    load_declaration,
    parse_plugin_name,
)
from canarycore_runtime.registry import find_proxy_delay, load_mesh
from canarycore_runtime.testing.contracts._samples import rollout
from tests.adapters.runtime.plugins.acme import installed_acme
from tests.manifest.samples import alert_provider, canary, template

PARTS = """
from contextlib import asynccontextmanager

from canarycore.questions import HookAnswer
from canarycore_runtime.plugins import AccessRight, PluginDeclaration

calls = []


class Gate:
    async def call(self, rollout, question):
        calls.append(question.hook.url)
        return HookAnswer(passed=True)


@asynccontextmanager
async def open_gate(allowed):
    yield Gate()


class Reader:
    declaration = PluginDeclaration(rights=(AccessRight("", "configmaps", ("get",)),))

    def __init__(self, address, **settings):
        pass


class Text:
    declaration = "get everything"


def takes_nothing():
    return None
"""


@pytest.fixture
def acme(tmp_path):
    (tmp_path / "acme_parts.py").write_text(PARTS)
    (tmp_path / "acme_raises.py").write_text("raise RuntimeError('no licence')\n")
    metrics = {"reader": "acme_parts:Reader"}
    with installed_acme(tmp_path, hooks={"acme": "acme_parts:open_gate"}, metrics=metrics):
        yield tmp_path


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "acme_parts.py").write_text(PARTS)
    (tmp_path / "acme_raises.py").write_text("raise RuntimeError('no licence')\n")
    metrics = {"text": "acme_parts:Text", "raises": "acme_raises:Source", "narrow": "acme_parts:takes_nothing"}
    with installed_acme(tmp_path, metrics=metrics):
        yield tmp_path


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_list_has_kind_name_distribution_version_and_source(acme):
    ours = [plugin for plugin in list_plugins() if plugin.distribution == "canarycore-acme"]
    assert [(plugin.kind, plugin.name, plugin.version, plugin.source) for plugin in ours] == [
        ("metric", "acme", "0.1.0", "canarycore_acme.metrics:open_source"),
        ("metric", "reader", "0.1.0", "acme_parts:Reader"),
        ("hook", "acme", "0.1.0", "acme_parts:open_gate"),
        ("notifier", "acme", "0.1.0", "canarycore_acme.notifier:open_notifier"),
        ("mesh", "acme", "0.1.0", "canarycore_acme.mesh:AcmeMesh"),
    ]


def test_the_command_lists_the_same(acme):
    printed = run("plugins", "--json")
    listed = json.loads(printed.stdout)["plugins"]
    assert listed == [plugin.to_json() for plugin in list_plugins()]
    assert "canarycore_acme.mesh:AcmeMesh" in run("plugins").stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("text", "a declaration of type str, expected PluginDeclaration"),
        ("raises", "cannot be loaded: RuntimeError: no licence"),
        ("narrow", "a factory that refuses the arguments"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_listed_with_its_problem(broken, name, text):
    (plugin,) = (plugin for plugin in list_plugins() if plugin.name == name)
    assert text in plugin.problem
    result = run("plugins")
    assert result.exit_code == 1
    assert text in " ".join(result.stdout.split())


def test_a_plugin_is_known_to_lint_and_resolve(acme):
    documents = [
        canary(provider="acme", analysis={"mirror": True, "webhooks": [{"name": "gate", "url": "acme://gates/a"}]}),
        template(type="acme"),
        alert_provider(type="acme"),
    ]
    assert {problem.rule for problem in lint(documents)} == {
        *("unknown-provider", "unknown-metric-provider", "unknown-alert-provider", "bad-url"),
    }
    installed = find_installed_providers()
    assert lint(documents, installed=installed) == ()
    resolved = resolve(parse(documents[0]), proxy_delay=find_proxy_delay, installed=installed)
    assert resolved.ladder.mirror
    assert load_mesh(resolved.provider).queries


def test_a_plugin_is_known_to_the_commands_of_a_manifest(acme, tmp_path):
    file = tmp_path / "canary.yaml"
    file.write_text(json.dumps(canary(provider="acme")))
    assert run("lint", str(file)).exit_code == 0
    assert run("simulate", str(file), "--runs", "10").exit_code == 0


def test_an_installation_grants_the_declared_rights_and_applies_the_definitions(acme):
    install = InstallOptions(providers=("acme",), plugins=("metric/reader",))
    bodies = objects(install)
    (role,) = (body for body in bodies if body["kind"] == "ClusterRole")
    assert {
        "apiGroups": ["acme.example"],
        "resources": ["trafficshares"],
        "verbs": ["list", "watch", "create", "patch", "delete"],
    } in role["rules"]
    assert {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]} in role["rules"]
    assert "trafficshares.acme.example" in [body["metadata"]["name"] for body in bodies]
    names = [(body["kind"], body["metadata"]["name"]) for body in bodies]
    definition = names.index(("CustomResourceDefinition", "trafficshares.acme.example"))
    assert definition < names.index(("ClusterRole", "canarycore"))
    assert InstallOptions.from_settings(install.settings(), namespace=install.namespace) == install


def test_an_installation_without_the_plugin_grants_it_nothing(acme):
    assert not [rule for rule in rules(["istio"]) if "acme.example" in rule["apiGroups"]]
    assert not [body for body in objects(InstallOptions()) if body["metadata"]["name"].endswith("acme.example")]


def test_the_command_of_an_installation_takes_plugins(acme):
    result = run("install", "--export", "--provider", "acme", "--plugin", "metric/reader")
    assert result.exit_code == 0
    assert "trafficshares.acme.example" in result.stdout
    assert "--mesh-provider=acme" in result.stdout
    for arguments in (("--provider", "acne"), ("--plugin", "metric/acne"), ("--plugin", "reader")):
        assert run("install", "--export", *arguments).exit_code == 2


def test_the_admission_policy_knows_the_capabilities_of_a_plugin(acme):
    policy, _ = admission("acme")
    text = json.dumps(policy)
    assert "acme" in next(each["expression"] for each in policy["spec"]["variables"] if each["name"] == "meshes")
    (affinity,) = (each for each in policy["spec"]["validations"] if "[no-affinity]" in each["message"])
    (mirror,) = (each for each in policy["spec"]["validations"] if "[no-mirror]" in each["message"])
    assert "'acme'" in affinity["expression"]
    assert "'acme'" not in mirror["expression"]
    assert "acme://" in text


async def test_hooks_go_to_the_plugin_of_their_scheme(acme):
    class Web:
        async def call(self, _, question):
            return HookAnswer(passed=False, text=f"web {question.hook.url}")

    def question(url):
        hook = Hook(name="gate", type=HookType.CONFIRM_ROLLOUT, url=url)
        return HookQuestion("key", hook, Phase.PROGRESSING, "two")

    wrapped = []

    def wrap(scheme, port):
        wrapped.append(scheme)
        return port

    async with SchemeHooks(Web(), AllowedHosts(), wrap=wrap) as hooks:
        assert (await hooks.call(rollout(), question("acme://gates/a"))).passed
        assert (await hooks.call(rollout(), question("ACME://gates/b"))).passed
        for url in ("http://host/a", "HTTPS://host/a", "unknown://host/a", "no address"):
            assert (await hooks.call(rollout(), question(url))).text == f"web {url}"
    assert wrapped == ["http", "acme"]


def test_a_plugin_that_declares_nothing_has_the_defaults(acme):
    assert load_declaration("metrics", "acme") == PluginDeclaration()
    with pytest.raises(UnknownProvider):
        load_declaration("metrics", "acne")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: AccessRight("*", "pods"), r"found \*"),
        (lambda: AccessRight("", "pods", ("*",)), r"found \*"),
        (lambda: AccessRight("", "pods", ()), "verbs"),
        (lambda: AccessRight("", "pods", "get"), "verbs"),
        (lambda: AccessRight("", ""), "resource"),
        (lambda: PluginDeclaration(rights=AccessRight("", "pods")), "rights"),
        (lambda: PluginDeclaration(rights=[("", "pods")]), "rights"),
        (lambda: PluginDeclaration(capabilities={"mirror": True}), "capabilities"),
        (lambda: PluginDeclaration(definitions=({"kind": "Namespace"},)), "'Namespace', expected Custom"),
    ],
)
def test_a_wrong_declaration_is_an_error_at_construction(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()


@pytest.mark.parametrize("text", ["", "metric", "metric/", "/acme", "metrics/acme", "pod/acme"])
def test_a_name_of_another_form_is_an_error_with_the_kinds(text):
    with pytest.raises(ValueError, match="KIND/NAME with a kind of mesh, metric"):
        parse_plugin_name(text)


def test_a_factory_with_other_arguments_is_an_error_that_names_them(broken):
    with pytest.raises(BrokenAdapter, match=r"expected one that takes \(address, .*MetricSourceFactory documents"):
        check_factory("metrics", "narrow", load("metrics", "narrow"))


def test_our_own_factories_take_the_arguments_of_the_controller():
    for plugin in list_plugins():
        if plugin.name not in {"webhook", "local"}:
            check_factory(plugin.port, plugin.name, load(plugin.port, plugin.name))


def test_a_rollout_of_an_unknown_mesh_keeps_its_mirror():
    resolved = resolve(parse(canary(provider="acme", analysis={"mirror": True})))
    assert evolve(resolved.ladder, mirror=False) != resolved.ladder
