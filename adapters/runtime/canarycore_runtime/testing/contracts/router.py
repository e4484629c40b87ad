"""The contract of a Router: it observes the routes that it set, weights add up to 100, and fields of others stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore import Routes
from canarycore_runtime.testing.contracts._samples import by_header, by_header_and_weight, rollout

if TYPE_CHECKING:
    from canarycore import Rollout
    from canarycore_runtime.ports import Router

ROUTES = {
    "primary only": Routes(),
    "one percent": Routes(weight=1),
    "half": Routes(weight=50),
    "canary only": Routes(weight=100),
    "mirrored": Routes(mirrored=True),
    "matched": Routes(matched=True),
    "matched alone by a step": Routes(matched=True),
    "matched beside a weight": Routes(weight=20, matched=True),
}


class RouterBench(Protocol):
    """A data plane and its router."""

    adapter: Router

    can: frozenset[str]
    """The supported routes beside weights: "mirrored", "matched", "matched beside a weight"."""

    async def written(self) -> tuple[int, int]:
        """Return the weights of primary and canary (percent) in the routing objects of default/podinfo."""

    async def snapshot(self) -> object:
        """Return all routing objects, including fields that change with each write, for a comparison with ==."""

    async def meddle(self) -> None:
        """Set a field of the routing objects that the router does not manage."""

    async def meddled(self) -> bool:
        """Return whether that field has kept its value."""


@pytest.mark.asyncio
class RouterContract:
    """A suite to derive from, with the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> RouterBench:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("name", ROUTES)
    async def test_routes_that_were_set_are_observed(self, bench: RouterBench, name: str) -> None:
        routes, policy = _routes_for(bench, name)
        await bench.adapter.set_routes(policy, routes)
        assert await bench.adapter.observe(policy) == routes

    @pytest.mark.parametrize("name", ROUTES)
    async def test_weights_are_as_set_and_add_up_to_100(self, bench: RouterBench, name: str) -> None:
        routes, policy = _routes_for(bench, name)
        await bench.adapter.set_routes(policy, routes)
        assert await bench.written() == (routes.primary, routes.weight)

    @pytest.mark.parametrize("name", ROUTES)
    async def test_setting_routes_again_writes_nothing(self, bench: RouterBench, name: str) -> None:
        routes, policy = _routes_for(bench, name)
        await bench.adapter.set_routes(policy, routes)
        once = await bench.snapshot()
        await bench.adapter.set_routes(policy, routes)
        assert await bench.snapshot() == once

    @pytest.mark.parametrize("name", ROUTES)
    async def test_the_way_back_is_complete(self, bench: RouterBench, name: str) -> None:
        """The router removes mirrors and matches completely."""
        routes, policy = _routes_for(bench, name)
        await bench.adapter.set_routes(policy, Routes())
        await bench.adapter.set_routes(policy, routes)
        await bench.adapter.set_routes(policy, Routes())
        assert await bench.adapter.observe(policy) == Routes()
        assert await bench.written() == (100, 0)

    async def test_fields_of_others_stay_unchanged(self, bench: RouterBench) -> None:
        await bench.adapter.set_routes(rollout(), Routes())
        await bench.meddle()
        await bench.adapter.set_routes(rollout(), Routes(weight=30))
        assert await bench.meddled()
        assert await bench.adapter.observe(rollout()) == Routes(weight=30)

    async def test_observing_writes_nothing(self, bench: RouterBench) -> None:
        await bench.adapter.set_routes(rollout(), Routes(weight=30))
        before = await bench.snapshot()
        await bench.adapter.observe(rollout())
        assert await bench.snapshot() == before

    async def test_a_repeated_restore_does_nothing(self, bench: RouterBench) -> None:
        await bench.adapter.set_routes(rollout(), Routes(weight=30))
        await bench.adapter.restore(rollout())
        once = await bench.snapshot()
        await bench.adapter.restore(rollout())
        assert await bench.snapshot() == once

    async def test_restored_routes_send_nothing_to_the_canary(self, bench: RouterBench) -> None:
        await bench.adapter.set_routes(rollout(), Routes(weight=30))
        await bench.adapter.restore(rollout())
        assert await bench.adapter.observe(rollout()) in (None, Routes())


def _routes_for(bench: RouterBench, name: str) -> tuple[Routes, Rollout]:
    """Return the routes of a name, with a rollout that uses them. Skip routes that the data plane does not support."""
    need, make_rollout = _BESIDE_WEIGHTS.get(name, ("", rollout))
    if need and need not in bench.can:
        pytest.skip(f"this data plane does not support {name} routes")
    return ROUTES[name], make_rollout()


_BESIDE_WEIGHTS = {
    "mirrored": ("mirrored", rollout),
    "matched": ("matched", by_header),
    "matched alone by a step": ("matched beside a weight", by_header_and_weight),
    "matched beside a weight": ("matched beside a weight", by_header_and_weight),
}
"""The support that routes need, and the rollout that uses them, by their name."""
