"""Who is at the other end, as far as it can be believed: what strangers' requests are counted by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address

IPV6_PREFIX = 64
UNKNOWN = "unknown"
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """``shared``: a proxy's, or unknown, so that many clients have it and one must not use up its limits."""

    text: str
    shared: bool


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted_proxies: int) -> ClientAddress:
    """An IPv4 address, or the /64 network of an IPv6 address, which one customer usually has whole.

    ``forwarded_for``: the values of X-Forwarded-For, in order. Each of ``trusted_proxies`` proxies appended
    who it was called by, so the client is that many from the right; what stands further left may be made
    up. Too short a header did not come through all of them: then ``peer`` counts, which is Serve's proxy.
    """
    hops = [hop.strip() for value in forwarded_for for hop in value.split(",")]
    told = _group(hops[-trusted_proxies]) if 0 < trusted_proxies <= len(hops) else None
    if told is not None:
        return ClientAddress(told, shared=False)
    return ClientAddress(_group(peer) or UNKNOWN, shared=True)


def _group(text: str | None) -> str | None:
    found = _WITH_PORT.fullmatch(text or "")
    bare = (found.group(1) or found.group(2)) if found else text or ""
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, IPV6_PREFIX), strict=False))
