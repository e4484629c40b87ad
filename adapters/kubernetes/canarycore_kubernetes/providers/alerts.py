"""The port Notifier for alerts: it sends each to the chats that the Canary names, or else to the controller's own.

    rollout.alerts → AlertProvider, with its Secret → the chat's adapter

Annotations of an AlertProvider give its alerts a text and links (`canarycore.manifest.AlertFacts`). Where a template
fails, the alert has Flagger's text, leaves the link out, and shows the error as a field: its owner hears of both.

A Canary with alerts of its own uses no other chat, even if none of them wants a notice of that severity. If a chat
fails to take an alert, the notifier tries that chat again, a limited number of times: an old alert has no value. It
gives up at once where no attempt can succeed: a missing provider, a Secret without an address, a chat that refuses the
alert. It logs and counts each alert that it gives up; the rollout does not wait. If the operator's options forbid the
host of a chat, an Event warns the Canary's owner too.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import structlog
from attrs import evolve, field, frozen

from canarycore.errors import CanaryError, Refused, WorldError
from canarycore.manifest import (
    LINKS_ANNOTATION,
    TEXT_ANNOTATION,
    AlertFacts,
    InvalidAlertTemplate,
    parse_links,
    render_link,
    render_text,
)
from canarycore.notices import Channel, Severity
from canarycore_kubernetes.api.secrets import Secrets
from canarycore_kubernetes.resources.references import ALERT_PROVIDER_VIEW, find_reference
from canarycore_kubernetes.telemetry.calls import ignore_call, measure_call
from canarycore_runtime import load
from canarycore_runtime.deliveries import Deliveries
from canarycore_runtime.http import AllowedHosts, ForbiddenHost, InvalidRequest
from canarycore_runtime.pool import Pool
from canarycore_runtime.ports import AlertContent
from canarycore_runtime.registry import AdapterLoader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
    from types import TracebackType

    from canarycore import Rollout
    from canarycore.manifest import Canary, LinkTemplate
    from canarycore.notices import Alert, Notice
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.telemetry.calls import ProviderReport
    from canarycore_runtime.ports import Notifier

CHANNEL = "general"
USERNAME = "flagger"
"""The channel and the user name, unless the provider names others."""

CONTROLLER_CHAT = "the controller's own alert provider"
"""The name of the controller's chat in errors."""

TEMPLATE_ERROR = "Template error"
"""The title of the field with the error of a template."""

TRAFFIC_ROUTING = "Traffic routing"
"""Flagger's title for the steps of a policy."""

_log = structlog.get_logger("canarycore.alerts")
_SEVERITIES = tuple(Severity)


@frozen(kw_only=True)
class ChatSettings:
    """One chat: its address, its channel and the sender's name. Its repr leaves out all fields that may be secret."""

    type: str
    """The name of the chat's adapter."""

    namespace: str = ""
    """The namespace of its AlertProvider, as namespaces share no adapter; empty for the controller's own chat."""

    address: str = field(repr=False)
    token: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)
    channel: str = CHANNEL
    username: str = USERNAME
    text: str = ""
    """The template of its texts; empty for Flagger's texts."""

    links: tuple[LinkTemplate, ...] = ()
    """The links of its alerts."""

    complaint: str = ""
    """The error in the annotation with its links; empty if there is none."""


def default_receiver(
    *,
    slack_url: str = "",
    slack_token: str = "",
    slack_proxy_url: str = "",
    slack_user: str = USERNAME,
    slack_channel: str = "",
    msteams_url: str = "",
    msteams_proxy_url: str = "",
) -> ChatSettings | None:
    """Return the controller's own chat, from its options: Teams if it has an address, or else Slack, or none."""
    if msteams_url:
        return ChatSettings(type="msteams", address=msteams_url, proxy=msteams_proxy_url)
    if slack_url:
        return ChatSettings(
            type="slack",
            address=slack_url,
            token=slack_token,
            proxy=slack_proxy_url,
            channel=slack_channel,
            username=slack_user,
        )
    return None


async def _warn_nobody(rollout: Rollout, text: str) -> None:
    del rollout, text


class Alerts:
    """The notifier of alerts. It works while its context is open.

    canary: returns the manifest of a rollout; raises WorldError when the Canary is gone. default_receiver: the chat of
    Canaries without alerts of their own. cluster_name: a field of each alert, unless it is empty. links: the links of
    alerts whose provider names none. cross_namespace: whether Canaries may use providers of other namespaces. allowed:
    the hosts that providers may name. warn: warns the owner of a Canary of a forbidden host. given_up: gets the rollout
    of each alert that the notifier gives up. adapter: returns the factory of a chat's adapter. report: gets the report
    of each alert.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        canary: Callable[[Rollout], Canary],
        default_receiver: ChatSettings | None = None,
        cluster_name: str = "",
        links: tuple[LinkTemplate, ...] = (),
        cross_namespace: bool = True,
        allowed: AllowedHosts | None = None,
        warn: Callable[[Rollout, str], Awaitable[None]] = _warn_nobody,
        given_up: Callable[[Rollout], None] = lambda _: None,
        adapter: Callable[[str], Callable[..., Any]] = lambda name: load("notifiers", name),
        report: Callable[[ProviderReport], None] = ignore_call,
    ) -> None:
        self._cluster = cluster
        self._canary = canary
        self._default_receiver = default_receiver and evolve(default_receiver, links=links)
        self._default_links = links
        self._cluster_name = cluster_name
        self._cross_namespace = cross_namespace
        self._allowed = allowed or AllowedHosts()
        self._warn = warn
        self._given_up = given_up
        self._report = report
        self._loader = AdapterLoader(adapter)
        self._secrets = Secrets(cluster)
        self._pool: Pool[ChatSettings, Notifier] = Pool(self._open, group=lambda chat: chat.namespace)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)

    async def publish(self, rollout: Rollout, notice: Notice) -> None:
        """Send an alert to all its receivers. Raises WorldError when one of them needs another attempt."""
        await self.broadcast(rollout, notice, Deliveries())

    async def broadcast(self, rollout: Rollout, notice: Notice, deliveries: Deliveries) -> None:
        """Like `publish`, but skip the receivers that `deliveries` records as settled."""
        if notice.channel is not Channel.ALERT:
            return
        await deliveries.send_to_missing(
            self._receivers(rollout, notice),
            partial(self._deliver, rollout, notice),
            lambda _, reason: self._give_up(rollout, notice, reason),
        )

    def _receivers(self, rollout: Rollout, notice: Notice) -> tuple[Alert | None, ...]:
        """Return the receivers of a notice; None is the controller's own chat."""
        if rollout.alerts:
            return tuple(alert for alert in rollout.alerts if _is_severe_enough(alert, notice))
        return (None,) if self._default_receiver is not None else ()

    async def _deliver(self, rollout: Rollout, notice: Notice, alert: Alert | None) -> str:
        """Send a notice to one receiver. Return why it needs another attempt; empty where it needs none."""
        name = CONTROLLER_CHAT
        if alert is not None:
            name = f"alert provider {alert.provider.name}.{_namespace(rollout, alert)}"
        try:
            await self._send(rollout, notice, alert)
        except ForbiddenHost as error:
            await self._warn(rollout, f"{name} error: {error}")
            self._give_up(rollout, notice, f"{name} error: {error}")
        except (CanaryError, ValueError) as error:
            reason = f"{name} error: {error}"
            if isinstance(error, WorldError) and not isinstance(error, Refused):
                return reason
            self._give_up(rollout, notice, reason)
        return ""

    def _give_up(self, rollout: Rollout, notice: Notice, reason: str) -> None:
        _log.warning("an alert is given up", canary=rollout.full_name, alert=notice.text, error=reason)
        self._given_up(rollout)

    async def _send(self, rollout: Rollout, notice: Notice, alert: Alert | None) -> None:
        """Send a notice to one receiver. If that fails and its Secret has changed, send it once more."""
        chat, secret = await self._chat(rollout, alert)
        try:
            await self._send_to(chat, rollout, notice)
        except WorldError:
            if secret is None:
                raise
            self._secrets.forget(*secret)
            renewed, _ = await self._chat(rollout, alert)
            if renewed == chat:
                raise
            await self._send_to(renewed, rollout, notice)

    async def _send_to(self, chat: ChatSettings, rollout: Rollout, notice: Notice) -> None:
        with measure_call(self._report, "notifiers", chat.type):
            async with self._pool.lend(chat) as adapter:
                await adapter.publish(rollout, notice)

    # chats ------------------------------------------------------------------------------------------------------

    async def _chat(self, rollout: Rollout, alert: Alert | None) -> tuple[ChatSettings, tuple[str, str] | None]:
        """Return the receiver's chat, and the namespace and name of its Secret."""
        if alert is None:
            assert self._default_receiver is not None, "without it, the controller's chat is no receiver"
            return self._default_receiver, None
        namespace, name = _namespace(rollout, alert), alert.provider.name
        if namespace != rollout.namespace and not self._cross_namespace:
            raise Refused(f"can't access alert provider {name}.{namespace}, cross-namespace references are blocked")
        provider = await find_reference(self._cluster, ALERT_PROVIDER_VIEW, namespace, name)
        spec, annotations = provider.spec, dict(provider.metadata.annotations)
        secret = None if spec.secret_ref is None else (namespace, spec.secret_ref.name)
        address, token = (spec.address, "") if secret is None else await self._read_secret(*secret)
        for url in (address, spec.proxy):
            with suppress(InvalidRequest):  # the chat's adapter reports it in detail
                self._allowed.check(url)
        chat = ChatSettings(
            type=spec.type,
            namespace=namespace,
            address=address,
            token=token,
            proxy=spec.proxy,
            channel=alert.channel or spec.channel or CHANNEL,
            username=spec.username or USERNAME,
            text=annotations.get(TEXT_ANNOTATION, ""),
            links=self._default_links,
        )
        return _with_links(chat, annotations), secret

    async def _read_secret(self, namespace: str, name: str) -> tuple[str, str]:
        """Return the address and the token in a Secret. Raise Refused where it has no address."""
        values = await self._secrets.read(namespace, name)
        if "address" not in values:
            raise Refused(f"secret {name} does not contain an address: expected one, and perhaps a token")
        return values["address"], values.get("token", "")

    @asynccontextmanager
    async def _open(self, chat: ChatSettings) -> AsyncGenerator[Notifier, None]:
        factory = await self._loader.factory(chat.type)
        async with factory(
            chat.address,
            token=chat.token,
            proxy=chat.proxy,
            channel=chat.channel,
            username=chat.username,
            content=partial(self._compose, chat),
        ) as adapter:
            yield adapter

    # messages ---------------------------------------------------------------------------------------------------

    def _compose(self, chat: ChatSettings, rollout: Rollout, notice: Notice) -> AlertContent:
        """Return the content of an alert in a chat."""
        rendered = _render(chat, self._facts(rollout, notice))
        fields = (*self._fields(rollout, notice), *rendered.fields)
        return evolve(rendered, text=rendered.text or notice.text, fields=fields)

    def _fields(self, rollout: Rollout, notice: Notice) -> Iterator[tuple[str, str]]:
        """Yield the fields beside the text, as (title, value)."""
        if self._cluster_name:
            yield "Cluster", self._cluster_name
        if notice.detail:
            yield "Reason", notice.detail
        if notice.details:
            yield from policy(rollout, self._canary(rollout))

    def _facts(self, rollout: Rollout, notice: Notice) -> AlertFacts:
        """Return the facts of an alert for its templates."""
        labels: Mapping[str, str] = {}
        with suppress(WorldError):  # the Canary is gone
            labels = dict(self._canary(rollout).metadata.labels)
        return AlertFacts(
            name=rollout.name,
            namespace=rollout.namespace,
            kind=rollout.target.kind,
            target=rollout.target.name,
            provider=rollout.provider,
            cluster=self._cluster_name,
            revision=notice.key.partition("@")[0],
            phase=notice.phase.value,
            severity=notice.severity.value if notice.severity else "",
            text=notice.text,
            reason=notice.detail,
            labels=labels,
        )


def _with_links(chat: ChatSettings, annotations: Mapping[str, str]) -> ChatSettings:
    """Return a chat with the links of its provider's annotation, where it has one."""
    if LINKS_ANNOTATION not in annotations:
        return chat
    try:
        return evolve(chat, links=parse_links(annotations[LINKS_ANNOTATION]))
    except InvalidAlertTemplate as error:
        return evolve(chat, complaint=f"{LINKS_ANNOTATION}: {error}")


def _render(chat: ChatSettings, facts: AlertFacts) -> AlertContent:
    """Return what a chat's templates make of an alert: an empty text without one, and a field for each error."""
    text, errors, links = "", [chat.complaint] if chat.complaint else [], []
    try:
        text = render_text(chat.text, facts) if chat.text else ""
    except InvalidAlertTemplate as error:
        errors.append(f"{TEXT_ANNOTATION}: {error}")
    for link in chat.links:
        try:
            links.append((link.title, render_link(link, facts)))
        except InvalidAlertTemplate as error:
            errors.append(f"link {link.title}: {error}")
    return AlertContent(text=text, fields=tuple((TEMPLATE_ERROR, error) for error in errors), links=tuple(links))


def policy(rollout: Rollout, canary: Canary) -> Iterator[tuple[str, str]]:
    """Yield the main figures of a policy, in Flagger's words."""
    yield "Target", f"{rollout.target.kind}/{rollout.target_name}"
    yield "Failed checks threshold", str(rollout.threshold)
    yield "Progress deadline", f"{rollout.progress_deadline:.0f}s"
    analysis = canary.analysis
    if analysis is None:
        return
    highest = f"max: {analysis.max_weight or 0}"
    if analysis.iterations:
        yield TRAFFIC_ROUTING, "A/B Testing" if analysis.match else "Blue/Green"
    elif analysis.step_weight:
        yield TRAFFIC_ROUTING, f"Weight step: {analysis.step_weight} {highest}"
    elif analysis.step_weights:
        yield TRAFFIC_ROUTING, f"Weight steps: {','.join(map(str, analysis.step_weights))} {highest}"


def _is_severe_enough(alert: Alert, notice: Notice) -> bool:
    """Check whether a notice has at least the alert's severity."""
    return notice.severity is not None and _SEVERITIES.index(notice.severity) >= _SEVERITIES.index(alert.severity)


def _namespace(rollout: Rollout, alert: Alert) -> str:
    return alert.provider.namespace or rollout.namespace
