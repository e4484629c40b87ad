"""A network of its own, in which every address of 10.0.0.0/8 is this machine's.

    with own_network():
        …                   sockets of this thread, and of processes and threads that it starts, are in there

The API server refuses loopback addresses in EndpointSlices, so pods need others. In a network namespace the kernel can
take a whole range for local. Nothing outside changes, and fixed ports clash with nobody's. Without root, run the tests
in a user namespace that has root: `unshare -rn`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from canarycore.errors import CanaryError

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_SETUP = (("ip", "link", "set", "lo", "up"), ("ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo"))


class NoNetworkError(CanaryError):
    """This machine gives no network namespace. The text names the remedy."""


@contextmanager
def own_network() -> Iterator[None]:
    """Move this thread to a new network until the end of the context. Raises NoNetworkError."""
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if library.unshare(_NEW_NETWORK):
            raise NoNetworkError(_remedy(os.strerror(ctypes.get_errno())))
        try:
            set_up()
            yield
        finally:
            if library.setns(before, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "this thread does not get back to its network")
    finally:
        os.close(before)


def set_up() -> None:
    """Make all pod addresses local in the network of this process. Raises NoNetworkError."""
    for command in _SETUP:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
            raise NoNetworkError(_remedy(f"{' '.join(command)}: {why}")) from None


def _remedy(why: str) -> str:
    return f"found no network namespace ({why}): run as root, or under `unshare -rn`, with iproute2 installed"
