"""Errors as RFC 9457 problem details. Never a stack trace, never an unknown exception's text."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from models.errors import AppError, InvalidInput, NotAuthenticated
from serve_app.field_errors import sentence

logger = logging.getLogger("serve_app")
MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 415: "media_type_unsupported"}


def problem_body(error: AppError, request_id: str) -> dict[str, Any]:
    """The document of one AppError."""
    errors = [{"pointer": error.pointer, "detail": error.message}] if error.pointer else []
    return problem(error.status_code, error.code, error.title, error.message, request_id, errors)


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str,
    errors: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:fashion-recommender:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    return body | ({"errors": errors} if errors else {})


async def app_error(request: Request, error: Exception) -> JSONResponse:
    known = cast(AppError, error)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(known, NotAuthenticated) else {}
    if known.status_code >= 500:
        logger.error("%s: %s", known.code, known.message)
    retry_after_s = 1 if known.status_code >= 500 else known.retry_after_s
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return _response(known.status_code, problem_body(known, _request_id(request)), headers)


async def validation_error(request: Request, error: Exception) -> JSONResponse:
    found = cast(RequestValidationError, error).errors()[:MAX_ERRORS]
    errors = [{"pointer": _pointer(one), "detail": _sentence(one)} for one in found]
    detail = "; ".join(f"{one['pointer'].lstrip('/') or 'body'}: {one['detail']}" for one in errors[:5])
    status, code, title = InvalidInput.status_code, InvalidInput.code, InvalidInput.title
    return _response(status, problem(status, code, title, detail, _request_id(request), errors))


async def http_error(request: Request, error: Exception) -> JSONResponse:
    known = cast(HTTPException, error)
    if known.status_code == 400:  # FastAPI's answer to JSON too deep to parse, or no Unicode
        reason = "The body cannot be read: it is not JSON in UTF-8, or it is nested too deeply."
        return await app_error(request, InvalidInput(reason))
    status, phrase = known.status_code, HTTPStatus(known.status_code).phrase
    detail = f"{request.method} {request.url.path}: {phrase.lower()}. /docs lists what there is."
    body = problem(status, _CODES.get(status, "http_error"), phrase, detail, _request_id(request))
    return _response(status, body, dict(known.headers or {}))


async def unexpected_error(request: Request, error: Exception) -> JSONResponse:
    request_id = _request_id(request)
    logger.error("unexpected error", exc_info=error)
    detail = f"Something went wrong on our side. Tell the operator the request id {request_id}."
    # The middleware that adds these to other answers is not around this one.
    headers = request.scope.get("state", {}).get("response_headers")
    return _response(500, problem(500, AppError.code, AppError.title, detail, request_id), headers)


def _response(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _request_id(request: Request) -> str:
    return cast(str, request.scope.get("state", {}).get("request_id", ""))


def _pointer(error: Any) -> str:
    """RFC 6901, without FastAPI's leading 'body', 'query' or 'path'; '' is the whole body."""
    location = error["loc"]
    if error["type"] == "json_invalid":
        return ""
    parts = location[1:] if location and location[0] in {"body", "query", "path", "header"} else location
    if parts and parts[-1] == "[key]":  # Pydantic's way to say that an object's key is at fault
        parts = parts[:-1]
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def _sentence(error: Any) -> str:
    """The sentence of one finding; FastAPI has two of its own, about the body."""
    if error["type"] == "json_invalid":
        return 'The body is not valid JSON. Send an object such as {"prompt": "a red dress"}.'
    if error["type"] == "model_attributes_type" and error["loc"] == ("body",):
        return 'The body must be a JSON object, sent with "Content-Type: application/json".'
    return sentence(error)
