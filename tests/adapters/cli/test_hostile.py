"""Tests that no text from outside controls the terminal, forges a line or is read as markup, in any output."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import os
import unicodedata
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from attrs import define
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree
from typer.main import get_command

import canarycore_cli
from canarycore import Rollout, TargetRef
from canarycore.errors import Problem
from canarycore_cli.console import OneLineFormatter, print_json, print_problems
from canarycore_cli.main import app
from canarycore_cli.rehearsal.plain import PlainPrinter
from canarycore_cli.safe_console import LONGEST_LINE, SafeConsole
from tests.adapters.cli.conftest import MANIFEST, Canary, Result

pytest.importorskip("canarycore_local", reason="canarycore-local is not installed")
pytest.importorskip("canarycore_kubernetes", reason="canarycore-kubernetes is not installed")

from canarycore_cli.rehearsal import folders
from canarycore_kubernetes.api.kinds import KINDS
from canarycore_local.store import STORE, SqliteStore
from canarycore_planes.control_plane.api import Api, Json
from tests.controlplane.in_memory.server import faked

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]

MARK = "hostile"
HOSTILE = (
    f"{MARK}\x1b[2J\x1b]0;owned\x07\r\nfake line\t\x9b31m\x85\u2028\u202edrow\u2066[red]x[/red] [link=http://x]y[/]"
)
NAME = HOSTILE.replace("/", "")
"""The hostile text as the name of a file."""


def is_unsafe(character: str) -> bool:
    reorders = unicodedata.bidirectional(character) in {"RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI", "PDF", "PDI"}
    return character != "\n" and (unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} or reorders)


def check(text: str, *, shown: bool = True) -> None:
    """Check that an output shows the hostile text without effects."""
    assert [character for character in text if is_unsafe(character)] == []
    assert [line for line in text.splitlines() if line.lstrip(" │├└─").startswith("fake line")] == []
    if shown:
        assert MARK in text
        assert "[red]" in text


@define
class Stage:
    """The places of hostile texts: files, a cluster, a rehearsal."""

    canary: Canary
    folder: Path

    def file(self, text: str, name: str = "canary.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def hostile_manifest(self) -> Path:
        """Write a valid manifest with hostile names where any text is allowed."""
        text = MANIFEST.replace("name: gate\n", f"name: {json.dumps(HOSTILE)}\n")
        return self.file(text)

    def hostile_rollout(self) -> Path:
        """Write a Rollout of Argo with hostile names, templates and fields."""
        step = {"analysis": {"templates": [{"templateName": HOSTILE}]}, HOSTILE: HOSTILE}
        strategy = {"canary": {"steps": [{"setWeight": 5}, step], HOSTILE: HOSTILE}}
        body = _object("argoproj.io/v1alpha1", "Rollout", HOSTILE, spec={"strategy": strategy})
        return self.file(json.dumps(body), "rollout.yaml")

    def hostile_flagger(self) -> Path:
        """Write a Deployment of Flagger with hostile flags."""
        container = {
            "name": "flagger",
            "command": [f"-mesh-provider={HOSTILE}", f"-cluster-name={HOSTILE}", "-v", HOSTILE],
        }
        body = _object("apps/v1", "Deployment", HOSTILE, spec={"template": {"spec": {"containers": [container]}}})
        return self.file(json.dumps(body), "flagger.yaml")

    def cluster(self, *command: str) -> Result:
        """Run a command on a cluster with a hostile Canary, hostile events and hostile conditions."""
        with faked(KINDS) as server:
            api = Api(server.access)
            for body in (_canary("app"), _canary("broken", HOSTILE)):
                api.create(body)
            api.create(_replica_set(api.create(_deployment())))
            api.request("PATCH", f"{CANARIES}/app", {"status": _status()}, content="application/merge-patch+json")
            api.create(_event())
            kubeconfig = self.file(json.dumps(server.access.kubeconfig), "kubeconfig")
            return self.canary(*command, "-n", "test", "--kubeconfig", kubeconfig)


def _deployment() -> dict[str, object]:
    labels = {"app": "app"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", "app", spec=spec)


def _replica_set(deployment: Json) -> dict[str, object]:
    """Return an earlier revision of a Deployment, with a hostile image."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "controller": True}
    template = deepcopy(deployment["spec"]["template"])
    template["spec"]["containers"][0]["image"] = HOSTILE
    body = _object("apps/v1", "ReplicaSet", "app-1", spec={"selector": {"matchLabels": {}}, "template": template})
    return body | {
        "metadata": {**body["metadata"], "ownerReferences": [{**owner, "uid": deployment["metadata"]["uid"]}]}
    }


def _canary(name: str, provider: str = "kubernetes") -> dict[str, object]:
    hook = {"name": HOSTILE, "type": "confirm-promotion", "url": "http://gate/"}
    metric = {"name": HOSTILE, "interval": "1m", "query": HOSTILE, "thresholdRange": {"min": 1}}
    analysis = {"interval": "1m", "threshold": 1, "iterations": 2, "webhooks": [hook], "metrics": [metric]}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}
    spec = {"targetRef": target, "service": {"port": 80}, "provider": provider, "analysis": analysis}
    return _object("flagger.app/v1beta1", "Canary", name, spec=spec)


def _status() -> dict[str, object]:
    condition = {"type": HOSTILE, "status": HOSTILE, "reason": HOSTILE, "message": HOSTILE}
    return {"phase": "Progressing", "canaryWeight": 0, "failedChecks": 0, "iterations": 1, "conditions": [condition]}


def _event() -> dict[str, object]:
    canary = {"kind": "Canary", "name": "app", "namespace": "test"}
    return _object(
        "v1", "Event", "app.1", involvedObject=canary, message=HOSTILE, type=HOSTILE, lastTimestamp=HOSTILE, reason="x"
    )


def _object(api_version: str, kind: str, name: str, **content: object) -> dict[str, object]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "test"}, **content}


CANARIES = "/apis/flagger.app/v1beta1/namespaces/test/canaries"


def _name_of_a_rehearsal(command: str, *arguments: str) -> Callable[[Stage], Result]:
    return lambda stage: stage.canary(command, *arguments, HOSTILE)


def _status_of_a_rehearsal(stage: Stage) -> Result:
    rollout = Rollout(name=HOSTILE, namespace="test", target=TargetRef(name=HOSTILE), skip_analysis=True)
    folder = stage.folder / NAME
    folder.mkdir()
    key = asyncio.run(SqliteStore(folder / STORE).put(rollout))
    process = _registered(key, folder)
    try:
        return stage.canary("status")
    finally:
        os.kill(process, 9)
        os.waitpid(process, 0)


def _registered(key: str, folder: Path) -> int:
    """Start another process that registers a rehearsal, and return its id."""
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        with folders.registered(key, folder):
            os.write(done, b".")
            while True:
                os.read(ready, 0)
                __import__("time").sleep(60)
    os.read(ready, 1)
    return child


def _explain(stage: Stage) -> Result:
    stage.file(json.dumps({"kind": "decision", "seconds": 1.0, "explanation": HOSTILE}) + "\n", folders.TRACE)
    return stage.canary("explain", "--state-dir", stage.folder)


def _lint_file(stage: Stage) -> Result:
    return stage.canary("lint", stage.file(f"apiVersion: flagger.app/v1beta1\nkind: {json.dumps(HOSTILE)}\n", NAME))


def _lint_names(stage: Stage) -> Result:
    text = MANIFEST.replace("name: app\n", f"name: {json.dumps(HOSTILE)}\n")
    return stage.canary("lint", stage.file(text.replace("  service:", f"  {json.dumps(HOSTILE)}: 1\n  service:")))


CASES: dict[str, list[Callable[[Stage], Result]]] = {
    "lint": [
        _lint_file,
        _lint_names,
        lambda stage: stage.canary("lint", HOSTILE),
        lambda stage: stage.cluster("lint", "--cluster"),
        lambda stage: stage.cluster("lint", "--cluster", "--account", f"a/{HOSTILE}"),
    ],
    "convert": [
        lambda stage: stage.canary("convert", stage.hostile_rollout()),
        lambda stage: stage.canary("convert", stage.hostile_rollout(), "--json"),
        lambda stage: stage.canary("convert", HOSTILE),
    ],
    "simulate": [
        lambda stage: stage.canary("simulate", stage.hostile_manifest()),
        lambda stage: stage.canary("simulate", stage.hostile_manifest(), "--gate", f"{HOSTILE}=approve"),
        lambda stage: stage.canary("simulate", stage.hostile_manifest(), "--failures", HOSTILE),
        lambda stage: stage.canary("simulate", stage.hostile_manifest(), "--canary", HOSTILE),
        lambda stage: stage.canary("simulate", HOSTILE),
    ],
    "verify": [
        lambda stage: stage.canary("verify", "--strategy", HOSTILE),
        lambda stage: stage.canary("verify", HOSTILE),
    ],
    "rehearse": [
        lambda stage: stage.canary("rehearse", stage.hostile_manifest(), "--gate", "other=approve"),
        lambda stage: stage.canary("rehearse", stage.hostile_manifest(), "--new", HOSTILE),
        lambda stage: stage.canary("rehearse", "--resume", "--state-dir", stage.folder / NAME),
    ],
    **{
        name: [_name_of_a_rehearsal(name)]
        for name in ("promote", "abort", "pause", "resume", "approve", "retry", "status")
    },
    "skip-to": [_name_of_a_rehearsal("skip-to", "50")],
    "explain": [
        _explain,
        _name_of_a_rehearsal("explain"),
        lambda stage: stage.cluster("explain", HOSTILE),
    ],
    "install": [lambda stage: stage.canary("install", "--export", "--provider", HOSTILE)],
    "plugins": [lambda stage: stage.canary("plugins", HOSTILE)],
    "migrate": [
        lambda stage: stage.canary("migrate", HOSTILE),
        lambda stage: stage.canary("migrate", stage.hostile_flagger()),
        lambda stage: stage.canary("migrate", "--values", stage.file(json.dumps({HOSTILE: HOSTILE}))),
        lambda stage: stage.canary("migrate", "--values", stage.file(json.dumps({"podLabels": {HOSTILE: HOSTILE}}))),
        lambda stage: stage.canary("migrate", "--back", "--kubeconfig", stage.folder / NAME),
    ],
    "get": [lambda stage: stage.cluster("get"), lambda stage: stage.cluster("get", HOSTILE)],
    "describe": [lambda stage: stage.cluster("describe", "app"), lambda stage: stage.cluster("describe", HOSTILE)],
    "history": [lambda stage: stage.cluster("history", "app"), lambda stage: stage.cluster("history", HOSTILE)],
    "undo": [lambda stage: stage.cluster("undo", "app", "--to", HOSTILE), lambda stage: stage.cluster("undo", HOSTILE)],
    "wait": [
        lambda stage: stage.cluster("wait", HOSTILE, "--timeout", "2s"),
        lambda stage: stage.cluster("wait", "app", "--timeout", HOSTILE),
    ],
    "loadtester": [
        lambda stage: stage.canary("loadtester", "--log-level", HOSTILE),
        lambda stage: stage.canary("loadtester", "--token-file", stage.folder / NAME),
    ],
    "controller": [lambda stage: stage.canary("controller", "--kubeconfig", stage.folder / NAME)],
    "ui": [lambda stage: stage.canary("ui", "--kubeconfig", stage.folder / NAME)],
}
CASES["status"].append(_status_of_a_rehearsal)


@pytest.fixture
def stage(canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return Stage(canary, tmp_path)


@pytest.fixture
def console() -> SafeConsole:
    return SafeConsole(file=io.StringIO(), width=100)


def test_every_command_has_a_hostile_case() -> None:
    assert sorted(CASES) == COMMANDS


@pytest.mark.parametrize(("command", "number"), [(name, n) for name, cases in CASES.items() for n in range(len(cases))])
def test_every_command_escapes_hostile_texts(stage: Stage, command: str, number: int) -> None:
    check(CASES[command][number](stage).output)


@pytest.mark.parametrize("command", COMMANDS)
def test_usage_errors_escape_hostile_texts(stage: Stage, command: str) -> None:
    check(stage.canary(command, f"--{HOSTILE}").output)


def test_an_unknown_command_is_escaped(stage: Stage) -> None:
    check(stage.canary(HOSTILE).output)


@pytest.mark.parametrize(
    "arguments",
    [("lint", "--cluster", "--json"), ("get", "--json"), ("describe", "app", "--json")],
    ids=lambda arguments: arguments[0],
)
def test_json_keeps_texts_and_escapes_them(stage: Stage, arguments: tuple[str, ...]) -> None:
    output = stage.cluster(*arguments).stdout
    check(output)
    assert MARK in json.dumps(json.loads(output))


def test_printed_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: HOSTILE})
    output = capsys.readouterr().out
    assert output.isascii()
    assert output.count("\n") == 1
    assert json.loads(output) == {HOSTILE: HOSTILE}


# the console ----------------------------------------------------------------------------------------------------------


def test_the_console_escapes_texts_everywhere(console: SafeConsole) -> None:
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE, "red"))
    tree = Tree(HOSTILE)
    tree.add(Text.assemble((HOSTILE, "bold"), HOSTILE))
    for shown in (HOSTILE, Text(HOSTILE), table, tree, Group(HOSTILE, Panel(HOSTILE, title=Text(HOSTILE)))):
        console.print(shown, HOSTILE, overflow="ignore")
    console.rule(Text(HOSTILE))
    check(_printed(console), shown=False)


def test_an_escaped_text_keeps_its_styles() -> None:
    console = SafeConsole(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    console.print(Text.assemble(("a\x1b", "red"), ("b\n", "bold"), "c"))
    assert _printed(console) == "\x1b[31ma\\x1b\x1b[0m\x1b[1mb\\n\x1b[0mc\n"


def test_the_console_prints_markup_literally(console: SafeConsole) -> None:
    console.print("[red]x[/red] [link=http://x]y[/link] :smile:")
    assert _printed(console) == "[red]x[/red] [link=http://x]y[/link] :smile:\n"


def test_the_console_cuts_an_endless_text(console: SafeConsole) -> None:
    console.print("x" * 10 * LONGEST_LINE, soft_wrap=True)
    assert len(_printed(console)) == LONGEST_LINE + 1


def test_a_problem_has_three_lines(console: SafeConsole) -> None:
    texts = dict.fromkeys(("path", "found", "expected", "remedy", "rule", "file"), HOSTILE)
    console.soft_wrap = True
    print_problems([Problem(**texts)], console)  # type: ignore[arg-type]
    check(_printed(console))
    assert _printed(console).count("\n") == 3


@pytest.mark.parametrize("kind", ["start", "remark", "event", "split", "trouble"])
def test_each_event_of_a_hostile_story_has_one_line(console: SafeConsole, kind: str) -> None:
    line = {
        **dict.fromkeys(("text", "type", "policy", "address"), HOSTILE),
        "kind": kind,
        "seconds": 1.0,
        "versions": [HOSTILE],
        "rps": 1.0,
        "speed": 1.0,
        "weight": 1,
        "mirrored": False,
        "matched": False,
        "measured": 1.0,
        "requests": 1,
        "bad": 0,
    }
    console.soft_wrap = True
    PlainPrinter(console)(line)
    check(_printed(console), shown=kind != "split")
    assert _printed(console).count("\n") == 1


def test_a_log_record_has_one_line() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 1, "%s", (HOSTILE,), None)
    check(OneLineFormatter(logging.BASIC_FORMAT).format(record))
    error = ValueError(HOSTILE)
    record.exc_info = (ValueError, error, None)
    first, *rest = OneLineFormatter(logging.BASIC_FORMAT).format(record).split("\n")
    check(first)
    assert all(line.startswith("    ") for line in rest)


def test_all_output_passes_through_the_console() -> None:
    """No module prints without it, except where the format makes that safe."""
    package = Path(canarycore_cli.__file__).parent
    outputs = {
        f"{path.relative_to(package)}: {call}"
        for path in package.rglob("*.py")
        for call in _outputs(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert outputs == {
        "cluster/install.py: sys.stdout",  # YAML, which ruamel escapes
        "manifests/convert.py: sys.stdout",  # the same
        "console.py: sys.stdout",  # JSON, and whether it is a terminal
        "console.py: sys.stderr",
        "main.py: typer.echo",  # our version
        "rehearsal/rehearse.py: sys.stdout",  # whether it is a terminal
    }


def _outputs(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"sys.stdout", "sys.stderr", "sys.__stdout__", "typer.echo", "typer.secho", "click.echo"}:
                yield name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "Console"}:
            yield node.func.id
        elif isinstance(node, ast.ImportFrom) and node.module == "rich":
            yield from (f"rich.{alias.name}" for alias in node.names)


def _printed(console: SafeConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
