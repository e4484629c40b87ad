"""Which cluster and which Canaries a command is about, and how they are reached."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from kubernetes_asyncio import config

from canarycore_cli.console import BadInput
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.api.cluster import Cluster
from canarycore_kubernetes.resources.canaries import Canaries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.resources.canaries import InvalidCanary, ValidCanary

_OF_THE_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@frozen(kw_only=True)
class Where:
    """A cluster, and the namespace that is meant (empty: the one of the context, as for kubectl).

    everywhere: all namespaces. provider: of Canaries that name none, as the controller was told.
    """

    namespace: str = ""
    everywhere: bool = False
    context: str = ""
    kubeconfig: str = ""
    provider: str = "istio"

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client, None]:
        """The cluster's API server."""
        async with connect(self._file, context=self.context) as client:
            yield client

    @asynccontextmanager
    async def canaries(self) -> AsyncGenerator[tuple[Cluster, Canaries], None]:
        """The Canaries that are meant, as long as the context is open."""
        async with self.client() as client, Cluster(client, namespace=self.looked_at) as cluster:
            yield cluster, Canaries(cluster, provider=self.provider)

    @property
    def looked_at(self) -> str:
        """The namespace that is looked at; all if empty."""
        return "" if self.everywhere else self.namespace or self._home

    @property
    def words(self) -> str:
        """The place, for a sentence."""
        return f"in the namespace {self.looked_at}" if self.looked_at else "on the cluster"

    @property
    def _file(self) -> str:
        """The kubeconfig; empty for whatever `connect` finds."""
        return self.kubeconfig or os.environ.get("KUBECONFIG", "")

    @property
    def _home(self) -> str:
        """The namespace of the context, or of the pod that this runs in."""
        try:
            contexts, current = config.list_kube_config_contexts(self._file or None)
        except config.ConfigException:
            return _OF_THE_POD.read_text(encoding="utf-8").strip() if _OF_THE_POD.exists() else "default"
        meant = next((one for one in contexts if one["name"] == self.context), current)
        return str(((meant or {}).get("context") or {}).get("namespace") or "default")


async def one(canaries: Canaries, where: Where, name: str) -> tuple[str, ValidCanary | InvalidCanary]:
    """The key and what is held of the Canary that is called so. Raises BadInput unless there is exactly one."""
    keys = await canaries.keys()
    meant = [key for key in keys if name in {key, key.partition("/")[2]}]
    known = ", ".join(sorted(keys)) or "none"
    if not meant:
        raise BadInput(f"found no Canary {name} {where.words}, expected one of: {known}")
    if len(meant) > 1:
        raise BadInput(f"found {len(meant)} Canaries {name}, expected one: give -n NAMESPACE ({', '.join(meant)})")
    held = await canaries.find(meant[0])
    if held is None:
        raise BadInput(f"{meant[0]} was deleted just now")
    return meant[0], held
