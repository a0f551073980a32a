"""Request bodies that come as a form or as JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from models.errors import InvalidInput, PhotoMissing

Model = TypeVar("Model", bound=BaseModel)
MULTIPART, URL_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
MAX_JSON_MARKS = 30_000  # a long text is parsed and validated in no time, many small values are not
_KEY_FIELDS = {"api_key", "APIKey"}


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form, read whole: Starlette's own holds a temporary file until it is closed."""

    content: bytes


async def body_fields(request: Request) -> dict[str, Any]:
    """The body's top-level fields; parsed once per request, whoever asks first."""
    cached = getattr(request.state, "body_fields", None)
    if cached is None:
        cached = await _parse(request)
        request.state.body_fields = cached
    return dict(cached)


async def _parse(request: Request) -> dict[str, Any]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == MULTIPART:
        return await _parse_form(request)
    body = await request.body()
    if media_type == URL_ENCODED:
        # What curl says of any body; as a form, all of it, a key included, would be the name of a field.
        if body.lstrip().startswith(b"{"):
            raise InvalidInput('The body is JSON. Send it with "Content-Type: application/json".')
        return await _parse_form(request)
    if not body:
        return {}
    if sum(body.count(mark) for mark in b",:[{") > MAX_JSON_MARKS:
        raise InvalidInput("The JSON body holds too many values. Send the photo's bytes as base64 text.")
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput(
            "The body is neither a form nor valid JSON. Send multipart/form-data or application/json."
        ) from None
    if not isinstance(fields, dict):
        raise InvalidInput('The JSON body must be an object, like {"name": "…"}.')
    return fields


async def _parse_form(request: Request) -> dict[str, Any]:
    try:
        form = await request.form(max_files=8, max_fields=64)
    except HTTPException as error:
        raise InvalidInput(f"The form cannot be read: {error.detail}") from None
    try:
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            if name in fields:
                raise InvalidInput(f"The field {name} was sent twice. Send it once.").at(f"/{name}")
            fields[name] = UploadedFile(await value.read()) if isinstance(value, UploadFile) else value
        return fields
    finally:
        await form.close()


def parsed_texts(fields: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The fields, those of ``names`` that a form carries as JSON text parsed. Raises InvalidInput."""
    return fields | {name: _parsed_text(name, fields[name]) for name in names if name in fields}


def _parsed_text(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if sum(map(value.count, ",:[{")) > MAX_JSON_MARKS:
        raise InvalidInput(f"{name} holds too many values. Send fewer.").at(f"/{name}")
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        message = (
            f"{name} is a text that is not valid JSON. In a form it is JSON text; in JSON it is no text."
        )
        raise InvalidInput(message).at(f"/{name}") from None


def validated(model: type[Model], fields: dict[str, Any], *, with_photo: bool = False) -> Model:
    """Fields, less the key and, unless ``with_photo``, the photo, as ``model``; raises what FastAPI's own
    validation raises."""
    left_out = _KEY_FIELDS if with_photo else _KEY_FIELDS | {"Photo"}
    plain = {name: value for name, value in fields.items() if name not in left_out}
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from None


async def photo_bytes(fields: dict[str, Any]) -> bytes | None:
    """``Photo`` as an uploaded file or as base64 text (a data: URI is fine); None when it is absent."""
    photo = fields.get("Photo")
    return None if photo is None else await photo_content(photo, "/Photo")


async def photo_content(photo: Any, pointer: str) -> bytes:
    """The bytes of an uploaded file or of base64 text, from the field at ``pointer``."""
    if isinstance(photo, UploadedFile):
        return photo.content
    if not isinstance(photo, str):
        raise PhotoMissing("Photo must be a file of the form, or base64 text in JSON.").at(pointer)
    return await asyncio.to_thread(_decoded, photo, pointer)


def _decoded(photo: str, pointer: str) -> bytes:
    encoded = photo.partition(",")[2] if photo.startswith("data:") else photo
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("Photo is not valid base64. Encode the file's bytes, without changes.").at(
            pointer
        ) from None


async def required_photo(fields: dict[str, Any]) -> bytes:
    """Raises PhotoMissing when the body has none."""
    photo = await photo_bytes(fields)
    if photo is None:
        raise PhotoMissing(
            "Photo is missing. Send the file as the form field 'Photo', or base64 text in JSON."
        ).at("/Photo")
    return photo


def form_or_json(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI of a body that is a form or JSON; FastAPI can declare only one of the two."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"] |= {
        **{name: {"type": "string", "description": "Instead of a header."} for name in sorted(_KEY_FIELDS)},
        "Photo": {"type": "string", "format": "binary", "description": "The file; base64 text in JSON."},
    }
    content = {"multipart/form-data": {"schema": schema}, "application/json": {"schema": schema}}
    return {"requestBody": {"content": content, "required": True}}
