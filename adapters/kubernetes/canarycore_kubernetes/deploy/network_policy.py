"""The controller's NetworkPolicy: the places that it may talk to, and the port at which others may talk to it.

    policy_spec("canarycore", port=8080, destinations=[Destination.parse("monitoring:9090")])

Out: the cluster's DNS, the API server, and the destinations, which are the metric servers, the receivers of hooks and
the chats. In: the port of probes and metrics. A cluster enforces this if its network plugin knows NetworkPolicies.

A pod that reaches the metadata address of its cloud gets the credentials of its node there. So no destination contains
such an address: a network excepts those that lie in it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.validators import and_, ge, le

if TYPE_CHECKING:
    from collections.abc import Iterable

    from canarycore_runtime.mesh import Json

Network = IPv4Network | IPv6Network

METADATA = (
    "169.254.0.0/16",  # link-local: 169.254.169.254 of most clouds, and what hands out the credentials of pods
    "100.100.100.200/32",  # Alibaba Cloud
    "168.63.129.16/32",  # Azure
    "192.0.0.192/32",  # Oracle Cloud
    "fd00:ec2::/64",  # AWS: fd00:ec2::254, and the credentials of pods
    "fd20:ce::254/128",  # Google Cloud
    "fe80::/10",  # link-local
)
"""Addresses from which a cloud hands out credentials."""

EVERYWHERE = ("0.0.0.0/0", "::/0")
API_SERVER_PORTS = (443, 6443)
DNS_NAMESPACE = "kube-system"
DNS_OF_THE_NODE = "169.254.20.10/32"
"""The address of a DNS cache on each node, where a cluster has one."""

_DESTINATION = re.compile(r"(?P<place>\[[^\]]{1,50}\]|[^:\[\]]{1,100}):(?P<port>[0-9]{1,5})")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def demand_no_metadata(cidr: str) -> None:
    """Raise ValueError for a network that consists of metadata addresses, or is none."""
    network = ip_network(cidr)
    for metadata in METADATA:
        if _contains(ip_network(metadata), network):
            raise ValueError(f"found {cidr}, expected a network outside of {metadata}, where clouds keep credentials")


def _network(_: object, __: object, value: str) -> None:
    if value:
        demand_no_metadata(value)


@frozen(kw_only=True)
class Destination:
    """A TCP port of all pods of a namespace, or of a network in CIDR notation."""

    namespace: str = ""
    """The namespace of the pods; empty for a network."""
    cidr: str = field(default="", validator=_network)
    """The network, without those addresses of `METADATA` that lie in it."""
    port: int = field(validator=and_(ge(1), le(65535)))
    """The port of the pods, which need not be that of their Service."""

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read `monitoring:9090`, `10.0.0.0/8:443` or `[fd12::/16]:443`. Raises ValueError."""
        found = _DESTINATION.fullmatch(text)
        if found is None:
            raise ValueError(f"found {text[:100]!r}, expected NAMESPACE:PORT or CIDR:PORT")
        place, port = found["place"], int(found["port"])
        if _LABEL.fullmatch(place):
            return cls(namespace=place, port=port)
        return cls(cidr=str(ip_network(place.strip("[]"))), port=port)

    @property
    def peer(self) -> Json:
        """The destination as a NetworkPolicyPeer."""
        return _pods_of(self.namespace) if self.namespace else _addresses(self.cidr)


def destinations_of(url: str, home: str) -> tuple[Destination, ...]:
    """Find where a server is by its URL: in the namespace of its Service, or anywhere.

    home: the namespace that a name without one means.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    labels = host.split(".")
    in_cluster = ":" not in host and (len(labels) <= 2 or labels[2] == "svc")
    if not in_cluster:
        return tuple(Destination(cidr=cidr, port=port) for cidr in EVERYWHERE)
    return (Destination(namespace=labels[1] if len(labels) > 1 else home, port=port),)


def policy_spec(
    name: str, *, port: int, destinations: Iterable[Destination], api_server: Iterable[str] = EVERYWHERE
) -> Json:
    """Make the policy of the pods with this name.

    port: of probes and metrics. destinations: servers beside DNS and the API server. api_server: its networks.
    """
    return {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_port(port)]}],
        "egress": [
            _egress([_pods_of(DNS_NAMESPACE), {"ipBlock": {"cidr": DNS_OF_THE_NODE}}], _port(53, "UDP"), _port(53)),
            _egress([_addresses(cidr) for cidr in api_server], *map(_port, API_SERVER_PORTS)),
            *(_egress([one.peer], _port(one.port)) for one in destinations),
        ],
    }


def _egress(peers: list[Json], *ports: Json) -> Json:
    return {"to": peers, "ports": list(ports)}


def _port(number: int, protocol: str = "TCP") -> Json:
    return {"protocol": protocol, "port": number}


def _pods_of(namespace: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def _addresses(cidr: str) -> Json:
    network = ip_network(cidr)
    inside = [metadata for metadata in METADATA if _contains(network, ip_network(metadata))]
    return {"ipBlock": {"cidr": cidr, **({"except": inside} if inside else {})}}


def _contains(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and other.subnet_of(network)
    return isinstance(other, IPv6Network) and other.subnet_of(network)
