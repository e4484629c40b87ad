"""The store of the page about adapters passes the suite of stores, commands and deletions included."""

from __future__ import annotations

import re

import pytest

from canarycore_runtime.testing.contracts import StatusStoreContract
from tests.house.projects import ROOT

CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documented_store():
    (code,) = (block for block in CODE.findall((ROOT / "docs" / "adapters.md").read_text()) if "MemoryStore" in block)
    names: dict[str, object] = {"__name__": "adapters_page"}
    exec(code.replace("asyncio.run(send())", ""), names)
    return names["MemoryStore"]()


class Bench:
    def __init__(self):
        self.store = documented_store()

    async def handle(self):
        return self.store

    async def put(self, rollout):
        return self.store.put(rollout)

    async def remove(self, key):
        self.store.remove(key)

    async def send_command(self, key, kind, weight=0):
        self.store.send_command(key, kind, weight)

    async def delete(self, key):
        self.store.delete(key)


class TestTheDocumentedStore(StatusStoreContract):
    @pytest.fixture
    def bench(self):
        return Bench()
