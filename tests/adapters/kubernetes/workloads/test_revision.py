"""The revision of what an owner wrote."""

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


def test_what_the_api_server_fills_in_is_no_part_of_a_revision():
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
def test_what_an_owner_changes_is_another_revision(template):
    assert fingerprint(template) != fingerprint(WRITTEN)


def test_an_empty_selector_is_something_else_than_none():
    some = [
        fingerprint(changed(["spec", "topologySpreadConstraints"], [found])) for found in ({"labelSelector": {}}, {})
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
def test_what_is_written_by_us_or_by_gitops_tools_is_none(template):
    assert fingerprint(template) == fingerprint(WRITTEN)


def test_a_template_is_not_changed_by_being_looked_at():
    before = deepcopy(STORED)
    fingerprint(STORED)
    without_defaults(STORED)
    assert before == STORED


def test_configs_stand_in_a_revision_as_what_they_hold_and_not_only_by_name():
    found = fingerprint(WRITTEN)
    assert found.configs == (ConfigUse(CONFIG_MAP, "files"),)
    assert fingerprint(WRITTEN, tracked=False).configs == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(JSON, st.randoms(use_true_random=False))
def test_the_order_of_keys_is_no_part_of_a_hash(value, random):
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


def held(bodies, *workloads):
    """What is known of the configs that the workloads name."""
    known = {(body["kind"], body["metadata"]["name"]): config_facts(body) for body in bodies}
    return {
        use: known.get((use.kind.kind, use.name)) for workload in workloads for use in facts(workload).template.configs
    }


def carried(target, primary, *configs):
    return revisions(facts(target), facts(primary), held(configs, target), held(configs, primary))


@pytest.mark.parametrize("folder", recorded())
def test_a_primary_that_flagger_made_carries_what_its_target_carries(folder):
    """Nothing has to be written to take it over."""
    compared = 0
    for writing in writings(folder):
        if writing.kind in {"Deployment", "DaemonSet"} and writing.name.endswith("-primary"):
            configs = [*writing.there.of_kind("ConfigMap"), *writing.there.of_kind("Secret")]
            target, primary = carried(writing.original(), writing.after, *configs)
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
    """The target's primary; one of Flagger's if no revision is named."""
    named = {(body["kind"], body["metadata"]["name"]): config_facts(body).checksum for body in configs}
    held = tuple(f"{kind.lower()}/{name}:{checksum}" for (kind, name), checksum in named.items())
    primary = primary_copy(target, Copying(owner=OWNER, revision=revision, contents=held, copied=named))
    if not revision:
        primary["metadata"]["annotations"].clear()
    return primary


def test_a_config_that_changes_is_a_new_revision_of_the_target_alone():
    env = config("env")
    target, primary = reads("env"), copied(reads("env"), env)
    same = carried(target, primary, env, config("env-primary", copy=True))
    changed_one = carried(target, primary, env | {"data": {"key": "two"}}, config("env-primary", copy=True))
    assert same[0] == same[1] == changed_one[1] != changed_one[0]


def test_a_primary_that_shares_a_config_carries_the_same_whatever_it_holds():
    annotations = {"flagger.app/config-tracking": "disabled"}
    env = config("env", metadata={"name": "env", "namespace": "default", "annotations": annotations})
    one = carried(reads("env"), copied(reads("env")), env)
    two = carried(reads("env"), copied(reads("env")), env | {"data": {"key": "two"}})
    assert one == two
    assert one[0] == one[1]


def test_binary_data_belongs_to_a_revision_from_our_first_promotion_on():
    """Flagger neither looks at it nor copies it: its primaries lack it, and are no other revision for that."""
    env, copy = config("env", binaryData={"logo": "AA=="}), config("env-primary", copy=True)
    target = reads("env")
    theirs = carried(target, copied(target, env), env, copy)
    ours = carried(target, copied(target, env, revision="r"), env)
    another = carried(target, copied(target, env, revision="r"), env | {"binaryData": {"logo": "AAA="}})
    assert theirs[0] == theirs[1]
    assert ours == ("r", "r")
    assert another[0] != another[1] == "r"


def test_copies_that_are_already_overwritten_do_not_make_the_target_what_its_primary_carries():
    """In the middle of a promotion of nothing but a config, the primary's pods still run on what it held before."""
    before, now = config("env"), config("env", data={"key": "two"})
    primary = copied(reads("env"), before, revision="r")
    target, carries = carried(reads("env"), primary, now, config("env-primary", copy=True, data={"key": "two"}))
    assert target != carries == "r"


def test_a_target_that_is_as_its_primary_carries_what_the_primary_says():
    """So neither a newer Kubernetes, which fills in more, nor a newer hash of ours starts anything."""
    newer = with_pods(deployment(), someNewDefault="on")
    assert carried(newer, copied(newer, revision="of old")) == ("of old", "of old")


def test_a_primary_that_was_changed_by_hand_carries_what_it_says():
    target = deployment()
    by_hand = copied(with_pods(target, hostNetwork=True), revision="r")
    assert carried(target, by_hand)[1] == "r"


def test_a_copy_that_is_missing_is_no_copy():
    env = config("env")
    target, primary = carried(reads("env"), copied(reads("env"), env), env)
    assert target != primary


def test_a_secret_and_a_config_map_of_one_name_are_two():
    one = carried(reads("env"), copied(reads("env")), config("env"))
    two = carried(
        reads("env", kind="secretRef"), copied(reads("env", kind="secretRef")), config("env", "Secret", type="Opaque")
    )
    assert one[0] != two[0]
    assert facts(reads("env", kind="secretRef")).template.configs == (ConfigUse(SECRET, "env"),)
