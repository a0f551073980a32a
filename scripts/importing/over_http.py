"""An import through the API, as any client sends one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from pydantic import ValidationError

from models.errors import AppError, ConfigurationError, DependencyUnavailable, InvalidInput
from models.import_api import JobDetail
from models.import_job import ImportOptions
from scripts.importing.feed_source import FeedSource
from scripts.importing.target import Sent, counted

PATIENCE = httpx.Timeout(120.0, connect=10.0)
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
PASSING = {429, 500, 502, 503, 504}
T = TypeVar("T")


class OverHttp:
    """An ImportTarget. What can pass by is tried for a minute; a key makes that safe for the feed, too."""

    def __init__(self, client: httpx.Client, idempotency_key: str | None = None) -> None:
        self._client, self._key = client, idempotency_key or uuid4().hex

    def send(self, source: FeedSource, options: ImportOptions, sent: Sent) -> JobDetail:
        key = self._key if source.part == 1 else f"{self._key}-{source.part}"

        def post() -> JobDetail:
            headers = {"Idempotency-Key": key, "Content-Type": source.media_type}
            if not source.files:
                headers["Content-Length"] = str(source.size_bytes)
            answer = self._client.post(
                "/api/image-collection/bulk/",
                params=options.model_dump(mode="json", exclude_unset=True),
                headers=headers,
                content=counted(source.chunks(), sent),
            )
            return _job(answer)

        return _with_patience(post)

    def read(self, job_id: int) -> JobDetail:
        return _with_patience(lambda: _job(self._client.get(f"/api/jobs/{job_id}/")))

    def errors(self, job_id: int) -> Iterator[bytes]:
        path = f"/api/jobs/{job_id}/errors/"
        try:
            with self._client.stream("GET", path, params={"format": "csv"}) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refusal(answer)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise _no_answer(error) from None


@contextmanager
def over_http(url: str, key: str, idempotency_key: str | None) -> Iterator[OverHttp]:
    """Raises ConfigurationError for an address that is none."""
    wrong = ConfigurationError("--url is no address, or the key no key: http://127.0.0.1:8000, sk_…")
    try:
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE)
    except (httpx.InvalidURL, UnicodeError):
        raise wrong from None
    with client:
        if client.base_url.scheme not in ("http", "https") or not client.base_url.host:
            raise wrong
        yield OverHttp(client, idempotency_key)


def _with_patience(act: Callable[[], T]) -> T:
    for pause_s in (*PAUSES_S, None):
        try:
            return act()
        except (DependencyUnavailable, httpx.TransportError) as error:
            if pause_s is None:
                raise _no_answer(error) if isinstance(error, httpx.HTTPError) else error from None
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


def _job(answer: httpx.Response) -> JobDetail:
    if answer.is_error:
        raise _refusal(answer)
    try:
        return JobDetail.model_validate(answer.json())
    except (ValueError, ValidationError):
        raise InvalidInput(f"{answer.url.host} answers, but not as this service does. Check --url.") from None


def _refusal(answer: httpx.Response) -> AppError:
    detail = _detail(answer)
    kind = DependencyUnavailable if answer.status_code in PASSING else InvalidInput
    return kind(f"The service refused it ({answer.status_code}): {detail}")


def _detail(answer: httpx.Response) -> str:
    try:
        problem: Any = answer.json()
        return str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase or "no reason given"


def _no_answer(error: httpx.HTTPError) -> DependencyUnavailable:
    return DependencyUnavailable(f"The service does not answer ({type(error).__name__}). Check --url.")
