"""The document at /openapi.json: FastAPI's, with each operation's summary and the errors that it can answer.

Most errors follow from what an operation takes: a key may be missing (401) or not be allowed (403), an id may
not exist (404). Others are named at the route, as ``responses={409: {}}``.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_PROBLEMS = {
    "401": "`not_authenticated`: no key or session, or one that is not valid (any more).",
    "403": "`forbidden`: a key or session that may not do this. `origin_not_allowed`: a publishable key on a "
    "web page that it is not for.",
    "404": "`not_found`: no such thing in this shop.",
    "408": "`body_too_slow`: no byte of the body came for a minute.",
    "409": "`conflict`: it contradicts what is there; `detail` says what.",
    "410": "`gone`: a link that was used, replaced or has expired.",
    "413": "`photo_too_large`: too many bytes or pixels. `body_too_large`: too many bytes.",
    "415": "`photo_type_unsupported`: the bytes are no photo of a known type. "
    "`media_type_unsupported`: a body of a kind that is not taken here.",
    "422": "`invalid_input`, or a code that says more: `errors` names the fields at fault.",
    "429": "`too_many_requests`, `quota_exceeded`: a limit is used up.",
    "503": "`too_busy`, `dependency_unavailable`: send the request again.",
    "504": "`dependency_timeout`: a part of the service took too long; send the request again.",
}
_HEADERS = {
    "401": ("WWW-Authenticate", {"type": "string"}),
    "429": ("Retry-After", {"type": "integer", "description": "Seconds."}),
    "503": ("Retry-After", {"type": "integer", "description": "Seconds."}),
    "504": ("Retry-After", {"type": "integer", "description": "Seconds."}),
}
_TEXT = {"type": "string"}
_PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457. Decide by `code`; `detail` is for people and may change.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": _TEXT | {"examples": ["urn:fashion-recommender:problem:not_found"]},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT,
        "request_id": _TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": _TEXT | {"description": "RFC 6901."}, "detail": _TEXT},
            },
        },
    },
}
_OF_FASTAPI = ("HTTPValidationError", "ValidationError")


class DescribedApi(FastAPI):
    """An application whose document tells its errors as they are."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _described(super().openapi())
        return self.openapi_schema


def _described(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _summarise(operation)
            _add_problems(path, operation)
            components["schemas"] |= _lifted_definitions(operation)
    components["responses"] = {status: _response(status) for status in _PROBLEMS}
    components["schemas"] = {
        name: schema for name, schema in components["schemas"].items() if name not in _OF_FASTAPI
    } | {"Problem": _PROBLEM}
    return document


def _summarise(operation: dict[str, Any]) -> None:
    """The first sentence of the description in place of the function's name."""
    first, _, rest = operation.get("description", "").partition("\n")
    sentence, _, more = first.partition(". ")
    operation["summary"] = sentence.rstrip(".")
    rest = "\n".join(part for part in (more, rest) if part)
    if rest:
        operation["description"] = rest
    else:
        operation.pop("description", None)


def _add_problems(path: str, operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation["responses"]
    bare = {status for status, response in responses.items() if status in _PROBLEMS and not _own(response)}
    for status in bare | _implied(path, operation):
        responses[status] = {"$ref": f"#/components/responses/{status}"}
    operation["responses"] = dict(sorted(responses.items()))


def _lifted_definitions(operation: dict[str, Any]) -> dict[str, Any]:
    """The schemas that a body which a route describes by itself brings along, taken out of it."""
    body, found = operation.get("requestBody", {}), dict[str, Any]()
    contents = body.get("content", {}).items()
    if any("$defs" in content["schema"] for _, content in contents):
        plain = {}
        for media_type, content in contents:
            found |= content["schema"].get("$defs", {})
            schema = {name: value for name, value in content["schema"].items() if name != "$defs"}
            plain[media_type] = content | {"schema": schema}
        operation["requestBody"] = body | {"content": plain}  # the route's own serves other applications, too
    return found


def _own(response: dict[str, Any]) -> bool:
    """Whether the route itself says what the answer is; FastAPI's 422 does not count."""
    schemas = [content.get("schema", {}) for content in response.get("content", {}).values()]
    return any(not str(schema.get("$ref", "")).endswith("/HTTPValidationError") for schema in schemas)


def _implied(path: str, operation: dict[str, Any]) -> set[str]:
    schemes = {name for scheme in operation.get("security", []) for name in scheme}
    parameters = operation.get("parameters", [])
    implied = {"503", "504"} if path.startswith(("/api/", "/media/")) else set()
    if schemes:
        implied |= {"401", "403"}
    if schemes - {"StaffSession"}:
        implied |= {"429"}
    if any(one["in"] == "path" for one in parameters):
        implied |= {"404"}
    if parameters or "requestBody" in operation:
        implied |= {"422"}
    return implied


def _response(status: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: dict[str, Any] = {"description": _PROBLEMS[status], "content": content}
    if status in _HEADERS:
        name, schema = _HEADERS[status]
        response["headers"] = {name: {"schema": schema}}
    return response
