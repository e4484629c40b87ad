"""Findings of a case: an undocumented exception, a slow call, memory that grew, an endless message.

finding = judge(target, case, outcome)      None where all is well
reduce(target, finding)                     the same finding with a smaller case
save(finding, folder)                       a file; `python -m tests.fuzz --replay FILE` shows it again
"""

from __future__ import annotations

import gc
import hashlib
import json
import signal
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen
from ruamel.yaml import YAML

from tests.fuzz.mutation import smaller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.targets import Target

ROOT = Path(__file__).parents[2]

SLOW, STUCK = 1.0, 20.0
"""Seconds of a call that is a finding, and after which a call is ended."""

USUAL = 0.02
"""Processor time of `_yardstick` on an idle machine (seconds): it reads some YAML, as the slowest targets do."""

GROWN = 100.0
"""MiB by which no call and no session may let the process grow."""

LONGEST_MESSAGE = 100_000
"""Characters of an error's message."""

PATIENCE, TRIES = 4.0, 300
"""Seconds and tries for the reduction of one case."""


class Overtime(BaseException):
    """A call took too long and was stopped."""


@frozen(kw_only=True)
class Outcome:
    """The outcome of a call."""

    seconds: float
    """Processor time of the call (seconds)."""
    limit: float
    """Allowed seconds."""
    grown: float
    """MiB by which the peak exceeds the memory before the call."""
    error: BaseException | None = field(default=None, eq=False)
    """The exception of the call; None where it returned."""


@frozen(kw_only=True)
class Finding:
    """A distinct fault; findings with the same signature are one."""

    target: str
    signature: str
    about: str
    case: Any = field(eq=False)
    times: int = 1

    def again(self) -> Finding:
        """Return the finding with one more case."""
        return evolve(self, times=self.times + 1)

    @property
    def name(self) -> str:
        """Name of its file."""
        target = self.target.replace(" ", "-").replace(":", "-")
        return f"{target}-{hashlib.sha256(self.signature.encode()).hexdigest()[:8]}.json"


def run(target: Target, case: Any) -> Outcome:
    """Call the target with the case. Repeat a slow call, and allow it the more time the slower the machine is then."""
    outcome = _call(target, case)
    for _ in range(2):
        if outcome.seconds <= outcome.limit or isinstance(outcome.error, Overtime):
            break
        slowness = max(1.0, _yardstick() / USUAL)
        again = _call(target, case)
        again = evolve(again, limit=again.limit * slowness)
        outcome = min(outcome, again, key=lambda one: one.seconds / one.limit)
    return outcome


def _yardstick() -> float:
    """Return the processor time of a fixed piece of work (seconds). A shared processor makes everything slower."""
    started = time.process_time()
    YAML(typ="safe", pure=True).load("- {name: yardstick, values: [1, 2, 3]}\n" * 25)
    return time.process_time() - started


def judge(target: Target, case: Any, outcome: Outcome) -> Finding | None:
    """Return the fault of the outcome; None where there is none."""
    error = outcome.error
    if isinstance(error, Overtime):
        return _finding(target, case, "endless", f"no end after {STUCK:g} s, in {place(error)}", place(error))
    if error is not None and not isinstance(error, target.allowed):
        about = f"{type(error).__name__} in {place(error)}: {_short(error)}"
        return _finding(target, case, type(error).__name__, about, place(error))
    if error is not None and len(str(error)) > LONGEST_MESSAGE:
        about = f"{type(error).__name__} in {place(error)}: a message of {len(str(error)):,} characters"
        return _finding(target, case, "long message", about, place(error))
    if outcome.seconds > outcome.limit:
        about = f"{outcome.seconds:.1f} s, expected {outcome.limit:.1f} s at most"
        return _finding(target, case, "slow", about, target.name)
    if outcome.grown > GROWN:
        return _finding(target, case, "memory", f"{outcome.grown:.0f} MiB more", target.name)
    return None


def place(error: BaseException) -> str:
    """Return the innermost frame of the project in a traceback: `canarycore_mesh/istio.py:12 routes`."""
    while isinstance(error, AssertionError) and error.__cause__ is not None:
        error = error.__cause__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    if not frames:
        return "no frame of the project"
    last = frames[-1]
    return f"{'/'.join(Path(last.filename).parts[-2:])}:{last.lineno} {last.name}"


def reduce(target: Target, finding: Finding) -> Finding:
    """Reduce the case of a finding, within the limits of time and tries."""
    end, tries = time.monotonic() + PATIENCE, TRIES
    reduced = True
    while reduced:
        reduced = False
        for case in smaller(finding.case):
            if time.monotonic() > end or tries <= 0:
                return finding
            tries -= 1
            found = judge(target, case, _call(target, case))
            if found is not None and found.signature == finding.signature:
                finding, reduced = evolve(found, times=finding.times), True
                break
    return finding


def save(finding: Finding, folder: Path) -> Path:
    """Write the case to a file, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / finding.name
    content = {"target": finding.target, "found": finding.about, "case": finding.case}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def load(path: Path) -> tuple[str, Any]:
    """Return the target's name and the case of a file."""
    content = json.loads(path.read_text())
    return content["target"], content["case"]


# ------------------------------------------------------------------------------------------------------------ one call


def _call(target: Target, case: Any) -> Outcome:
    prepared = target.prepare(case)
    before = _reset_peak()
    allowance = target.pace * len(prepared) if isinstance(prepared, str) else 0.0
    error: BaseException | None = None
    with _ending_after(STUCK + allowance):
        started = time.process_time()
        try:
            target.call(prepared)
        except (Exception, Overtime) as raised:  # noqa: BLE001 - each is judged
            error = raised
        seconds = time.process_time() - started
    return Outcome(seconds=seconds, limit=SLOW + allowance, grown=_memory("VmHWM") - before, error=error)


@contextmanager
def _ending_after(seconds: float) -> Iterator[None]:
    """Raise Overtime in the main thread when the time is over."""

    def end(*_: object) -> None:
        raise Overtime

    handler = signal.signal(signal.SIGALRM, end)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)  # a test's own time limit runs on
        signal.signal(signal.SIGALRM, handler)


def resident() -> float:
    """Return the MiB of the process after a garbage collection."""
    gc.collect()
    return _memory("VmRSS")


def _reset_peak() -> float:
    """Reset the peak, and return the present MiB of the process."""
    with suppress(OSError):  # Linux has it; elsewhere the whole session's growth is measured alone
        Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(what: str) -> float:
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - thousands of times
            return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024
    except OSError:
        return 0.0


def _finding(target: Target, case: Any, kind: str, about: str, where: str) -> Finding:
    file, _, rest = where.partition(":")
    function = rest.partition(" ")[2]
    return Finding(target=target.name, signature=f"{kind} {file} {function}", about=about, case=case)


def _short(error: BaseException) -> str:
    try:
        text = str(error)
    except ValueError as unprintable:
        text = str(unprintable)
    return text if len(text) <= 160 else f"{text[:160]}…"


def _is_ours(filename: str) -> bool:
    return "canarycore" in filename and "site-packages" not in filename
