"""What a Router promises: what was set is observed, weights add up to 100, others' fields stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from canarycore import Routes
from canarycore_runtime.testing.contracts._samples import by_header, rollout

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
}


class RouterBench(Protocol):
    """A data plane. `can`: which of "mirrored" and "matched" it is able to do."""

    adapter: Router
    can: frozenset[str]

    async def written(self) -> tuple[int, int]:
        """The weights of primary and canary (percent) as they stand in the routing objects of default/podinfo."""

    async def snapshot(self) -> object:
        """All routing objects, with what changes at each write (versions, times); compared with ==."""

    async def meddle(self) -> None:
        """Somebody else sets a field of the routing objects that is no business of ours."""

    async def meddled(self) -> bool:
        """Whether that field is still as it was set."""


@pytest.mark.asyncio
class RouterContract:
    """Derive from it and provide the fixture `bench`."""

    @pytest.fixture
    def bench(self) -> RouterBench:
        raise NotImplementedError("a subclass provides the bench")

    @pytest.mark.parametrize("name", ROUTES)
    async def test_routes_that_were_set_are_observed(self, bench: RouterBench, name: str) -> None:
        wanted, policy = _wanted(bench, name)
        await bench.adapter.set_routes(policy, wanted)
        assert await bench.adapter.observe(policy) == wanted

    @pytest.mark.parametrize("name", ROUTES)
    async def test_weights_are_as_wanted_and_add_up_to_100(self, bench: RouterBench, name: str) -> None:
        wanted, policy = _wanted(bench, name)
        await bench.adapter.set_routes(policy, wanted)
        assert await bench.written() == (wanted.primary, wanted.weight)

    @pytest.mark.parametrize("name", ROUTES)
    async def test_setting_routes_again_writes_nothing(self, bench: RouterBench, name: str) -> None:
        wanted, policy = _wanted(bench, name)
        await bench.adapter.set_routes(policy, wanted)
        once = await bench.snapshot()
        await bench.adapter.set_routes(policy, wanted)
        assert await bench.snapshot() == once

    @pytest.mark.parametrize("name", ROUTES)
    async def test_the_way_back_is_complete(self, bench: RouterBench, name: str) -> None:
        """Nothing of mirrors and matches is left behind."""
        wanted, policy = _wanted(bench, name)
        await bench.adapter.set_routes(policy, Routes())
        await bench.adapter.set_routes(policy, wanted)
        await bench.adapter.set_routes(policy, Routes())
        assert await bench.adapter.observe(policy) == Routes()
        assert await bench.written() == (100, 0)

    async def test_others_fields_stay_untouched(self, bench: RouterBench) -> None:
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

    async def test_giving_back_repeated_does_nothing(self, bench: RouterBench) -> None:
        await bench.adapter.set_routes(rollout(), Routes(weight=30))
        await bench.adapter.restore(rollout())
        once = await bench.snapshot()
        await bench.adapter.restore(rollout())
        assert await bench.snapshot() == once

    async def test_what_was_given_back_sends_nothing_to_the_canary(self, bench: RouterBench) -> None:
        await bench.adapter.set_routes(rollout(), Routes(weight=30))
        await bench.adapter.restore(rollout())
        assert await bench.adapter.observe(rollout()) in (None, Routes())


def _wanted(bench: RouterBench, name: str) -> tuple[Routes, Rollout]:
    """The routes of that name with a rollout that has them; skips what the data plane cannot do."""
    if name in ("mirrored", "matched") and name not in bench.can:
        pytest.skip(f"this data plane routes nothing {name}")
    return ROUTES[name], by_header() if name == "matched" else rollout()
