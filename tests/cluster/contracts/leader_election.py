"""Leader election on any API server: one replica leads, and a deposed one writes nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from canarycore.errors import WorldError
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.kinds import CONFIG_MAP, LEASE
from canarycore_kubernetes.api.leader_election import LEASE_NAME, LeaderElection, LeaseTimes, NotLeader
from tests.cluster.patience import until
from tests.controlplane.proxy import Fault, Harm

TIMES = LeaseTimes(duration=4, retry=0.3, write=1.0)
LASTING = LeaseTimes(duration=60, retry=0.3, write=1.0)
"""A lease whose end nobody waits for in a test, however slow the machine is."""


def standing(client, namespace, identity="one", times=TIMES):
    return LeaderElection(client, namespace=namespace, identity=identity, times=times)


def lease(api, namespace):
    return api.get(LEASE.path(namespace, LEASE_NAME))["spec"]


async def elected(leader, seconds=30):
    await asyncio.wait_for(leader.elected(), seconds)


class LeaderElectionContract:
    """The promises of leader election, on any API server."""

    @pytest.fixture
    def kubeconfig(self, plane, installed):
        """The controller's, with the rights that it is installed with."""
        return plane.kubeconfig(installed(), "controller")

    @pytest.fixture
    async def behind(self, plane, proxy):
        async with connect(str(plane.kubeconfig(proxy.access, "proxied"))) as client:
            yield client

    async def test_the_first_leads_and_says_so_in_the_lease(self, client, api, namespace):
        async with standing(client, namespace) as leader:
            await elected(leader)
            leader.fence()
            spec = lease(api, namespace)
            assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == (leader.identity, 4)

    async def test_before_the_election_nothing_is_written(self, client, namespace):
        leader = standing(client, namespace)
        with pytest.raises(NotLeader):
            leader.fence()

    async def test_of_several_one_leads_and_the_next_follows_when_it_goes(self, client, namespace):
        async with AsyncExitStack() as stack:
            leaders = [
                await stack.enter_async_context(standing(client, namespace, f"r{number}", LASTING))
                for number in range(3)
            ]
            waiting = {asyncio.create_task(leader.elected()): leader for leader in leaders}
            (first,), others = await asyncio.wait(waiting, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(1)
            assert not any(task.done() for task in others)
            for task in others:
                with pytest.raises(NotLeader):
                    waiting[task].fence()
            await waiting[first].__aexit__(None, None, None)  # it gives the lease back: nobody has to wait for its end
            done, _ = await asyncio.wait(others, timeout=LASTING.duration / 2, return_when=asyncio.FIRST_COMPLETED)
            assert len(done) == 1
            with pytest.raises(NotLeader):
                waiting[first].fence()
            for task in waiting:
                task.cancel()

    async def test_a_lease_without_renewal_is_taken_after_its_duration(self, client, api, namespace):
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 2, "leaseTransitions": 3}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE_NAME}, "spec": spec}
        api.create(body, namespace)
        begun = asyncio.get_running_loop().time()
        async with standing(client, namespace) as leader:
            await elected(leader)
            assert asyncio.get_running_loop().time() >= begun + 2
            assert lease(api, namespace)["leaseTransitions"] == 4

    async def test_a_leader_that_cannot_renew_is_fenced_before_another_may_lead(
        self, behind, client, proxy, api, namespace
    ):
        async with standing(behind, namespace, "cut off") as old:
            await elected(old)
            async with standing(client, namespace, "next") as new:
                proxy.inject(Fault(Harm.LOSE, path="/leases", times=1000))
                await asyncio.wait_for(old.deposed(), 30)
                assert not new._elected.is_set()
                with pytest.raises(NotLeader):
                    old.fence()
                await elected(new)
                assert lease(api, namespace)["holderIdentity"] == new.identity
                proxy.inject()

    @pytest.mark.parametrize(("status", "method"), [(403, "GET"), (403, "POST"), (404, "POST")])
    async def test_a_refused_lease_is_an_obstacle_until_it_is_granted(self, behind, proxy, namespace, status, method):
        """404 to a create: the namespace does not exist."""
        proxy.inject(Fault(Harm.ANSWER, status=status, methods=(method,), path="/leases", times=2))
        leader = standing(behind, namespace)
        assert leader.obstacle == ""
        async with leader:
            await until(lambda: leader.obstacle)
            assert f"create the Lease {namespace}/{LEASE_NAME}" in leader.obstacle
            await elected(leader)
            assert leader.obstacle == ""

    async def test_a_replica_that_waits_or_finds_no_server_has_no_obstacle(self, behind, client, proxy, namespace):
        async with standing(client, namespace, "first") as first:
            await elected(first)
            proxy.inject(Fault(Harm.ANSWER, status=503, path="/leases", times=2))
            async with standing(behind, namespace, "second") as second:
                await until(lambda: not proxy.pending)
                await asyncio.sleep(1)
                assert second.obstacle == ""

    async def test_a_leader_whose_lease_was_taken_by_hand_stops(self, client, api, namespace):
        async with standing(client, namespace) as leader:
            await elected(leader)
            api.patch(LEASE.path(namespace, LEASE_NAME), {"spec": {"holderIdentity": "somebody else"}})
            await asyncio.wait_for(leader.deposed(), 30)
            with pytest.raises(NotLeader):
                leader.fence()

    async def test_a_renewal_with_a_lost_answer_deposes_no_leader(self, behind, proxy, api, namespace):
        async with standing(behind, namespace) as leader:
            await elected(leader)
            proxy.inject(Fault(Harm.LOSE_ANSWER, methods=("PATCH",), path="/leases", times=2))
            await until(lambda: not proxy.pending)
            await asyncio.sleep(1)
            leader.fence()
            assert lease(api, namespace)["leaseTransitions"] == 0

    async def test_a_lease_that_was_deleted_is_made_again(self, client, api, namespace):
        async with standing(client, namespace) as leader:
            await elected(leader)
            api.delete(LEASE.path(namespace, LEASE_NAME))
            await until(lambda: api.get(LEASE.path(namespace, LEASE_NAME)))
            leader.fence()

    async def test_a_deposed_leaders_writes_never_reach_the_server(self, behind, proxy, api, namespace):
        leader = standing(behind, namespace)
        fenced = behind.fenced(leader.fence)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": namespace}}
        async with leader:
            await elected(leader)
            await fenced.create(body)
            api.patch(LEASE.path(namespace, LEASE_NAME), {"spec": {"holderIdentity": "somebody else"}})
            await asyncio.wait_for(leader.deposed(), 30)
            before = len(proxy.log)
            with pytest.raises(WorldError):
                await fenced.delete(CONFIG_MAP, namespace, "one")
            assert not [passage for passage in proxy.log[before:] if passage.method == "DELETE"]
