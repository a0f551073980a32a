"""Photos by URL."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

from configs.serving import FetchArgs
from models.errors import PhotoTooLarge, PhotoUrlFailed, PhotoUrlRefused, UrlRefused
from serve_app.outbound.client import Answer, BodyTooLong, OutboundClient, RequestFailed
from serve_app.outbound.hosts import Host, Hosts

MAX_PAUSE_S = 60.0
PHOTOS_AT_ONCE = 16
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,500}"')


@dataclass(frozen=True, slots=True)
class Fetched:
    """The file as it came, and what to ask with the next time."""

    data: bytes
    etag: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server has the same file as it had when it gave that ETag."""


class PhotoFetcher:
    """Fetches photos, many at a time. One for each event loop; ``async with`` closes its connections."""

    def __init__(self, args: FetchArgs, max_bytes: int, client: OutboundClient | None = None) -> None:
        self._args, self._max_bytes = args, max_bytes
        self._client = client or OutboundClient(args)
        self._hosts = Hosts(args.per_host)
        self._turns = asyncio.Semaphore(PHOTOS_AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    def check(self, url: str) -> None:
        """Whether it may be asked at all, as far as its text tells. Raises PhotoUrlRefused."""
        if not self._args.photos:
            raise PhotoUrlRefused(
                "Photos by URL are switched off on this service. Send them as files in a ZIP or as base64."
            )
        try:
            self._client.rule.parse(url)
        except UrlRefused as error:
            raise PhotoUrlRefused(error.message) from None

    async def fetch_photo(self, url: str, etag: str | None = None) -> Fetched | NotModified:
        """The photo's bytes, or NotModified where ``etag`` (of the same URL) still holds.

        Raises PhotoUrlRefused, PhotoUrlFailed and PhotoTooLarge, whose messages name the host, never the
        URL: addresses of photos may carry tokens.
        """
        self.check(url)
        host = self._hosts.of(self._client.rule.parse(url).host)
        headers = {"Accept": "image/*,*/*;q=0.5"} | ({"If-None-Match": etag} if etag else {})
        try:
            return _photo(await self._ask(host, url, headers), conditional=etag is not None)
        except UrlRefused as error:
            raise PhotoUrlRefused(error.message) from None
        except RequestFailed as error:
            raise PhotoUrlFailed(str(error)) from None
        except BodyTooLong:
            raise PhotoTooLarge(
                f"The photo at this URL has more than {self._max_bytes:,} bytes, which is the limit. "
                "Use a smaller or more compressed one."
            ) from None

    async def _ask(self, host: Host, url: str, headers: dict[str, str]) -> Answer:
        """An answer that is not worth another attempt. Raises as the client does."""
        for attempt in range(1, self._args.attempts + 1):
            last = attempt == self._args.attempts
            pause_s = self._args.retry_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
            try:
                answer = await self._ask_once(host, url, headers)
            except RequestFailed as error:
                if last or not error.may_pass:
                    raise
            else:
                if last or not _may_pass(answer.status):
                    return answer
                pause_s = max(pause_s, retry_after_s(answer.headers.get("retry-after", "")))
                host.hold_off(pause_s)
            await asyncio.sleep(min(pause_s, MAX_PAUSE_S))
        raise AssertionError("the last attempt returns or raises")

    async def _ask_once(self, host: Host, url: str, headers: dict[str, str]) -> Answer:
        async with host.turns, self._turns:
            if host.rests:
                raise RequestFailed(
                    "This host did not answer for the photos before. Send the row again later."
                )
            await host.wait()
            try:
                answer = await self._client.get(url, headers, self._max_bytes)
            except RequestFailed as error:
                if error.silent:
                    host.was_silent()
                raise
            host.answered()
            return answer


def retry_after_s(value: str) -> float:
    """Seconds of a ``Retry-After`` (RFC 9110, 10.2.3), at most ``MAX_PAUSE_S``; 0 where it cannot be read."""
    if value.isdecimal():
        return min(float(value), MAX_PAUSE_S)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), MAX_PAUSE_S)


def _may_pass(status: int) -> bool:
    return status == 429 or status >= 500


def _photo(answer: Answer, *, conditional: bool) -> Fetched | NotModified:
    if answer.status == 304 and conditional:
        return NotModified()
    if answer.status != 200:
        raise RequestFailed(
            f"{answer.url.host} answered {answer.status} instead of the photo. Check that anyone can open it."
        )
    etag = answer.headers.get("etag", "")
    return Fetched(answer.body, etag if _ETAG.fullmatch(etag) else None)
