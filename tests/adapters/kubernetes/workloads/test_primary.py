"""Primary copies, compared with Flagger's."""

from copy import deepcopy

import pytest

from canarycore.errors import Refused
from canarycore_kubernetes.api.metadata import CONTENTS, KEPT_REVISIONS, REVISION, primary_name
from canarycore_kubernetes.scaling.autoscalers import primary_scaler, with_scale
from canarycore_kubernetes.workloads.configs import config_facts, config_places, primary_config, used_configs
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_facts
from canarycore_kubernetes.workloads.primary import Copying, marked_copy, primary_copy, promoted_copy, restored_copy
from canarycore_kubernetes.workloads.revision import FLAGGER_ID
from canarycore_kubernetes.workloads.service_workload import service_copy, updated_copy
from canarycore_runtime.workloads.written_size import ANNOTATION
from tests.adapters.kubernetes.golden import OWNER, bare, recorded, writings


def copying_for(writing, revision="r"):
    target, trace = writing.original(), writing.trace
    uses = used_configs(config_places(target["spec"]["template"]["spec"]))
    bodies = [writing.there.get(use.kind.kind, use.name) for use in uses]
    tracked = trace.flag("enable-config-tracking", "true") == "true"
    return Copying(
        owner=OWNER,
        revision=revision,
        labels=tuple(trace.flag("selector-labels", "app,name,app.kubernetes.io/name").split(",")),
        prefixes=tuple(trace.flag("include-label-prefix").split(",")),
        copies={
            (body["kind"], body["metadata"]["name"]): primary_name(body["metadata"]["name"])
            for body in bodies
            if tracked and body is not None and not config_facts(body).is_shared
        },
        keeps_replicas=writing.canary.spec.autoscaler_ref is not None,
    )


def workload(writing):
    target, copying = writing.original(), copying_for(writing)
    return (
        primary_copy(target, copying) if writing.before is None else promoted_copy(writing.before, target, copying, ())
    )


def config(writing):
    prefixes = tuple(writing.trace.flag("include-label-prefix").split(","))
    original = writing.original()
    name = primary_name(original["metadata"]["name"])
    return primary_config(original, OWNER, prefixes, name=name, copy=writing.before)


def scaler(writing):
    copy = primary_scaler(writing.original(), writing.canary, OWNER)
    return copy if writing.before is None else with_scale(writing.before, copy)


def service(writing):
    copy = service_copy(writing.original(), writing.name, OWNER)
    return copy if writing.before is None else updated_copy(writing.before, copy, {})


OURS = {
    "Deployment": workload,
    "DaemonSet": workload,
    "ConfigMap": config,
    "Secret": config,
    "HorizontalPodAutoscaler": scaler,
    "ScaledObject": scaler,
}


@pytest.mark.parametrize("folder", recorded())
def test_every_copy_equals_flaggers_copy_of_the_same_target(folder):
    """Copies are equal at creation and at promotion, except annotations, labels and owners that Flagger removes."""
    compared = 0
    for writing in filter(is_a_copy, writings(folder)):
        theirs, ours = writing.after, OURS.get(writing.kind, service)(writing)
        if writing.before is not None:
            theirs = theirs | {"metadata": writing.before["metadata"] | theirs["metadata"] | _annotated(ours)}
        assert bare(ours) == bare(theirs), f"{writing.kind} {writing.name}"
        compared += 1
    assert compared or folder.name.startswith(WITHOUT_COPIES), "a trace without a copy shows nothing"


def _annotated(body):
    return {"annotations": body["metadata"].get("annotations", {})}


WITHOUT_COPIES = ("25-", "38-")
"""Traces without copies: of a Knative Service, and of a Service that Flagger cannot copy."""


def is_a_copy(writing):
    if writing.kind == "Service":
        return writing.canary.spec.target_ref.kind == "Service" and writing.name.endswith(("-primary", "-canary"))
    return writing.name.endswith("-primary")


# ---------------------------------------------------------------------------------------------------------- promotion


def deployment(name="podinfo", *, labels=None, annotations=None, template=None, **spec):
    pods = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "podinfo:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template or pods, **spec},
    }


def with_pods(target, **pod_spec):
    changed = deepcopy(target)
    changed["spec"]["template"]["spec"].update(pod_spec)
    return changed


COPYING = Copying(owner=OWNER, revision="one")


def test_a_promotion_changes_only_fields_that_come_from_the_target():
    primary = primary_copy(deployment(annotations={"note": "mine"}), COPYING)
    primary["metadata"]["labels"]["cost-centre"] = "42"
    primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "7"
    primary["spec"]["paused"] = False
    after = promoted_copy(primary, with_pods(deployment(), serviceAccountName="new"), COPYING, ())
    assert after["metadata"]["labels"] == {"app": "podinfo-primary", "cost-centre": "42"}
    assert (
        after["metadata"]["annotations"] | {"note": "mine", "deployment.kubernetes.io/revision": "7"}
        == (after["metadata"]["annotations"])
    )
    assert after["spec"]["paused"] is False
    assert after["spec"]["template"]["spec"]["serviceAccountName"] == "new"


def test_a_promotion_removes_fields_that_the_target_has_lost():
    primary = primary_copy(with_pods(deployment(minReadySeconds=5), hostNetwork=True), COPYING)
    after = promoted_copy(primary, deployment(), COPYING, ())
    assert "hostNetwork" not in after["spec"]["template"]["spec"]
    assert after["spec"].get("minReadySeconds") is None


def with_size(text, replicas):
    target = deployment()
    target["spec"]["replicas"] = replicas
    target["metadata"].setdefault("annotations", {})[ANNOTATION] = text
    return target


@pytest.mark.parametrize(("replicas", "own"), [(1, 5), (0, 5), (7, 7)])
def test_a_promotion_copies_the_owners_number_and_not_the_size_of_a_step(replicas, own):
    target = with_size("replicas=1,own=5", replicas)
    fresh, promoted = (
        primary_copy(target, COPYING),
        promoted_copy(primary_copy(deployment(), COPYING), target, COPYING, ()),
    )
    assert [copy["spec"]["replicas"] for copy in (fresh, promoted)] == [own, own]
    assert not any(ANNOTATION in copy["metadata"]["annotations"] for copy in (fresh, promoted))


@pytest.mark.parametrize(
    "text", ["", "replicas=1", "replicas=x,own=5", "replicas=1,own=99999999999", "own=5,replicas=1"]
)
def test_a_record_that_is_none_counts_for_nothing(text):
    assert primary_copy(with_size(text, 3), COPYING)["spec"]["replicas"] == 3


@pytest.mark.parametrize(("autoscaled", "replicas"), [(False, 2), (True, 9)])
def test_replicas_are_promoted_unless_an_autoscaler_sets_them(autoscaled, replicas):
    primary = primary_copy(deployment(), COPYING)
    primary["spec"]["replicas"] = 9
    copying = Copying(owner=OWNER, revision="two", keeps_replicas=autoscaled)
    assert promoted_copy(primary, deployment(), copying, ())["spec"]["replicas"] == replicas


def test_a_target_at_zero_leaves_its_primarys_replicas():
    primary = primary_copy(deployment(replicas=0), COPYING)
    assert primary["spec"]["replicas"] == 1
    assert promoted_copy(primary, deployment(replicas=0), COPYING, ())["spec"]["replicas"] == 1


def test_the_pods_restart_once_per_revision_even_if_only_configs_changed():
    ids = [
        primary_copy(deployment(), Copying(owner=OWNER, revision=revision))["spec"]["template"]["metadata"][
            "annotations"
        ][FLAGGER_ID]
        for revision in ("one", "two", "one")
    ]
    assert ids[0] == ids[2] != ids[1]


def test_annotations_of_a_copy_name_its_revision_and_its_saved_revisions():
    primary = primary_copy(deployment(), Copying(owner=OWNER, revision="one", contents=("configmap/env:1",)))
    after = promoted_copy(primary, deployment(), Copying(owner=OWNER, revision="three"), ("two", "one"))
    annotations = after["metadata"]["annotations"]
    assert primary["metadata"]["annotations"] == {REVISION: "one", CONTENTS: "configmap/env:1"}
    assert annotations == {REVISION: "three", KEPT_REVISIONS: "two,one"}
    marks = {REVISION: "four", CONTENTS: "configmap/env:2,secret/keys:3"}
    assert (
        marked_copy(after, "four", ("configmap/env:2", "secret/keys:3"))["metadata"]["annotations"]
        == annotations | marks
    )


def test_a_restored_copy_has_the_saved_template_and_keeps_all_else():
    first = primary_copy(deployment(), COPYING)
    after = promoted_copy(
        first, with_pods(deployment(), hostNetwork=True), Copying(owner=OWNER, revision="two"), ("one",)
    )
    after["spec"]["paused"] = False
    back = restored_copy(after, first["spec"]["template"], "one", ("configmap/env:1",), {})
    assert back["spec"] == after["spec"] | {"template": first["spec"]["template"]}
    assert back["metadata"]["annotations"] == {REVISION: "one", CONTENTS: "configmap/env:1", KEPT_REVISIONS: "one"}


# ----------------------------------------------------------------------------------------------------------- contents


def test_labels_with_a_prefix_are_copied_except_those_of_gitops_tools():
    labels = {"team": "web", "app": "podinfo", "tier": "front", "kustomize.toolkit.fluxcd.io/name": "apps"}
    annotations = {"note": "mine", "kustomize.toolkit.fluxcd.io/checksum": "1"}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    target = deployment(labels=labels, annotations=annotations | applied)
    target["spec"]["template"]["metadata"]["annotations"] = annotations
    some = primary_copy(target, Copying(owner=OWNER, revision="one", prefixes=("te",)))
    all_of_them = primary_copy(target, Copying(owner=OWNER, revision="one", prefixes=("*",)))
    assert some["metadata"]["labels"] == {"app": "podinfo-primary", "team": "web"}
    assert all_of_them["metadata"]["labels"] == {"app": "podinfo-primary", "team": "web", "tier": "front"}
    assert some["metadata"]["annotations"] == {"note": "mine", REVISION: "one"}
    assert some["spec"]["template"]["metadata"]["annotations"].keys() == {"note", FLAGGER_ID}


def test_a_promotion_removes_labels_with_a_prefix_that_the_target_has_lost():
    copying = Copying(owner=OWNER, revision="one", prefixes=("te",))
    primary = primary_copy(deployment(labels={"team": "web"}), copying)
    assert promoted_copy(primary, deployment(), copying, ())["metadata"]["labels"] == {"app": "podinfo-primary"}


@pytest.mark.parametrize(
    ("matched", "label"),
    [
        ({"app": "x", "name": "y"}, ("app", "x-primary")),
        ({"app.kubernetes.io/name": "x"}, ("app.kubernetes.io/name", "x-primary")),
        ({"name": "y", "version": "1"}, ("name", "y-primary")),
    ],
)
def test_the_first_selector_label_selects_the_primarys_pods(matched, label):
    target = deployment(selector={"matchLabels": matched})
    target["spec"]["template"]["metadata"]["labels"] = matched
    copy = primary_copy(target, COPYING)
    assert copy["spec"]["selector"]["matchLabels"] == matched | dict([label])
    assert copy["spec"]["template"]["metadata"]["labels"] == matched | dict([label])


def test_a_selector_without_a_selector_label_is_refused_with_the_remedy():
    with pytest.raises(Refused, match=r"must contain one of \[app name app.kubernetes.io/name\].*--selector-labels"):
        primary_copy(deployment(selector={"matchLabels": {"component": "x"}}), COPYING)


def _keeps_away_from(name):
    selector = {"matchLabels": {"app": name}}
    term = {"labelSelector": selector, "topologyKey": "zone"}
    expressions = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["other", name]}]}
    return {
        "topologySpreadConstraints": [{"labelSelector": selector, "maxSkew": 1}],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": term | {"labelSelector": expressions}}
                ],
                "requiredDuringSchedulingIgnoredDuringExecution": [term],
            },
        },
    }


def test_a_primarys_pods_keep_away_from_each_other_only():
    copy = primary_copy(with_pods(deployment(), **_keeps_away_from("podinfo")), COPYING)
    spec = copy["spec"]["template"]["spec"]
    assert {key: spec[key] for key in _keeps_away_from("")} == _keeps_away_from("podinfo-primary")


def test_affinity_to_other_pods_and_labels_stays():
    to_others = _keeps_away_from("database")
    shared = {"labelSelector": {"matchLabels": {"app.kubernetes.io/name": "podinfo"}}, "topologyKey": "zone"}
    elsewhere = {"labelSelector": {"matchLabels": {"app": "podinfo"}}, "namespaces": ["b"], "topologyKey": "zone"}
    to_others["affinity"]["podAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [shared, elsewhere]}
    spec = primary_copy(with_pods(deployment(), **to_others), COPYING)["spec"]["template"]["spec"]
    assert {key: spec[key] for key in to_others} == to_others


def test_affinity_of_the_apps_pods_to_each_other_is_that_of_the_primarys_pods():
    """At zero the target has no pods: a primary that must join them could not start."""

    def joins(name):
        term = {"labelSelector": {"matchLabels": {"app": name}}, "topologyKey": "zone"}
        terms = [term, term | {"namespaces": ["a", "default"]}, term | {"namespaceSelector": {}}]
        return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}

    copy = primary_copy(with_pods(deployment(), affinity=joins("podinfo")), COPYING)
    assert copy["spec"]["template"]["spec"]["affinity"] == joins("podinfo-primary")


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
@pytest.mark.parametrize("value", ["podinfo", "shop"])
def test_selectors_follow_the_value_of_the_pods_label_and_not_the_workloads_name(kind, value):
    """The primary selects its own pods, and both have one revision: Flagger's copies have no annotation of it."""
    target = deployment(selector={"matchLabels": {"app": value}}) | {"kind": kind}
    target["metadata"] |= {"uid": "1", "generation": 1}
    target["spec"]["template"]["metadata"]["labels"] = {"app": value, "app.kubernetes.io/name": value}
    target = with_pods(target, **_keeps_away_from(value))
    copy = primary_copy(target, COPYING)
    spec = copy["spec"]["template"]["spec"]
    assert {key: spec[key] for key in _keeps_away_from("")} == _keeps_away_from(f"{value}-primary")
    copy["metadata"] |= {"uid": "2", "generation": 1}
    shapes = {pod_facts(ReadingOptions(), body).template.shape for body in (target, copy)}
    assert len(shapes) == 1


def daemon_set(**spec):
    return deployment() | {"kind": "DaemonSet", "spec": {**deployment()["spec"], **spec}}


def test_a_daemon_sets_primary_has_its_targets_nodes_even_if_that_is_at_zero():
    selector = {"disk": "ssd", "flagger.app/scale-to-zero": "true"}
    copy = primary_copy(with_pods(daemon_set(), nodeSelector=selector), COPYING)
    alone = primary_copy(with_pods(daemon_set(), nodeSelector={"flagger.app/scale-to-zero": "true"}), COPYING)
    assert copy["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert "nodeSelector" not in alone["spec"]["template"]["spec"]
    assert "replicas" not in copy["spec"]


def test_a_daemon_set_with_another_strategy_than_rolling_update_is_refused():
    with pytest.raises(Refused, match="must have RollingUpdate strategy but have OnDelete"):
        primary_copy(daemon_set(updateStrategy={"type": "OnDelete"}), COPYING)
