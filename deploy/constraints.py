"""Write the pinned requirements of the images, with hashes: `python deploy/constraints.py` in Python 3.13.

It needs pip-tools. The file of an image has every version of its dependencies; `constraints/lowest.txt` has the oldest
ones that the distributions allow. A test holds the files and the pyprojects together.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints"

IMAGES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "controller": (
        (".", ("yaml",)),
        ("adapters/runtime", ("http",)),
        ("adapters/metrics", ()),
        ("adapters/hooks", ()),
        ("adapters/mesh", ()),
        ("adapters/notifiers", ()),
        ("adapters/kubernetes", ()),
        ("adapters/cli", ("cluster",)),
    ),
    "loadtester": (
        (".", ("yaml",)),
        ("adapters/runtime", ("http",)),
        ("adapters/loadtester", ("http2",)),
        ("adapters/cli", ()),
    ),
}
"""The distributions in each image: folder and extras."""


def requirements(image: str) -> list[str]:
    """Return the requirements of an image, without our own distributions."""
    lines: list[str] = []
    for folder, extras in IMAGES[image]:
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines += project["dependencies"]
        for extra in extras:
            lines += project["optional-dependencies"][extra]
    return sorted({line for line in lines if not line.startswith("canarycore")})


def build_requirements() -> list[str]:
    """Return the requirements of the builds."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    backend: list[str] = table["build-system"]["requires"]
    return backend


def main() -> None:
    """Resolve and write all files."""
    _write("image-build", build_requirements())
    for image in IMAGES:
        _write(f"image-{image}", requirements(image))


def _write(name: str, lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "requirements.in"), Path(folder, "requirements.txt")
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = ("--generate-hashes", "--strip-extras", "--no-header", "--no-annotate", "--no-emit-index-url")
        trust = ("--no-emit-trusted-host", "--no-emit-find-links", "--allow-unsafe", "--quiet")
        command = [sys.executable, "-m", "piptools", "compile", *options, *trust, f"--output-file={target}", source]
        subprocess.run(command, check=True)
        heading = f"# {name}: written by deploy/constraints.py\n"
        (CONSTRAINTS / f"{name}.txt").write_text(heading + target.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
