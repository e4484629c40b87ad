"""How much is done at once: a namespace uses up its own part, and the others theirs."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore_runtime import Limits
from canarycore_runtime._slots import FairSlots, NoSlotError, RunnerCapacity, ServerLanes
from canarycore_runtime.testing import simulated


def lanes(*, lane=2, server=4, namespace=3, total=6, wait=10.0):
    return ServerLanes(lane=lane, server=server, namespace=namespace, total=total, wait=wait)


class Holders:
    """Tasks that take a slot and hold it until they leave. `inside` names those with a slot, in order."""

    def __init__(self, take):
        self._take = take
        self.inside, self.refused, self._tasks = [], [], {}

    async def come(self, name, *where):
        self._tasks[name] = asyncio.create_task(self._hold(name, *where))
        await asyncio.sleep(0)

    async def leave(self, name):
        self._tasks.pop(name).cancel()
        await asyncio.sleep(0.001)

    async def _hold(self, name, *where):
        try:
            async with self._take(*where):
                self.inside.append(name)
                try:
                    await asyncio.Event().wait()
                finally:
                    self.inside.remove(name)
        except NoSlotError as error:
            self.refused.append((name, str(error)))


@simulated
async def test_a_namespace_has_no_more_slots_than_its_share():
    holders = Holders(FairSlots(total=10, share=2).slot)
    for number in range(5):
        await holders.come(f"evil {number}", "evil")
    assert holders.inside == ["evil 0", "evil 1"]


@simulated
async def test_a_namespace_without_a_slot_gets_one_although_all_are_taken():
    holders = Holders(FairSlots(total=4, share=4).slot)
    for number in range(50):
        await holders.come(f"evil {number}", "evil")
    await holders.come("good 0", "good")
    await holders.come("good 1", "good")
    assert holders.inside[4:] == ["good 0"]


@simulated
async def test_namespaces_that_wait_take_turns():
    holders = Holders(FairSlots(total=2, share=2, reserve=0).slot)
    for name in ("first", "second", *(f"evil {number}" for number in range(9))):
        await holders.come(name, "evil")
    await holders.come("good", "good")
    await holders.leave("first")
    await holders.leave("second")
    assert holders.inside == ["evil 0", "good"]


@simulated
async def test_within_a_namespace_the_first_to_come_is_the_first_to_go():
    holders = Holders(FairSlots(total=1, share=1).slot)
    for name in "abc":
        await holders.come(name, "one")
    await holders.leave("a")
    assert holders.inside == ["b"]


@simulated
async def test_a_waiter_that_gives_up_takes_no_slot_and_blocks_no_other():
    holders = Holders(FairSlots(total=1, share=1).slot)
    for name in "abc":
        await holders.come(name, "one")
    await holders.leave("b")
    await holders.leave("a")
    assert holders.inside == ["c"]


@simulated
async def test_a_waiter_that_is_cancelled_at_the_moment_of_its_turn_hands_its_slot_on():
    slots = FairSlots(total=1, share=1)
    await slots.acquire("one")
    waiting = [asyncio.create_task(slots.acquire("one")) for _ in range(2)]
    await asyncio.sleep(0)
    slots.release("one")
    waiting[0].cancel()
    await asyncio.wait_for(waiting[1], 1)
    assert slots.taken("one") == 1


STEPS = st.lists(st.tuples(st.sampled_from(["come", "leave", "tick"]), st.integers(0, 30), st.sampled_from("abc")))


@given(STEPS, st.integers(1, 5), st.integers(1, 5), st.integers(0, 2))
def test_no_slot_is_lost_or_granted_twice(steps, total, share, reserve):
    @simulated
    async def run():
        slots = FairSlots(total, share, reserve)
        tasks = []

        async def hold(namespace):
            async with slots.slot(namespace):
                await asyncio.Event().wait()

        for what, number, namespace in steps:
            if what == "come":
                tasks.append(asyncio.create_task(hold(namespace)))
            elif what == "leave" and tasks:
                tasks.pop(number % len(tasks)).cancel()
            else:
                await asyncio.sleep(0.001)
            taken = [slots.taken(one) for one in "abc"]
            assert max(taken) <= share
            assert sum(taken) <= total + 3 * reserve
        await asyncio.sleep(0.001)
        assert not any(slots._has_free(one) for one in slots._waiting), "somebody waits for a slot that is free"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not slots._taken
        assert not slots._waiting
        assert not slots._all_taken

    run()


@simulated
async def test_a_server_that_hangs_keeps_no_other_server_of_the_namespace_waiting():
    holders = Holders(lanes().slot)
    for number in range(20):
        await holders.come(f"slow {number}", "evil", "slow")
    await holders.come("quick", "evil", "quick")
    assert holders.inside == ["slow 0", "slow 1", "quick"]


@simulated
async def test_a_namespace_that_uses_up_its_questions_keeps_no_other_waiting_at_the_same_server():
    holders = Holders(lanes().slot)
    for number in range(200):
        await holders.come(f"evil {number}", "evil", f"server {number % 5}")
    await holders.come("good", "good", "server 0")
    assert len(holders.inside) == 4
    assert holders.inside[-1] == "good"


@simulated
async def test_many_namespaces_that_use_up_all_questions_keep_no_other_waiting():
    holders = Holders(lanes().slot)
    for number in range(200):
        await holders.come(f"evil {number}", f"evil {number % 50}", "shared")
    await holders.come("good", "good", "shared")
    assert holders.inside[-1] == "good"


@simulated
async def test_a_wait_that_takes_too_long_says_whose_questions_have_the_slots():
    holders = Holders(lanes(wait=10.0).slot)
    for number in range(3):
        await holders.come(f"slow {number}", "evil", "hooks of slow")
    await asyncio.sleep(11)
    ((name, reason),) = holders.refused
    assert name == "slow 2"
    assert reason.startswith(
        "hooks of slow: not asked yet, because no slot came free within 10 s: namespace 'evil' waits for 2"
    )


@simulated
async def test_an_unused_lane_is_closed():
    open_lanes = lanes()
    async with open_lanes.slot("one", "a"):
        assert list(open_lanes._open) == ["a"]
    assert not list(open_lanes._open)


@pytest.mark.parametrize("field", ["cycles", "lane", "server", "namespace", "questions"])
def test_a_bound_is_at_least_one(field):
    with pytest.raises(ValueError, match=field):
        Limits(**{field: 0})


def test_the_capacity_follows_the_limits():
    capacity = RunnerCapacity.under(Limits(cycles=1, slot_wait=7, publish=3))
    assert (capacity.questions._wait, capacity.notices._wait) == (7, 3)


@pytest.mark.parametrize("cycles", [1, 2, 3, 8, 64])
@simulated
async def test_one_namespace_leaves_a_third_of_the_cycles_to_the_others(cycles):
    slots = RunnerCapacity.under(Limits(cycles=cycles)).cycles
    holders = Holders(slots.slot)
    for name in ("evil", "good"):
        for number in range(2 * cycles):
            await holders.come(f"{name} {number}", name)
    assert slots.taken("evil") == max(1, cycles - cycles // 3)
    assert slots.taken("good") >= max(1, cycles // 3)
