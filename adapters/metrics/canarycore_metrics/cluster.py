"""What the providers have in common that are a Kubernetes API: external metrics and Keptn.

They ask the API server of the cluster that this runs in, as the pod's service account, or the one at the template's
address, with the token of its Secret.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from canarycore_metrics.source import HttpSource

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, and its cluster's certificate."""


class ClusterSource(HttpSource):
    """An API server. Its secret may have `token`."""

    home = "https://kubernetes.default.svc"

    def trusted(self) -> ssl.SSLContext | bool:
        authority = ACCOUNT / "ca.crt"
        if not authority.exists():
            return True
        context = ssl.create_default_context()
        context.load_verify_locations(authority)
        return context

    async def call(self, path: str, **more: Any) -> str:
        """The body of the answer. The pod's own token is read each time, as it is renewed each hour."""
        token = self.secret.get("token") or _own_token()
        self.hide(token)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.ask(path, headers=headers, **more)


def _own_token() -> str:
    file = ACCOUNT / "token"
    return file.read_text().strip() if file.exists() else ""
