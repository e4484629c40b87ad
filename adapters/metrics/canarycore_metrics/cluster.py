"""What the providers have in common that are a Kubernetes API: external metrics and Keptn.

Without an address they ask the API server of the cluster that this runs in: with the token of the template's Secret, or
else as the pod's own service account. An API server at an address gets the token of the Secret, or none: the pod's own
goes to its own cluster's server only.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canarycore_metrics.source import HttpSource

if TYPE_CHECKING:
    from canarycore_runtime.http import Received

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, and its cluster's certificate."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class ClusterSource(HttpSource):
    """An API server. Its secret may have `token`."""

    home = "https://kubernetes.default.svc"

    @property
    def has_ambient_credentials(self) -> bool:
        """Whether the pod's own token is sent."""
        return self.is_at_home and not self.secret.get("token")

    def trusted(self) -> ssl.SSLContext | bool:
        """Trust the cluster's own certificates for names within the cluster."""
        authority = ACCOUNT / "ca.crt"
        if not authority.exists() or not _is_in_cluster(self.url.host or ""):
            return True
        context = ssl.create_default_context()
        context.load_verify_locations(authority)
        return context

    async def call(self, path: str, **more: Any) -> Received:
        """Return the answer. The pod's own token is read each time, as it is renewed each hour."""
        token = _own_token() if self.has_ambient_credentials else self.secret.get("token", "")
        self.hide(token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.ask(path, headers=headers, **more)


def is_name(text: str) -> bool:
    """Tell whether a part of a query can name an object or a namespace, so that it stays one part of a path."""
    return _NAME.fullmatch(text) is not None


def _is_in_cluster(host: str) -> bool:
    """Tell `service.namespace.svc` from the names of other servers."""
    return host.split(".")[2:3] == ["svc"]


def _own_token() -> str:
    file = ACCOUNT / "token"
    return file.read_text().strip() if file.exists() else ""
