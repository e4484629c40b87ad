"""Two Canaries whose targets read the same ConfigMap and Secret: a promotion of one changes nothing of the other."""

from __future__ import annotations

import asyncio
import base64
from copy import deepcopy

import pytest

from canarycore.errors import WorldError
from canarycore_kubernetes.api.kinds import CONFIG_MAP, DAEMON_SET, DEPLOYMENT, SECRET
from canarycore_kubernetes.api.metadata import owner_reference
from canarycore_kubernetes.api.ownership import ForeignObjectError
from canarycore_kubernetes.resources.canaries import Canaries
from canarycore_kubernetes.workloads.configs import CONFIGS, config_places, copy_names, used_configs
from canarycore_kubernetes.workloads.facts import ReadingOptions, pod_views
from canarycore_kubernetes.workloads.port import ClusterWorkloads
from tests.cluster.patience import until
from tests.cluster.workloads import READS, canary, config, pods

NAMESPACE = "shop"


@pytest.fixture
def namespace():
    return NAMESPACE


def encoded(text):
    return base64.b64encode(text.encode()).decode()


class App:
    """One Canary and its target, which reads the shared configs."""

    def __init__(self, name, shop, kind="Deployment"):
        self.name, self.shop, self.kind = name, shop, kind

    def target(self, image):
        body = pods(self.kind, image, **deepcopy(READS))
        body["metadata"]["name"] = self.name
        body["spec"]["selector"]["matchLabels"] = body["spec"]["template"]["metadata"]["labels"] = {"app": self.name}
        body["spec"]["template"]["spec"]["containers"][0]["image"] = image
        return body

    async def begin(self):
        self.shop.api.create(self.target("podinfo:1"), NAMESPACE)
        body = canary(self.kind, provider="kubernetes")
        body["metadata"]["name"] = body["spec"]["targetRef"]["name"] = self.name
        self.shop.api.create(body, NAMESPACE)
        self.rollout = (await until(lambda: self.shop.canaries.load(f"{NAMESPACE}/{self.name}"))).rollout
        return self

    async def initialised(self):
        await self.begin()
        await self.shop.workloads.initialise(self.rollout, await self.revision())
        await self.synced()
        return self

    async def revision(self):
        seen = await until(lambda: self.shop.workloads.observe(self.rollout))
        return seen.target.revision

    async def promote(self):
        revision = await self.revision()
        await self.shop.workloads.promote(self.rollout, revision)
        await self.synced()
        return revision

    async def synced(self):
        for kind in (CONFIG_MAP, SECRET):
            await self.shop.synced(kind)

    def primary(self):
        kind = DEPLOYMENT if self.kind == "Deployment" else DAEMON_SET
        return self.shop.api.get(kind.path(NAMESPACE, f"{self.name}-primary"))

    def reads(self):
        """Return the contents that the primary's pods read, by the name of the key."""
        uses = used_configs(config_places(self.primary()["spec"]["template"]["spec"]))
        bodies = (self.shop.api.get(use.kind.path(NAMESPACE, use.name)) for use in uses if use.is_required)
        return [body["data"]["key"] for body in bodies]


class Shop:
    """A namespace with the configs that its apps share."""

    def __init__(self, cluster, api):
        self.cluster, self.api = cluster, api
        self.canaries = Canaries(cluster)
        self.workloads = ClusterWorkloads(cluster, self.canaries)
        opted_out = config("shared")
        opted_out["metadata"]["annotations"] = {"flagger.app/config-tracking": "disabled"}
        for body in (config("env"), config("keys", "Secret", type="Opaque", data={"key": encoded("one")}), opted_out):
            api.create(body, NAMESPACE)

    async def write(self, text):
        """Give both shared configs a new content."""
        self.api.patch(CONFIG_MAP.path(NAMESPACE, "env"), {"data": {"key": text}})
        self.api.patch(SECRET.path(NAMESPACE, "keys"), {"data": {"key": encoded(text)}})
        for kind in (CONFIG_MAP, SECRET):
            await self.synced(kind)

    async def synced(self, kind):
        cache = await self.cluster.cache(CONFIGS[kind]).ready()
        there = {body["metadata"]["name"]: body["metadata"] for body in self.api.list(kind.path(NAMESPACE))}
        for name, metadata in there.items():
            await until(lambda name=name, at=metadata: cache.version(NAMESPACE, name) == at["resourceVersion"])


@pytest.fixture
async def shop(cluster, api):
    return Shop(cluster, api)


def contents(text):
    return [text, encoded(text), "one"]


def by_name(contents):
    return sorted(contents)


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
async def test_a_promotion_changes_nothing_that_the_primary_of_another_canary_reads(shop, kind):
    first, second = await App("first", shop).initialised(), await App("second", shop, kind).initialised()
    await shop.write("two")
    before = second.primary()
    await first.promote()
    assert by_name(first.reads()) == by_name(contents("two"))
    assert by_name(second.reads()) == by_name(contents("one"))
    assert second.primary() == before
    await shop.write("three")
    await second.promote()
    assert by_name(first.reads()) == by_name(contents("two"))
    assert by_name(second.reads()) == by_name(contents("three"))


async def test_one_copy_has_flaggers_name_and_each_has_one_owner(shop):
    await App("first", shop).initialised()
    await App("second", shop).initialised()
    owners = {
        body["metadata"]["name"]: [owner["name"] for owner in body["metadata"].get("ownerReferences", [])]
        for kind in (CONFIG_MAP, SECRET)
        for body in shop.api.list(kind.path(NAMESPACE))
    }
    copies = {name: canaries for name, canaries in owners.items() if canaries}
    assert copies == {
        **{f"{name}-primary": ["first"] for name in ("env", "keys")},
        **{copy_names(name, "second").own: ["second"] for name in ("env", "keys")},
    }


async def test_two_canaries_that_begin_at_the_same_moment_have_two_copies(shop):
    apps = [await App(name, shop).begin() for name in ("first", "second", "third")]
    revisions = [await app.revision() for app in apps]
    starts = (shop.workloads.initialise(app.rollout, revision) for app, revision in zip(apps, revisions, strict=True))
    await asyncio.gather(*starts)
    names = set()
    for app in apps:
        assert by_name(app.reads()) == by_name(contents("one"))
        names |= {use.name for use in used_configs(config_places(app.primary()["spec"]["template"]["spec"]))}
    assert len(names - {"shared", "missing"}) == 6


async def test_each_canary_restores_its_own_earlier_content(shop):
    first, second = await App("first", shop).initialised(), await App("second", shop).initialised()
    one = {app: (await shop.workloads.observe(app.rollout)).primary.revision for app in (first, second)}
    await shop.write("two")
    for app in (first, second):
        await app.promote()
    await shop.workloads.restore_primary(second.rollout, one[second])
    assert by_name(first.reads()) == by_name(contents("two"))
    assert by_name(second.reads()) == by_name(contents("one"))
    await shop.workloads.restore_primary(first.rollout, one[first])
    assert by_name(first.reads()) == by_name(contents("one"))


def share_as_flagger_does(shop, first, second, *, owners):
    """Let both primaries read one copy that names these owners."""
    for kind, name in ((CONFIG_MAP, "env"), (SECRET, "keys")):
        references = [owner_reference(app.name, shop.canaries.require(app.rollout).uid) for app in owners]
        for reference in references[1:]:
            reference["controller"] = False
        shop.api.patch(kind.path(NAMESPACE, f"{name}-primary"), {"metadata": {"ownerReferences": references}})
        shop.api.delete(kind.path(NAMESPACE, copy_names(name, second.name).own))
    template = deepcopy(first.primary()["spec"]["template"])
    spec = {"template": {"spec": template["spec"]}}
    path = DEPLOYMENT.path(NAMESPACE, f"{second.name}-primary")
    shop.api.patch(path, {"spec": spec})


@pytest.mark.parametrize("owners", [("first",), ("second",), ("first", "second")])
@pytest.mark.parametrize("promoted", ["first", "second"])
async def test_a_copy_that_two_primaries_read_is_never_overwritten(shop, owners, promoted):
    """Flagger gives both Canaries one copy, and the last writer is its only owner."""
    apps = {name: await App(name, shop).initialised() for name in ("first", "second")}
    share_as_flagger_does(shop, apps["first"], apps["second"], owners=[apps[name] for name in owners])
    view = pod_views(ReadingOptions())[DEPLOYMENT]
    cache = await shop.cluster.cache(view).ready()
    version = apps["second"].primary()["metadata"]["resourceVersion"]
    await until(lambda: cache.version(NAMESPACE, "second-primary") == version)
    for kind in (CONFIG_MAP, SECRET):
        copies = await shop.cluster.cache(CONFIGS[kind]).ready()
        own = [copy_names(name, "second").own for name in ("env", "keys")]
        await until(lambda copies=copies, own=own: not any(copies.version(NAMESPACE, name) for name in own))
        await shop.synced(kind)
    one = (await shop.workloads.observe(apps[promoted].rollout)).primary.revision
    other = apps["second" if promoted == "first" else "first"]
    before = other.primary()
    await shop.write("two")
    await apps[promoted].promote()
    assert by_name(apps[promoted].reads()) == by_name(contents("two"))
    assert (by_name(other.reads()), other.primary()) == (by_name(contents("one")), before)
    await shop.write("three")
    await other.promote()
    assert by_name(apps[promoted].reads()) == by_name(contents("two"))
    assert by_name(other.reads()) == by_name(contents("three"))
    await shop.workloads.restore_primary(apps[promoted].rollout, one)
    assert by_name(apps[promoted].reads()) == by_name(contents("one"))
    assert by_name(other.reads()) == by_name(contents("three"))


async def test_a_copy_keeps_its_name_when_the_other_canary_goes(shop):
    """Another name would restart the pods without a change."""
    first, second = await App("first", shop).initialised(), await App("second", shop).initialised()
    before = second.primary()["spec"]["template"]["spec"]
    for kind, name in ((CONFIG_MAP, "env"), (SECRET, "keys")):
        shop.api.delete(kind.path(NAMESPACE, f"{name}-primary"))
    shop.api.delete(f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/{first.name}")
    await shop.write("two")
    await second.promote()
    assert second.primary()["spec"]["template"]["spec"] == before
    assert by_name(second.reads()) == by_name(contents("two"))


async def test_a_foreign_object_under_the_own_name_is_left_alone(shop):
    await App("first", shop).initialised()
    taken = config(copy_names("env", "second").own, data={"key": "theirs"})
    path = shop.api.path(shop.api.create(taken, NAMESPACE))
    second = await App("second", shop).begin()
    with pytest.raises(ForeignObjectError, match=taken["metadata"]["name"]):
        await shop.workloads.initialise(second.rollout, await second.revision())
    assert shop.api.get(path)["data"] == {"key": "theirs"}
    assert second.primary() is None


async def test_a_config_named_like_the_copy_of_another_is_refused_and_not_overwritten(shop):
    """A Secret pair `db` and `db-primary` is common: the second is somebody's own."""
    path = shop.api.path(shop.api.create(config("env-primary", data={"key": "theirs"}), NAMESPACE))
    for name in ("first", "second"):
        app = await App(name, shop).begin()
        with pytest.raises(WorldError, match="ConfigMap env-primary belongs to no Canary"):
            await shop.workloads.initialise(app.rollout, await app.revision())
    assert shop.api.get(path)["data"] == {"key": "theirs"}
