"""What a request was charged, as headers of its answer (draft-ietf-httpapi-ratelimit-headers-10)."""

from __future__ import annotations

from fastapi import Request

from serve_app.client_address import ClientAddress, client_address
from serve_app.rate_limits import Verdict
from serve_app.services import Services


def note(request: Request, verdict: Verdict) -> None:
    """Puts ``RateLimit-Policy`` and ``RateLimit`` onto the answer, whatever it will be."""
    headers: dict[str, str] = request.state.response_headers
    policies = ", ".join(
        f'"{one.budget.rule.name}";q={one.budget.quota};w={one.budget.rule.window_s}'
        for one in verdict.standings
    )
    limits = ", ".join(
        f'"{one.budget.rule.name}";r={one.remaining};t={one.reset_s}'
        for one in verdict.standings
        if one.remaining is not None
    )
    if policies:
        headers["RateLimit-Policy"] = policies
    if limits:
        headers["RateLimit"] = limits


def enforce(request: Request, verdict: Verdict) -> None:
    """The same, and raises TooManyRequests or QuotaExceeded, with ``Retry-After``, for a refused one."""
    note(request, verdict)
    error = verdict.error()
    if error is not None and verdict.refused is not None:
        request.state.response_headers["Retry-After"] = str(verdict.refused.reset_s)
        raise error


def address_of(request: Request, services: Services) -> ClientAddress:
    """The client's address, to count strangers by."""
    peer = request.client.host if request.client is not None else None
    return client_address(peer, request.headers.getlist("x-forwarded-for"), services.trusted_proxies)
