"""ConfigMaps and Secrets: their places in a pod spec, their contents, their copies."""

from copy import deepcopy

import pytest

from canarycore_kubernetes.api.kinds import CONFIG_MAP, SECRET
from canarycore_kubernetes.workloads.configs import (
    ConfigUse,
    config_facts,
    config_places,
    copy_names,
    overwritten_config,
    primary_config,
    restored_config,
    saved_config,
    use_copies,
    used_configs,
)
from tests.adapters.kubernetes.golden import OWNER

NAMED = {
    "volumes": [
        {"name": "a", "configMap": {"name": "volume"}},
        {"name": "b", "secret": {"secretName": "volume", "optional": True}},
        {
            "name": "c",
            "projected": {
                "sources": [
                    {"configMap": {"name": "projected"}},
                    {"secret": {"name": "projected"}},
                    {"serviceAccountToken": {"path": "token"}},
                ]
            },
        },
        {"name": "d", "emptyDir": {}},
    ],
    "containers": [
        {
            "name": "app",
            "env": [
                {"name": "PLAIN", "value": "1"},
                {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "from"}}, {"secretRef": {"name": "from", "optional": True}}],
        },
        {"name": "side"},
    ],
    "initContainers": [
        {"name": "init", "envFrom": [{"secretRef": {"name": "init"}}, {"configMapRef": {"name": "volume"}}]}
    ],
}

EVERYWHERE = {
    *((CONFIG_MAP, name) for name in ("volume", "projected", "env", "from")),
    *((SECRET, name) for name in ("volume", "projected", "env", "from", "init")),
}


def test_all_places_of_a_pod_spec_that_name_a_config_are_found():
    assert {(use.kind, use.name) for use in used_configs(config_places(NAMED))} == EVERYWHERE


def test_a_config_is_required_where_one_of_its_places_requires_it():
    optional = {"containers": [{"name": "app", "envFrom": [{"secretRef": {"name": "s", "optional": True}}]}]}
    both = {**optional, "initContainers": [{"name": "init", "envFrom": [{"secretRef": {"name": "s"}}]}]}
    assert used_configs(config_places(optional)) == (ConfigUse(SECRET, "s", is_required=False),)
    assert used_configs(config_places(both)) == (ConfigUse(SECRET, "s", is_required=True),)


def test_a_primary_names_the_copies_in_all_places():
    spec = deepcopy(NAMED)
    use_copies(spec, {(kind.kind, name): f"{name}-primary" for kind, name in EVERYWHERE})
    named = {(use.kind, use.name) for use in used_configs(config_places(spec))}
    assert named == {(kind, f"{name}-primary") for kind, name in EVERYWHERE}


def test_a_shared_config_keeps_its_name():
    spec = deepcopy(NAMED)
    use_copies(spec, {("Secret", "env"): "env-primary"})
    named = {(use.kind, use.name) for use in used_configs(config_places(spec))}
    assert named == EVERYWHERE - {(SECRET, "env")} | {(SECRET, "env-primary")}


# ----------------------------------------------------------------------------------------------------------- contents


def config(name="env", kind="ConfigMap", *, annotations=None, owners=(), **parts):
    metadata = {"name": name, "namespace": "default", "annotations": annotations or {}, "ownerReferences": [*owners]}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **parts}


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        ({"color": "blue"}, "f234cb93c08ad64e"),
        (None, "74234e98afe7498f"),
        ({"page": "<b>&amp;</b>"}, "bec42bd35eeee35b"),
        ({"é": '\u2028x\u0001\b\f\n\t"\\'}, "2aec92acb92ad5e9"),
    ],
)
def test_checksums_equal_flaggers(data, checksum):
    """Eight bytes of SHA-256 over JSON in Go's form. Go computed these values."""
    assert config_facts(config(data=data)).checksum == checksum


def test_binary_data_changes_our_checksum_and_not_flaggers():
    text, both = config(data={"a": "1"}), config(data={"a": "1"}, binaryData={"b": "AA=="})
    assert config_facts(text).checksum == config_facts(text).text == config_facts(both).text
    assert config_facts(both).checksum not in {config_facts(text).checksum, config_facts(both).text}


@pytest.mark.parametrize(
    ("body", "shared"),
    [
        (config(), False),
        (config(annotations={"flagger.app/config-tracking": "disabled"}), True),
        (config(annotations={"flagger.app/config-tracking": "disable"}), True),
        (config(annotations={"flagger.app/config-tracking": "enabled"}), False),
        (config(kind="Secret", type="Opaque"), False),
        (config(kind="Secret", type="kubernetes.io/tls"), False),
        (config(kind="Secret", type="kubernetes.io/basic-auth"), False),
        (config(kind="Secret", type="kubernetes.io/ssh-auth"), False),
        (config(kind="Secret", type="kubernetes.io/dockerconfigjson"), True),
        (config(kind="Secret", type="kubernetes.io/service-account-token"), True),
    ],
)
def test_configs_that_opt_out_and_registry_credentials_are_shared(body, shared):
    assert config_facts(body).is_shared is shared


def test_the_name_and_the_owner_identify_a_copy():
    assert config_facts(config("env-primary", owners=[OWNER])).ownership.canaries == ("podinfo",)
    assert config_facts(config("env-primary")).ownership.canaries == ()


def test_equal_facts_are_one_object():
    before = config_facts(config(data={"a": "1"}))
    assert config_facts(config(data={"a": "1"}, annotations={"note": "new"}), before) is before


# ----------------------------------------------------------------------------------------------------------- the copies


def test_a_copy_has_its_originals_content_and_belongs_to_the_canary():
    original = config(kind="Secret", type="kubernetes.io/tls", data={"tls.crt": "AA=="}, annotations={"note": "mine"})
    original["metadata"]["labels"] = {"team": "web", "toolkit.fluxcd.io/x": "1", "tier": "front"}
    assert primary_config(original, OWNER, ("te", "tool"), name="env-primary") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "env-primary",
            "namespace": "default",
            "labels": {"team": "web"},
            "ownerReferences": [OWNER],
        },
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": "AA=="},
    }


def test_binary_data_is_copied():
    assert primary_config(config(binaryData={"logo": "AA=="}), OWNER, (), name="env-primary")["binaryData"] == {
        "logo": "AA=="
    }


def test_further_owners_of_a_copy_stay_and_the_writer_is_its_controller():
    other = OWNER | {"name": "other", "uid": "2"}
    existing = config("env-primary", owners=[other, OWNER | {"uid": "of before"}])
    owners = primary_config(config(), OWNER, (), name="env-primary", copy=existing)["metadata"]["ownerReferences"]
    assert owners == [OWNER, other | {"controller": False}]


def test_an_overwritten_copy_has_only_the_new_content_and_the_labels_of_others():
    existing = config("env-primary", data={"old": "1"}, binaryData={"old": "AA=="})
    existing["metadata"] |= {"labels": {"cost-centre": "42"}, "resourceVersion": "7"}
    after = overwritten_config(
        existing, primary_config(config(data={"new": "1"}), OWNER, (), name="env-primary", copy=existing)
    )
    assert after["data"] == {"new": "1"}
    assert "binaryData" not in after
    assert after["metadata"]["labels"] == {"cost-centre": "42"}
    assert after["metadata"]["ownerReferences"] == [OWNER]
    assert after["metadata"]["resourceVersion"] == "7"


def test_a_saved_config_restores_its_exact_content():
    before = config("env-primary", data={"a": "1"}, binaryData={"b": "AA=="}, owners=[OWNER])
    saved = saved_config(before, OWNER, "podinfo-primary", copy="env-primary")
    now = config("env-primary", data={"c": "2"}, owners=[OWNER])
    assert saved["metadata"]["name"] == f"env-primary-{config_facts(before).checksum}"
    assert saved["metadata"]["labels"] == {"canarycore/kept-for": "podinfo-primary"}
    assert config_facts(restored_config(now, saved)) == config_facts(before)


@pytest.mark.parametrize("name", ["env", "e" * 245, "e" * 246, "e" * 253])
def test_the_names_of_copies_fit_and_differ_by_canary(name):
    first, second = copy_names(name, "first"), copy_names(name, "second")
    assert first.common == second.common
    assert len({first.common, first.own, second.own}) == 3
    assert all(len(copy) <= 253 and copy.endswith("-primary") for copy in (first.common, first.own, second.own))


def test_a_saved_config_of_a_long_name_has_a_name_and_a_label_that_fit():
    before = config("e" * 253, data={"a": "1"})
    metadata = saved_config(before, OWNER, "p" * 253, copy="e" * 253)["metadata"]
    assert len(metadata["name"]) <= 253
    assert len(metadata["labels"]["canarycore/kept-for"]) <= 63
