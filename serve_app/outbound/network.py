"""Connections to other servers: one look-up, a check of all its addresses, a connection to one of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

from httpcore import SOCKET_OPTION as SocketOption
from httpcore import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout

from models.errors import UrlRefused
from serve_app.outbound.addresses import Address, AddressRule, parse_address

MAX_ADDRESSES_TRIED = 3
DEFAULT_PORTS = (80, 443)

Resolve = Callable[[str, int], Awaitable[list[str]]]


class LookUpFailed(ConnectError):
    """The name was not found, or not now."""


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, best first. Raises LookUpFailed."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LookUpFailed(host) from error
    return [_with_zone(address) for *_, address in found]


class GuardedBackend(AsyncNetworkBackend):
    """What httpcore connects through. It sees the host's name and hands on only a checked address."""

    def __init__(
        self, rule: AddressRule, resolve: Resolve = resolve, inner: AsyncNetworkBackend | None = None
    ) -> None:
        self._rule, self._resolve = rule, resolve
        self._inner = inner or AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> AsyncNetworkStream:
        """Raises UrlRefused before anything is connected to."""
        addresses = [parse_address(text) for text in await self._resolve(host, port)]
        if not addresses:
            raise LookUpFailed(host)
        checked = [one for one in addresses if one is not None and self._admits(one, port)]
        if len(checked) < len(addresses):
            raise unreachable(host)
        tried = list(dict.fromkeys(checked))[:MAX_ADDRESSES_TRIED]
        for address in tried[:-1]:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (ConnectError, ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(tried[-1]), port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    def _admits(self, address: Address, port: int) -> bool:
        return self._rule.is_internal(address) or (port in DEFAULT_PORTS and self._rule.admits(address))


def unreachable(host: str) -> UrlRefused:
    """The same whether the name is unknown or internal, so that nobody learns the names of inner servers."""
    return UrlRefused(
        f"{host} cannot be asked: its name was not found, or has an address that is not public."
    )


def _with_zone(address: tuple[object, ...]) -> str:
    """An address with a scope carries its zone, and is refused for it."""
    scope = address[3] if len(address) == 4 else 0
    return f"{address[0]}%{scope}" if scope and "%" not in str(address[0]) else str(address[0])
