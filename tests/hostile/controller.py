"""`python -m tests.hostile.controller …` is `canary controller …` with the credentials that a pod has.

$POD_ACCOUNT is the folder that stands for the service account's of a pod. Google's credentials are given as everywhere,
by $GOOGLE_APPLICATION_CREDENTIALS.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from canarycore_cli.main import app
from canarycore_metrics import cluster


def main() -> None:
    """Run the command."""
    assert isinstance(cluster.ACCOUNT, Path), "the providers look for the pod's token elsewhere: change this module"
    cluster.ACCOUNT = Path(os.environ["POD_ACCOUNT"])
    app(["controller", *sys.argv[1:]], prog_name="canary")


if __name__ == "__main__":
    main()
