"""The receivers of alerts: the chats that the Canary names, or the controller's own."""

import json
import re
from contextlib import suppress
from operator import itemgetter

import pytest
import structlog
from aiohttp import web
from attrs import evolve

from canarycore import Phase
from canarycore.errors import Refused, UnknownProvider, WorldError
from canarycore.manifest import LinkTemplate
from canarycore.notices import Channel, Notice, NoticeKind
from canarycore_kubernetes.providers.alerts import Alerts, ChatSettings, default_receiver
from canarycore_notifiers.gchat import GoogleChatNotifier
from canarycore_notifiers.msteams import TeamsNotifier, TeamsWorkflowNotifier
from canarycore_notifiers.slack import DiscordNotifier, RocketNotifier, SlackNotifier
from canarycore_runtime.deliveries import DELIVERY_ATTEMPTS, Deliveries
from canarycore_runtime.http import AllowedHosts
from canarycore_runtime.testing.contracts import NotifierContract
from tests.adapters.kubernetes.small_cluster import Canaries, Objects, secret
from tests.manifest.samples import annotated, shared

OWN = ChatSettings(type="slack", address="http://own", channel="all", username="us")
KINDS = {
    "slack": SlackNotifier,
    "discord": DiscordNotifier,
    "rocket": RocketNotifier,
    "msteams": TeamsNotifier,
    "msteams-workflow": TeamsWorkflowNotifier,
    "gchat": GoogleChatNotifier,
}


def canary(*alerts, namespace="default", **analysis):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": namespace},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 80},
            "progressDeadlineSeconds": 60,
            "analysis": {"threshold": 5, **(analysis or {"stepWeight": 20}), "alerts": list(alerts)},
        },
    }


def alert(provider, severity="info", namespace=""):
    return {"name": "alert", "severity": severity, "providerRef": {"name": provider, "namespace": namespace}}


def provider(name, namespace="default", **spec):
    return {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "AlertProvider",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "slack", "address": f"http://{name}", **spec},
    }


def notice(rollout, kind=NoticeKind.NEW_REVISION_ALERT, key="key"):
    return Notice(kind, key, Phase.PROGRESSING, rollout.names, ("5",))


class Chats:
    """All chats. `heard`: each (address, text); `trouble`: the error that an address raises."""

    def __init__(self):
        self.messages, self.adapters, self.fields, self.links, self.trouble = [], [], [], [], {}

    def adapter(self, name):
        if name not in KINDS:
            raise UnknownProvider("notifiers", name, tuple(KINDS))
        return lambda address, **options: _Chat(self, name, address, options)


class _Chat:
    def __init__(self, chats, kind, address, options):
        if address == "wrong":
            raise ValueError("address is not a valid URL")
        self.chats, self.address, self.content = chats, address, options.pop("content")
        chats.adapters.append((kind, address, options))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def publish(self, rollout, notice):
        if self.address in self.chats.trouble:
            raise self.chats.trouble[self.address]
        content = self.content(rollout, notice)
        self.chats.messages.append((self.address, content.text))
        self.chats.fields.append(content.fields)
        self.chats.links.append(content.links)


class ChatCluster:
    """A cluster, its Canaries, and the chats."""

    def __init__(self):
        self.objects = Objects()
        self.canaries = Canaries()
        self.chats = Chats()

    def alerts(self, **options):
        return Alerts(self.objects, **{"canary": self.canaries, "adapter": self.chats.adapter, **options})

    async def tell(self, manifest, kind=NoticeKind.NEW_REVISION_ALERT, **options):
        rollout = self.canaries.add(manifest)
        async with self.alerts(**options) as alerts:
            await alerts.publish(rollout, notice(rollout, kind))
        return [address for address, _ in self.chats.messages]


@pytest.fixture
def cluster():
    return ChatCluster()


@pytest.fixture
def logged():
    with structlog.testing.capture_logs() as logs:
        yield logs


# receivers ----------------------------------------------------------------------------------------------------------


async def test_alerts_of_a_canary_without_its_own_go_to_the_controllers_chat(cluster):
    assert await cluster.tell(canary(), default_receiver=OWN) == ["http://own"]
    assert cluster.chats.adapters == [
        ("slack", "http://own", {"token": "", "proxy": "", "channel": "all", "username": "us"}),
    ]


async def test_without_a_chat_no_alert_is_sent(cluster):
    assert await cluster.tell(canary()) == []


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        (
            "info",
            {NoticeKind.NEW_REVISION_ALERT, NoticeKind.GATE_PROMOTION_ALERT, NoticeKind.ROLLING_BACK_CHECKS_ALERT},
        ),
        ("warn", {NoticeKind.GATE_PROMOTION_ALERT, NoticeKind.ROLLING_BACK_CHECKS_ALERT}),
        ("error", {NoticeKind.ROLLING_BACK_CHECKS_ALERT}),
    ],
)
@pytest.mark.parametrize(
    "kind",
    [NoticeKind.NEW_REVISION_ALERT, NoticeKind.GATE_PROMOTION_ALERT, NoticeKind.ROLLING_BACK_CHECKS_ALERT],
    ids=lambda kind: kind.name,
)
async def test_an_alert_goes_to_the_chats_whose_severity_it_reaches(cluster, kind, severity, told):
    cluster.objects.put(provider("room"))
    heard = await cluster.tell(canary(alert("room", severity)), kind, default_receiver=OWN)
    assert heard == (["http://room"] if kind in told else [])


async def test_chats_get_no_events(cluster):
    assert await cluster.tell(canary(), NoticeKind.NEW_REVISION, default_receiver=OWN) == []


async def test_the_adapter_gets_all_settings_of_the_provider(cluster):
    cluster.objects.put(provider("room", channel="dev", username="bot", proxy="http://proxy", type="rocket"))
    await cluster.tell(canary(alert("room")))
    assert cluster.chats.adapters == [
        ("rocket", "http://room", {"token": "", "proxy": "http://proxy", "channel": "dev", "username": "bot"})
    ]


async def test_a_provider_without_a_channel_has_flaggers(cluster):
    cluster.objects.put(provider("room"))
    await cluster.tell(canary(alert("room")))
    assert cluster.chats.adapters == [
        ("slack", "http://room", {"token": "", "proxy": "", "channel": "general", "username": "flagger"})
    ]


async def test_a_secret_may_hold_the_address_and_the_token(cluster):
    cluster.objects.put(provider("room", secretRef={"name": "hook"}), secret("hook", address="http://real", token="t"))
    assert await cluster.tell(canary(alert("room"))) == ["http://real"]
    assert cluster.chats.adapters[0][2]["token"] == "t"


async def test_a_provider_and_its_secret_may_be_in_another_namespace(cluster):
    cluster.objects.put(
        provider("room", "ops", secretRef={"name": "hook"}), secret("hook", "ops", address="http://real")
    )
    assert await cluster.tell(canary(alert("room", namespace="ops"))) == ["http://real"]


# subscriptions ------------------------------------------------------------------------------------------------------


def subscribed(manifest, **annotations):
    return annotated(manifest, **{f"subscribe__{name}": text for name, text in annotations.items()})


async def test_a_subscription_sends_to_its_channels_of_the_provider(cluster):
    cluster.objects.put(provider("room", channel="general", secretRef={"name": "hook"}))
    cluster.objects.put(secret("hook", address="http://real", token="t"))
    manifest = subscribed(canary(), info__room="dev; ops")
    assert await cluster.tell(manifest, default_receiver=OWN) == ["http://real", "http://real"]
    assert [options["channel"] for _, _, options in cluster.chats.adapters] == ["dev", "ops"]
    assert {options["token"] for _, _, options in cluster.chats.adapters} == {"t"}


async def test_a_subscription_without_a_channel_has_the_providers(cluster):
    cluster.objects.put(provider("room", "ops", channel="on-call"))
    assert await cluster.tell(subscribed(canary(), info__room__ops="")) == ["http://room"]
    assert cluster.chats.adapters[0][2]["channel"] == "on-call"


@pytest.mark.parametrize(("severity", "count"), [("info", 1), ("warn", 1), ("error", 0)])
async def test_a_subscription_has_a_least_severity(cluster, severity, count):
    cluster.objects.put(provider("room"))
    manifest = subscribed(canary(), **{f"{severity}__room": "dev"})
    assert len(await cluster.tell(manifest, NoticeKind.GATE_PROMOTION_ALERT)) == count


async def test_without_cross_namespace_references_a_subscription_sends_to_no_other_namespace(cluster, logged):
    cluster.objects.put(provider("room", "ops"))
    assert await cluster.tell(subscribed(canary(), info__room__ops=""), cross_namespace=False) == []
    assert "cross-namespace references are blocked" in logged[0]["error"]


# texts and links ----------------------------------------------------------------------------------------------------

CHECKS_FAILED = "latency 700: fail (expected at most 500, 1200 requests)"


async def shown(cluster, room, manifest=None, **options):
    """Return the text, the fields and the links of the alert of a rollback in a room."""
    cluster.objects.put(room)
    rollout = cluster.canaries.add(manifest or canary(alert("room")))
    failed = evolve(notice(rollout, NoticeKind.ROLLING_BACK_CHECKS_ALERT, "rev@1.0/x"), detail=CHECKS_FAILED)
    async with cluster.alerts(**options) as alerts:
        await alerts.publish(rollout, failed)
    ((_, text),) = cluster.chats.messages
    return text, dict(cluster.chats.fields[0]), cluster.chats.links[0]


async def test_an_alert_has_the_failed_checks_with_value_and_range(cluster):
    text, fields, links = await shown(cluster, provider("room"))
    assert text == "Failed checks threshold reached 5"
    assert fields == {"Reason": CHECKS_FAILED}
    assert links == ()


async def test_a_provider_may_have_a_text_of_its_own(cluster):
    template = "{{ .labels.team }}@{{ .cluster }}: {{ .name }} {{ .revision }} is {{ .phase }}: {{ .reason }}"
    manifest = canary(alert("room"))
    manifest["metadata"]["labels"] = {"team": "payments"}
    room = annotated(provider("room"), alert__text=template)
    text, _, _ = await shown(cluster, room, manifest, cluster_name="blue")
    assert text == f"payments@blue: podinfo rev is Progressing: {CHECKS_FAILED}"


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ .nmae }}", "without a value"),
        ("{{", "line 1"),
        ("{{ range 1000000 }}{{ end }}", "step"),
        ("{{ range 1000 }}{{ $.text }}{{ end }}", "step|character"),
        ("{{ .labels.absent }}", "without a value"),
    ],
)
async def test_an_alert_with_a_wrong_template_has_flaggers_text_and_the_error(cluster, template, error):
    text, fields, _ = await shown(cluster, annotated(provider("room"), alert__text=template))
    assert text == "Failed checks threshold reached 5"
    assert fields["Reason"] == CHECKS_FAILED
    assert re.search(error, fields["Template error"])
    assert fields["Template error"].startswith("canarycore/alert.text: ")


async def test_a_provider_may_have_links_and_a_wrong_one_is_left_out(cluster):
    links = "Page=https://page.test/{{ .namespace }}/{{ .name }}\nLogs=javascript:{{ .name }}"
    _, fields, shown_links = await shown(cluster, annotated(provider("room"), alert__links=links))
    assert shown_links == (("Page", "https://page.test/default/podinfo"),)
    assert fields["Template error"].startswith("link Logs: found another address")


async def test_lines_that_are_no_links_are_reported_in_the_alert(cluster):
    _, fields, links = await shown(cluster, annotated(provider("room"), alert__links="https://page.test"))
    assert links == ()
    assert fields["Template error"].startswith("canarycore/alert.links: found a line")


async def test_the_links_of_the_controller_are_for_providers_without_links(cluster):
    own = (LinkTemplate("Page", "https://page.test/{{ .name }}"),)
    _, _, links = await shown(cluster, provider("room"), links=own)
    assert links == (("Page", "https://page.test/podinfo"),)


async def test_a_provider_with_an_empty_annotation_has_no_links(cluster):
    own = (LinkTemplate("Page", "https://page.test/{{ .name }}"),)
    _, _, links = await shown(cluster, annotated(provider("room"), alert__links=""), links=own)
    assert links == ()


async def test_the_controllers_own_chat_has_the_links_of_the_controller(cluster):
    own = (LinkTemplate("Page", "https://page.test/{{ .name }}"),)
    await cluster.tell(canary(), default_receiver=OWN, links=own)
    assert cluster.chats.links == [(("Page", "https://page.test/podinfo"),)]


async def test_a_workflow_of_teams_gets_an_alert_over_http_and_its_signature_goes_nowhere_else(cluster, logged):
    """The whole way: annotation, AlertProvider, Secret, template, card, a real server."""
    received = []

    async def respond(request):
        received.append((request.path_qs, await request.json()))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/workflows/1?sp=run&sig=s3cret"
    room = annotated(
        provider("teams", type="msteams-workflow", address="", secretRef={"name": "hook"}),
        alert__text="{{ .name }} failed: {{ .reason }}",
        alert__links="Page=https://page.test/{{ .name }}",
    )
    cluster.objects.put(room, secret("hook", address=address))
    rollout = cluster.canaries.add(subscribed(canary(), error__teams=""))
    failed = evolve(notice(rollout, NoticeKind.ROLLING_BACK_CHECKS_ALERT), detail=CHECKS_FAILED)
    async with cluster.alerts(adapter=KINDS.__getitem__) as alerts:
        await alerts.publish(rollout, failed)
    await runner.cleanup()

    ((path, payload),) = received
    assert path == "/workflows/1?sp=run&sig=s3cret"
    card = payload["attachments"][0]["content"]
    assert card["body"][1]["inlines"][0]["text"] == f"podinfo failed: {CHECKS_FAILED}"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Page", "url": "https://page.test/podinfo"}]
    assert "s3cret" not in json.dumps(payload) + str(logged)


# allowed hosts ------------------------------------------------------------------------------------------------------


async def refused(cluster, **options):
    """Return the warning that the owner gets when the operator allows only *.example.com."""
    warned = []

    async def warn(rollout, text):
        warned.append((rollout.full_name, text))

    allowed = AllowedHosts.parse("*.example.com")
    await cluster.tell(canary(alert("room")), allowed=allowed, warn=warn, **options)
    return warned


@pytest.mark.parametrize(
    "objects",
    [
        (provider("room"),),
        (provider("room", secretRef={"name": "hook"}), secret("hook", address="http://elsewhere")),
    ],
    ids=["in the provider", "in its Secret"],
)
async def test_a_chat_at_a_forbidden_host_gets_nothing_and_an_event_warns_the_owner(cluster, logged, objects):
    cluster.objects.put(*objects)
    ((about, text),) = await refused(cluster)
    assert about == "podinfo.default"
    assert "alert provider room.default error: host" in text
    assert "--allowed-hosts" in text
    assert not cluster.chats.adapters
    assert logged


async def test_a_proxy_at_a_forbidden_host_carries_nothing(cluster):
    cluster.objects.put(provider("room", address="http://chat.example.com", proxy="http://proxy"))
    ((_, text),) = await refused(cluster)
    assert "host proxy:80 is not allowed" in text
    assert not cluster.chats.adapters


async def test_an_allowed_chat_gets_its_alerts(cluster):
    cluster.objects.put(provider("room", address="http://chat.example.com", proxy="http://proxy.example.com:3128"))
    assert await refused(cluster) == []
    assert [address for address, _ in cluster.chats.messages] == ["http://chat.example.com"]


async def test_the_controllers_own_chat_needs_no_permission(cluster):
    allowed = AllowedHosts.parse("*.example.com")
    assert await cluster.tell(canary(), default_receiver=OWN, allowed=allowed) == ["http://own"]


# contents -----------------------------------------------------------------------------------------------------------

FIGURES = (("Target", "Deployment/podinfo.default"), ("Failed checks threshold", "5"), ("Progress deadline", "60s"))


@pytest.mark.parametrize(
    ("analysis", "routing"),
    [
        ({"stepWeight": 20, "maxWeight": 60}, "Weight step: 20 max: 60"),
        ({"stepWeight": 20}, "Weight step: 20 max: 0"),
        ({"stepWeights": [1, 10, 50]}, "Weight steps: 1,10,50 max: 0"),
        ({"iterations": 3}, "Blue/Green"),
        ({"iterations": 3, "match": [{"headers": {"x": {"exact": "y"}}}]}, "A/B Testing"),
    ],
)
async def test_an_alert_about_a_new_rollout_has_the_policy(cluster, analysis, routing):
    await cluster.tell(canary(**analysis), default_receiver=OWN)
    assert cluster.chats.fields == [(*FIGURES, ("Traffic routing", routing))]


async def test_a_later_alert_has_no_policy(cluster):
    await cluster.tell(canary(), NoticeKind.ROLLING_BACK_CHECKS_ALERT, default_receiver=OWN)
    assert cluster.chats.fields == [()]


async def test_an_alert_of_a_rollback_has_the_failed_checks(cluster):
    rollout = cluster.canaries.add(canary())
    cause = "request-success-rate 92.5: fail (expected at least 99)"
    failed = evolve(notice(rollout, NoticeKind.ROLLING_BACK_CHECKS_ALERT), detail=cause)
    async with cluster.alerts(default_receiver=OWN) as alerts:
        await alerts.publish(rollout, failed)
    assert cluster.chats.messages == [("http://own", "Failed checks threshold reached 5")]
    assert cluster.chats.fields == [(("Reason", cause),)]


async def test_every_alert_names_the_cluster(cluster):
    await cluster.tell(canary(), NoticeKind.ROLLING_BACK_CHECKS_ALERT, default_receiver=OWN, cluster_name="eu-1")
    assert cluster.chats.fields == [(("Cluster", "eu-1"),)]


# failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], 'alertprovider.flagger.app "nobody" not found'),
        ([provider("nobody", secretRef={"name": "hook"})], 'secrets "hook" not found'),
        (
            [provider("nobody", secretRef={"name": "hook"}), secret("hook", token="t")],
            "secret hook does not contain an address",
        ),
        ([provider("nobody", type="pigeon")], "unknown notifiers 'pigeon'"),
        ([provider("nobody", address="wrong")], "address is not a valid URL"),
        ([{**provider("nobody"), "spec": {}}], "spec.type"),
    ],
)
async def test_an_undeliverable_alert_is_logged_and_delays_no_rollout(cluster, logged, objects, words):
    cluster.objects.put(provider("room"), *objects)

    assert await cluster.tell(canary(alert("nobody"), alert("room"))) == ["http://room"]

    (line,) = logged
    assert line["error"].startswith(f"alert provider nobody.default error: {words}")
    assert line["canary"] == "podinfo.default"


async def test_a_refusal_of_a_chat_is_logged(cluster, logged):
    cluster.chats.trouble["http://own"] = Refused("slack answered with status 404: no_service")
    assert await cluster.tell(canary(), default_receiver=OWN) == []
    assert "status 404: no_service" in logged[0]["error"]


async def test_a_provider_of_another_namespace_can_be_forbidden(cluster, logged):
    cluster.objects.put(provider("room", "ops"))
    assert await cluster.tell(canary(alert("room", namespace="ops")), cross_namespace=False) == []
    assert "can't access alert provider room.ops, cross-namespace references are blocked" in logged[0]["error"]


async def test_a_further_attempt_skips_the_chats_that_took_the_alert(cluster):
    cluster.objects.put(provider("room"), provider("other"))
    cluster.chats.trouble["http://room"] = WorldError("status 503")
    rollout = cluster.canaries.add(canary(alert("room"), alert("other")))
    deliveries = Deliveries()
    async with cluster.alerts() as alerts:
        with pytest.raises(WorldError, match=r"alert provider room\.default error: status 503"):
            await alerts.broadcast(rollout, notice(rollout), deliveries)
        cluster.chats.trouble.clear()
        await alerts.broadcast(rollout, notice(rollout), deliveries)
        await alerts.publish(rollout, notice(rollout, key="another"))
    assert [address for address, _ in cluster.chats.messages] == [
        "http://other",
        "http://room",
        "http://room",
        "http://other",
    ]


async def test_an_alert_is_given_up_after_many_failures_of_a_chat(cluster, logged):
    """Only that chat misses it: the other got it once, and both get the next rollout's alerts."""
    cluster.objects.put(provider("room"), provider("other"))
    cluster.chats.trouble["http://room"] = WorldError("status 503")
    rollout, lost = cluster.canaries.add(canary(alert("room"), alert("other"))), []
    deliveries = Deliveries()
    async with cluster.alerts(given_up=lost.append) as alerts:
        for _ in range(DELIVERY_ATTEMPTS - 1):
            with pytest.raises(WorldError):
                await alerts.broadcast(rollout, notice(rollout), deliveries)
        assert lost == []
        await alerts.broadcast(rollout, notice(rollout), deliveries)
    assert lost == [rollout]
    assert "status 503" in logged[0]["error"]
    assert [address for address, _ in cluster.chats.messages] == ["http://other"]


@pytest.mark.parametrize("trouble", [WorldError("status 503"), Refused("status 404")])
async def test_a_renewed_secret_is_tried_at_once(cluster, trouble):
    cluster.objects.put(provider("room", secretRef={"name": "hook"}), secret("hook", address="http://old"))
    rollout = cluster.canaries.add(canary(alert("room")))
    async with cluster.alerts() as alerts:
        await alerts.publish(rollout, notice(rollout))
        cluster.chats.trouble["http://old"] = trouble
        cluster.objects.put(secret("hook", address="http://new"))
        await alerts.publish(rollout, notice(rollout, key="another"))
    assert [address for address, _ in cluster.chats.messages] == ["http://old", "http://new"]


async def test_an_alert_survives_an_unreachable_api_server(cluster):
    cluster.objects.put(provider("room", secretRef={"name": "hook"}))
    cluster.objects.down = True
    with pytest.raises(WorldError, match="the API server cannot be reached"):
        await cluster.tell(canary(alert("room")))


# the controller's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "chat"),
    [
        ({}, None),
        ({"slack_channel": "general"}, None),
        (
            {
                "slack_url": "http://slack",
                "slack_token": "t",
                "slack_proxy_url": "http://proxy",
                "slack_user": "us",
                "slack_channel": "all",
            },
            ChatSettings(
                type="slack", address="http://slack", token="t", proxy="http://proxy", channel="all", username="us"
            ),
        ),
        (
            {"slack_url": "http://slack", "msteams_url": "http://teams", "msteams_proxy_url": "http://proxy"},
            ChatSettings(type="msteams", address="http://teams", proxy="http://proxy"),
        ),
    ],
)
def test_the_options_name_the_controllers_own_chat(flags, chat):
    assert default_receiver(**flags) == chat


async def test_an_alert_to_slack_without_a_channel_is_logged_and_not_sent(cluster, logged):
    own = default_receiver(slack_url="http://slack")
    await cluster.tell(canary(), default_receiver=own, adapter=KINDS.__getitem__)
    assert "no channel for slack" in logged[0]["error"]


def test_the_repr_of_chat_settings_has_no_secret():
    chat = ChatSettings(type="slack", address="http://s3cret", token="s3cret", proxy="http://s3cret")
    assert "s3cret" not in repr(chat)


# the port's contract ------------------------------------------------------------------------------------------------


class Bench:
    secret = "s3cret"

    def __init__(self, cluster, adapter):
        self.cluster, self.adapter = cluster, adapter

    async def refuse(self, *, refuse):
        self.cluster.chats.trouble = {"http://s3cret": WorldError("status 500")} if refuse else {}

    async def delivered_texts(self):
        return tuple(text for _, text in self.cluster.chats.messages)


class TestThePortsContract(NotifierContract):
    channel = Channel.ALERT

    @pytest.fixture
    async def bench(self, cluster):
        cluster.canaries.add(canary())
        async with cluster.alerts(default_receiver=ChatSettings(type="slack", address="http://s3cret")) as adapter:
            yield Bench(cluster, adapter)


# the recording ------------------------------------------------------------------------------------------------------


async def test_the_alerts_equal_the_recording(cluster, monkeypatch):
    """Receivers and payloads of the whole rollout, in their order at each receiver. All get them at the same time."""
    trace = json.loads((shared("golden") / "21-istio-alerts" / "trace.json").read_text())
    recorded = [step["alert"] for frame in trace["timeline"] for step in frame.get("steps", ()) if "alert" in step]
    here = {"namespace": "t21"}
    for body in trace["input"]["objects"]:
        cluster.objects.put({**body, "metadata": {**body["metadata"], **here}})
    manifest = trace["input"]["canary"]
    rollout = cluster.canaries.add({**manifest, "metadata": {**manifest["metadata"], **here}})
    sent = []

    async def keep(chat, payload):
        to = str(chat.url).removeprefix("http://fakes/alert/t21/")
        sent.append({"to": to, "payload": payload, "auth": f"Bearer {chat.token}" if chat.token else ""})

    monkeypatch.setattr("canarycore_notifiers.chat.ChatNotifier._post", keep)

    async with cluster.alerts(adapter=KINDS.__getitem__, default_receiver=OWN) as alerts:
        for key, kind in enumerate(
            (NoticeKind.INITIALIZED_ALERT, NoticeKind.NEW_REVISION_ALERT, NoticeKind.ROLLING_BACK_CHECKS_ALERT)
        ):
            told = Notice(
                kind, str(key), Phase.PROGRESSING, rollout.names, ("1",) if "0" in kind.value.template else ()
            )
            await alerts.publish(rollout, told)

    receiver = itemgetter("to")
    assert sorted(sent, key=receiver) == sorted(recorded, key=receiver)


@pytest.mark.parametrize("trouble", [{}, {"http://own": WorldError("down")}], ids=["sent", "down"])
async def test_each_alert_is_reported_by_the_type_of_its_chat(cluster, trouble):
    reports = []
    cluster.chats.trouble = trouble
    with suppress(WorldError):
        await cluster.tell(canary(), default_receiver=OWN, report=reports.append)
    assert [(report.port, report.provider, report.has_failed) for report in reports] == [
        ("notifiers", "slack", bool(trouble))
    ]
