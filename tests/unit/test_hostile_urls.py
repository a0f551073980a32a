"""URLs of photos that would lead inwards: no connection is made, by any way."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from httpcore import AnyIOBackend, AsyncNetworkStream, ConnectError

from configs.serving import FetchArgs
from models.errors import AppError, PhotoUrlFailed, PhotoUrlRefused
from serve_app.outbound.addresses import parse_address
from serve_app.outbound.client import OutboundClient
from serve_app.outbound.photos import Fetched, PhotoFetcher
from tests.hostile_urls import INNER_NAMES, hostile_urls

_seen: list[Any] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        _seen.append(arguments[1])


sys.addaudithook(_watch)  # below every library; it cannot be taken off again


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """The address of every connection that this process begins."""
    _seen.clear()
    yield _seen
    _seen.clear()


class Names:
    """A resolver with a plan: each look-up of a name gets the next answer, the last one for good.

    Other names are public, so that a URL which is refused is refused for its form.
    """

    def __init__(self, plans: Mapping[str, list[list[str]]]) -> None:
        self.plans, self.asked = plans, list[str]()

    async def __call__(self, host: str, port: int) -> list[str]:
        del port
        self.asked.append(host)
        plan = self.plans.get(host, [[host if parse_address(host) else "93.184.215.14"]])
        return plan.pop(0) if len(plan) > 1 else plan[0]


class Unconnected(AnyIOBackend):
    """Notes which address would be connected to."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> AsyncNetworkStream:
        self.wanted.append(host)
        raise ConnectError("not in a test")


@contextlib.asynccontextmanager
async def listener(host: str, answer: Callable[[], bytes]) -> AsyncIterator[tuple[int, list[str]]]:
    """A server on this machine: its port, and one entry for each connection."""
    came: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(host)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


def answer(status: str = "200 OK", **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\n{lines}Content-Length: 2\r\nConnection: close\r\n\r\nok"
    return head.encode("utf-8", "replace")


def fetcher(names: Names, *networks: str, backend: Any = None, **args: Any) -> PhotoFetcher:
    settings = FetchArgs(photos=True, allowed_networks=list(networks), retry_s=0.001, **args)
    return PhotoFetcher(settings, 1000, OutboundClient(settings, resolve=names, backend=backend))


def inner_names() -> Names:
    return Names({name: [addresses] for name, addresses in INNER_NAMES.items()})


# The strictest and the loosest that leaves them forbidden: another network allowed, so that ports are free.
@pytest.mark.parametrize("loose", [False, True])
async def test_no_hostile_url_leads_to_a_connection(connections: list[Any], loose: bool) -> None:
    networks = ("127.0.0.2/32",) if loose else ()
    async with listener("127.0.0.1", answer) as (port, came), listener("::1", answer) as (port_6, came_6):
        urls = hostile_urls({4: port, 6: port_6})
        assert len(urls) >= 200
        async with fetcher(inner_names(), *networks, allow_http=loose) as photos:
            for url in urls:
                with pytest.raises(PhotoUrlRefused):
                    await photos.fetch_photo(url)
        assert (connections, came, came_6) == ([], [], [])

        # The same instruments see a connection that is allowed.
        async with fetcher(inner_names(), "127.0.0.1", allow_http=True) as photos:
            assert isinstance(await photos.fetch_photo(f"http://127.0.0.1:{port}/"), Fetched)
        assert (connections, came) == ([("127.0.0.1", port)], ["127.0.0.1"])


async def test_no_redirect_leads_to_a_connection(connections: list[Any]) -> None:
    locations: list[str] = []
    redirect = lambda: answer("302 Found", Location=locations[-1])  # noqa: E731
    async with (
        listener("127.0.0.1", answer) as (port, came),
        listener("::1", answer) as (port_6, came_6),
        listener("127.0.0.2", redirect) as (shop_port, shop_came),
    ):
        names = inner_names()
        names.plans = {**names.plans, "shop.example": [["127.0.0.2"]]}
        options: dict[str, Any] = {"allow_http": True, "attempts": 1, "max_redirects": 1}
        async with fetcher(names, "127.0.0.2", **options) as photos:
            # A line break would end the header, and what is left be an ordinary address.
            for location in (one for one in hostile_urls({4: port, 6: port_6}) if "\n" not in one):
                locations.append(location)
                with pytest.raises((PhotoUrlRefused, PhotoUrlFailed)):
                    await photos.fetch_photo(f"http://shop.example:{shop_port}/")
        assert set(connections) == {("127.0.0.2", shop_port)}
        assert len(shop_came) >= len(locations)
        assert (came, came_6) == ([], [])


async def test_a_name_that_changes_is_asked_once_for_each_connection() -> None:
    """Rebinding: public when it is checked, inner a moment later."""
    names = Names({"rebind.example": [["93.184.215.14"], ["127.0.0.1"]]})
    backend = Unconnected()
    async with fetcher(names, backend=backend) as photos:
        with pytest.raises(PhotoUrlRefused, match="not public"):
            await photos.fetch_photo("https://rebind.example/a.jpg")
    assert names.asked == ["rebind.example"] * 2
    assert backend.wanted == ["93.184.215.14"]


async def test_what_is_said_of_an_inner_name_is_said_of_an_unknown_one() -> None:
    said = []
    async with fetcher(inner_names()) as photos:
        for name in ("inner.example", "unknown.example"):
            with pytest.raises(PhotoUrlRefused) as caught:
                await photos.fetch_photo(f"https://{name}/a.jpg")
            said.append((caught.value.code, caught.value.message.replace(name, "HOST")))
    assert said[0] == said[1]


async def test_https_is_not_left(connections: list[Any]) -> None:
    rule = OutboundClient(FetchArgs(allow_http=True)).rule
    url = rule.parse("https://shop.example/a.jpg")
    assert str(rule.redirected(url, "/ä.jpg#top")) == "https://shop.example/%C3%A4.jpg"
    with pytest.raises(AppError, match="https to http"):
        rule.redirected(url, "http://shop.example/a.jpg")
    assert connections == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("HTTPS://Shop.Example/A b".replace(" ", "%20"), "https://shop.example/A%20b"),
        ("https://bücher.example?q=ü", "https://xn--bcher-kva.example/?q=%C3%BC"),
        ("https://8.8.8.8:443/", "https://8.8.8.8/"),
        ("https://[2606:4700:0::1111]/", "https://[2606:4700::1111]/"),
        ("https://my_bucket.example/a|b", "https://my_bucket.example/a%7Cb"),
    ],
)
async def test_ordinary_urls_are_read(written: str, read: str) -> None:
    assert str(OutboundClient(FetchArgs()).rule.parse(written)) == read
