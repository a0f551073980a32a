"""/api/keys/: the shop's API keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel

from models.key_api import KeyChanges, KeyCreated, KeyFields, KeyList, KeyPublic, KeyRotation
from serve_app.manage_keys import change_key, create_key, list_keys, revoke_key, rotate_key
from serve_app.routes.bodies import body_fields, validated
from serve_app.routes.dependencies import CallerDep, ServicesDep

router = APIRouter(prefix="/api/keys", tags=["keys"])

KeyId = Annotated[int, Path(ge=1, le=2**31 - 1)]


def _request_body(model: type[BaseModel], *, required: bool) -> dict[str, object]:
    """OpenAPI of a body that the routes read themselves, as it may carry the key."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # The answers' models bring the same ones.
    schema["properties"]["api_key"] = {"type": "string", "description": "Instead of a header."}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}, "required": required}}


@router.get("/")
async def read(services: ServicesDep, caller: CallerDep) -> KeyList:
    """List the shop's keys, newest first. Never a secret."""
    return KeyList(results=await list_keys(services, caller))


@router.post("/", status_code=201, responses={409: {}}, openapi_extra=_request_body(KeyFields, required=True))
async def create(
    request: Request, response: Response, services: ServicesDep, caller: CallerDep
) -> KeyCreated:
    """Make a key. It is shown in this answer and never again."""
    fields = validated(KeyFields, await body_fields(request))
    response.headers["Cache-Control"] = "no-store"
    return await create_key(services, caller, fields)


@router.patch("/{key_id}/", openapi_extra=_request_body(KeyChanges, required=True))
async def update(request: Request, key_id: KeyId, services: ServicesDep, caller: CallerDep) -> KeyPublic:
    """Change a key's given settings. They count everywhere within 5 s."""
    changes = validated(KeyChanges, await body_fields(request))
    return await change_key(services, caller, key_id, changes)


@router.post(
    "/{key_id}/rotate/",
    status_code=201,
    responses={409: {}},
    openapi_extra=_request_body(KeyRotation, required=False),
)
async def rotate(
    request: Request, response: Response, key_id: KeyId, services: ServicesDep, caller: CallerDep
) -> KeyCreated:
    """Replace a key by one with the same settings. The old one works on for the overlap."""
    rotation = validated(KeyRotation, await body_fields(request))
    response.headers["Cache-Control"] = "no-store"
    return await rotate_key(services, caller, key_id, rotation)


@router.delete("/{key_id}/", status_code=204)
async def revoke(key_id: KeyId, services: ServicesDep, caller: CallerDep) -> None:
    """Revoke a key. It stops working everywhere within 5 s; photos stay as they are."""
    await revoke_key(services, caller, key_id)
