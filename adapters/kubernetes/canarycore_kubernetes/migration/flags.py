"""Flagger's flags: their defaults, the values of the charts that set them, and those that this controller refuses.

    FLAGS_BY_NAME["threadiness"].own_default    "64"
    parse_flags(["./flagger", "-log-level=info"])    {"log-level": "info"}

This table is the source of `canary migrate` and of the table in the docs. The effect of a flag is that of the chart's
value (see `deploy.chart`); the defaults of this controller are those of its `Options`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import fields, frozen

from canarycore_kubernetes.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

_FLAG = re.compile(r"--?(?P<name>[a-zA-Z][\w-]*)(?:=(?P<value>.*))?", re.DOTALL)


@frozen(kw_only=True)
class FlaggerFlag:
    """A flag of Flagger 1.44."""

    name: str
    """The name without dashes."""
    default: str = ""
    """Flagger's default."""
    chart_default: str = ""
    """The default of Flagger's chart where it differs; else empty."""
    value: str = ""
    """The value of both charts that sets the flag; empty if none does."""
    option: str = ""
    """The option of `canary install` that sets it; empty for `--flag`."""
    note: str = ""
    """The difference in its effect; empty if it has none."""
    replacement: str = ""
    """The remedy for somebody who sets the flag; empty if the controller takes it."""
    is_ignored: bool = False
    """Whether the controller accepts the flag and ignores it."""
    variable: str = ""
    """The environment variable with the same effect, for an address or a token that is secret; else empty."""

    @property
    def is_switch(self) -> bool:
        """Whether the flag is true or false."""
        return self.default in ("true", "false")

    @property
    def own_default(self) -> str:
        """The default of this controller; Flagger's for a flag that is no option of ours."""
        default = _OWN_DEFAULTS.get(_RENAMED.get(self.name, self.name.replace("-", "_")), self.default)
        if isinstance(default, bool):
            return str(default).lower()
        return (
            ",".join(default)
            if isinstance(default, tuple)
            else f"{default:g}"
            if isinstance(default, float)
            else str(default)
        )


_RENAMED = {"zap-encoding": "log_encoding"}
"""The options of ours that have another name than the flag."""

_OWN_DEFAULTS = {option.name: option.default for option in fields(Options)}

FLAGS: tuple[FlaggerFlag, ...] = (
    FlaggerFlag(name="mesh-provider", default="istio", value="meshProvider", option="--provider"),
    FlaggerFlag(
        name="metrics-server", default="http://prometheus:9090", value="metricsServer", option="--metrics-server"
    ),
    FlaggerFlag(name="namespace", value="namespace", option="--watched"),
    FlaggerFlag(name="selector-labels", default="app,name,app.kubernetes.io/name", value="selectorLabels"),
    FlaggerFlag(name="include-label-prefix", value="includeLabelPrefix"),
    FlaggerFlag(name="enable-config-tracking", default="true", value="configTracking.enabled"),
    FlaggerFlag(name="no-cross-namespace-refs", default="false", value="noCrossNamespaceRefs"),
    FlaggerFlag(
        name="ingress-annotations-prefix", default="nginx.ingress.kubernetes.io", value="ingressAnnotationsPrefix"
    ),
    FlaggerFlag(name="ingress-class", value="ingressClass"),
    FlaggerFlag(name="cluster-name", value="clusterName"),
    FlaggerFlag(name="slack-url", value="slack.url", variable="SLACK_URL"),
    FlaggerFlag(name="slack-token", variable="SLACK_TOKEN", note="No value of the charts sets it: use `env`."),
    FlaggerFlag(name="slack-proxy-url", value="slack.proxyUrl", variable="SLACK_PROXY_URL"),
    FlaggerFlag(name="slack-user", default="flagger", value="slack.user"),
    FlaggerFlag(name="slack-channel", value="slack.channel"),
    FlaggerFlag(name="msteams-url", value="msteams.url", variable="MSTEAMS_URL"),
    FlaggerFlag(name="msteams-proxy-url", value="msteams.proxyUrl", variable="MSTEAMS_PROXY_URL"),
    FlaggerFlag(name="event-webhook", value="eventWebhook", variable="EVENT_WEBHOOK_URL"),
    FlaggerFlag(
        name="enable-leader-election",
        default="false",
        value="leaderElection.enabled",
        note="Installations elect a leader among two replicas unless told otherwise.",
    ),
    FlaggerFlag(
        name="leader-election-namespace",
        default="kube-system",
        replacement="install into the namespace of Flagger's Lease, which is then the same one",
    ),
    FlaggerFlag(name="threadiness", default="2", value="threadiness"),
    FlaggerFlag(name="kubeconfig-qps", default="100", value="kubeconfigQPS"),
    FlaggerFlag(name="kubeconfig-burst", default="250", value="kubeconfigBurst"),
    FlaggerFlag(
        name="control-loop-interval",
        default="10s",
        note="Ignored: the controller reacts to changes at once.",
        is_ignored=True,
    ),
    FlaggerFlag(name="log-level", default="debug", chart_default="info", value="logLevel"),
    FlaggerFlag(name="zap-encoding", default="json", note="`--log-encoding` is the same option."),
    FlaggerFlag(
        name="zap-replace-globals", default="false", replacement="leave it out: it is about Flagger's own log library"
    ),
    FlaggerFlag(name="kubeconfig"),
    FlaggerFlag(name="master"),
    FlaggerFlag(
        name="kubeconfig-service-mesh",
        value="controlplane.kubeconfig.key",
        note="The chart mounts the Secret `controlplane.kubeconfig.secretName`.",
    ),
    FlaggerFlag(
        name="port", default="8080", replacement="leave it out: probes, Service and monitors use the port 8080"
    ),
    FlaggerFlag(name="version", default="false", replacement="leave it out: canary --version prints the version"),
)

FLAGS_BY_NAME = {flag.name: flag for flag in FLAGS}

FLAGS_BY_VALUE = {flag.value: flag for flag in FLAGS if flag.value}

UNKNOWN_FLAG = "leave it out: the controller does not start with a flag that it does not know"
"""The remedy for a flag that the table lacks."""


def parse_flags(arguments: Iterable[str]) -> dict[str, str]:
    """Return the values of the flags on a command line in Go's form. Other arguments do not count."""
    flags: dict[str, str] = {}
    pending = ""
    for argument in arguments:
        match = _FLAG.fullmatch(argument)
        if match is None:
            if pending:
                flags[pending] = argument
            pending = ""
            continue
        name, value = match["name"], match["value"]
        known = FLAGS_BY_NAME.get(name)
        is_switch = known is not None and known.is_switch
        flags[name] = _switch(value) if is_switch else value or ""
        pending = name if value is None and not is_switch else ""
    return flags


def _switch(value: str | None) -> str:
    return "true" if value is None or value.lower() in ("true", "t", "1") else "false"


def flags_table() -> str:
    """Return a table of the flags in Markdown."""
    head = "| Flag | Flagger's default | Default here | Value of the chart | `canary install` |"
    return "\n".join(["", head, "| --- | --- | --- | --- | --- |", *map(_row, FLAGS), "", ""])


def _row(flag: FlaggerFlag) -> str:
    if flag.replacement:
        cells = [_code(flag.default), "", "", f"Instead, {flag.replacement}."]
    else:
        option = f"`{flag.option or f'--flag=--{flag.name}=…'}`"
        way = f"The chart only. Variable: `{flag.variable}`." if flag.variable else f"{option}."
        note = f" {flag.note}" if flag.note else ""
        cells = [_code(flag.default), _code(flag.own_default), _code(flag.value), f"{way}{note}"]
    return f"| `-{flag.name}` | {' | '.join(cells)} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
