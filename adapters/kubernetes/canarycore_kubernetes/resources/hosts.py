"""A check of the servers that Canaries name against the operator's `--allowed-hosts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.errors import Problem
from canarycore_runtime.http import ForbiddenHost, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore.manifest import Canary
    from canarycore_runtime.http import AllowedHosts


def find_forbidden_hosts(canary: Canary, allowed: AllowedHosts, own: str = "") -> Iterator[Problem]:
    """Yield a problem for each address of a Canary that the operator does not allow.

    `own` is the controller's metrics server, which every Canary may name. Skip addresses without a host: the call of
    such a hook reports the error.
    """
    for path, noun, address in _addresses(canary):
        try:
            if address != own:
                allowed.check(address)
        except ForbiddenHost as error:
            yield Problem(
                path=path,
                found=f"{noun} at a host that is not allowed",
                expected=f"a host of {allowed.option}",
                remedy=f"{str(error).capitalize()}.",
                rule="allowed-hosts",
            )
        except InvalidRequest:
            continue


def _addresses(canary: Canary) -> Iterator[tuple[str, str, str]]:
    """Yield the addresses in a manifest: (path, noun, address)."""
    if canary.spec.metrics_server:
        yield "spec.metricsServer", "a metrics server", canary.spec.metrics_server
    if canary.analysis is None:
        return
    for index, hook in enumerate(canary.analysis.webhooks):
        yield f"{canary.analysis_path}.webhooks[{index}].url", f"webhook {hook.name}", hook.url
