"""The NetworkPolicy allows the connections of the controller, but none to a server of credentials."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore_kubernetes.deploy.network_policy import METADATA, Destination, demand_no_metadata, destinations_of
from canarycore_kubernetes.deploy.objects import InstallOptions, objects

CREDENTIALS = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "fd00:ec2::254", "fd00:ec2::23")
NETWORKS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: str(ip_network(f"{address}/{length}", strict=False))
    )
)


def policy(**changes):
    (found,) = (body for body in objects(InstallOptions(isolated=True, **changes)) if body["kind"] == "NetworkPolicy")
    return found["spec"]


def ports(spec, address):
    """The ports at which an address is reached."""
    address = ip_address(address)
    blocks = [(peer["ipBlock"], rule["ports"]) for rule in spec["egress"] for peer in rule["to"] if "ipBlock" in peer]
    return {
        port["port"]
        for block, opened in blocks
        if address in ip_network(block["cidr"])
        and not any(address in ip_network(excepted) for excepted in block.get("except", ()))
        for port in opened
    }


def namespaces(spec):
    return {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in spec["egress"]
        for peer in rule["to"]
        if "namespaceSelector" in peer
        for port in rule["ports"]
    }


def test_by_default_dns_the_api_server_and_prometheus_are_reached():
    spec = policy()
    assert namespaces(spec) == {("kube-system", 53), ("monitoring", 9090)}
    assert ports(spec, "10.0.0.1") == ports(spec, "2001:db8::1") == {443, 6443}


def test_only_the_port_of_probes_and_metrics_is_open():
    assert policy()["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}]}]
    assert policy()["policyTypes"] == ["Ingress", "Egress"]


def test_the_pods_are_the_controllers():
    (deployment,) = (body for body in objects(InstallOptions(isolated=True)) if body["kind"] == "Deployment")
    assert policy()["podSelector"] == deployment["spec"]["selector"]


def test_without_the_option_there_is_no_policy():
    assert not [body for body in objects(InstallOptions()) if body["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("address", CREDENTIALS)
def test_no_address_with_credentials_is_reached(address):
    everywhere = tuple(Destination(cidr=cidr, port=80) for cidr in ("0.0.0.0/0", "::/0"))
    assert ports(policy(destinations=everywhere), address) == set()


@given(network=NETWORKS)
def test_no_network_opens_the_way_to_credentials(network):
    """And what it excepts lies in it, or the API server would refuse the policy."""
    try:
        demand_no_metadata(network)
    except ValueError:
        assert any(ip_network(network)[0] in ip_network(metadata) for metadata in METADATA)
        return
    spec = policy(api_server=(network,), destinations=(Destination(cidr=network, port=80),))
    assert all(ports(spec, address) == set() for address in CREDENTIALS)
    for rule in spec["egress"]:
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            inside = [ip_network(excepted) for excepted in block.get("except", ())]
            assert all(one.subnet_of(ip_network(block["cidr"])) for one in inside)


@pytest.mark.parametrize("address", ["169.254.169.254/32", "169.254.0.0/16", "169.254.169.0/24", "fd00:ec2::254/128"])
def test_metadata_is_no_destination(address):
    with pytest.raises(ValueError, match="expected a network outside of"):
        Destination(cidr=address, port=80)


@pytest.mark.parametrize(
    "text", ["", "test", "test:", "test:0", "test:65536", "Test:80", "a.b:80", "10.0.0.1/8:80", "[test]:80", ":80"]
)
def test_a_destination_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Destination.parse(text)


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("test:80", Destination(namespace="test", port=80)),
        ("10.0.0.0/8:443", Destination(cidr="10.0.0.0/8", port=443)),
        ("[fd12::/16]:443", Destination(cidr="fd12::/16", port=443)),
    ],
)
def test_a_destination_is_read(text, destination):
    assert Destination.parse(text) == destination


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("http://prometheus:9090", ["canarycore:9090"]),
        ("http://prometheus.monitoring:9090/path", ["monitoring:9090"]),
        ("http://prometheus.monitoring.svc.cluster.local", ["monitoring:80"]),
        ("https://user:secret@prometheus.example.com", ["0.0.0.0/0:443", "[::/0]:443"]),
        ("http://10.0.0.1:9090", ["0.0.0.0/0:9090", "[::/0]:9090"]),
        ("http://[fd12::1]:9090", ["0.0.0.0/0:9090", "[::/0]:9090"]),
    ],
)
def test_the_metric_server_is_a_destination(url, places):
    assert destinations_of(url, "canarycore") == tuple(map(Destination.parse, places))
