"""The contract of a WorkloadPort: a repeated effect changes nothing, and only the named revision is promoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from attrs import evolve

from canarycore.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from canarycore import Rollout, Workload
    from canarycore_runtime.ports import WorkloadPort, Workloads


class WorkloadBench(Protocol):
    """A platform with a target, and the owner of the target."""

    adapter: WorkloadPort
    rollout: Rollout

    async def deploy(self, label: str) -> str:
        """Deploy the version `label`, "one" or "two", to the target, and return its revision (a hash)."""

    async def settle(self) -> None:
        """Wait until the platform has carried out all requests, so that pods are ready or gone."""


EFFECTS: dict[str, Callable[[WorkloadPort, Rollout, str], Awaitable[None]]] = {
    "initialise": lambda adapter, rollout, revision: adapter.initialise(rollout, revision),
    "scale_up": lambda adapter, rollout, _: adapter.scale_up(rollout),
    "scale_down": lambda adapter, rollout, _: adapter.scale_down(rollout),
    "promote": lambda adapter, rollout, revision: adapter.promote(rollout, revision),
    "pause_scaler": lambda adapter, rollout, _: adapter.pause_scaler(rollout),
    "resume_scaler": lambda adapter, rollout, _: adapter.resume_scaler(rollout),
    "restore": lambda adapter, rollout, _: adapter.restore(rollout),
}


@pytest.mark.asyncio
class WorkloadContract:
    """A suite to derive from, with the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> WorkloadBench:
        raise NotImplementedError("a subclass provides the bench")

    async def test_where_nothing_is_deployed_nothing_is_observed(self, bench: WorkloadBench) -> None:
        seen = await bench.adapter.observe(bench.rollout)
        assert (seen.target, seen.primary) == (None, None)

    async def test_the_target_is_observed_with_its_revision(self, bench: WorkloadBench) -> None:
        revision = await bench.deploy("one")
        await bench.settle()
        target = _existing((await bench.adapter.observe(bench.rollout)).target)
        assert target.revision == revision
        assert target.ready == target.desired > 0
        assert target.unready_since is None

    async def test_two_versions_are_two_revisions_and_the_same_one_is_one(self, bench: WorkloadBench) -> None:
        one, two, again = await bench.deploy("one"), await bench.deploy("two"), await bench.deploy("one")
        assert one == again != two

    async def test_initialise_makes_a_primary_and_leaves_the_target(self, bench: WorkloadBench) -> None:
        revision = await bench.deploy("one")
        await bench.settle()
        before = (await bench.adapter.observe(bench.rollout)).target
        await bench.adapter.initialise(bench.rollout, revision)
        await bench.settle()
        after = await bench.adapter.observe(bench.rollout)
        primary = _existing(after.primary)
        assert primary.revision == revision
        assert primary.ready == primary.desired > 0
        assert after.target == before

    async def test_initialise_refuses_a_revision_that_the_target_does_not_carry(self, bench: WorkloadBench) -> None:
        old = await bench.deploy("one")
        await bench.deploy("two")
        with pytest.raises(Refused):
            await bench.adapter.initialise(bench.rollout, old)
        assert (await bench.adapter.observe(bench.rollout)).primary is None

    async def test_promote_gives_the_primary_exactly_that_revision(self, bench: WorkloadBench) -> None:
        _, two = await _initialised(bench)
        await bench.adapter.promote(bench.rollout, two)
        await bench.settle()
        primary = _existing((await bench.adapter.observe(bench.rollout)).primary)
        assert primary.revision == two
        assert primary.ready == primary.desired > 0

    async def test_promote_refuses_a_revision_that_the_target_does_not_carry(self, bench: WorkloadBench) -> None:
        one, two = await _initialised(bench)
        await bench.deploy("one")
        with pytest.raises(Refused):
            await bench.adapter.promote(bench.rollout, two)
        assert _existing((await bench.adapter.observe(bench.rollout)).primary).revision == one

    async def test_a_promotion_can_be_taken_back(self, bench: WorkloadBench) -> None:
        one, two = await _initialised(bench)
        await bench.adapter.promote(bench.rollout, two)
        assert one in (await bench.adapter.observe(bench.rollout)).restorable
        await bench.adapter.restore_primary(bench.rollout, one)
        await bench.settle()
        assert _existing((await bench.adapter.observe(bench.rollout)).primary).revision == one

    async def test_a_revision_that_was_not_kept_cannot_be_restored(self, bench: WorkloadBench) -> None:
        one, _ = await _initialised(bench)
        with pytest.raises(Refused):
            await bench.adapter.restore_primary(bench.rollout, "0000000000")
        assert _existing((await bench.adapter.observe(bench.rollout)).primary).revision == one

    async def test_scaling_down_stops_the_target_and_scaling_up_brings_it_back(self, bench: WorkloadBench) -> None:
        await _initialised(bench)
        before = _existing((await bench.adapter.observe(bench.rollout)).target)
        if not before.has_replicas:
            pytest.skip("this workload has no replicas to scale")
        await bench.adapter.scale_down(bench.rollout)
        await bench.settle()
        down = _existing((await bench.adapter.observe(bench.rollout)).target)
        assert (down.desired, down.ready, down.revision) == (0, 0, before.revision)
        await bench.adapter.scale_up(bench.rollout)
        await bench.settle()
        up = _existing((await bench.adapter.observe(bench.rollout)).target)
        assert (up.desired, up.ready) == (before.desired, before.ready)

    async def test_nothing_scales_a_workload_without_replicas(self, bench: WorkloadBench) -> None:
        await _initialised(bench)
        before = await bench.adapter.observe(bench.rollout)
        if _existing(before.target).has_replicas:
            pytest.skip("this workload has replicas to scale")
        await bench.adapter.scale_down(bench.rollout)
        await bench.settle()
        assert await bench.adapter.observe(bench.rollout) == before

    async def test_the_primary_runs_on_while_the_target_is_scaled(self, bench: WorkloadBench) -> None:
        await _initialised(bench)
        before = (await bench.adapter.observe(bench.rollout)).primary
        await bench.adapter.scale_down(bench.rollout)
        await bench.settle()
        assert (await bench.adapter.observe(bench.rollout)).primary == before

    async def test_a_scaler_is_paused_and_resumed_where_has_scaler(self, bench: WorkloadBench) -> None:
        await _initialised(bench)
        has_scaler = (await bench.adapter.observe(bench.rollout)).scaler_paused is not None
        await bench.adapter.pause_scaler(bench.rollout)
        assert (await bench.adapter.observe(bench.rollout)).scaler_paused is (True if has_scaler else None)
        await bench.adapter.resume_scaler(bench.rollout)
        assert (await bench.adapter.observe(bench.rollout)).scaler_paused is (False if has_scaler else None)

    @pytest.mark.parametrize("effect", EFFECTS)
    async def test_an_effect_repeated_does_nothing(self, bench: WorkloadBench, effect: str) -> None:
        _, two = await _initialised(bench)
        await EFFECTS[effect](bench.adapter, bench.rollout, two)
        await bench.settle()
        once = await bench.adapter.observe(bench.rollout)
        await EFFECTS[effect](bench.adapter, bench.rollout, two)
        await bench.settle()
        assert _timeless(await bench.adapter.observe(bench.rollout)) == _timeless(once)

    async def test_a_repeated_restore_of_the_primary_does_nothing(self, bench: WorkloadBench) -> None:
        one, two = await _initialised(bench)
        await bench.adapter.promote(bench.rollout, two)
        await bench.adapter.restore_primary(bench.rollout, one)
        await bench.settle()
        once = await bench.adapter.observe(bench.rollout)
        await bench.adapter.restore_primary(bench.rollout, one)
        await bench.settle()
        assert _timeless(await bench.adapter.observe(bench.rollout)) == _timeless(once)

    async def test_a_restore_is_observed(self, bench: WorkloadBench) -> None:
        await _initialised(bench)
        assert not (await bench.adapter.observe(bench.rollout)).is_restored
        await bench.adapter.restore(bench.rollout)
        assert (await bench.adapter.observe(bench.rollout)).is_restored


async def _initialised(bench: WorkloadBench) -> tuple[str, str]:
    """Give the primary version one and the target version two, both ready, and return their revisions."""
    one = await bench.deploy("one")
    await bench.settle()
    await bench.adapter.initialise(bench.rollout, one)
    await bench.settle()
    two = await bench.deploy("two")
    await bench.settle()
    return one, two


def _existing(workload: Workload | None) -> Workload:
    assert workload is not None, "the observation lacks an existing workload"
    return workload


def _timeless(seen: Workloads) -> Workloads:
    """Return the workloads without times, which change by themselves."""
    target, primary = (
        None if workload is None else evolve(workload, unready_since=None) for workload in (seen.target, seen.primary)
    )
    return evolve(seen, target=target, primary=primary)
