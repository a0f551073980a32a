"""Which IP addresses of other servers may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# IANA's special-purpose registries (RFC 6890 and its successors), whether or not they call a block globally
# reachable: no photo of a shop is kept there.
_SPECIAL = [
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; a cloud's metadata too
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's metadata at a public address
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # Teredo, ORCHID and other protocols
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
]
# The only block of IPv6 that is given out. Outside it lie loopback, mapped and compatible IPv4, NAT64,
# unique-local, link-local, site-local and multicast.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_ISATAP = {0x0000_5EFE, 0x0200_5EFE}  # interface identifiers that carry an IPv4 address


def parse_address(text: str) -> Address | None:
    """An address in its plain form; None for everything else, zone ids included."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it is a global unicast address, with no other address inside."""
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_UNICAST or _is_isatap(address)):
        return False
    return address.is_global and not any(address in block for block in _SPECIAL)


class AddressRule:
    """Public addresses, and the networks that the operator allows by name."""

    def __init__(self, allowed_networks: Sequence[str] = ()) -> None:
        self._allowed = [ip_network(network) for network in allowed_networks]

    @property
    def allows_internal(self) -> bool:
        return bool(self._allowed)

    def is_internal(self, address: Address) -> bool:
        """Whether it lies in a network that the operator allows."""
        return any(address in network for network in self._allowed)

    def admits(self, address: Address) -> bool:
        return self.is_internal(address) or is_public(address)


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
