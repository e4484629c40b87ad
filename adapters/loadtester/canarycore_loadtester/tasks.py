"""The types of tasks: the text of a webhook's metadata becomes something to run.

cmd         a shell text, in the background: sh
bash        a shell text, while the caller waits: bash
helm        arguments of helm, while the caller waits; helmv3 is the same
kubectl     arguments of kubectl, while the caller waits
ngrinder    a performance test of nGrinder, in the background
concord     a process of Concord, while the caller waits
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from attrs import field, frozen

from canarycore.text import shorten
from canarycore_loadtester.allowed import ForbiddenCommand, check_command, check_shell
from canarycore_loadtester.delegates import Concord, NGrinder
from canarycore_loadtester.options import EVERY_COMMAND, LoadtesterOptions
from canarycore_loadtester.payload import Payload, parse_switch
from canarycore_loadtester.programs import run_program, substitutes

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen(kw_only=True)
class TaskResult:
    """The end of a task."""

    is_success: bool
    output: str = field(default="", repr=False)
    """The output of its program."""
    error: str = ""
    """The reason of its failure."""


@frozen(kw_only=True)
class Task:
    """A task to run."""

    kind: str
    """The type in the metadata."""
    canary: str
    """The Canary, for logs."""
    text: str = field(repr=False)
    """The text that identifies the task together with the Canary: the command."""
    is_background: bool
    """Whether the caller waits only until the task is accepted."""
    logs_output: bool = False
    returns_output: bool = False
    run: Callable[[], Awaitable[TaskResult]] = field(repr=False, eq=False)
    """Runs the task to its end. Raises WorldError and OSError."""

    @property
    def key(self) -> tuple[str, str, str]:
        """The identity: a task that runs in the background is not started again."""
        return self.kind, self.canary, self.text


class InvalidTask(Exception):
    """A task that cannot run; `status` is the answer for it."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


def parse_task(payload: Payload, options: LoadtesterOptions) -> Task:
    """Return the task of a payload. Raise InvalidTask."""
    if not payload.metadata:
        raise InvalidTask("metadata not found in payload")
    kind = payload.metadata.get("type", "cmd")
    if kind not in KINDS:
        raise InvalidTask(f"unknown task type {shorten(kind)}, expected one of {', '.join(KINDS)}")
    try:
        return KINDS[kind](kind, payload, options)
    except ForbiddenCommand as error:
        raise InvalidTask(str(error), HTTPStatus.FORBIDDEN) from None
    except ValueError as error:
        raise InvalidTask(str(error)) from None


# ------------------------------------------------------------------------------------------------------------- kinds

_Kind = Callable[[str, Payload, LoadtesterOptions], Task]


def _shell(shell: str, *, is_background: bool) -> _Kind:
    def parse(kind: str, payload: Payload, options: LoadtesterOptions) -> Task:
        text = _command_of(payload)
        check_shell(text, options)
        is_limited = EVERY_COMMAND not in options.allowed_commands

        async def run() -> TaskResult:
            return await _run([shell, "-c", substitutes(is_limited=is_limited) + text], text, options)

        return _task(kind, payload, text, run, is_background=is_background)

    return parse


def _tool(program: str) -> _Kind:
    def parse(kind: str, payload: Payload, options: LoadtesterOptions) -> Task:
        text = _command_of(payload)
        check_command(program, options)
        arguments = shlex.split(text)

        async def run() -> TaskResult:
            return await _run([program, *arguments], text, options)

        return _task(kind, payload, text, run, is_background=False)

    return parse


def _ngrinder(kind: str, payload: Payload, options: LoadtesterOptions) -> Task:
    check_command(kind, options)
    test = NGrinder.parse(payload.metadata)

    async def run() -> TaskResult:
        return TaskResult(is_success=True, output=await test.run())

    return _task(kind, payload, test.key, run, is_background=True)


def _concord(kind: str, payload: Payload, options: LoadtesterOptions) -> Task:
    check_command(kind, options)
    try:
        process = Concord.parse(payload.metadata, options.api_key_folder)
    except ValueError as error:
        raise InvalidTask(str(error), HTTPStatus.INTERNAL_SERVER_ERROR) from None  # as Flagger answers

    async def run() -> TaskResult:
        return TaskResult(is_success=True, output=await process.run())

    return _task(kind, payload, str(process.server), run, is_background=False)


KINDS: dict[str, _Kind] = {
    "cmd": _shell("sh", is_background=True),
    "bash": _shell("bash", is_background=False),
    "helm": _tool("helm"),
    "helmv3": _tool("helm"),
    "kubectl": _tool("kubectl"),
    "ngrinder": _ngrinder,
    "concord": _concord,
}
"""The types of tasks."""


def _command_of(payload: Payload) -> str:
    if "cmd" not in payload.metadata:
        raise InvalidTask("cmd not found in metadata")
    command = payload.metadata["cmd"]
    if "\0" in command:
        raise InvalidTask("found a null character in cmd, expected text")
    return command


def _task(
    kind: str, payload: Payload, text: str, run: Callable[[], Awaitable[TaskResult]], *, is_background: bool
) -> Task:
    return Task(
        kind=kind,
        canary=payload.canary,
        text=text,
        is_background=is_background,
        logs_output=parse_switch(payload.metadata, "logCmdOutput") or not is_background,
        returns_output=parse_switch(payload.metadata, "returnCmdOutput"),
        run=run,
    )


async def _run(command: Sequence[str], text: str, options: LoadtesterOptions) -> TaskResult:
    """Run a program. The error of a failure is Flagger's."""
    result = await run_program(command, options.output_limit)
    error = "" if result.is_success else f"command {text} failed: {result.output}: {result.end}"
    return TaskResult(is_success=result.is_success, output=result.output, error=error)
