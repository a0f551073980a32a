"""Photos by URL from servers that are slow, busy, moved, too generous or not who they say."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from configs.serving import FetchArgs
from models.errors import PhotoTooLarge, PhotoUrlFailed, PhotoUrlRefused
from serve_app.outbound.client import OutboundClient
from serve_app.outbound.photos import Fetched, NotModified, PhotoFetcher, retry_after_s
from tests.web_server import Request, at_home, response, running

MAX_BYTES = 1000


def fetcher(context: ssl.SSLContext | None = None, **args: Any) -> PhotoFetcher:
    settings = FetchArgs(
        **{"photos": True, "allow_http": True, "allowed_networks": ["127.0.0.1"], "retry_s": 0.01} | args
    )
    client = OutboundClient(settings, resolve=at_home, ssl_context=context)
    return PhotoFetcher(settings, MAX_BYTES, client)


async def test_a_photo_comes_as_it_is_and_is_asked_for_once() -> None:
    async with running() as server, fetcher() as photos:
        server.answers["/a.jpg?size=1"] = [response(b"x" * MAX_BYTES, ETag='"v1"')]
        found = await photos.fetch_photo(f"http://shop.example:{server.port}/a.jpg?size=1")
    assert found == Fetched(b"x" * MAX_BYTES, '"v1"')
    (request,) = server.asked
    assert request.headers["host"] == f"shop.example:{server.port}"
    assert not {"cookie", "authorization", "referer", "if-none-match"} & set(request.headers)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_file_over_the_limit_is_not_read_to_its_end(announced: bool) -> None:
    sent = 0

    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        length = str(10**9) if announced else ""
        writer.write(response(b"", Content_Length=length))
        while sent < 50_000_000:
            writer.write(b"x" * 1000)
            await writer.drain()
            sent += 1000

    async with running() as server, fetcher() as photos:
        server.answers["/"] = [endless]
        with pytest.raises(PhotoTooLarge, match="1,000 bytes"):
            await photos.fetch_photo(f"http://shop.example:{server.port}/")
    assert len(server.asked) == 1
    assert sent < 50_000_000


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"H"])
async def test_a_server_that_drips_is_left_after_the_timeout(part: bytes) -> None:
    async def drip(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(part)
        for _ in range(100):
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(b"x")

    async with running() as server, fetcher(timeout_s=0.2) as photos:
        server.answers["/"] = [drip]
        with pytest.raises(PhotoUrlFailed, match=r"shop\.example took longer than 0\.2 s"):
            await photos.fetch_photo(f"http://shop.example:{server.port}/")
    assert len(server.asked) == 1


async def test_what_may_pass_is_tried_again_and_no_more_often_than_said() -> None:
    async def break_off(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf")

    async with running() as server, fetcher(attempts=3) as photos:
        base = f"http://shop.example:{server.port}"
        server.answers["/later"] = [response(status="503 Busy"), break_off, response(b"at last")]
        assert await photos.fetch_photo(f"{base}/later") == Fetched(b"at last", None)
        server.answers["/never"] = [response(status="500 No")]
        with pytest.raises(PhotoUrlFailed, match="answered 500"):
            await photos.fetch_photo(f"{base}/never")
        server.answers["/gone"] = [response(status="404 Not Found")]
        with pytest.raises(PhotoUrlFailed, match="answered 404"):
            await photos.fetch_photo(f"{base}/gone")
    assert [request.path for request in server.asked] == ["/later"] * 3 + ["/never"] * 3 + ["/gone"]


async def test_retry_after_holds_off_the_host_for_every_photo() -> None:
    async with running() as server, fetcher() as photos:
        base = f"http://shop.example:{server.port}"
        server.answers["/busy"] = [response(status="429 Slow down", Retry_After="1"), response()]
        server.answers["/other"] = [response()]
        busy = asyncio.create_task(photos.fetch_photo(f"{base}/busy"))
        await asyncio.sleep(0.2)
        await asyncio.gather(busy, photos.fetch_photo(f"{base}/other"))
    first, *later = (request.at_s for request in server.asked)
    assert len(later) == 2
    assert all(moment - first > 0.9 for moment in later)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    assert 25 < retry_after_s(f"{soon:%a, %d %b %Y %H:%M:%S} GMT") <= 30
    odd = ["", "soon", "-5", "1.5", "Mon, 99 Nov 2026 99:99:99 GMT", "²", "Mon, 01 Jan 1990 00:00:00 GMT"]
    assert [retry_after_s(text) for text in odd] == [0.0] * len(odd)
    assert [retry_after_s(text) for text in ("7", "9" * 400)] == [7.0, 60.0]


async def test_one_host_is_asked_for_few_photos_at_once() -> None:
    async def slowly(_: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.03)
        writer.write(response())

    async with running() as server, fetcher(per_host=2) as photos:
        server.answers["/"] = [slowly]
        urls = [f"http://{name}.example:{server.port}/" for name in ("a", "a", "a", "a", "A")]
        await asyncio.gather(*(photos.fetch_photo(url) for url in urls))
        assert server.most_at_once == 2
        await asyncio.gather(
            *(photos.fetch_photo(url.replace("//a", f"//b{n}")) for n, url in enumerate(urls))
        )
    assert server.most_at_once > 2


async def test_a_host_that_is_silent_too_often_is_not_asked_any_more() -> None:
    async def silence(_: Request, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with running() as server, fetcher(timeout_s=0.4, per_host=8) as photos:
        base = f"http://shop.example:{server.port}"
        server.answers["/"] = [silence]
        tries = [photos.fetch_photo(f"{base}/") for _ in range(8)]
        failed = await asyncio.gather(*tries, return_exceptions=True)
        assert all("took longer" in str(error) for error in failed)
        with pytest.raises(PhotoUrlFailed, match="later"):
            await photos.fetch_photo(f"{base}/")
    assert len(server.asked) == 8


async def test_an_unchanged_photo_is_not_sent_again() -> None:
    async def unless_known(request: Request, writer: asyncio.StreamWriter) -> None:
        known = request.headers.get("if-none-match") == 'W/"v2"'
        writer.write(response(b"", "304 Not Modified") if known else response(b"new", ETag='W/"v2"'))

    async with running() as server, fetcher() as photos:
        url = f"http://shop.example:{server.port}/"
        server.answers["/"] = [unless_known]
        assert await photos.fetch_photo(url, '"v1"') == Fetched(b"new", 'W/"v2"')
        assert await photos.fetch_photo(url, 'W/"v2"') == NotModified()
        server.answers["/"] = [response(b"", "304 Not Modified")]  # to one who knows nothing
        with pytest.raises(PhotoUrlFailed, match="answered 304"):
            await photos.fetch_photo(url)


async def test_an_etag_that_is_none_is_not_kept() -> None:
    async with running() as server, fetcher() as photos:
        server.answers["/"] = [
            response(ETag="v1"),
            response(ETag='"' + "x" * 600 + '"'),
            response(ETag='"a b"'),
        ]
        url = f"http://shop.example:{server.port}/"
        assert [await photos.fetch_photo(url) for _ in range(3)] == [Fetched(b"photo", None)] * 3


async def test_redirects_are_followed_as_far_as_they_are_allowed() -> None:
    async with running() as server, fetcher(max_redirects=2) as photos:
        base = f"http://shop.example:{server.port}"
        server.answers["/1"] = [response(b"", "301 Moved", Location="/2")]
        server.answers["/2"] = [response(b"", "307 Moved", Location=f"http://cdn.example:{server.port}/3")]
        server.answers["/3"] = [response()]
        server.answers["/0"] = [response(b"", "302 Found", Location="1")]
        assert await photos.fetch_photo(f"{base}/1") == Fetched(b"photo", None)
        assert server.asked[-1].headers["host"] == f"cdn.example:{server.port}"
        with pytest.raises(PhotoUrlFailed, match="more than 2 times"):
            await photos.fetch_photo(f"{base}/0")
        server.answers["/out"] = [response(b"", "302 Found", Location="ftp://shop.example/a")]
        with pytest.raises(PhotoUrlRefused):
            await photos.fetch_photo(f"{base}/out")
        server.answers["/nowhere"] = [response(b"", "302 Found")]
        with pytest.raises(PhotoUrlFailed, match="answered 302"):
            await photos.fetch_photo(f"{base}/nowhere")


async def test_compressed_answers_and_no_http_are_refused() -> None:
    async with running() as server, fetcher(attempts=1) as photos:
        base = f"http://shop.example:{server.port}"
        server.answers["/packed"] = [response(Content_Encoding="gzip")]
        with pytest.raises(PhotoUrlFailed, match="compressed"):
            await photos.fetch_photo(f"{base}/packed")
        server.answers["/smtp"] = [b"220 mail.example ESMTP\r\n"]
        with pytest.raises(PhotoUrlFailed, match="not HTTP"):
            await photos.fetch_photo(f"{base}/smtp")


class Authority:
    """Makes certificates that only its own clients trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self._certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(
            cadata=self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        )

    def server_context(self, host: str, *, expired: bool = False) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key, expired)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._directory / "server.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, expired: bool = False
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        day = dt.timedelta(days=1)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - 3 * day,
            not_valid_after=now - day if expired else now + day,
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_server_with_the_names_certificate_is_believed(authority: Authority) -> None:
    async with (
        running(authority.server_context("shop.example")) as server,
        fetcher(authority.client_context(), allow_http=False) as photos,
    ):
        server.answers["/"] = [response()]
        assert await photos.fetch_photo(f"https://shop.example:{server.port}/") == Fetched(b"photo", None)


@pytest.mark.parametrize("case", ["another name", "expired", "unknown authority"])
async def test_a_server_without_a_valid_certificate_is_told_nothing(authority: Authority, case: str) -> None:
    name = "other.example" if case == "another name" else "shop.example"
    context = None if case == "unknown authority" else authority.client_context()
    async with (
        running(authority.server_context(name, expired=case == "expired")) as server,
        fetcher(context) as photos,
    ):
        with pytest.raises(PhotoUrlFailed, match=r"shop\.example has no valid certificate"):
            await photos.fetch_photo(f"https://shop.example:{server.port}/")
    assert server.asked == []
