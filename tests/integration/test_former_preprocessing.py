"""A database that was indexed by a release that prepared photos otherwise is served, and can be reindexed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from configs.serving import AppArgs, ModelArgs
from db import embeddings, index_versions, migrate
from db.session import Database
from serve_app.checkpoints import model_key
from serve_app.served_model import choose_model
from serve_app.startup import serving_context
from tests.services import Photos, extra_database
from tests.stack import DEMO_MODEL


@pytest.fixture
def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with extra_database(postgres_url, "former_preprocessing") as url:
        migrate.upgrade(url)
        monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
        database = Database(url, connections=2)
        yield database
        database.close()


def test_it_keeps_its_preprocessing_until_it_is_reindexed(database: Database, photos: Photos) -> None:
    args = AppArgs(model=ModelArgs(name=DEMO_MODEL))
    model = choose_model(args.model)
    former_key = model_key(model.name, model.revision, "p1")
    vector = np.eye(1, model.dimension, dtype=np.float32)[0]
    with database.transaction() as session:
        former = index_versions.ensure_live(
            session, former_key, model.dimension, model.source, model.revision
        ).id
    image_id = photos.add()[0]
    sha256 = photos.read(image_id).photo_sha256
    with database.transaction() as session:
        embeddings.save(session, former_key, [(image_id, sha256, vector)])
    served = serving_context(args)
    assert (served.version_id, served.model.key, served.model.geometry.shrinks) == (former, former_key, False)

    with database.transaction() as session:
        version = index_versions.begin(session, model.key, model.dimension, model.source, model.revision).id
        embeddings.save(session, model.key, [(image_id, sha256, vector)])
        index_versions.flip(session, version or 0)
    served = serving_context(args)
    assert (served.version_id, served.model.key, served.model.geometry.shrinks) == (version, model.key, True)
