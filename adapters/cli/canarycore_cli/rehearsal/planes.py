"""canary rehearse --plane: run a manifest on a real data plane, with the real controller, without a cluster.

`canarycore_planes` provides the bench, `canarycore_kubernetes` the installation of the controller, and
`canarycore_local` the versions. This module converts options to a plan, and prints its story.
"""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from canarycore import HookType
from canarycore.policy import describe_policy
from canarycore.text import format_timespan
from canarycore_cli.console import (
    BAD_INPUT,
    OK,
    ROLLED_BACK,
    TROUBLE,
    BadInput,
    JsonLines,
    err,
    out,
    parse_approval,
    parse_pairs,
)
from canarycore_cli.manifests import read
from canarycore_cli.rehearsal.plain import PlainPrinter
from canarycore_cli.rehearsal.rehearse import GATES, describe_version, make_traffic, make_versions
from canarycore_kubernetes.deploy.objects import ELECTION, NAME, InstallOptions, objects, rules
from canarycore_planes.bench import Installation
from canarycore_planes.data_planes.catalog import DATA_PLANES
from canarycore_planes.go_programs import MissingProgram
from canarycore_planes.rehearsal import requirements
from canarycore_planes.rehearsal.manifest import StagedManifest, Unrehearsable, stage
from canarycore_planes.rehearsal.namespaces import BenchError, rehearse
from canarycore_planes.rehearsal.plan import RehearsalPlan, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from canarycore.errors import CanaryError
    from canarycore_cli.console import Json
    from canarycore_cli.rehearsal.rehearse import RehearsalOptions
    from canarycore_local.processes.versions import Version

_EXIT_CODES = {"Succeeded": OK, "Failed": ROLLED_BACK}
_MEANINGLESS: Mapping[str, tuple[str, object, str]] = {
    "speed": (
        "--speed",
        20.0,
        "The controller keeps the times of the manifest: shorten spec.analysis.interval (at least 10s).",
    ),
    "seed": ("--seed", 0, "Requests come at a constant rate."),
    "hooks": ("--hooks", "local", "The bench answers all webhooks; --gate NAME=deny closes one."),
    "metrics": ("--metric", [], "Metrics come from the Prometheus of the bench."),
    "metrics_server": ("--metrics-server", "", "Metrics come from the Prometheus of the bench."),
    "state_dir": ("--state-dir", None, "A bench leaves nothing behind."),
    "resume": ("--resume", False, "A bench leaves nothing behind."),
    "has_page": ("--page", False, "Use --json."),
}
"""The options without a meaning on a data plane: each with its default, and what there is instead."""


def run(plane: str, options: RehearsalOptions, *, is_built: bool) -> int:
    """Rehearse on a data plane, and return the exit code. All processes have ended when this returns.

    is_built: whether to build the programs that the cache lacks.
    """
    data_plane = DATA_PLANES.get(plane)
    if data_plane is None:
        raise BadInput(f"--plane {plane}: found no data plane of that name, expected {' or '.join(DATA_PLANES)}")
    _refuse_meaningless(options)
    if not options.manifest and not is_built:
        raise BadInput("found no MANIFEST, expected the file with the Canary to rehearse (or --build)")
    planned = make_plan(plane, options) if options.manifest else None
    try:
        if is_built:
            requirements.build(data_plane, _print_progress)
            _print_progress(f"the programs of --plane {plane} are built")
        if planned is None:
            return OK
        requirements.demand_parts(plane, data_plane)
        return _perform(*planned, as_json=options.as_json)
    except requirements.MissingParts as error:
        return _print_lines(error, BAD_INPUT)
    except (MissingProgram, BenchError) as error:
        return _print_lines(error, TROUBLE)
    except KeyboardInterrupt:
        err().print("stopped: all processes have ended", style="yellow")
        return TROUBLE


def _perform(plan: RehearsalPlan, remarks: Sequence[str], *, as_json: bool) -> int:
    """Pass on the story of a rehearsal, and return the exit code."""
    lines = JsonLines()
    listener = lines if as_json else BenchPrinter()
    for remark in remarks:
        listener({"seconds": 0.0, "kind": "remark", "text": remark})
    with ExitStack() as stack:
        stack.enter_context(_interrupted_by(signal.SIGTERM, signal.SIGHUP))
        line: Json = {}
        for line in stack.enter_context(rehearse(plan)):
            listener(line)
            if not lines.is_read:
                return TROUBLE
        return _EXIT_CODES.get(line["outcome"], TROUBLE)


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Raise KeyboardInterrupt on each of these signals while the context is open."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_progress(text: str) -> None:
    err().print(text, markup=False)


def _print_lines(error: CanaryError, code: int) -> int:
    """Print an error of several lines, and return the exit code."""
    for line in str(error).splitlines():
        err().print(line, style="red", markup=False)
    return code


# ---------------------------------------------------------------------------------------------------------------- plan


def make_plan(plane: str, options: RehearsalOptions) -> tuple[RehearsalPlan, Sequence[str]]:
    """Return the plan of a rehearsal, and remarks about it. Raises BadInput."""
    data_plane = DATA_PLANES[plane]
    manifest = read.read_selected(options.manifest, options.canary, provider=data_plane.provider)
    rollout = manifest.rollout
    if rollout.suspend:
        raise BadInput(
            f"{options.manifest}: found spec.suspend: true, expected false: a suspended rollout does nothing"
        )
    versions = make_versions(options)
    traffic = make_traffic(rollout, options)
    hooks = {hook.name for hook in rollout.hooks if hook.type in (*GATES, HookType.ROLLBACK)}
    gates = parse_gates(options.gates, hooks)
    try:
        staged = stage(manifest.documents, manifest.document, plane, gates)
    except Unrehearsable as error:
        raise BadInput(f"{options.manifest}: {error}") from None
    shared = traffic.share / 100 if traffic.matching else 0.0
    streams = (
        Stream(rate=traffic.rate * (1 - shared), path=traffic.path),
        Stream(rate=traffic.rate * shared, path=traffic.matching_path, headers=dict(traffic.matching)),
    )
    plan = RehearsalPlan(
        plane=plane,
        installation=_installation(data_plane.provider),
        namespaces=staged.namespaces,
        objects=staged.objects,
        deployment=staged.deployment,
        canary=staged.canary,
        versions={version.label: _command(version) for version in versions},
        host=staged.host,
        streams=[stream for stream in streams if stream.rate],
        policy=describe_policy(rollout),
        descriptions=[describe_version(version) for version in versions],
    )
    return plan, _remarks(staged, plan, rollout.interval)


def _remarks(staged: StagedManifest, plan: RehearsalPlan, interval: float) -> Sequence[str]:
    speed = f"the controller works at the speed of the manifest: a step each {format_timespan(interval)}"
    title = DATA_PLANES[plan.plane].title
    return (f"requests go through {title}, and the real controller runs the rollout", speed, *staged.remarks)


def parse_gates(texts: Sequence[str], names: set[str]) -> Mapping[str, bool]:
    """Return the answers of gates. Raises BadInput for a gate that the manifest does not have."""
    gates = parse_pairs(texts, "--gate", "NAME=approve or NAME=deny", parse_approval)
    unknown = sorted(gates.keys() - names)
    if unknown:
        listed = ", ".join(sorted(names)) or "none"
        raise BadInput(f"--gate {unknown[0]}: the manifest has no gate of that name; it has {listed}")
    return gates


def _command(version: Version) -> Sequence[str]:
    """Return the command of a version, whose port the pod sets."""
    return version.argv("${PORT}")


def _installation(provider: str) -> Installation:
    bodies = objects(InstallOptions(providers=(provider,)))
    return Installation(
        definitions=[body for body in bodies if body["kind"] == "CustomResourceDefinition"],
        account=NAME,
        rules=[*rules([provider]), *ELECTION],
        command=[sys.executable, "-m", "canarycore_cli", "controller"],
    )


def _refuse_meaningless(options: RehearsalOptions) -> None:
    """Raise BadInput for an option that a data plane cannot follow."""
    for name, (option, default, instead) in _MEANINGLESS.items():
        if getattr(options, name) != default:
            raise BadInput(f"{option} with --plane: found both, expected one of them. {instead}")


# --------------------------------------------------------------------------------------------------------------- print


class BenchPrinter:
    """A listener that prints the lines for people, and the routing objects at the end."""

    def __init__(self) -> None:
        self._console = out()
        self._printer = PlainPrinter(self._console)
        self._objects: list[Json] = []

    def __call__(self, line: Json) -> None:
        if line.get("kind") == "objects":
            self._objects.append(line)
        elif line.get("kind") in _TEXTS:
            text, style = _TEXTS[line["kind"]](line)
            self._console.print(f"{line['seconds']:>7.1f}s  {text}", style=style, markup=False)
        else:
            if "outcome" in line:
                self._print_objects()
            self._printer(line)
            if "outcome" in line:
                self._print_answers(line)

    def _print_objects(self) -> None:
        """Print the routing objects at the largest weight below 100, and those of the end."""
        if not self._objects:
            return
        last = self._objects[-1]
        during = max(self._objects[:-1], key=lambda line: line["weight"] % 100, default=last)
        for line in (during, last) if during["objects"] != last["objects"] else (last,):
            self._console.print(f"the controller wrote, at weight {line['weight']} ({line['phase']}):", style="bold")
            for text in _to_yaml(line["objects"]).splitlines():
                self._console.print(f"    {text}", markup=False)

    def _print_answers(self, line: Json) -> None:
        self._console.print(f"{line['answered']} requests answered by a pod, {line['lost']} lost", markup=False)


def _describe_state(line: Json) -> tuple[str, str]:
    return f"{line['phase'] or 'no phase yet'}, weight {line['weight']}", "bold"


def _describe_split(line: Json) -> tuple[str, str]:
    total = sum(line["versions"].values())
    shares = ", ".join(f"{name} {100 * count / total:.1f}%" for name, count in line["versions"].items())
    bad = f", {line['bad']} bad" if line["bad"] else ""
    return f"  {line['requests']} requests, answered by {shares or 'no pod'}{bad}", "dim"


_TEXTS: Mapping[str, Callable[[Json], tuple[str, str]]] = {"weight": _describe_state, "split": _describe_split}
"""The text and the style of the kinds of lines that differ from those of the embedded Envoy."""


def _to_yaml(bodies: Sequence[Json]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    yaml, stream = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 10_000
    yaml.dump_all(bodies, stream)
    return stream.getvalue()
