"""The controller's NetworkPolicy: its allowed connections.

    policy_spec("canarycore", port=8080, destinations=[Destination.parse("monitoring:9090")])

Egress: the cluster's DNS, the API server, and the destinations (metric servers, receivers of hooks, chats). Ingress:
the port of probes and metrics. A cluster enforces the policy if its network plugin supports NetworkPolicies.

A pod that reaches the metadata address of its cloud gets the credentials of its node. So no destination contains such
an address: each network excepts those inside it.
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
    "169.254.0.0/16",  # link-local: 169.254.169.254 of most clouds, and the servers of pod credentials
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
    """Raise ValueError if a text is not a network, or the network contains only metadata addresses."""
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
    """The network in CIDR notation; empty for pods. The policy excepts the addresses of `METADATA` inside it."""
    port: int = field(validator=and_(ge(1), le(65535)))
    """The port of the pods, which may differ from the port of their Service."""

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read `monitoring:9090`, `10.0.0.0/8:443` or `[fd12::/16]:443`. Raises ValueError."""
        match = _DESTINATION.fullmatch(text)
        if match is None:
            raise ValueError(f"found {text[:100]!r}, expected NAMESPACE:PORT or CIDR:PORT")
        place, port = match["place"], int(match["port"])
        if _LABEL.fullmatch(place):
            return cls(namespace=place, port=port)
        return cls(cidr=str(ip_network(place.strip("[]"))), port=port)

    @property
    def peer(self) -> Json:
        """The destination as a NetworkPolicyPeer."""
        return _pods_of(self.namespace) if self.namespace else _addresses(self.cidr)


def destinations_of(url: str, home: str) -> tuple[Destination, ...]:
    """Return the destinations of a server's URL: the namespace of its Service, or all networks.

    `home` is the namespace of a host name without one.
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
    """Return the spec of a NetworkPolicy for the pods with this name.

    Args:
        name: The value of the label `app.kubernetes.io/name`.
        port: The port of probes and metrics.
        destinations: Servers in addition to DNS and the API server.
        api_server: The networks of the API server.
    """
    return {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [_port(port)]}],
        "egress": [
            _egress([_pods_of(DNS_NAMESPACE), {"ipBlock": {"cidr": DNS_OF_THE_NODE}}], _port(53, "UDP"), _port(53)),
            _egress([_addresses(cidr) for cidr in api_server], *map(_port, API_SERVER_PORTS)),
            *(_egress([server.peer], _port(server.port)) for server in destinations),
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
