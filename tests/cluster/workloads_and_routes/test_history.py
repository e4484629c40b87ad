"""Configs and earlier revisions on a real API server: promotions and their restoration."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from itertools import count, cycle

import pytest

from canarycore.errors import Refused, WorldError
from canarycore_kubernetes.api.client import Unreachable
from canarycore_kubernetes.api.kinds import CONFIG_MAP, CONTROLLER_REVISION, DEPLOYMENT, SECRET
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.workloads.configs import CONFIGS, copy_names
from canarycore_kubernetes.workloads.facts import ReadingOptions
from canarycore_kubernetes.workloads.revision import without_defaults
from tests.cluster.workloads import (
    IMAGES,
    ConfigBench,
    PodBench,
    canary,
    config,
    holding,
    initialised,
    meta,
)


@pytest.fixture
async def configured(opened):
    opted_out = config("shared")
    opted_out["metadata"]["annotations"] = {"flagger.app/config-tracking": "disabled"}
    env = config("env", binaryData={"logo": "AA=="})
    bench = await opened(ConfigBench, canary(), env, config("keys", "Secret", data={"key": "b25l"}), opted_out)
    one = await bench.deploy("one")
    await bench.adapter.initialise(bench.rollout, one)
    return bench


async def test_the_primary_runs_on_copies_of_its_targets_configs(configured):
    spec = configured.body(DEPLOYMENT, "podinfo-primary")["spec"]["template"]["spec"]
    assert spec["containers"][0]["envFrom"] == [{"configMapRef": {"name": "env-primary"}}]
    assert [
        (volume.get("secret") or volume["configMap"]) for volume in without_defaults({"spec": spec})["spec"]["volumes"]
    ] == [
        {"secretName": "keys-primary"},
        {"name": "shared"},
        {"name": "missing", "optional": True},
    ]
    assert holding(configured, CONFIG_MAP, "env-primary") == {"data": {"key": "one"}, "binaryData": {"logo": "AA=="}}
    assert holding(configured, SECRET, "keys-primary") == {"data": {"key": "b25l"}}
    assert configured.body(CONFIG_MAP, "shared-primary") is None


@pytest.mark.parametrize(
    ("kind", "name", "patch"),
    [
        (CONFIG_MAP, "env", {"data": {"key": "two"}}),
        (CONFIG_MAP, "env", {"binaryData": {"logo": "AAA="}}),
        (SECRET, "keys", {"data": {"key": "dHdv"}}),
    ],
)
async def test_promoting_a_changed_config_restarts_the_primary_and_can_be_taken_back(configured, kind, name, patch):
    bench, one = configured, (await configured.seen()).target.revision
    before, template = (
        holding(bench, kind, f"{name}-primary"),
        bench.body(DEPLOYMENT, "podinfo-primary")["spec"]["template"],
    )
    await bench.change(kind, name, patch)
    two = await bench.target_revision()
    assert (await bench.seen()).primary.revision == one != two
    await bench.adapter.promote(bench.rollout, two)
    assert holding(bench, kind, f"{name}-primary") == holding(bench, kind, name) != before
    assert bench.body(DEPLOYMENT, "podinfo-primary")["spec"]["template"] != template
    await bench.adapter.restore_primary(bench.rollout, one)
    assert holding(bench, kind, f"{name}-primary") == before
    assert bench.body(DEPLOYMENT, "podinfo-primary")["spec"]["template"] == template
    seen = await bench.seen()
    assert (seen.primary.revision, seen.target.revision) == (one, two)


async def test_a_config_that_changes_while_it_is_copied_is_not_copied(configured, monkeypatch):
    bench = configured
    await bench.change(CONFIG_MAP, "env", {"data": {"key": "two"}})
    two, before = await bench.target_revision(), holding(bench, CONFIG_MAP, "env-primary")
    read = bench.cluster.get

    async def read_and_change(kind, namespace, name):
        body = await read(kind, namespace, name)
        if (kind, name) == (DEPLOYMENT, "podinfo-primary"):  # the configs have been looked at
            bench.patch(CONFIG_MAP, "env", {"data": {"key": "three"}})
        return body

    monkeypatch.setattr(bench.cluster, "get", read_and_change)
    with pytest.raises(WorldError, match=r"configmap/env in .* has changed while it was copied"):
        await bench.adapter.promote(bench.rollout, two)
    assert holding(bench, CONFIG_MAP, "env-primary") == before


async def test_a_config_that_opted_out_starts_nothing(configured):
    before = (await configured.seen()).target.revision
    await configured.change(CONFIG_MAP, "shared", {"data": {"key": "two"}})
    assert await configured.target_revision() == before


async def test_without_tracking_configs_are_shared_and_start_nothing(opened):
    bench = await opened(
        ConfigBench,
        canary(),
        config("env"),
        config("keys", "Secret", data={}),
        config("shared"),
        reading=ReadingOptions(tracked=False),
    )
    one = await bench.deploy("one")
    await bench.adapter.initialise(bench.rollout, one)
    bench.patch(CONFIG_MAP, "env", {"data": {"key": "two"}})
    assert bench.body(CONFIG_MAP, "env-primary") is None
    assert (await bench.seen()).target.revision == one == await bench.deploy("one")


async def test_a_missing_required_config_is_an_error_that_names_it(opened):
    bench = await opened(ConfigBench, canary(), config("env"), config("shared"))
    bench.api.apply(bench.target(IMAGES["one"]), bench.namespace)
    await bench.caught_up(DEPLOYMENT, bench.view)
    with pytest.raises(
        WorldError, match=rf"secret keys.{bench.namespace} get query error: not found: deployment podinfo needs it"
    ):
        await bench.seen()
    changes = bench.cluster.changes()
    hears = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    bench.api.create(config("keys", "Secret", data={}), bench.namespace)
    assert await asyncio.wait_for(hears, 10) == f"{bench.namespace}/podinfo"
    assert (await bench.seen()).target.revision
    await changes.aclose()


async def test_a_copy_of_another_canary_stays_as_it_is(configured):
    uid = configured.api.create(canary() | {"metadata": meta("other")}, configured.namespace)["metadata"]["uid"]
    other = owner_reference("other", uid)
    configured.patch(CONFIG_MAP, "env-primary", {"metadata": {"ownerReferences": [other]}})
    await configured.caught_up(CONFIG_MAP, CONFIGS[CONFIG_MAP], "env-primary")
    before = configured.body(CONFIG_MAP, "env-primary")
    await configured.change(CONFIG_MAP, "env", {"data": {"key": "two"}})
    await configured.adapter.promote(configured.rollout, await configured.target_revision())
    own = copy_names("env", "podinfo").own
    assert configured.body(CONFIG_MAP, "env-primary") == before
    assert holding(configured, CONFIG_MAP, own) == {"data": {"key": "two"}, "binaryData": {"logo": "AA=="}}
    spec = configured.body(DEPLOYMENT, "podinfo-primary")["spec"]["template"]["spec"]
    assert spec["containers"][0]["envFrom"] == [{"configMapRef": {"name": own}}]


async def test_a_copy_that_another_canary_takes_during_a_promotion_stays_as_it_is(configured):
    await configured.change(CONFIG_MAP, "env", {"data": {"key": "two"}})
    two, merge, others = await configured.target_revision(), configured.cluster.merge, []
    uid = configured.api.create(canary() | {"metadata": meta("other")}, configured.namespace)["metadata"]["uid"]

    async def overtaken(kind, namespace, name, patch):
        if kind is CONFIG_MAP and not others:
            others.append(owner_reference("other", uid))
            configured.patch(kind, name, {"metadata": {"ownerReferences": others}})
        return await merge(kind, namespace, name, patch)

    configured.cluster.merge = overtaken
    await configured.adapter.promote(configured.rollout, two)
    copy = configured.body(CONFIG_MAP, "env-primary")
    assert [owner["name"] for owner in copy["metadata"]["ownerReferences"]] == ["other"]
    assert copy["data"] == {"key": "one"}
    assert holding(configured, CONFIG_MAP, copy_names("env", "podinfo").own)["data"] == {"key": "two"}


# earlier revisions --------------------------------------------------------------------------------------------------


async def test_exactly_two_earlier_revisions_are_saved_with_their_configs(configured):
    bench, revisions = configured, [(await configured.seen()).target.revision]
    for label in ("two", "three", "four"):
        await bench.change(CONFIG_MAP, "env", {"data": {"key": label}})
        await bench.change(SECRET, "keys", {"data": {"key": base64.b64encode(label.encode()).decode()}})
        revisions.append(await bench.deploy(label))
        await bench.adapter.promote(bench.rollout, revisions[-1])
    assert (await bench.seen()).restorable == (revisions[2], revisions[1])
    there = {body["metadata"]["name"] for body in bench.api.list(CONTROLLER_REVISION.path(bench.namespace))}
    assert there == {f"podinfo-primary-{revision}" for revision in revisions[1:3]}
    kept = {
        kind: [
            body["data"]["key"]
            for body in bench.api.list(kind.path(bench.namespace))
            if "canarycore/kept-for" in body["metadata"].get("labels", {})
        ]
        for kind in (CONFIG_MAP, SECRET)
    }
    assert sorted(kept[CONFIG_MAP]) == ["three", "two"]
    assert sorted(base64.b64decode(key) for key in kept[SECRET]) == [b"three", b"two"]
    await bench.adapter.restore_primary(bench.rollout, revisions[1])
    assert holding(bench, CONFIG_MAP, "env-primary")["data"] == {"key": "two"}


async def test_an_interrupted_promotion_leaves_no_outdated_saves(opened, requests):
    bench = await opened(PodBench, canary())
    await initialised(bench)
    labels = cycle(("two", "three", "four", "one"))
    for _ in range(2):  # as many as are kept
        await bench.adapter.promote(bench.rollout, await bench.deploy(next(labels)))
    for number in count(1):
        revision = await bench.deploy(next(labels))
        requests.fail(number, lost=True)
        with suppress(Unreachable):
            await bench.adapter.promote(bench.rollout, revision)
        failed = requests.failed
        requests.fail(0, lost=False)
        await bench.adapter.promote(bench.rollout, revision)
        there = {body["metadata"]["name"] for body in bench.api.list(CONTROLLER_REVISION.path(bench.namespace))}
        assert there == {f"podinfo-primary-{name}" for name in (await bench.seen()).restorable}
        if not failed:
            break
    assert number > 3, "a promotion that keeps and forgets takes three writes"


async def test_saved_revisions_go_with_the_canary(configured):
    await configured.deploy("two")
    await configured.change(SECRET, "keys", {"data": {"key": "dHdv"}})
    await configured.adapter.promote(configured.rollout, await configured.target_revision())
    kept = [
        *configured.api.list(CONTROLLER_REVISION.path(configured.namespace)),
        *(
            body
            for body in configured.api.list(SECRET.path(configured.namespace))
            if body["metadata"]["name"] != "keys"
        ),
    ]
    assert len(kept) == 3
    for body in kept:
        assert [owner["kind"] for owner in body["metadata"]["ownerReferences"]] == ["Canary"]


async def test_the_content_of_a_secret_is_saved_in_secrets_only(configured):
    await configured.change(SECRET, "keys", {"data": {"key": "dHdv"}})
    await configured.adapter.promote(configured.rollout, await configured.target_revision())
    revisions = configured.api.list(CONTROLLER_REVISION.path(configured.namespace))
    assert "b25l" not in json.dumps(revisions)


async def test_restoring_a_deleted_revision_is_refused_and_changes_nothing(configured):
    bench, one = configured, (await configured.seen()).target.revision
    two = await bench.deploy("two")
    await bench.adapter.promote(bench.rollout, two)
    bench.api.delete(CONTROLLER_REVISION.path(bench.namespace, f"podinfo-primary-{one}"))
    with pytest.raises(Refused, match=f"revision {one} of podinfo-primary.{bench.namespace} was not saved"):
        await bench.adapter.restore_primary(bench.rollout, one)
    assert (await bench.seen()).primary.revision == two


# interruptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("label", ["one", "two"], ids=["only configs", "all"])
async def test_a_promotion_interrupted_anywhere_and_repeated_is_the_same_promotion(configured, requests, label, lost):
    """Until its end both sides keep their revisions. It saves the primary's earlier revision."""
    bench, one = configured, (await configured.seen()).primary.revision
    copies = ((CONFIG_MAP, "env-primary"), (SECRET, "keys-primary"))
    before = [holding(bench, *copy) for copy in copies]
    await bench.change(SECRET, "keys", {"data": {"key": "dHdv"}})
    for number in count(1):
        await bench.change(CONFIG_MAP, "env", {"data": {"key": f"for {number}"}})
        revision = await bench.deploy(label)
        requests.fail(number, lost=lost)
        with suppress(Unreachable):
            await bench.adapter.promote(bench.rollout, revision)
        failed = requests.failed
        requests.fail(0, lost=False)
        assert (await bench.seen()).target.revision == revision
        await bench.adapter.promote(bench.rollout, revision)
        seen = await bench.seen()
        assert (seen.primary.revision, seen.restorable[0]) == (revision, one)
        assert [holding(bench, *copy)["data"] for copy in copies] == [{"key": f"for {number}"}, {"key": "dHdv"}]
        await bench.adapter.restore_primary(bench.rollout, one)
        assert [holding(bench, *copy) for copy in copies] == before
        if not failed:
            break
    assert number > 4, "a promotion of two configs takes more writes than that"
