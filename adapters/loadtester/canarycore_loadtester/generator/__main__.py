"""`python -m canarycore_loadtester.generator hey|wrk|ghz ARGUMENTS`: run a load, and print its report."""

from __future__ import annotations

import gc
import sys

from canarycore_loadtester.generator.command_lines import UsageError, parse_command_line
from canarycore_loadtester.generator.engine import run_alone
from canarycore_loadtester.generator.report import render


def main(arguments: list[str]) -> int:
    """Run the load of a command line. Return 2 for a command line that is not understood."""
    try:
        plan = parse_command_line(arguments)
        gc.freeze()  # a long pause for garbage would look like a slow server
        gc.set_threshold(20_000, 20, 20)
        result = run_alone(plan)
    except (UsageError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(render(plan, result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
