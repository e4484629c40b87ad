"""The Services of a rollout, compared with Flagger's, and the changes to a foreign Service."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from canarycore_kubernetes.routing.services import fit_to_service, only_selector, services
from canarycore_kubernetes.workloads.facts import Port
from canarycore_runtime.mesh import PodSelectors
from tests.adapters.mesh.meshes import render_context
from tests.adapters.mesh.recordings import context_of, drop_empty
from tests.conformance.trace import read
from tests.manifest.samples import shared

PORTS = (Port("http", 9898), Port("http-metrics", 9797), Port("grpc", 9999))
"""The ports of the containers in the recordings."""

GOLDEN = Path(__file__).parents[5] / "shared" / "golden"
TRACES = sorted(path.parent for path in GOLDEN.glob("*/trace.json"))

ASSIGNED = {"sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}
"""Fields that the API server adds."""


def created(trace):
    """Return the Services that Flagger made, by name."""
    steps = [step for frame in trace.timeline for step in frame.get("steps", ()) if "write" in step]
    return {
        step["object"]["metadata"]["name"]: step["object"]
        for step in steps
        if step["write"].startswith("create services/") and "object" in step and step.get("code", 200) < 300
    }


def compared(service):
    spec = {name: value for name, value in service["spec"].items() if name not in ASSIGNED}
    spec["ports"] = sorted(spec["ports"], key=lambda port: port["port"])
    metadata = {name: service["metadata"].get(name) for name in ("name", "labels", "annotations")}
    return drop_empty({**metadata, **spec})


@pytest.mark.parametrize("folder", TRACES or [GOLDEN], ids=lambda folder: folder.name)
def test_the_services_equal_flaggers(folder):
    trace = read(shared("golden") / folder.name)
    context = context_of(trace)
    ours = {service["metadata"]["name"]: service for service in services(context, PORTS)} if context.pods.label else {}
    theirs = created(trace) if ours else {}
    assert ours.keys() >= theirs.keys()
    for name, service in theirs.items():
        assert compared(ours[name]) == compared(service)


def make_services(ports=PORTS, **service):
    """Return the canary's Service, the primary's, and the apex."""
    return services(render_context("istio", service=service), ports)


def test_the_apex_selects_the_primarys_pods():
    assert [service["spec"]["selector"]["app"] for service in make_services()] == [
        *("podinfo", "podinfo-primary", "podinfo-primary"),
    ]


def test_services_select_pods_by_the_targets_label():
    named = evolve(render_context("istio"), pods=PodSelectors.by_label("name", "web"))
    canary, primary, apex = services(named, ())
    assert canary["spec"]["selector"] == {"name": "web"}
    assert primary["spec"]["selector"] == apex["spec"]["selector"] == {"name": "web-primary"}
    assert [service["metadata"]["labels"] for service in (canary, primary, apex)] == [
        *({"name": "podinfo-canary"}, {"name": "podinfo-primary"}, {"name": "podinfo"}),
    ]


def test_each_port_keeps_its_protocol_on_every_service():
    """A name server listens on one number by both protocols, and a game server by UDP only."""
    ports = (Port("dns", 53, "UDP"), Port("dns-tcp", 53), Port("metrics", 9153), Port("game", 7777, "UDP"))
    expected = [("http", 53, "TCP"), ("dns", 53, "UDP"), ("metrics", 9153, "TCP"), ("game", 7777, "UDP")]
    for service in make_services(ports, port=53, portDiscovery=True):
        found = [(port["name"], port["port"], port["protocol"]) for port in service["spec"]["ports"]]
        assert found == expected
    for target in (7777, "game"):
        for service in make_services(ports, port=80, targetPort=target):
            assert [(port["port"], port["protocol"]) for port in service["spec"]["ports"]] == [(80, "UDP")]


def test_a_port_keeps_its_node_port_beside_one_of_the_same_number():
    _, _, apex = make_services((Port("dns", 53, "UDP"), Port("dns-tcp", 53)), port=53, portDiscovery=True)
    there = [{"port": 53, "protocol": "UDP", "nodePort": 30001}, {"port": 53, "nodePort": 30002}]
    merged = fit_to_service(apex, {"metadata": {}, "spec": {"ports": there}}, render_context("istio"))
    assert [(port["protocol"], port["nodePort"]) for port in merged["spec"]["ports"]] == [
        ("UDP", 30001),
        ("TCP", 30002),
    ]


def test_the_sides_have_all_ports_of_an_apex_that_its_owner_made():
    """A mesh sends the requests of each port of the apex on to the same port of a side."""
    own = {"name": "web", "port": 9898, "targetPort": 1, "nodePort": 30001}
    more = [
        {"name": "http", "port": 9090, "targetPort": "metrics", "appProtocol": "http"},
        {"port": 53, "protocol": "UDP"},
    ]
    theirs = {"spec": {"ports": [own, *more]}}
    further = [
        {"name": "tcp-9090", "protocol": "TCP", "port": 9090, "targetPort": "metrics", "appProtocol": "http"},
        {"name": "udp-53", "protocol": "UDP", "port": 53, "targetPort": 53},
    ]
    canary, primary, apex = services(render_context("istio"), (), theirs)
    (port,) = apex["spec"]["ports"]
    assert canary["spec"]["ports"] == primary["spec"]["ports"] == [port, *further]
    for gateways in (["mesh"], ["mesh", "public"]):
        context = render_context("istio", service={"gateways": gateways})
        canary, *_ = services(context, (), theirs)
        assert canary["spec"]["ports"] == ([port, *further] if gateways == ["mesh"] else [port])


def test_the_port_has_the_owners_settings():
    (port,) = make_services(port=80, portName="web", targetPort="http", appProtocol="http2")[0]["spec"]["ports"]
    assert port == {"name": "web", "protocol": "TCP", "port": 80, "targetPort": "http", "appProtocol": "http2"}
    (port,) = make_services()[0]["spec"]["ports"]
    assert port == {"name": "http", "protocol": "TCP", "port": 9898, "targetPort": 9898}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({"port": 9898}, [9898, 9797, 9999]),
        ({"port": 80, "targetPort": 9898}, [80, 9797, 9999]),
        ({"port": 80, "targetPort": "http"}, [80, 9797, 9999]),
        ({"port": 80, "targetPort": 9999, "portName": "rpc"}, [80, 9898, 9797]),
        ({"port": 9797, "targetPort": "http", "portName": "web"}, [9797, 9999]),
        ({"port": 80, "targetPort": 8080, "portName": "grpc"}, [80, 9898, 9797]),
    ],
)
def test_port_discovery_adds_the_containers_other_ports(service, expected):
    """It adds no port with the name or the number of another: the API server would refuse the Service."""
    existing = make_services(portDiscovery=True, **service)[0]["spec"]["ports"]
    assert [port["port"] for port in existing] == expected
    assert len({port["name"] for port in existing}) == len(existing)


def test_a_headless_service_has_no_address_and_each_has_its_distribution():
    for service in make_services(headless=True, trafficDistribution="PreferClose"):
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["trafficDistribution"] == "PreferClose"
    assert all("clusterIP" not in service["spec"] for service in make_services())


def test_each_has_the_metadata_that_the_owner_gives_it():
    sides = {side: {"labels": {"side": side}, "annotations": {"side": side}} for side in ("canary", "primary", "apex")}
    for service, side in zip(make_services(**sides), sides, strict=True):
        assert service["metadata"]["labels"]["side"] == side
        assert service["metadata"]["annotations"]["side"] == side
        assert service["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled"


def test_only_the_selector_of_a_foreign_service_changes():
    *_, apex = make_services(apex={"labels": {"a": "b"}})
    assert only_selector(apex)["spec"] == {"selector": {"app": "podinfo-primary"}}
    assert "labels" not in only_selector(apex)["metadata"]


def test_ports_of_an_existing_service_keep_their_node_ports_and_order():
    context = render_context("istio", service={"portDiscovery": True})
    *_, apex = services(context, PORTS)
    listed = [{**port, "nodePort": 30000 + place} for place, port in enumerate(reversed(apex["spec"]["ports"]))]
    existing = {**apex, "spec": {**apex["spec"], "ports": listed, "type": "NodePort", "clusterIP": "10.0.0.1"}}
    assert fit_to_service(apex, existing, context)["spec"]["ports"] == listed
    assert fit_to_service(apex, existing, context)["spec"]["type"] == "NodePort"


def test_unmanaged_metadata_keeps_the_values_of_others():
    unmanaged = {"labels": ["team"], "annotations": ["note"]}
    apex = {"labels": {"team": "a", "tier": "a"}, "annotations": {"note": "a"}}
    context = render_context("istio", service={"apex": apex, "unmanagedMetadata": unmanaged})
    *_, service = services(context, ())
    existing = {**service, "metadata": {"labels": {"team": "b", "tier": "b"}, "annotations": {"note": "b"}}}
    metadata = fit_to_service(service, existing, context)["metadata"]
    assert (metadata["labels"]["team"], metadata["labels"]["tier"]) == ("b", "a")
    assert metadata["annotations"]["note"] == "b"
