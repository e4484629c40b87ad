"""Tests of versions: the parser of faults, and command lines."""

import pytest

from canarycore_local.processes.faults import BadFaults, Faults, Start
from canarycore_local.processes.versions import Version


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", Faults()),
        ("errors=5%", Faults(errors=5)),
        ("errors=0.5%, latency=300ms", Faults(errors=0.5, latency=0.3)),
        ("latency=1.5s,jitter=50ms", Faults(latency=1.5, jitter=0.05)),
        ("start=crash", Faults(start=Start.CRASH)),
        ("start=never", Faults(start=Start.NEVER)),
        ("start=slow:1m", Faults(start=Start.SLOW, start_delay=60)),
    ],
)
def test_faults_print_as_the_text_that_parse_accepts(text, faults):
    assert Faults.parse(text) == faults
    assert Faults.parse(str(faults)) == faults


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("errors=5", "errors=5: expected a percentage of requests from 0% to 100%"),
        ("errors=101%", "errors=101%: expected a percentage"),
        ("latency=300", "latency=300: expected a number and ms, s or m"),
        ("start=late", "start=late: expected crash, never or slow:<duration>"),
        ("start=slow", "start=slow:: expected a number"),
        ("error=5%", "unknown fault 'error' in 'error=5%': expected a list such as errors=5%,"),
    ],
)
def test_an_invalid_fault_names_the_expected_form(text, message):
    with pytest.raises(BadFaults, match=message):
        Faults.parse(text)


def test_a_revision_depends_on_label_command_and_faults():
    version = Version(label="v1", command="serve $PORT")

    assert version.revision == Version(label="v1", command="serve $PORT").revision
    others = {
        Version(label="v2", command="serve $PORT"),
        Version(label="v1", command="serve --port $PORT"),
        Version(label="v1", faults=Faults(errors=1)),
    }
    assert version.revision not in {other.revision for other in others}


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("serve --port $PORT", ("serve", "--port", "80")),
        ("serve --port=${PORT}", ("serve", "--port=80")),
        ("sh -c 'exec serve $PORT $HOME'", ("sh", "-c", "exec serve 80 $HOME")),
        ("serve $PORTAL $$", ("serve", "$PORTAL", "$$")),
    ],
)
def test_a_command_runs_without_a_shell_and_gets_its_port(command, argv):
    assert Version(label="v1", command=command).argv(80) == argv
