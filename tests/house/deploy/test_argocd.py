"""The actions of Argo CD: their structure, and their results where a Lua interpreter is on the PATH.

Argo CD runs the scripts in gopher-lua, whose command is `glua`. A script sees the live object as the global `obj`, and
only the base and table libraries.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from canarycore import CommandKind, Phase, Rollout, Status, TargetRef
from canarycore.phases import BEFORE_PROMOTION, UNDER_WAY
from canarycore_kubernetes.api.kinds import CANARY
from canarycore_kubernetes.resources.canaries import COMMAND
from canarycore_kubernetes.resources.status_codec import write_status

FILE = Path(__file__).parents[3] / "deploy" / "argocd" / "actions.yaml"
ACTIONS = ("promote", "abort", "pause", "resume", "approve", "retry")
INTERPRETER = next((path for name in ("glua", "lua", "lua5.4", "luajit") if (path := shutil.which(name))), None)
ROLLOUT = Rollout(name="podinfo", target=TargetRef(name="podinfo"), skip_analysis=True)


def read_yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)


CONFIG = read_yaml(FILE.read_text())
(KEY,) = CONFIG["data"]
CUSTOMIZATION = read_yaml(CONFIG["data"][KEY])
SCRIPTS: dict[str, str] = {one["name"]: one["action.lua"] for one in CUSTOMIZATION["definitions"]}


def expected_actions(phase: Phase, *, paused: bool) -> set[str]:
    """Return the actions that a user may choose."""
    return {
        *({"promote"} if phase in BEFORE_PROMOTION else ()),
        *({"abort", "resume" if paused else "pause"} if phase in UNDER_WAY else ()),
        *({"retry"} if phase is Phase.FAILED else ()),
    }


def canary(phase: Phase | None, *, paused: bool = False) -> dict[str, Any]:
    metadata = {"name": "podinfo", "namespace": "shop", "resourceVersion": "77"}
    if phase is None:
        return {"metadata": metadata}
    written = write_status(ROLLOUT, Status(phase=phase, since=1.0, applied="v2", promoted="v1", paused=paused))
    return {"metadata": metadata, "status": {name: value for name, value in written.items() if value is not None}}


def test_the_file_is_the_config_map_that_argo_cd_reads():
    assert (CONFIG["kind"], CONFIG["metadata"]["name"]) == ("ConfigMap", "argocd-cm")
    assert f"resource.customizations.actions.{CANARY.group}_{CANARY.kind}" == KEY


def test_each_action_has_a_script_and_is_discovered():
    assert tuple(SCRIPTS) == ACTIONS
    assert set(ACTIONS) <= {kind.value for kind in CommandKind}
    for name in ACTIONS:
        assert f'["{name}"] = action(' in CUSTOMIZATION["discovery.lua"]
        assert f'["{COMMAND}"] = "{name} argocd-" .. obj.metadata.resourceVersion' in SCRIPTS[name]
        assert SCRIPTS[name].rstrip().endswith("return obj")


def test_the_scripts_name_the_phases_of_the_controller():
    named = {phase for phase in Phase if f'"{phase.value}"' in CUSTOMIZATION["discovery.lua"]}
    assert named == UNDER_WAY | {Phase.FAILED}


def test_the_scripts_use_no_library_that_argo_cd_withholds():
    for script in (CUSTOMIZATION["discovery.lua"], *SCRIPTS.values()):
        assert not [name for name in ("string.", "os.", "io.", "require") if name in script]


def run(script: str, body: object, printer: str) -> list[str]:
    """Run a script as Argo CD does, and return the lines that `printer` writes about its result."""
    if INTERPRETER is None:
        pytest.skip("found no Lua interpreter on the PATH: the actions of Argo CD do not run")
    program = f"obj = {_lua(body)}\nlocal function script()\n{script}\nend\nlocal result = script()\n{printer}\n"
    done = subprocess.run([INTERPRETER, "-"] if "glua" not in INTERPRETER else [INTERPRETER, "-e", program],
                          input=program, capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _lua(value: object) -> str:
    """Return JSON data as a Lua expression."""
    match value:
        case dict():
            return "{" + ", ".join(f"[{_lua(name)}] = {_lua(item)}" for name, item in value.items()) + "}"
        case list() | tuple():
            return "{" + ", ".join(map(_lua, value)) + "}"
        case bool() | None:
            return {True: "true", False: "false", None: "nil"}[value]
        case str():
            return '"' + "".join(f"\\{ord(letter):03}" if letter in '"\\\n' else letter for letter in value) + '"'
        case _:
            return str(value)


CASES = [(None, False), *((phase, paused) for phase in Phase for paused in (False, True))]


@pytest.mark.parametrize(("phase", "paused"), CASES)
def test_a_user_may_choose_the_actions_that_apply(phase: Phase | None, paused: bool):
    printer = 'for name, action in pairs(result) do if not action["disabled"] then print(name) end end'
    chosen = set(run(CUSTOMIZATION["discovery.lua"], canary(phase, paused=paused), printer))
    assert chosen == (set() if phase is None else expected_actions(phase, paused=paused))


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("annotations", [None, {"team": "a"}], ids=["none", "others"])
def test_an_action_writes_a_command_that_the_controller_reads(name: str, annotations: dict[str, str] | None):
    body = canary(Phase.PROGRESSING)
    if annotations is not None:
        body["metadata"]["annotations"] = annotations
    printer = "for key, value in pairs(result.metadata.annotations) do print(key .. '=' .. value) end"
    written = dict(line.split("=", 1) for line in run(SCRIPTS[name], body, printer))
    assert written == {**(annotations or {}), COMMAND: f"{name} argocd-77"}
