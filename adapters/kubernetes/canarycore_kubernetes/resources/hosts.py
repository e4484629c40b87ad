"""The servers that Canaries may name, as the operator's `--allowed-hosts` has it."""

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

    own: the controller's metrics server, which a Canary may name too. Hooks without a host are left to whoever calls
    them: they say so.
    """
    for path, what, address in _addresses(canary):
        try:
            if address != own:
                allowed.check(address)
        except ForbiddenHost as error:
            yield Problem(
                path=path,
                found=f"{what} at a host that is not allowed",
                expected=f"a host of {allowed.option}",
                remedy=f"{str(error).capitalize()}.",
                rule="allowed-hosts",
            )
        except InvalidRequest:
            continue


def _addresses(canary: Canary) -> Iterator[tuple[str, str, str]]:
    """The addresses in a manifest: (path, what is there, address)."""
    if canary.spec.metrics_server:
        yield "spec.metricsServer", "a metrics server", canary.spec.metrics_server
    if canary.analysis is None:
        return
    for place, hook in enumerate(canary.analysis.webhooks):
        yield f"{canary.analysis_path}.webhooks[{place}].url", f"webhook {hook.name}", hook.url
