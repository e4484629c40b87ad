"""A control plane for tests, with the kinds of ../shared/crds and verdicts on routes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from canarycore_planes.control_plane.api import Api
from canarycore_planes.control_plane.plane import Plane, run_control_plane
from tests.controlplane import crds
from tests.controlplane.verdicts import RouteController


@contextmanager
def plane(kinds: tuple[str, ...] = crds.ALL, *, pods: bool = True) -> Iterator[Plane]:
    """Run a control plane with the kinds of these files. Raises MissingProgram, and Broken if a part ends.

    pods: without them there is the API server alone. With them all routes are accepted.
    """
    with run_control_plane(crds.all_definitions(kinds), pods=pods) as running:
        verdicts = RouteController(Api(running.kubelet.access)).running() if pods else nullcontext()
        with verdicts:
            yield running
