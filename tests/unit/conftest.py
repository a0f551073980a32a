"""The whole HTTP surface in this process: fakes for model and index, PostgreSQL and files for real."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import update
from sqlmodel import col, select
from starlette.testclient import TestClient

from configs.serving import AccountArgs, FetchArgs, LimitArgs, PhotoArgs, SearchArgs
from configs.settings import derive_secret
from db import embeddings, keys
from db.media import MediaStore
from db.session import Database
from models.image import Image, ImageStatus
from models.shop import KeyScope
from serve_app import prompt_log, sign_up
from serve_app.api import create_api
from serve_app.callers import CallerCache
from serve_app.outbound.urls import UrlRule
from serve_app.passwords import Passwords
from serve_app.photo_quota import PhotoQuota
from serve_app.ports import Vector
from serve_app.prompt_log import PromptLog
from serve_app.rate_limits import RateLimiter
from serve_app.secrets import KeyMint, LinkMint, PhotoSigner, ReportSigner, WebhookMint
from serve_app.services import Services
from serve_app.shown_rows import ShownRows
from tests.fakes import MODEL, FakeClock, FakeImageEmbedder, FakeIndex, FakeTextEmbedder, Tally, vector_of
from tests.shop_client import ShopClient

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ROOT_SECRET = "0123456789abcdef" * 4
PAGE_BASE = "https://search.example.com"


@dataclass(frozen=True)
class FakeService:
    """The application in this process, and what is behind it."""

    http: TestClient
    database: Database
    media_dir: Path
    keys: KeyMint
    callers: CallerCache
    signer: PhotoSigner
    text_embedder: FakeTextEmbedder
    image_embedder: FakeImageEmbedder
    index: FakeIndex
    clock: FakeClock
    services: Services

    def new_shop(self, **limits: int) -> ShopClient:
        """``limits``: columns of the shop, such as ``prompts_per_day``."""
        key = self.keys.new()
        with self.database.transaction() as session:
            shop = keys.create_shop(session, "Test shop", f"{uuid.uuid4().hex}@example.com")
            for name, value in limits.items():
                setattr(shop, name, value)
            assert shop.id is not None
            keys.add_key(session, shop.id, key.public_id, key.secret_hmac, KeyScope.SECRET)
        return ShopClient(self.http, shop.id, key.text)

    def flush_prompts(self) -> None:
        """Write the log of prompts now. It is at most 1 s behind."""
        assert self.http.portal is not None
        self.http.portal.call(self.services.prompt_log.flush)

    def embed(self, shop_id: int, image_id: int, vector: Vector | None = None) -> None:
        """What the Indexer does, without a model."""
        vector = vector_of("photo") if vector is None else vector
        self.index.put(shop_id, image_id, vector)
        with self.database.transaction() as session:
            sha256 = session.get_one(Image, image_id).photo_sha256
            embeddings.save(session, MODEL.key, [(image_id, sha256, vector)])
        self.set_status(image_id, ImageStatus.EMBEDDED)

    def set_status(self, image_id: int, status: ImageStatus, error: str | None = None) -> None:
        values: dict[str, Any] = {"status": status, "error": error}
        if status is ImageStatus.EMBEDDED:
            values["embedded_at"] = datetime.now(UTC)
        with self.database.transaction() as session:
            session.execute(update(Image).where(col(Image.id) == image_id).values(**values))

    def stored(self, shop_id: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
        """Every row and every file of the shop."""
        with self.database.transaction() as session:
            query = select(Image).where(col(Image.shop_id) == shop_id).order_by(col(Image.id))
            rows = [row.model_dump() for row in session.scalars(query)]
        root = self.media_dir / "shops" / str(shop_id)
        return rows, {
            str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
        }


@pytest.fixture(scope="session")
def service(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeService]:
    media_dir = tmp_path_factory.mktemp("media")
    connections = Database(postgres_url, connections=4)
    mint, clock = KeyMint(ROOT_SECRET), FakeClock()
    services = Services(
        database=connections,
        shown=ShownRows(connections),
        media=MediaStore(media_dir.as_uri()),
        text_embedder=(text_embedder := FakeTextEmbedder()),
        image_embedder=(image_embedder := FakeImageEmbedder()),
        index=(index := FakeIndex()),
        keys=mint,
        callers=CallerCache(connections, mint, AccountArgs()),
        # All tests are one client address, and time stands still.
        limiter=RateLimiter(LimitArgs(signups_per_hour=None, logins_per_minute=None), Tally(), clock=clock),
        prompt_log=PromptLog(connections, Tally()),
        photo_quota=PhotoQuota(LimitArgs().photos),
        signer=PhotoSigner(ROOT_SECRET, 3600),
        report_signer=ReportSigner(ROOT_SECRET),
        limits=LimitArgs(),
        links=LinkMint(ROOT_SECRET),
        webhooks=WebhookMint(ROOT_SECRET),
        outbound_rule=UrlRule.of(FetchArgs()),
        photos=PhotoArgs(),
        search=SearchArgs(),
        page_base=PAGE_BASE,
        model=MODEL,
        accounts=AccountArgs(),
        passwords=Passwords(CHEAP),
        cookie_secret=derive_secret(ROOT_SECRET, "admin-cookie").hex(),
    )
    # The application closes its own database; the helpers go on with another.
    database = Database(postgres_url, connections=2)
    with (
        pytest.MonkeyPatch.context() as patch,
        TestClient(create_api(services), raise_server_exceptions=False) as http,
    ):
        patch.setattr(sign_up, "ANSWER_AFTER_S", 0.0)
        patch.setattr(prompt_log, "LOOK_AGAIN_AFTER_S", (0.01,))
        yield FakeService(
            http=http,
            database=database,
            media_dir=media_dir,
            keys=mint,
            callers=services.callers,
            signer=services.signer,
            text_embedder=text_embedder,
            image_embedder=image_embedder,
            index=index,
            clock=clock,
            services=services,
        )
    database.close()


@pytest.fixture
def shop(service: FakeService) -> ShopClient:
    return service.new_shop()


@pytest.fixture
def new_shop(service: FakeService) -> Callable[[], ShopClient]:
    return service.new_shop
