"""URLs of other servers, read strictly: what two programs could read in two ways is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import quote, urljoin

import idna

from configs.serving import FetchArgs
from models.errors import UrlRefused
from serve_app.outbound.addresses import AddressRule, parse_address

MAX_URL_CHARACTERS = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}

_PARTS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNFIT = re.compile(r"[\s\\\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]")
_KEPT_IN_TARGET = "/?%:@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class OutboundUrl:
    """``host``: a name in ASCII, or an address without brackets. ``target``: path and query, in ASCII."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the header ``Host`` has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


@dataclass(frozen=True)
class UrlRule:
    """What a URL may be, before anything is looked up."""

    allow_http: bool
    addresses: AddressRule

    @classmethod
    def of(cls, args: FetchArgs) -> Self:
        return cls(args.allow_http, AddressRule(args.allowed_networks))

    def parse(self, text: str) -> OutboundUrl:
        """Raises UrlRefused, which says what is wrong."""
        return self._checked(self._split(text))

    def redirected(self, url: OutboundUrl, location: str) -> OutboundUrl:
        """Where a redirect leads; it may not leave https. Raises UrlRefused."""
        _refuse_unfit(location)
        try:
            joined = urljoin(str(url), location.partition("#")[0])
        except ValueError:
            raise UrlRefused(f"{url.host} redirects to an address that cannot be read.") from None
        after = self.parse(joined)
        if url.scheme == "https" and after.scheme != "https":
            raise UrlRefused(f"{url.host} redirects from https to http. Use an address that stays on https.")
        return after

    def _split(self, text: str) -> OutboundUrl:
        _refuse_unfit(text)
        if "#" in text:
            raise UrlRefused("The URL has a part after #. Leave out # and what follows.")
        parts = _PARTS.fullmatch(text)
        schemes = "https:// or http://" if self.allow_http else "https://"
        if parts is None:
            raise UrlRefused(f"This is no whole URL. Write {schemes}, the host and the path.")
        scheme = parts["scheme"].lower()
        if scheme != "https" and not (scheme == "http" and self.allow_http):
            raise UrlRefused(f"URLs have to begin with {schemes} here, and this one does not.")
        return _assembled(scheme, parts["authority"], parts["target"])

    def _checked(self, url: OutboundUrl) -> OutboundUrl:
        address = parse_address(url.host)
        if address is not None and not self.addresses.admits(address):
            raise UrlRefused(f"{url.host} is not a public address. Use a server on the public internet.")
        if self.addresses.allows_internal:
            return url
        if url.port != DEFAULT_PORTS[url.scheme]:
            usual = DEFAULT_PORTS[url.scheme]
            raise UrlRefused(f"Port {url.port} may not be asked. Use {usual}, the default of {url.scheme}.")
        if address is None and "." not in url.host:
            raise UrlRefused(f"{url.host} is not the name of a public server. Write its full name.")
        return url


def _refuse_unfit(text: str) -> None:
    if len(text) > MAX_URL_CHARACTERS:
        raise UrlRefused(f"The URL has {len(text):,} characters; the limit is {MAX_URL_CHARACTERS:,}.")
    if _UNFIT.search(text):
        raise UrlRefused("The URL has a space, a backslash or a control character. Write a space as %20.")


def _assembled(scheme: str, authority: str, target: str) -> OutboundUrl:
    if "@" in authority:
        raise UrlRefused("The URL has a user name or password in it. Use one that needs none.")
    parts = _AUTHORITY.fullmatch(authority)
    port = DEFAULT_PORTS[scheme] if parts is None or parts["port"] is None else int(parts["port"])
    if parts is None or not 0 < port < 65_536:
        raise UrlRefused("The URL has no proper host and port. Write https://host/path.")
    # Lone surrogates cannot be written as UTF-8; servers get a question mark, as from browsers.
    path = quote(target, safe=_KEPT_IN_TARGET, errors="replace")
    return OutboundUrl(scheme, _host(parts["host"]), port, path if path.startswith("/") else f"/{path}")


def _host(text: str) -> str:
    """An address in its plain form or a name in ASCII. Raises UrlRefused."""
    if text.startswith("["):
        address = parse_address(text[1:-1])
        if not isinstance(address, IPv6Address):
            raise UrlRefused("The URL has an IPv6 address that cannot be read.")
        return str(address)
    name = _ascii_name(text)
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("The URL's host is not a host name. Check it for empty parts and odd characters.")
    # Some programs read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses: only the plain form is one here.
    if _NUMBER.fullmatch(labels[-1]) and not isinstance(parse_address(name), IPv4Address):
        raise UrlRefused("The URL's host looks like a number. Write an address as four numbers, or a name.")
    return name


def _ascii_name(text: str) -> str:
    lowered = text.lower()
    if lowered.isascii():
        return lowered
    try:
        return idna.encode(lowered).decode()
    except (idna.IDNAError, UnicodeError):
        raise UrlRefused("The URL's host has letters that no host name may have.") from None
