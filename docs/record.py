"""Record `docs/rehearsal.svg` from a real rehearsal: `python docs/record.py`.

The command runs in a pseudo-terminal, with pyte as its screen. The picture shows the screen at the moment when it
contains all parts of `MOMENT`.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "rehearsal.svg"
CANARY = "examples/manifests/flagger-appmesh-guide/canary.yaml"
OPTIONS = ("--speed", "20", "--rps", "200")
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""Fonts that the picture would fetch from another server. Without them it uses the reader's fonts."""

MOMENT = ("canary 30%", "next look in 0.")
COLUMNS, LINES = 126, 32


def main() -> None:
    """Rehearse until the screen shows `MOMENT`, draw it, stop."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "canarycore_cli", "rehearse", CANARY, *OPTIONS, "--state-dir", folder]
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        with subprocess.Popen(
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        ) as process:
            os.close(theirs)
            while not all(part in "".join(screen.display) for part in MOMENT):
                stream.feed(os.read(ours, 65536))
            process.send_signal(signal.SIGINT)
            picture = draw(screen)
            while process.poll() is None:  # the process blocks if nobody reads its output
                try:
                    os.read(ours, 65536)
                except OSError:
                    break
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(picture, no_wrap=True)
    svg = console.export_svg(title=f"canary rehearse {Path(CANARY).name} {' '.join(OPTIONS)}")
    PICTURE.write_text(_FONTS.sub("", svg))


def draw(screen: pyte.Screen) -> Text:
    """Return the screen as text with its colours."""
    lines = []
    for number in range(screen.lines):
        cells = [screen.buffer[number][column] for column in range(screen.columns)]
        runs = groupby(cells, lambda cell: (_COLOURS.get(cell.fg), cell.bold))
        line = Text.assemble(
            *(("".join(cell.data for cell in run), Style(color=colour, bold=bold)) for (colour, bold), run in runs)
        )
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


_COLOURS = {name: name for name in ("red", "green", "blue", "magenta", "cyan")} | {"brown": "yellow"}
"""The names of colours in pyte, with those of rich. Other colours are the terminal's own."""


if __name__ == "__main__":
    main()
