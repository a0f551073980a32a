"""Asks other servers over HTTP, whoever names them: no proxy, no cookies, no login, no surprise."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from httpcore import (
    URL,
    AsyncConnectionPool,
    AsyncNetworkBackend,
    NetworkError,
    ProtocolError,
    Response,
    TimeoutException,
)

from configs.serving import FetchArgs
from models.errors import UrlRefused
from serve_app.outbound.addresses import AddressRule
from serve_app.outbound.network import GuardedBackend, LookUpFailed, Resolve, resolve, unreachable
from serve_app.outbound.urls import OutboundUrl, UrlRule

USER_AGENT = "fashion-recommender"
CONNECT_TIMEOUT_S = 5.0
IDLE_CONNECTIONS = 16
IDLE_S = 5.0
REDIRECTS = {301, 302, 303, 307, 308}


class RequestFailed(Exception):
    """No answer that can be used; the message begins with the host. ``may_pass``: worth another attempt.

    ``silent``: the host was asked and did not answer in time.
    """

    def __init__(self, message: str, *, may_pass: bool = False, silent: bool = False) -> None:
        super().__init__(message)
        self.may_pass, self.silent = may_pass, silent


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is empty where nobody asked for it. ``headers``: by lower-case name, the first of each."""

    url: OutboundUrl
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class BodyTooLong(Exception):
    """The answer has more bytes than asked for."""


class OutboundClient:
    """One for each event loop; ``aclose`` closes its connections.

    It speaks through httpcore, which knows no proxies, cookies, logins or redirects. Idle connections are
    kept for some seconds: each belongs to one host and was checked when it was made.
    """

    def __init__(
        self,
        args: FetchArgs,
        *,
        resolve: Resolve = resolve,
        backend: AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        addresses = AddressRule(args.allowed_networks)
        self.rule = UrlRule.of(args)
        self._args = args
        self._pool = AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_S,
            network_backend=GuardedBackend(addresses, resolve, backend),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def get(self, url: str, headers: Mapping[str, str], max_bytes: int) -> Answer:
        """Follows redirects, each checked as the first address is; the body of a 200 is read.

        All of it takes at most ``timeout_s``. Raises UrlRefused, RequestFailed, BodyTooLong.
        """
        next_url = self.rule.parse(url)
        async with self._deadline(next_url.host):
            for _ in range(self._args.max_redirects + 1):
                answer = await self._get_once(next_url, headers, max_bytes)
                location = answer.headers.get("location")
                if answer.status not in REDIRECTS or location is None:
                    return answer
                next_url = self.rule.redirected(next_url, location)
        most = self._args.max_redirects
        raise RequestFailed(f"{next_url.host} redirects more than {most} times. Use the last address.")

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request; a redirect is an answer like others, and no body is read. Raises as ``get`` does."""
        target = self.rule.parse(url)
        async with self._deadline(target.host), self._request("POST", target, headers, body) as response:
            return _answer(target, response)

    async def _get_once(self, url: OutboundUrl, headers: Mapping[str, str], max_bytes: int) -> Answer:
        async with self._request("GET", url, headers) as response:
            answer = _answer(url, response)
            if response.status != 200:
                return answer
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise RequestFailed(f"{url.host} answered with compressed data, which was not asked for.")
            body = await _read(response, answer, max_bytes)
            return Answer(url, answer.status, answer.headers, body)

    @asynccontextmanager
    async def _request(
        self, method: str, url: OutboundUrl, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[Response]:
        sent = {
            "Host": url.authority,
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **headers,
        }
        address = URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        limits = {"connect": min(CONNECT_TIMEOUT_S, self._args.timeout_s)}
        try:
            async with self._pool.stream(
                method, address, headers=list(sent.items()), content=body, extensions={"timeout": limits}
            ) as response:
                yield response
        except LookUpFailed as error:
            raise _look_up_failed(url.host, error) from None
        except (NetworkError, ProtocolError, TimeoutException) as error:
            raise _failed(url.host, error) from None

    @asynccontextmanager
    async def _deadline(self, host: str) -> AsyncIterator[None]:
        """Over everything, however slowly the bytes drip."""
        timeout_s = self._args.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            raise RequestFailed(f"{host} took longer than {timeout_s:g} s.", silent=True) from None


def _answer(url: OutboundUrl, response: Response) -> Answer:
    headers: dict[str, str] = {}
    for name, value in response.headers:
        headers.setdefault(name.decode("ascii").lower(), value.decode("utf-8", "replace"))
    return Answer(url, response.status, headers)


async def _read(response: Response, answer: Answer, max_bytes: int) -> bytes:
    announced = answer.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise BodyTooLong
    body = bytearray()
    async for part in response.aiter_stream():
        body += part
        if len(body) > max_bytes:
            raise BodyTooLong
    return bytes(body)


def _look_up_failed(host: str, error: LookUpFailed) -> RequestFailed | UrlRefused:
    """A name server that does not answer now may do so later."""
    cause = error.__cause__
    if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN:
        return RequestFailed(unreachable(host).message, may_pass=True)
    return unreachable(host)


def _failed(host: str, error: Exception) -> RequestFailed:
    if _is_about_certificate(error):
        return RequestFailed(f"{host} has no valid certificate.")
    if isinstance(error, ProtocolError):
        return RequestFailed(f"{host} gave an answer that is not HTTP.", may_pass=True)
    return RequestFailed(f"{host} did not answer, or broke off.", may_pass=True, silent=True)


def _is_about_certificate(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None
