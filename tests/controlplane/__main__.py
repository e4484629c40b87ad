"""`python -m tests.controlplane`: a control plane until Ctrl-C, for trying things by hand."""

from __future__ import annotations

import signal
import sys
import threading

from tests.controlplane.plane import plane


def main() -> None:
    """Start, print how to reach it, stay."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with plane() as cluster:
        sys.stdout.write(f"export KUBECONFIG={cluster.kubeconfig()}\n")
        sys.stdout.flush()
        over.wait()


if __name__ == "__main__":
    main()
