"""A world of roles for one route: a shop with everything in it, another shop, keys of every kind, staff."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.routing import iter_route_contexts
from sqlalchemy.orm import Session
from starlette.routing import BaseRoute, Mount

from db import embeddings, images, import_requests, keys, prompts
from models.import_job import ImportRequest
from models.job import JobError
from models.prompt import Prompt
from models.shop import ApiKey, KeyScope
from models.staff import Staff, StaffSession
from models.taxonomy import AgeGroup, Category, Style
from serve_app.secrets import KeyMint
from tests.fakes import MODEL, vector_of
from tests.services import make_image
from tests.unit.conftest import FakeService

ROLES = ("nobody", "publishable", "secret", "stranger", "revoked", "expired", "staff")
# Those that may change something come last, so that what they change is still there for the others.
ORDER = ("nobody", "revoked", "expired", "publishable", "stranger", "staff", "secret")


@dataclass
class World:
    """``canary`` is in every text of the owner's; nobody else may ever see it."""

    canary: str = field(default_factory=lambda: f"canary-{uuid.uuid4().hex}")
    credentials: dict[str, str] = field(default_factory=dict)
    ids: dict[str, Any] = field(default_factory=dict)

    def headers(self, role: str) -> dict[str, str]:
        return {} if role == "nobody" else {"Authorization": f"Bearer {self.credentials[role]}"}

    def filled(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with ids in place of their names in braces."""
        texts = {f"{{{name}}}": one for name, one in self.ids.items()}
        return {name: texts.get(str(value), value) for name, value in body.items()}


def new_world(service: FakeService) -> World:
    world = World()
    with service.database.transaction() as session:
        owner, stranger = (
            keys.create_shop(session, world.canary, f"{world.canary}@example.com"),
            keys.create_shop(session, "Stranger", f"{uuid.uuid4().hex}@example.com"),
        )
        assert owner.id is not None
        assert stranger.id is not None
        secret = _key(session, service.keys, world, "secret", owner.id)
        _key(session, service.keys, world, "stranger", stranger.id)
        _key(session, service.keys, world, "publishable", owner.id).scope = KeyScope.PUBLISHABLE
        _key(session, service.keys, world, "revoked", owner.id).revoked_at = datetime.now(UTC)
        _key(session, service.keys, world, "expired", owner.id).expires_at = datetime.now(UTC)
        image = images.insert(session, make_image(owner.id, name=world.canary))
        image.status = images.ImageStatus.FAILED
        assert image.id is not None
        embeddings.save(session, MODEL.key, [(image.id, image.photo_sha256, vector_of("photo"))])
        prompt = Prompt(
            id=uuid.uuid4(),
            shop_id=owner.id,
            prompt=world.canary,
            number_recommended=1,
            result_ids=[image.id],
            scores=[0.5],
            model_key="fake",
            duration_ms=1.0,
        )
        prompts.add(session, [prompt])
        request = ImportRequest(source="s/f/x", size_bytes=1, sha256="0" * 64, file_name=world.canary)
        job = import_requests.add(session, owner.id, request, None)
        assert job is not None
        session.add(JobError(job_id=job.id, line=2, sku=world.canary, code="x", reason="y", row={}))
        terms = [table(name=f"term-{uuid.uuid4().hex}") for table in (Category, Style, AgeGroup)]
        session.add_all(terms)
        _staff(session, world)
        session.flush()
        world.ids = {
            "image_id": image.id,
            "key_id": secret.id,
            "prompt_id": str(prompt.id),
            "job_id": job.id,
            **dict(zip(("category_id", "style_id", "age_group_id"), (t.id for t in terms), strict=True)),
        }
    return world


def all_routes(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route, those of mounted applications included; a method "*" is any."""
    for context in iter_route_contexts(routes):
        route, path = context.original_route, f"{prefix}{context.path}"
        if isinstance(route, Mount):
            yield from all_routes(route.routes, path) if route.routes else [("*", path)]
        else:
            for method in sorted((context.methods or {"*"}) - {"HEAD"}):
                yield method, path


def _key(session: Session, mint: KeyMint, world: World, role: str, shop_id: int) -> ApiKey:
    scope = KeyScope.PUBLISHABLE if role == "publishable" else KeyScope.SECRET
    new = mint.new(scope)
    world.credentials[role] = new.text
    key = keys.add_key(session, shop_id, new.public_id, new.secret_hmac, scope)
    key.name = "" if role == "stranger" else world.canary
    return key


def _staff(session: Session, world: World) -> None:
    token = f"st_{secrets.token_urlsafe(32)}"
    world.credentials["staff"] = token
    staff = Staff(email=f"{uuid.uuid4().hex}@example.com", password_hash="unused")
    session.add(staff)
    session.flush()
    assert staff.id is not None
    token_hash = hashlib.sha256(token.encode()).digest()
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    session.add(StaffSession(staff_id=staff.id, token_hash=token_hash, expires_at=expires_at))
