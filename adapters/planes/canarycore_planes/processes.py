"""Processes that end with the process that started them."""

from __future__ import annotations

import ctypes
import os
import signal

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG

_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up before any fork
_owner = os.getpid()


def die_with_the_owner() -> None:
    """Between fork and exec: let the kernel kill this process at the end of the thread that started it."""
    if _prctl is not None:
        _prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != _owner:  # the owner died before the call
            os._exit(1)
