"""Web origins as browsers send them: scheme, host and port of a page (RFC 6454)."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MAX_ORIGIN_CHARACTERS = 270
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/?", re.ASCII
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def normalised_origin(text: str) -> str:
    """As a browser writes it: lower case, without the default port. A final slash is dropped.

    Raises ValueError, with a sentence for the shop, for what no browser sends or what is not safe: a path, a
    wildcard, ``null``, and http anywhere but on the own machine.
    """
    match = _ORIGIN.fullmatch(text.strip().lower()) if len(text) <= MAX_ORIGIN_CHARACTERS else None
    if match is None:
        raise ValueError(
            "must be an origin: scheme, host and, where it is not the default, port, like "
            "https://www.shop.example, without path, wildcard or credentials; a name with other letters than "
            "a-z in its xn-- form"
        )
    scheme, host = match["scheme"], _normalised_host(match["host"])
    if scheme == "http" and host not in _LOOPBACK_NAMES:
        raise ValueError("must begin with https://; http:// is for localhost only")
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65_535:
        raise ValueError("names a port that does not exist; ports are 1 to 65535")
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def _normalised_host(host: str) -> str:
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        labels = host.split(".")
        if labels[-1].isdigit():
            return str(IPv4Address(host))
    except AddressValueError:
        raise ValueError("names an IP address that does not exist") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("names a host that cannot exist")
    return host
