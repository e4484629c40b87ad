"""The options that choose a cluster and its Canaries, and the connection to it."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore_cli.console import BadInput
from canarycore_kubernetes.api.client import connect
from canarycore_kubernetes.overview import open_overview

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from canarycore_kubernetes.api.client import Client
    from canarycore_kubernetes.overview import ClusterOverview
    from canarycore_kubernetes.resources.canaries import Canaries

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@frozen(kw_only=True)
class ClusterOptions:
    """The cluster and the namespace that a command is about."""

    namespace: str = ""
    """The namespace; empty for the context's, as in kubectl."""

    all_namespaces: bool = False
    """Whether the command is about all namespaces."""

    selector: str = ""
    """The label selector of the Canaries; empty for all."""

    context: str = ""
    """The kubeconfig's context; empty for the current one."""

    kubeconfig: str = ""
    """The kubeconfig file; empty for $KUBECONFIG, and then for the default of `connect`."""

    provider: str = "istio"
    """The provider of Canaries that name none."""

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client, None]:
        """Connect to the cluster's API server."""
        async with connect(self._file, context=self.context) as client:
            yield client

    @asynccontextmanager
    async def overview(self) -> AsyncGenerator[ClusterOverview, None]:
        """Watch the selected Canaries while the context is open."""
        async with (
            self.client() as client,
            open_overview(
                client, namespace=self.selected_namespace, selector=self.selector, provider=self.provider
            ) as overview,
        ):
            yield overview

    @property
    def selected_namespace(self) -> str:
        """The namespace that the command is about; empty for all."""
        return "" if self.all_namespaces else self.namespace or self._context_namespace

    @property
    def scope(self) -> str:
        """The labels, and the namespace or the cluster, as an adverbial of a sentence."""
        namespace = self.selected_namespace
        place = f"in the namespace {namespace}" if namespace else "on the cluster"
        return f"with the labels {self.selector} {place}" if self.selector else place

    @property
    def _file(self) -> str:
        return self.kubeconfig or os.environ.get("KUBECONFIG", "")

    @property
    def _context_namespace(self) -> str:
        """The namespace of the context, or of the pod that runs this process."""
        from kubernetes_asyncio import config  # after the client, which imports it lazily

        try:
            contexts, current = config.list_kube_config_contexts(self._file or None)
        except config.ConfigException:
            return _POD_NAMESPACE.read_text(encoding="utf-8").strip() if _POD_NAMESPACE.exists() else "default"
        chosen = next((context for context in contexts if context["name"] == self.context), current)
        return str(((chosen or {}).get("context") or {}).get("namespace") or "default")


async def find_key(canaries: Canaries, options: ClusterOptions, name: str) -> str:
    """Return the key of the Canary `name` (NAME or NAMESPACE/NAME). Raises BadInput unless exactly one matches."""
    keys = await canaries.keys()
    matching = [key for key in keys if name in {key, key.partition("/")[2]}]
    if not matching:
        existing = ", ".join(sorted(keys)) or "none"
        raise BadInput(f"found no Canary {name} {options.scope}, expected one of: {existing}")
    if len(matching) > 1:
        raise BadInput(
            f"found {len(matching)} Canaries {name}, expected one: give -n NAMESPACE ({', '.join(matching)})"
        )
    return matching[0]


def deleted(key: str) -> BadInput:
    """Return the error for a Canary that was deleted while the command ran."""
    return BadInput(f"Canary {key}: deleted while this command ran")
