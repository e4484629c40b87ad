"""The table of templates with Go's results: `python -m tests.core.gotemplate.table` writes it anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = FOLDER / "go.json"


def expressions() -> list[str]:
    """Return the templates."""
    return (FOLDER / "expressions.txt").read_text(encoding="utf-8").splitlines()


def rendered_by_go() -> list[dict[str, str]] | None:
    """Return Go's result for each template; None without Go."""
    go = shutil.which("go")
    if go is None:
        return None
    env = os.environ | {"GOFLAGS": "", "GOWORK": "off", "GO111MODULE": "off"}
    given = json.dumps(expressions())
    done = subprocess.run([go, "run", "main.go"], cwd=FOLDER, env=env, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, str]] = json.loads(done.stdout)
    return results


def table() -> dict[str, dict[str, str]]:
    """Return the recorded result of each template."""
    recorded: dict[str, dict[str, str]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return recorded


if __name__ == "__main__":
    results = rendered_by_go()
    assert results is not None, "install Go"
    rows = dict(zip(expressions(), results, strict=True))
    TABLE.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
