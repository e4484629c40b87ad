"""The client keeps its promises on a real API server."""

import asyncio
from pathlib import Path

from canarycore_kubernetes.api.kinds import CONFIG_MAP
from tests.cluster.contracts.client import ClientContract, version_of


class TestClient(ClientContract):
    """The client on a real API server."""

    async def test_a_watch_that_is_left_closes_its_connection_at_once(self, client, namespace):
        version = await version_of(client, namespace)
        before = count_open_files()
        async with client.watch(CONFIG_MAP, namespace, version=version):
            assert count_open_files() == before  # it took the connection that was idle
        for _ in range(3):
            await asyncio.sleep(0)  # turns of the loop: no answer of the server is waited for
        assert count_open_files() == before - 1


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
