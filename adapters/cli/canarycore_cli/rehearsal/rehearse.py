"""canary rehearse: the policy of a manifest, carried out on this machine with real requests.

`canarycore_local` sets the stage (Envoy, processes, traffic, store), `canarycore_runtime` runs the rollout. Here
options become a script, and what happens becomes a story (see `canarycore_cli.rehearsal.story`): printed, shown live,
traced.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import CheckKind, HookType, Strategy
from canarycore.policy import describe_policy
from canarycore_cli import manifests
from canarycore_cli.console import (
    OK,
    ROLLED_BACK,
    TROUBLE,
    BadInput,
    JsonLines,
    OneLineFormatter,
    err,
    out,
    parse_approval,
    parse_fraction,
    parse_pairs,
)
from canarycore_cli.rehearsal import folders as rehearsals
from canarycore_cli.rehearsal.live import LiveView
from canarycore_cli.rehearsal.plain import PlainPrinter
from canarycore_cli.rehearsal.story import Story, Trace
from canarycore_local import rehearsal as local
from canarycore_local.processes.faults import BadFaults, Faults
from canarycore_local.processes.versions import Version
from canarycore_local.requests.generator import TrafficPlan
from canarycore_local.requests.matching import NoExample, example
from canarycore_local.state_folder import open_private, read_private, write_private
from canarycore_runtime import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from canarycore import Rollout
    from canarycore_cli.console import Json
    from canarycore_local.hooks import Gate

HEALTHY = "healthy"
"""What stands for no faults."""

GATES = (HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION)

_TICK = 0.1
_EXIT_CODES = {"Succeeded": OK, "Failed": ROLLED_BACK}


@frozen(kw_only=True)
class RehearsalOptions:
    """The options as typed."""

    manifest: str
    canary: str
    old: str
    new: str
    old_command: str
    new_command: str
    then: Sequence[str]
    rps: float
    path: str
    match_share: str
    speed: float
    seed: int
    hooks: str
    gates: Sequence[str]
    metrics: Sequence[str]
    metrics_server: str
    state_dir: Path | None
    resume: bool
    as_json: bool


def run(options: RehearsalOptions) -> int:
    """Rehearse; returns the exit code. Whatever was started has ended when this returns."""
    script, folder = _begun(options) if options.resume else _new(options)
    if options.resume:
        options = _as_begun(options, folder)
    rollout = script.rollout
    constants = parse_pairs(options.metrics, "--metric", "NAME=VALUE with a number, such as orders=3", float)
    _demand_measured(rollout, constants, options)
    view = None if options.as_json or not _on_a_terminal() else LiveView(script, rollout.full_name)
    gates = _gates(rollout, options.gates, view)
    rehearsals.refuse_if_running(folder)
    if not options.resume:
        rehearsals.make_room(folder)
        _remember(options, folder)
    console = view.console if view else out()
    _log_to(folder / rehearsals.LOG)
    lines = JsonLines()
    story = Story((Trace(folder / rehearsals.TRACE), lines if options.as_json else PlainPrinter(console)))
    for remark in _remarks(rollout, options, folder):
        story.line("remark", text=remark)
    try:
        with rehearsals.registered(f"{rollout.namespace}/{rollout.name}", folder):
            stage = local.Stage(gates=gates, constants=constants, notifiers=(story,))
            result = asyncio.run(_perform(script, folder, stage, story, view, lines, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err().print("stopped: everything that was started has ended", style="yellow")
        return TROUBLE
    if not options.as_json:
        console.print(f"state and trace are in {folder}", style="dim", markup=False)
    return _EXIT_CODES.get(result["outcome"], TROUBLE)


def _log_to(path: Path) -> None:
    handler = logging.StreamHandler(open_private(path, "a"))
    handler.setFormatter(OneLineFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


async def _perform(
    script: local.Script,
    folder: Path,
    stage: local.Stage,
    story: Story,
    view: LiveView | None,
    lines: JsonLines,
    options: RehearsalOptions,
) -> Json:
    with _stoppable():
        async with AsyncExitStack() as around:
            stage = await _with_providers(stage, options, around)
            opened = local.resume(folder, stage) if options.resume else local.rehearse(folder, script, stage)
            rehearsal = await around.enter_async_context(opened)
            _tell_start(story, rehearsal)
            on_cycle = view.heard(story.cycle) if view else story.cycle
            async with Runner(rehearsal.parts, on_cycle=on_cycle), _watched(story, view, lines, rehearsal):
                status = await rehearsal.play()
        story.look(rehearsal.splits(), over=True)
        return story.end(rehearsal, status)


async def _with_providers(stage: local.Stage, options: RehearsalOptions, around: AsyncExitStack) -> local.Stage:
    """The stage with real webhooks and a real metrics server, where they are wanted."""
    if options.hooks == "live":
        from canarycore_hooks.webhook import EventHook, WebhookClient

        client = await around.enter_async_context(WebhookClient())
        stage = evolve(stage, hooks=client, notifiers=(*stage.notifiers, EventHook(client)))
    elif options.hooks == "pass":
        stage = evolve(stage, hooks="pass")
    if options.metrics_server:
        from canarycore_metrics.prometheus import PrometheusSource

        stage = evolve(stage, elsewhere=await around.enter_async_context(PrometheusSource(options.metrics_server)))
    return stage


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP end things in order, as Ctrl-C does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _watched(
    story: Story, view: LiveView | None, lines: JsonLines, rehearsal: local.Rehearsal
) -> AsyncIterator[None]:
    """Splits are told, and the view is drawn, while the context lasts; without a reader the rehearsal ends."""
    performing = asyncio.current_task()
    assert performing is not None

    async def watch() -> None:
        while True:
            if not lines.is_read:
                performing.cancel()
            story.look(rehearsal.splits())
            if view:
                view.draw()
            await asyncio.sleep(_TICK)

    async with AsyncExitStack() as stack:
        if view:
            await stack.enter_async_context(view.shown(rehearsal))
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


def _tell_start(story: Story, rehearsal: local.Rehearsal) -> None:
    script = rehearsal.script
    story.line(
        "start",
        canary=rehearsal.key,
        policy=describe_policy(script.rollout),
        versions=[_labelled(version) for version in script.versions],
        speed=script.speed,
        rps=script.traffic.rate,
        address=rehearsal.address,
    )


def _labelled(version: Version) -> str:
    about = version.command or str(version.faults)
    return f"{version.label} ({about})" if about else version.label


# ------------------------------------------------------------------------------------------------------------- options


def _new(options: RehearsalOptions) -> tuple[local.Script, Path]:
    if not options.manifest:
        raise BadInput("found no MANIFEST, expected the file with the Canary to rehearse (or --resume)")
    rollout = manifests.read_rollout(options.manifest, options.canary)
    if rollout.suspend:
        raise BadInput(f"{options.manifest}: found spec.suspend: true, expected false: nothing would happen")
    script = local.Script(
        rollout=rollout, versions=_versions(options), traffic=_traffic(rollout, options), speed=options.speed
    )
    return script, options.state_dir or rehearsals.default_folder(rollout)


def _begun(options: RehearsalOptions) -> tuple[local.Script, Path]:
    """The rehearsal to resume: of a folder, of a manifest, or the last one."""
    if options.state_dir is not None:
        folder = options.state_dir
    elif options.manifest:
        folder = rehearsals.default_folder(manifests.read_rollout(options.manifest, options.canary))
    else:
        folder = rehearsals.latest_folder()
    return rehearsals.read_script(folder), folder


def _remember(options: RehearsalOptions, folder: Path) -> None:
    """Keep what is not in the script, for whoever resumes."""
    kept = {name: getattr(options, name) for name in _KEPT}
    write_private(folder / rehearsals.OPTIONS, json.dumps(kept))


def _as_begun(options: RehearsalOptions, folder: Path) -> RehearsalOptions:
    """Hooks and metrics as they were at the start; gates and metrics given now come on top."""
    kept = json.loads(read_private(folder / rehearsals.OPTIONS))
    gates, metrics = [*kept["gates"], *options.gates], [*kept["metrics"], *options.metrics]
    return evolve(options, **{**kept, "gates": gates, "metrics": metrics})


_KEPT = ("hooks", "gates", "metrics", "metrics_server")


def _versions(options: RehearsalOptions) -> tuple[Version, ...]:
    old = _version("v1", "--old", options.old, options.old_command)
    new = _version("v2", "--new", options.new, options.new_command)
    later = (_version(f"v{number}", "--then", text, "") for number, text in enumerate(options.then, 3))
    return (old, new, *later)


def _version(label: str, option: str, faults: str, command: str) -> Version:
    if command and faults:
        raise BadInput(f"{option} {faults} and {option}-cmd: expected one of them, faults are of the built-in service")
    try:
        return Version(label=label, command=command, faults=Faults.parse("" if faults == HEALTHY else faults))
    except BadFaults as error:
        raise BadInput(f"{option}: {error}") from None


def _traffic(rollout: Rollout, options: RehearsalOptions) -> TrafficPlan:
    plain = TrafficPlan(rate=options.rps, path=options.path, matching_path=options.path, seed=options.seed)
    if rollout.ladder.strategy is not Strategy.AB or not rollout.match:
        return plain
    try:
        percent = 100 * parse_fraction(options.match_share)
        path, headers = example(rollout.match[0])
    except NoExample as error:
        raise BadInput(str(error)) from None
    except ValueError:
        raise BadInput(f"--match-share {options.match_share}: expected a share from 0 to 1, such as 10%") from None
    return TrafficPlan(
        rate=options.rps,
        path=options.path,
        share=percent,
        matching=headers,
        matching_path=path if rollout.match[0].uri else options.path,
        seed=options.seed,
    )


def _demand_measured(rollout: Rollout, constants: Mapping[str, float], options: RehearsalOptions) -> None:
    """Raise BadInput for a metric that nobody here can measure: it could only fail."""
    own = [check.name for check in rollout.checks if check.kind in (CheckKind.TEMPLATE, CheckKind.QUERY)]
    missing = [name for name in own if name not in constants]
    if missing and not options.metrics_server:
        raise BadInput(
            f"the metric {missing[0]} is not measured on this machine: give it a value by --metric {missing[0]}=VALUE, "
            "or name a Prometheus by --metrics-server URL"
        )


def _gates(rollout: Rollout, texts: Sequence[str], view: LiveView | None) -> Mapping[str, Gate]:
    """Gates answered by options; on a terminal the others are asked of whoever sits there."""
    given = parse_pairs(texts, "--gate", "NAME=approve or NAME=deny", parse_approval)
    names = {hook.name for hook in rollout.hooks if hook.type in (*GATES, HookType.ROLLBACK)}
    unknown = [name for name in given if name not in names]
    if unknown:
        listed = ", ".join(sorted(names)) or "none"
        raise BadInput(f"--gate {unknown[0]}: the manifest has no gate of that name; it has {listed}")
    asked = {hook.name for hook in rollout.hooks if hook.type in GATES} - given.keys()
    return {**given, **(dict.fromkeys(asked, view.gate) if view else {})}


def _remarks(rollout: Rollout, options: RehearsalOptions, folder: Path) -> Iterator[str]:
    if options.resume:
        yield f"going on with the rehearsal in {folder}"
    else:
        yield f"the provider {rollout.provider} and the service section play no part: Envoy routes on this machine"
    gates = [hook.name for hook in rollout.hooks if hook.type in GATES]
    if options.hooks == "local" and gates and not options.gates and not _on_a_terminal():
        yield f"gates are open, as nobody can be asked (--gate NAME=deny closes one): {', '.join(gates)}"


def _on_a_terminal() -> bool:
    return sys.stdout.isatty() and sys.stdin.isatty()
