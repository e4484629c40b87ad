"""canary rehearse: run the policy of a manifest on this machine, with real requests.

`canarycore_local` provides Envoy, the processes, the traffic and the store; `canarycore_runtime` runs the rollout. This
module converts options to a script, and prints, shows and traces the story (see `canarycore_cli.rehearsal.story`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from canarycore import CheckKind, HookType, Strategy
from canarycore.policy import describe_policy
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
from canarycore_cli.manifests import read
from canarycore_cli.rehearsal import folders
from canarycore_cli.rehearsal.live import LiveView
from canarycore_cli.rehearsal.plain import PlainPrinter
from canarycore_cli.rehearsal.plugin_metrics import find_places, find_plugin_templates, open_plugin_metrics, place_of
from canarycore_cli.rehearsal.story import Story, Trace
from canarycore_cli.signals import cancel_on_signals
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
    from canarycore_cli.rehearsal.page import RehearsalPage
    from canarycore_local.hooks import Gate

HEALTHY = "healthy"
"""The value of `--then` for a version without faults."""

GATES = (HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION)

_TICK = 0.1
_EXIT_CODES = {"Succeeded": OK, "Failed": ROLLED_BACK}


@frozen(kw_only=True)
class RehearsalOptions:
    """The options, as typed."""

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
    has_page: bool
    templates: Sequence[Json] = ()
    """The MetricTemplates that plug-ins answer, as documents."""


def run(options: RehearsalOptions) -> int:
    """Rehearse, and return the exit code. All processes have ended when this returns."""
    script, folder, options = _script_to_resume(options) if options.resume else _new_script(options)
    rollout = script.rollout
    constants = parse_pairs(options.metrics, "--metric", "NAME=VALUE with a number, such as orders=3", float)
    _demand_measured(rollout, constants, options)
    view = None if options.as_json or not _on_a_terminal() else LiveView(script, rollout.full_name)
    gates = _gates(rollout, options.gates, view)
    folders.refuse_if_running(folder)
    if not options.resume:
        folders.clear(folder)
        _save_options(options, folder)
    console = view.console if view else out()
    _log_to(folder / folders.LOG)
    lines = JsonLines()
    page = _make_page() if options.has_page else None
    listeners = (Trace(folder / folders.TRACE), lines if options.as_json else PlainPrinter(console))
    story = Story(listeners if page is None else (*listeners, page))
    for remark in _remarks(rollout, options, folder):
        story.line("remark", text=remark)
    try:
        with folders.registered(f"{rollout.namespace}/{rollout.name}", folder):
            stage = local.Stage(gates=gates, constants=constants, notifiers=(story,))
            result = asyncio.run(_perform(script, folder, stage, story, view, page, lines, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err().print("stopped: all processes have ended", style="yellow")
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
    page: RehearsalPage | None,
    lines: JsonLines,
    options: RehearsalOptions,
) -> Json:
    with cancel_on_signals(signal.SIGTERM, signal.SIGHUP):
        async with AsyncExitStack() as around:
            stage = await _add_providers(stage, options, around)
            opened = local.resume(folder, stage) if options.resume else local.rehearse(folder, script, stage)
            rehearsal = await around.enter_async_context(opened)
            _add_start(story, rehearsal)
            on_cycle = view.observe(story.cycle) if view else story.cycle
            if page is not None:
                on_cycle = page.observe(on_cycle)
                story.line("remark", text=f"page: {await around.enter_async_context(_serve(page, rehearsal))}")
            async with Runner(rehearsal.parts, refuse=None, on_cycle=on_cycle), _watch(story, view, lines, rehearsal):
                status = await rehearsal.play()
        story.add_splits(rehearsal.splits(), is_over=True)
        return story.end(rehearsal, status)


def _make_page() -> RehearsalPage:
    from canarycore_cli.rehearsal.page import RehearsalPage

    return RehearsalPage()


@asynccontextmanager
async def _serve(page: RehearsalPage, rehearsal: local.Rehearsal) -> AsyncIterator[str]:
    """Serve the page of a rehearsal while the context is open, and yield its address."""
    from canarycore_runtime.page.local import serve_locally

    page.rehearsal = rehearsal
    async with serve_locally(page, page) as address:
        yield address


async def _add_providers(stage: local.Stage, options: RehearsalOptions, around: AsyncExitStack) -> local.Stage:
    """Return the stage with real webhooks, a real metrics server and the providers of plug-ins, as the options say."""
    if options.hooks == "live":
        from canarycore_hooks.webhook import EventHook, WebhookClient

        client = await around.enter_async_context(WebhookClient())
        stage = evolve(stage, hooks=client, notifiers=(*stage.notifiers, EventHook(client)))
    elif options.hooks == "pass":
        stage = evolve(stage, hooks="pass")
    if options.metrics_server:
        from canarycore_metrics.prometheus import PrometheusSource

        stage = evolve(stage, fallback=await around.enter_async_context(PrometheusSource(options.metrics_server)))
    if options.templates:
        opened = open_plugin_metrics(options.templates, stage.fallback)
        stage = evolve(stage, fallback=await around.enter_async_context(opened))
    return stage


@asynccontextmanager
async def _watch(
    story: Story, view: LiveView | None, lines: JsonLines, rehearsal: local.Rehearsal
) -> AsyncIterator[None]:
    """Add splits to the story and draw the view while the context is open; cancel this task without a reader."""
    task = asyncio.current_task()
    assert task is not None

    async def watch() -> None:
        while True:
            if not lines.is_read:
                task.cancel()
            story.add_splits(rehearsal.splits())
            if view:
                view.draw()
            await asyncio.sleep(_TICK)

    async with AsyncExitStack() as stack:
        if view:
            await stack.enter_async_context(view.show(rehearsal))
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


def _add_start(story: Story, rehearsal: local.Rehearsal) -> None:
    script = rehearsal.script
    story.line(
        "start",
        canary=rehearsal.key,
        policy=describe_policy(script.rollout),
        versions=[describe_version(version) for version in script.versions],
        speed=script.speed,
        rps=script.traffic.rate,
        address=rehearsal.address,
    )


def describe_version(version: Version) -> str:
    """Return the label of a version, with its command or its faults."""
    details = version.command or str(version.faults)
    return f"{version.label} ({details})" if details else version.label


# ------------------------------------------------------------------------------------------------------------- options


def _new_script(options: RehearsalOptions) -> tuple[local.Script, Path, RehearsalOptions]:
    if not options.manifest:
        raise BadInput("found no MANIFEST, expected the file with the Canary to rehearse (or --resume)")
    rollout, templates = read.read_rollout_and_templates(options.manifest, options.canary)
    if rollout.suspend:
        raise BadInput(
            f"{options.manifest}: found spec.suspend: true, expected false: a suspended rollout does nothing"
        )
    rollout = evolve(rollout, ladder=rollout.ladder.without_sizes())  # each side is one process
    script = local.Script(
        rollout=rollout, versions=make_versions(options), traffic=make_traffic(rollout, options), speed=options.speed
    )
    folder = options.state_dir or folders.default_folder(rollout)
    return script, folder, evolve(options, templates=find_plugin_templates(rollout, templates))


def _script_to_resume(options: RehearsalOptions) -> tuple[local.Script, Path, RehearsalOptions]:
    """Return the rehearsal to resume, with its options: of a folder, of a manifest, or the last one."""
    if options.state_dir is not None:
        folder = options.state_dir
    elif options.manifest:
        folder = folders.default_folder(read.read_rollout(options.manifest, options.canary))
    else:
        folder = folders.latest_folder()
    return folders.read_script(folder), folder, _restore_options(options, folder)


def _save_options(options: RehearsalOptions, folder: Path) -> None:
    """Save the options that are not in the script, for a resumption."""
    saved = {name: getattr(options, name) for name in _SAVED_OPTIONS}
    write_private(folder / folders.OPTIONS, json.dumps(saved))


def _restore_options(options: RehearsalOptions, folder: Path) -> RehearsalOptions:
    """Return the options with the saved ones of the start; new gates and metrics are added to the old."""
    saved = json.loads(read_private(folder / folders.OPTIONS))
    gates, metrics = [*saved["gates"], *options.gates], [*saved["metrics"], *options.metrics]
    return evolve(options, **{**saved, "gates": gates, "metrics": metrics})


_SAVED_OPTIONS = ("hooks", "gates", "metrics", "metrics_server", "templates")


def make_versions(options: RehearsalOptions) -> tuple[Version, ...]:
    """Return the versions that options describe. Raises BadInput."""
    old = _version("v1", "--old", options.old, options.old_command)
    new = _version("v2", "--new", options.new, options.new_command)
    later = (_version(f"v{number}", "--then", text, "") for number, text in enumerate(options.then, 3))
    return (old, new, *later)


def _version(label: str, option: str, faults: str, command: str) -> Version:
    if command and faults:
        raise BadInput(
            f"{option} {faults} and {option}-cmd: expected one of them: only the built-in service has faults"
        )
    try:
        return Version(label=label, command=command, faults=Faults.parse("" if faults == HEALTHY else faults))
    except BadFaults as error:
        raise BadInput(f"{option}: {error}") from None


def make_traffic(rollout: Rollout, options: RehearsalOptions) -> TrafficPlan:
    """Return the requests of users that options describe. Raises BadInput."""
    plan = TrafficPlan(rate=options.rps, path=options.path, matching_path=options.path, seed=options.seed)
    conditions = rollout.conditions
    if not conditions or (rollout.ladder.strategy is not Strategy.AB and not rollout.ladder.has_matches):
        return plan
    try:
        percent = 100 * parse_fraction(options.match_share)
        path, headers = example(conditions[0])
    except NoExample as error:
        raise BadInput(str(error)) from None
    except ValueError:
        raise BadInput(f"--match-share {options.match_share}: expected a fraction from 0 to 1, such as 10%") from None
    return TrafficPlan(
        rate=options.rps,
        path=options.path,
        share=percent,
        matching=headers,
        matching_path=path if conditions[0].uri else options.path,
        seed=options.seed,
    )


def _demand_measured(rollout: Rollout, constants: Mapping[str, float], options: RehearsalOptions) -> None:
    """Raise BadInput for a metric without a source on this machine: its check could only fail."""
    own = [check for check in rollout.checks if check.kind in (CheckKind.TEMPLATE, CheckKind.QUERY)]
    answered = find_places(options.templates)
    missing = [check.name for check in own if check.name not in constants and place_of(rollout, check) not in answered]
    if missing and not options.metrics_server:
        raise BadInput(
            f"found no source of the metric {missing[0]} on this machine: set it by --metric {missing[0]}=VALUE, "
            "or name a Prometheus by --metrics-server URL"
        )


def _gates(rollout: Rollout, texts: Sequence[str], view: LiveView | None) -> Mapping[str, Gate]:
    """Return the gates that options answer; on a terminal the view asks its user about the others."""
    answered = parse_pairs(texts, "--gate", "NAME=approve or NAME=deny", parse_approval)
    names = {hook.name for hook in rollout.hooks if hook.type in (*GATES, HookType.ROLLBACK)}
    unknown = [name for name in answered if name not in names]
    if unknown:
        listed = ", ".join(sorted(names)) or "none"
        raise BadInput(f"--gate {unknown[0]}: the manifest has no gate of that name; it has {listed}")
    others = {hook.name for hook in rollout.hooks if hook.type in GATES} - answered.keys()
    return {**answered, **(dict.fromkeys(others, view.gate) if view else {})}


def _remarks(rollout: Rollout, options: RehearsalOptions, folder: Path) -> Iterator[str]:
    if options.resume:
        yield f"resuming the rehearsal in {folder}"
    else:
        yield f"Envoy routes here: the rehearsal ignores the provider {rollout.provider} and the service section"
    gates = [hook.name for hook in rollout.hooks if hook.type in GATES]
    if options.hooks == "local" and gates and not options.gates and not _on_a_terminal():
        yield f"all gates are open, as there is no terminal to ask (--gate NAME=deny closes one): {', '.join(gates)}"


def _on_a_terminal() -> bool:
    return sys.stdout.isatty() and sys.stdin.isatty()
