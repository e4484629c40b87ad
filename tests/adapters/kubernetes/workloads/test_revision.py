"""The revision of a workload."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore_kubernetes.api.kinds import CONFIG_MAP, SECRET
from canarycore_kubernetes.workloads.configs import ConfigUse, config_facts
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_facts, revisions
from canarycore_kubernetes.workloads.primary import Copying, primary_copy
from canarycore_kubernetes.workloads.revision import digest, fingerprint, without_defaults
from tests.adapters.kubernetes.golden import OWNER, recorded, writings
from tests.adapters.kubernetes.workloads.test_primary import deployment, with_pods

READING = ReadingOptions(clock=lambda: 0.0)

WRITTEN = {
    "metadata": {"labels": {"app": "podinfo"}, "annotations": {"prometheus.io/scrape": "true"}},
    "spec": {
        "serviceAccountName": "podinfo",
        "containers": [
            {
                "name": "app",
                "image": "podinfo:6.0.0",
                "ports": [{"containerPort": 9898}],
                "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "readinessProbe": {"httpGet": {"port": 9898}},
            },
            {"name": "side", "image": "registry:5000/side"},
        ],
        "volumes": [{"name": "files", "configMap": {"name": "files"}}, {"name": "scratch", "emptyDir": {}}],
    },
}

STORED = {
    "metadata": {
        "creationTimestamp": None,
        "labels": {"app": "podinfo"},
        "annotations": {"prometheus.io/scrape": "true"},
    },
    "spec": {
        "serviceAccountName": "podinfo",
        "serviceAccount": "podinfo",
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "containers": [
            {
                "name": "app",
                "image": "podinfo:6.0.0",
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 9898, "protocol": "TCP"}],
                "env": [
                    {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}
                ],
                "readinessProbe": {
                    "httpGet": {"port": 9898, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            },
            {
                "name": "side",
                "image": "registry:5000/side",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            },
        ],
        "volumes": [
            {"name": "files", "configMap": {"name": "files", "defaultMode": 420}},
            {"name": "scratch", "emptyDir": {}},
        ],
    },
}


def test_defaults_of_the_api_server_are_no_part_of_a_revision():
    assert fingerprint(WRITTEN) == fingerprint(STORED)


def changed(path, value):
    template = deepcopy(WRITTEN)
    *outer, last = path
    inner = template
    for step in outer:
        inner = inner[step]
    inner[last] = value
    return template


@pytest.mark.parametrize(
    "template",
    [
        changed(["spec", "containers", 0, "image"], "podinfo:6.0.1"),
        changed(["spec", "containers", 0, "imagePullPolicy"], "Always"),
        changed(["spec", "containers", 0, "readinessProbe", "periodSeconds"], 5),
        changed(["spec", "containers", 0, "securityContext"], {"readOnlyRootFilesystem": False}),
        changed(["spec", "volumes", 0, "configMap"], {"name": "files", "defaultMode": 256}),
        changed(["spec", "volumes", 0, "configMap"], {"name": "files", "optional": True}),
        changed(["spec", "automountServiceAccountToken"], False),
        changed(["spec", "terminationGracePeriodSeconds"], 0),
        changed(["metadata", "labels", "tier"], "front"),
        changed(["metadata", "annotations", "kubectl.kubernetes.io/restartedAt"], "now"),
        changed(["spec", "topologySpreadConstraints"], [{"labelSelector": {}}]),
    ],
)
def test_a_change_of_the_owner_is_another_revision(template):
    assert fingerprint(template) != fingerprint(WRITTEN)


def test_an_empty_selector_differs_from_a_missing_one():
    some = [
        fingerprint(changed(["spec", "topologySpreadConstraints"], [reduced]))
        for reduced in ({"labelSelector": {}}, {})
    ]
    assert some[0] != some[1]


@pytest.mark.parametrize(
    "template",
    [
        changed(["metadata", "annotations", "kustomize.toolkit.fluxcd.io/checksum"], "1"),
        changed(["metadata", "labels", "kustomize.toolkit.fluxcd.io/name"], "apps"),
        changed(["metadata", "annotations", "flagger-id"], "1"),
        changed(["spec", "nodeSelector"], {"flagger.app/scale-to-zero": "true"}),
        changed(["spec", "nodeSelector"], {}),
    ],
)
def test_our_metadata_and_that_of_gitops_tools_is_no_revision(template):
    assert fingerprint(template) == fingerprint(WRITTEN)


@pytest.mark.parametrize("key", ["example.com/of-toolkit.fluxcd.io", "mytoolkit.fluxcd.io/x"])
def test_an_annotation_that_only_names_a_gitops_tool_is_the_owners(key):
    assert fingerprint(changed(["metadata", "annotations", key], "1")) != fingerprint(WRITTEN)


def test_a_fingerprint_leaves_its_template_unchanged():
    before = deepcopy(STORED)
    fingerprint(STORED)
    without_defaults(STORED)
    assert before == STORED


def test_the_contents_of_configs_belong_to_a_revision():
    reduced = fingerprint(WRITTEN)
    assert reduced.configs == (ConfigUse(CONFIG_MAP, "files"),)
    assert fingerprint(WRITTEN, tracked=False).configs == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.randoms(use_true_random=False))
def test_a_hash_ignores_the_order_of_keys(value, random):
    assert digest(_shuffled(value, random)) == digest(value)


def _shuffled(value, random):
    if isinstance(value, list):
        return [_shuffled(item, random) for item in value]
    if not isinstance(value, dict):
        return value
    items = [(key, _shuffled(item, random)) for key, item in value.items()]
    random.shuffle(items)
    return dict(items)


# ------------------------------------------------------------------------------------------------- targets and copies


def facts(body):
    return pod_facts(READING, {**body, "metadata": {"uid": "u", **body["metadata"]}})


def config_facts_of(bodies, *workloads):
    """Return the facts of the configs that the workloads name."""
    facts_by_name = {(body["kind"], body["metadata"]["name"]): config_facts(body) for body in bodies}
    return {
        use: facts_by_name.get((use.kind.kind, use.name))
        for workload in workloads
        for use in facts(workload).template.configs
    }


def revisions_of(target, primary, *configs):
    return revisions(facts(target), facts(primary), config_facts_of(configs, target), config_facts_of(configs, primary))


@pytest.mark.parametrize("folder", recorded())
def test_a_primary_of_flaggers_has_its_targets_revision(folder):
    """So adopting it needs no write."""
    compared = 0
    for writing in writings(folder):
        if writing.kind in {"Deployment", "DaemonSet"} and writing.name.endswith("-primary"):
            configs = [*writing.there.of_kind("ConfigMap"), *writing.there.of_kind("Secret")]
            target, primary = revisions_of(writing.original(), writing.after, *configs)
            assert target == primary, writing.name
            compared += 1
    assert compared or folder.name.startswith(("25", "38-")), "a trace without a primary shows nothing"


def config(name, kind="ConfigMap", *, copy=False, **parts):
    metadata = {"name": name, "namespace": "default"} | ({"ownerReferences": [OWNER]} if copy else {})
    return {"kind": kind, "metadata": metadata, "data": {"key": "one"}, **parts}


def reads(*names, kind="configMapRef"):
    containers = [{"name": "app", "image": "podinfo:1", "envFrom": [{kind: {"name": name}} for name in names]}]
    return with_pods(deployment(), containers=containers)


def copied(target, *configs, revision=""):
    """Return the target's primary; one of Flagger's if no revision is given."""
    named = {(body["kind"], body["metadata"]["name"]): config_facts(body).checksum for body in configs}
    config_facts_of = tuple(f"{kind.lower()}/{name}:{checksum}" for (kind, name), checksum in named.items())
    copies = {(kind, name): f"{name}-primary" for kind, name in named}
    primary = primary_copy(target, Copying(owner=OWNER, revision=revision, contents=config_facts_of, copies=copies))
    if not revision:
        primary["metadata"]["annotations"].clear()
    return primary


def test_a_changed_config_is_a_new_revision_of_the_target_alone():
    env = config("env")
    target, primary = reads("env"), copied(reads("env"), env)
    same = revisions_of(target, primary, env, config("env-primary", copy=True))
    changed_one = revisions_of(target, primary, env | {"data": {"key": "two"}}, config("env-primary", copy=True))
    assert same[0] == same[1] == changed_one[1] != changed_one[0]


def test_a_shared_config_changes_no_revision():
    annotations = {"flagger.app/config-tracking": "disabled"}
    env = config("env", metadata={"name": "env", "namespace": "default", "annotations": annotations})
    one = revisions_of(reads("env"), copied(reads("env")), env)
    two = revisions_of(reads("env"), copied(reads("env")), env | {"data": {"key": "two"}})
    assert one == two
    assert one[0] == one[1]


def test_binary_data_belongs_to_a_revision_from_our_first_promotion_on():
    """Flagger ignores binary data, so its primaries lack it without being another revision."""
    env, copy = config("env", binaryData={"logo": "AA=="}), config("env-primary", copy=True)
    target = reads("env")
    theirs = revisions_of(target, copied(target, env), env, copy)
    ours = revisions_of(target, copied(target, env, revision="r"), env)
    another = revisions_of(target, copied(target, env, revision="r"), env | {"binaryData": {"logo": "AAA="}})
    assert theirs[0] == theirs[1]
    assert ours == ("r", "r")
    assert another[0] != another[1] == "r"


def test_overwritten_copies_do_not_give_the_primary_the_targets_revision():
    """In the middle of a promotion of a config alone, the primary's pods still run on its old content."""
    before, now = config("env"), config("env", data={"key": "two"})
    primary = copied(reads("env"), before, revision="r")
    target, carries = revisions_of(reads("env"), primary, now, config("env-primary", copy=True, data={"key": "two"}))
    assert target != carries == "r"


def test_a_target_equal_to_its_primary_has_the_primarys_annotated_revision():
    """So neither more defaults of a newer Kubernetes nor a newer hash of ours starts a rollout."""
    newer = with_pods(deployment(), someNewDefault="on")
    assert revisions_of(newer, copied(newer, revision="of old")) == ("of old", "of old")


def test_a_primary_changed_by_hand_keeps_its_annotated_revision():
    target = deployment()
    by_hand = copied(with_pods(target, hostNetwork=True), revision="r")
    assert revisions_of(target, by_hand)[1] == "r"


def test_a_missing_copy_counts_as_no_copy():
    env = config("env")
    target, primary = revisions_of(reads("env"), copied(reads("env"), env), env)
    assert target != primary


def test_a_secret_and_a_config_map_of_one_name_are_two_configs():
    one = revisions_of(reads("env"), copied(reads("env")), config("env"))
    two = revisions_of(
        reads("env", kind="secretRef"), copied(reads("env", kind="secretRef")), config("env", "Secret", type="Opaque")
    )
    assert one[0] != two[0]
    assert facts(reads("env", kind="secretRef")).template.configs == (ConfigUse(SECRET, "env"),)


@pytest.mark.parametrize("length", [54, 55, 56, 63])
def test_a_primary_whose_label_is_shortened_has_its_targets_shape(length):
    """So another hash of a newer version starts no rollout."""
    value = "a" * length
    target = deployment()
    target["metadata"]["name"] = value
    target["spec"]["selector"]["matchLabels"] = target["spec"]["template"]["metadata"]["labels"] = {"app": value}
    selector = {
        "matchLabels": {"app": value},
        "matchExpressions": [{"key": "app", "operator": "In", "values": [value]}],
    }
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    target["spec"]["template"]["spec"]["topologySpreadConstraints"] = [spread]
    primary = primary_copy(target, Copying(owner=OWNER, revision="r"))
    labels = primary["spec"]["template"]["metadata"]["labels"]
    spread = primary["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]
    assert primary["spec"]["selector"]["matchLabels"] == labels == spread["matchLabels"]
    assert spread["matchExpressions"][0]["values"] == [labels["app"]]
    assert len(labels["app"]) <= 63
    assert facts(primary).template.shape == facts(target).template.shape
