"""The verdicts of gateways and ingress controllers on routes: each route is accepted as it is.

The API server in memory writes them with each change, the real one has a `RouteController`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define
from urllib3.exceptions import HTTPError

from canarycore.foreign import get_items, get_value
from canarycore_planes.background import in_thread
from canarycore_planes.control_plane.api import Api, Json, RequestError

_TIME = "2026-01-01T00:00:00Z"
_PAUSE = 0.2


def accept_route(body: Json, status: str = "True", message: str = "Accepted") -> Json:
    """Return the status of a route of the Gateway API under the verdict of each of its parents."""
    conditions = [
        {
            "type": name,
            "status": status if name == "Accepted" else "True",
            "reason": name,
            "message": message,
            "observedGeneration": body["metadata"]["generation"],
            "lastTransitionTime": _TIME,
        }
        for name in ("Accepted", "ResolvedRefs")
    ]
    parents = get_items(body, "spec", "parentRefs")
    return {
        "parents": [{"parentRef": parent, "controllerName": "x.test/y", "conditions": conditions} for parent in parents]
    }


def accept_proxy(body: Json) -> Json:
    """Return the status of an HTTPProxy that Contour accepts."""
    condition = {
        "type": "Valid",
        "status": "True",
        "reason": "Valid",
        "message": "Valid HTTPProxy",
        "observedGeneration": body["metadata"]["generation"],
        "lastTransitionTime": _TIME,
    }
    return {"currentStatus": "valid", "description": "Valid HTTPProxy", "conditions": [condition]}


VERDICTS = {
    **{
        ("gateway.networking.k8s.io", kind): accept_route
        for kind in ("httproutes", "grpcroutes", "tcproutes", "tlsroutes")
    },
    ("projectcontour.io", "httpproxies"): accept_proxy,
}
"""The status of each kind of route."""

_COLLECTIONS = {(group, plural): f"/apis/{group}/v1/{plural}" for group, plural in VERDICTS}


@define
class RouteController:
    """A controller that accepts all routes of a server."""

    api: Api

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run in a thread of its own."""
        with in_thread(self._run):
            yield

    def _run(self, over: threading.Event) -> None:
        while not over.wait(_PAUSE):
            for resource, path in _COLLECTIONS.items():
                with suppress(RequestError, HTTPError):
                    for body in get_items(self.api.get(path), "items"):
                        self._judge(path, body, VERDICTS[resource](body))

    def _judge(self, path: str, body: Json, status: Json) -> None:
        if all(get_value(body, "status", name) == value for name, value in status.items()):
            return
        metadata = body["metadata"]
        one = path.replace("/v1/", f"/v1/namespaces/{metadata['namespace']}/") + f"/{metadata['name']}/status"
        with suppress(RequestError, HTTPError):  # the route may have changed or gone
            self.api.patch(one, {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status})
