"""Tests of the options of `canary controller`."""

from __future__ import annotations

import pytest

from canarycore.manifest import parse_links
from canarycore_cli.cluster import controller
from canarycore_kubernetes.options import Options
from canarycore_runtime.http import AllowedHosts, ForbiddenHost
from tests.adapters.cli.conftest import Canary


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options of started controllers; no controller really runs."""
    options: list[Options] = []

    def run(controller_options: Options, *, only_observe: bool) -> int:
        del only_observe
        options.append(controller_options)
        return 0

    monkeypatch.setattr(controller, "run", run)
    return options


def test_canaries_may_name_every_host_by_default(canary: Canary, started: list[Options]) -> None:
    assert canary("controller").exit_code == 0
    started[0].allowed_hosts.check("http://anywhere")


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_an_option_limits_the_allowed_hosts(canary: Canary, started: list[Options], dashes: str) -> None:
    assert canary("controller", f"{dashes}allowed-hosts=hooks.example.com,*.svc:8080").exit_code == 0
    assert started[0].allowed_hosts == AllowedHosts.parse("hooks.example.com,*.svc:8080")
    with pytest.raises(ForbiddenHost, match="--allowed-hosts"):
        started[0].allowed_hosts.check("http://anywhere")


def test_an_invalid_host_is_refused_before_the_start(canary: Canary, started: list[Options]) -> None:
    result = canary("controller", "--allowed-hosts=http://hooks.example.com/path")
    assert result.exit_code == 2
    assert "--allowed-hosts" in result.output
    assert not started


def test_the_page_is_off_by_default_and_has_its_own_port_and_names(canary: Canary, started: list[Options]) -> None:
    assert canary("controller").exit_code == 0
    assert canary("controller", "-page-port=8081", "-page-hosts=canary.example.com,c.example").exit_code == 0
    assert [(options.page_port, options.page_hosts) for options in started] == [
        (0, ()),
        (8081, ("canary.example.com", "c.example")),
    ]


def test_an_observer_serves_no_page_and_says_so(canary: Canary, started: list[Options]) -> None:
    result = canary("controller", "--observe", "--page-port=8081")
    assert result.exit_code == 2
    assert "canary ui" in result.output
    assert not started


def test_links_of_alerts_and_cloud_events_are_options(canary: Canary, started: list[Options]) -> None:
    links = ("Page=https://page.test/{{ .name }}", "Logs=https://logs.test/?q={{ urlquery .name }}")
    flags = [f"--alert-link={link}" for link in links]
    assert canary("controller", "--cloud-events", *flags).exit_code == 0
    assert started[0].cloud_events
    assert started[0].alert_links == parse_links("\n".join(links))


def test_calls_of_event_webhooks_are_flaggers_by_default(canary: Canary, started: list[Options]) -> None:
    assert canary("controller").exit_code == 0
    assert not started[0].cloud_events
    assert started[0].alert_links == ()


@pytest.mark.parametrize("link", ["https://page.test", "Page=page.test", "Page=https://page.test/{{ .nmae }}"])
def test_a_wrong_link_of_alerts_ends_the_controller_at_once(canary: Canary, started: list[Options], link: str) -> None:
    result = canary("controller", f"--alert-link={link}")
    assert result.exit_code == 2
    assert "--alert-link" in result.output
    assert not started
