"""The base of the providers with a Kubernetes API: external metrics and Keptn.

Without an address they query the API server of the controller's own cluster, with the token of the template's Secret or
else as the pod's own service account. An API server at another address gets the token of the Secret or none: the pod's
own token goes to its own cluster only.

The pod's own account may read objects that the owner of a template may not. So on a cluster with tenants it queries one
namespace, that of the template.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarycore.text import escape_controls
from canarycore_metrics.source import HttpSource, SourceError
from canarycore_runtime.http import EXCERPT_LIMIT

if TYPE_CHECKING:
    from canarycore_runtime.http import HttpAnswer

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder of a pod's token and its cluster's certificate."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class ClusterSource(HttpSource):
    """A Kubernetes API server. Its secret may have `token`."""

    home = "https://kubernetes.default.svc"

    def __init__(self, address: str = "", *, only_namespace: str = "", **more: Any) -> None:
        """Like `HttpSource`. `only_namespace` is the one that queries may name with the pod's own token; empty: any."""
        super().__init__(address, **more)
        self._only_namespace = only_namespace

    def demand_allowed(self, namespace: str) -> None:
        """Raise SourceError when a query with the pod's own token names a forbidden namespace."""
        if self.has_ambient_credentials and self._only_namespace not in {"", namespace}:
            raise SourceError(
                f"the query names the namespace {escape_controls(namespace, EXCERPT_LIMIT)}, "
                f"expected {self._only_namespace}: cross-namespace references are blocked for the controller's own "
                "account. Ask about that namespace, or give the template a Secret with a token of its own"
            )

    @property
    def has_ambient_credentials(self) -> bool:
        """Whether requests have the pod's own token."""
        return self.is_at_home and not self.secret.get("token")

    def trusted_certificates(self) -> ssl.SSLContext | bool:
        """Trust the cluster's own certificates for names within the cluster."""
        authority = ACCOUNT / "ca.crt"
        if not authority.exists() or not _is_in_cluster(self.url.host or ""):
            return True
        context = ssl.create_default_context()
        context.load_verify_locations(authority)
        return context

    async def call(self, path: str, **more: Any) -> HttpAnswer:
        """Return the answer. This reads the pod's own token each time, as Kubernetes renews it each hour."""
        token = _own_token() if self.has_ambient_credentials else self.secret.get("token", "")
        self.hide(token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.ask(path, headers=headers, **more)


def is_name(text: str) -> bool:
    """Check whether a part of a query can name an object or a namespace, and so is one part of a path."""
    return _NAME.fullmatch(text) is not None


def _is_in_cluster(host: str) -> bool:
    """Check for a name of the form `service.namespace.svc`."""
    return host.split(".")[2:3] == ["svc"]


def _own_token() -> str:
    file = ACCOUNT / "token"
    return file.read_text().strip() if file.exists() else ""
