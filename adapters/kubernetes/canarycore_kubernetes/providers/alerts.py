"""The port Notifier for alerts: each goes to the chats that the canary names, or else to the controller's own.

    rollout.alerts → AlertProvider, with its Secret → the chat's adapter

A canary with alerts of its own tells nobody else, whether or not one of them wants to hear a notice of that severity.
An alert that one chat did not take is told again, and then only to those that have not heard it, but not for ever: an
old alert helps nobody. What can never be told (a provider that is not there, a Secret without an address, a chat that
refuses it) is over at once. Both go to the log and are counted; a rollout does not wait for them. A chat at a host that
the operator does not allow is told to the owner too, as an Event.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import structlog
from attrs import field, frozen

from canarycore.errors import CanaryError, Refused, WorldError
from canarycore.notices import Channel, Severity
from canarycore_kubernetes.api.secrets import Secrets
from canarycore_kubernetes.resources.references import ALERT_PROVIDER_VIEW, find_reference
from canarycore_runtime import load
from canarycore_runtime.deliveries import Deliveries
from canarycore_runtime.http import AllowedHosts, ForbiddenHost, InvalidRequest
from canarycore_runtime.pool import Pool
from canarycore_runtime.registry import AdapterLoader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from types import TracebackType

    from canarycore import Rollout
    from canarycore.manifest import Canary
    from canarycore.notices import Alert, Notice
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.ports import Notifier

CHANNEL = "general"
USERNAME = "flagger"
"""Of a provider that names none."""

OWN_CHAT_SETTINGS = "the controller's own alert provider"
CHAT_SETTINGS = "Traffic routing"

_log = structlog.get_logger("canarycore.alerts")
_RISING = tuple(Severity)


@frozen(kw_only=True)
class ChatSettings:
    """Where an alert goes, and as whose. All that may be secret is not printed.

    namespace: of the provider that describes it, as no two namespaces share an adapter; empty for the controller's own.
    """

    type: str
    namespace: str = ""
    address: str = field(repr=False)
    token: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)
    channel: str = CHANNEL
    username: str = USERNAME


def default_receivers(
    *,
    slack_url: str = "",
    slack_token: str = "",
    slack_proxy_url: str = "",
    slack_user: str = USERNAME,
    slack_channel: str = "",
    msteams_url: str = "",
    msteams_proxy_url: str = "",
) -> ChatSettings | None:
    """The controller's own chat, from its flags: Teams where it has an address, or else Slack, or none."""
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


async def _tell_nobody(rollout: Rollout, text: str) -> None:
    del rollout, text


class Alerts:
    """Tells alerts, while its context is open.

    canary: the manifest behind a rollout; raises WorldError when it is gone. everybody: the chat of canaries without
    alerts of their own. cluster_name: told in each alert, unless it is empty. cross_namespace: whether providers of
    other namespaces may be used. allowed: the hosts that they may name. warn: tells the owner of a Canary, as an Event,
    that a chat of it is at another one. given_up: is told whose alert did not reach a chat, and will not. adapter: the
    factory of a chat's adapter.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        canary: Callable[[Rollout], Canary],
        default_receivers: ChatSettings | None = None,
        cluster_name: str = "",
        cross_namespace: bool = True,
        allowed: AllowedHosts | None = None,
        warn: Callable[[Rollout, str], Awaitable[None]] = _tell_nobody,
        given_up: Callable[[Rollout], None] = lambda _: None,
        adapter: Callable[[str], Callable[..., Any]] = lambda name: load("notifiers", name),
    ) -> None:
        self._cluster = cluster
        self._canary = canary
        self._everybody = default_receivers
        self._cluster_name = cluster_name
        self._cross_namespace = cross_namespace
        self._allowed = allowed or AllowedHosts()
        self._warn = warn
        self._given_up = given_up
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
            self._wanted(rollout, notice),
            partial(self._tell, rollout, notice),
            lambda _, why: self._give_up(rollout, notice, why),
        )

    def _wanted(self, rollout: Rollout, notice: Notice) -> tuple[Alert | None, ...]:
        """Who wants to hear it; None is the controller's own chat."""
        if rollout.alerts:
            return tuple(alert for alert in rollout.alerts if _concerns(alert, notice))
        return (None,) if self._everybody is not None else ()

    async def _tell(self, rollout: Rollout, notice: Notice, alert: Alert | None) -> str:
        """Empty when this receiver is done with it, else why it should be told again."""
        name = (
            OWN_CHAT_SETTINGS if alert is None else f"alert provider {alert.provider.name}.{_namespace(rollout, alert)}"
        )
        try:
            await self._send(rollout, notice, alert)
        except ForbiddenHost as error:
            await self._warn(rollout, f"{name} error: {error}")
            self._give_up(rollout, notice, f"{name} error: {error}")
        except (CanaryError, ValueError) as error:
            told = f"{name} error: {error}"
            if isinstance(error, WorldError) and not isinstance(error, Refused):
                return told
            self._give_up(rollout, notice, told)
        return ""

    def _give_up(self, rollout: Rollout, notice: Notice, why: str) -> None:
        _log.warning("an alert is given up", canary=rollout.full_name, alert=notice.text, error=why)
        self._given_up(rollout)

    async def _send(self, rollout: Rollout, notice: Notice, alert: Alert | None) -> None:
        """Tell one receiver; with its Secret as it is now, where what is kept of it does not serve."""
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
        async with self._pool.lend(chat) as adapter:
            await adapter.publish(rollout, notice)

    # where it goes ----------------------------------------------------------------------------------------------

    async def _chat(self, rollout: Rollout, alert: Alert | None) -> tuple[ChatSettings, tuple[str, str] | None]:
        """The receiver's chat, and the namespace and name of the Secret that it was made with."""
        if alert is None:
            assert self._everybody is not None, "nobody else is wanted without it"
            return self._everybody, None
        namespace, name = _namespace(rollout, alert), alert.provider.name
        if namespace != rollout.namespace and not self._cross_namespace:
            raise Refused(f"can't access alert provider {name}.{namespace}, cross-namespace references are blocked")
        spec = (await find_reference(self._cluster, ALERT_PROVIDER_VIEW, namespace, name)).spec
        address, token, secret = spec.address, "", None
        if spec.secret_ref is not None:
            secret = (namespace, spec.secret_ref.name)
            values = await self._secrets.read(*secret)
            if "address" not in values:
                raise Refused(f"secret {secret[1]} does not contain an address: expected one, and perhaps a token")
            address, token = values["address"], values.get("token", "")
        for named in (address, spec.proxy):
            with suppress(InvalidRequest):  # the chat says what is wrong with it
                self._allowed.check(named)
        chat = ChatSettings(
            type=spec.type,
            namespace=namespace,
            address=address,
            token=token,
            proxy=spec.proxy,
            channel=spec.channel or CHANNEL,
            username=spec.username or USERNAME,
        )
        return chat, secret

    @asynccontextmanager
    async def _open(self, chat: ChatSettings) -> AsyncGenerator[Notifier, None]:
        factory = await self._loader.factory(chat.type)
        async with factory(
            chat.address,
            token=chat.token,
            proxy=chat.proxy,
            channel=chat.channel,
            username=chat.username,
            fields=self._fields,
        ) as opened:
            yield opened

    def _fields(self, rollout: Rollout, notice: Notice) -> Iterator[tuple[str, str]]:
        """What is told beside the text, as (title, value)."""
        if self._cluster_name:
            yield "Cluster", self._cluster_name
        if notice.details:
            yield from policy(rollout, self._canary(rollout))


def policy(rollout: Rollout, canary: Canary) -> Iterator[tuple[str, str]]:
    """The policy's main figures, as Flagger words them: its own, and not what follows from them."""
    yield "Target", f"{rollout.target.kind}/{rollout.target_name}"
    yield "Failed checks threshold", str(rollout.threshold)
    yield "Progress deadline", f"{rollout.progress_deadline:.0f}s"
    analysis = canary.analysis
    if analysis is None:
        return
    highest = f"max: {analysis.max_weight or 0}"
    if analysis.iterations:
        yield CHAT_SETTINGS, "A/B Testing" if analysis.match else "Blue/Green"
    elif analysis.step_weight:
        yield CHAT_SETTINGS, f"Weight step: {analysis.step_weight} {highest}"
    elif analysis.step_weights:
        yield CHAT_SETTINGS, f"Weight steps: {','.join(map(str, analysis.step_weights))} {highest}"


def _concerns(alert: Alert, notice: Notice) -> bool:
    """Whether the alert's severity is reached."""
    return notice.severity is not None and _RISING.index(notice.severity) >= _RISING.index(alert.severity)


def _namespace(rollout: Rollout, alert: Alert) -> str:
    return alert.provider.namespace or rollout.namespace
