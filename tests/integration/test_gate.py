"""The gate's two sides read from a real database, and a real index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast
from uuid import uuid4

import numpy as np
import pytest

from configs.serving import ReindexArgs
from db import embeddings, gate_samples, prompts
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.image import Image, ImageStatus
from models.prompt import Prompt
from serve_app.gate import GateParts, GateReport, Side, compare_versions, says_something
from serve_app.ports import Vector
from tests.fakes import DIMENSION, vector_of
from tests.services import Photos, create_shop

OLD, NEW = 901, 902
COLOURS = ("red", "blue", "green", "black", "white", "grey", "pink", "yellow")
GARMENTS = ("dress", "coat", "shirt", "bag", "hat", "boots", "scarf", "jeans")
NAMES = [f"{colour} {garment}" for colour in COLOURS for garment in GARMENTS]
TURNED = np.linalg.qr(np.random.default_rng(3).normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)


class Words:
    """A text tower: the words' vectors, in a space of its own."""

    def __init__(self, space: Vector) -> None:
        self._space = space

    def embed(self, texts: Sequence[str]) -> Vector:
        return cast(Vector, np.stack([vector_of(text) for text in texts]) @ self._space)


def fill(database: Database, vectors: VectorStore, names: list[str], shuffled: bool) -> int:
    """A shop whose photos show what their names say; in the new version they do, or are mixed up."""
    shop_id = create_shop(database)
    photos = Photos(database, shop_id)
    ids = [photos.add(name=name, status=ImageStatus.EMBEDDED)[0] for name in names]
    seen = np.stack([vector_of(name) for name in names])
    turned = seen @ TURNED
    after = turned[np.random.default_rng(1).permutation(len(names))] if shuffled else turned
    with database.transaction() as session:
        hashes = {one: cast(Image, session.get(Image, one)).photo_sha256 for one in ids}
        for key, version, space in (("old@1", OLD, seen), ("new@1", NEW, after)):
            rows = [(one, hashes[one], vector) for one, vector in zip(ids, space, strict=True)]
            embeddings.save(session, key, rows)
            vectors.upsert(version, shop_id, [VectorRecord(one, vector, sha) for one, sha, vector in rows])
    return shop_id


def compare(own_database: Database, vectors: VectorStore, **args: float) -> GateReport:
    parts = GateParts(own_database, vectors, ReindexArgs(**args))  # type: ignore[arg-type]
    old = Side(OLD, "old@1", Words(np.eye(DIMENSION, dtype=np.float32)))
    steps: list[tuple[int, int]] = []
    report = compare_versions(
        parts, old, Side(NEW, "new@1", Words(TURNED)), lambda done, of: steps.append((done, of))
    )
    assert steps[-1] == (len(report.shops), len(report.shops))
    return report


@pytest.fixture(autouse=True)
def _one_catalogue_at_a_time(own_database: Database) -> None:
    with own_database.transaction() as session:
        for shop_id in gate_samples.shops(session):
            session.execute(Image.__table__.delete().where(Image.shop_id == shop_id))  # type: ignore[attr-defined,arg-type]


def test_an_equal_model_passes_and_each_shop_is_shown(own_database: Database, vectors: VectorStore) -> None:
    shop_id = fill(own_database, vectors, NAMES, shuffled=False)
    tiny = fill(own_database, vectors, NAMES[:4], shuffled=True)
    nameless = fill(own_database, vectors, [f"IMG {number}" for number in range(9)], shuffled=True)
    row = Prompt(
        id=uuid4(), shop_id=shop_id, prompt="Red  dress", number_recommended=5, result_ids=[], scores=[],
        model_key="old@1", duration_ms=1.0,
    )  # fmt: skip
    again = row.model_copy(update={"id": uuid4(), "prompt": "red dress"})
    filtered = row.model_copy(update={"id": uuid4(), "prompt": "hat", "filters": {"in_stock": True}})
    with own_database.transaction() as session:
        prompts.add(session, [row, again, filtered])
    report = compare(own_database, vectors)
    assert report.passed
    assert report.before is not None
    assert report.after is not None
    assert report.before.queries == len(NAMES)
    assert report.before.recall_at_1 > 0.9
    assert report.after.recall_at_1 == pytest.approx(report.before.recall_at_1, abs=0.05)
    own, small, unnamed = (
        next(one for one in report.shops if one.shop_id == i) for i in (shop_id, tiny, nameless)
    )
    assert (own.prompts, own.overlap) == (1, 1.0)
    assert small.before is None, "four photos prove nothing"
    assert unnamed.before is None, "names that say nothing are not asked for"
    assert json.loads(json.dumps(report.as_json()))["passed"] is True


def test_a_bad_model_is_stopped_with_the_figures(own_database: Database, vectors: VectorStore) -> None:
    shop_id = fill(own_database, vectors, NAMES, shuffled=True)
    report = compare(own_database, vectors)
    assert not report.passed
    assert any(line.startswith("All shops: recall@1 falls from ") for line in report.reasons)
    assert any(line.startswith(f"Shop {shop_id}: MRR@10 falls from ") for line in report.reasons)
    assert compare(own_database, vectors, max_regression=1.0).passed, "the operator allows any loss"


def test_answers_that_change_too_much_stop_it_where_asked(
    own_database: Database, vectors: VectorStore
) -> None:
    shop_id = fill(own_database, vectors, NAMES, shuffled=True)
    row = Prompt(
        id=uuid4(), shop_id=shop_id, prompt="a red coat", number_recommended=5, result_ids=[], scores=[],
        model_key="old@1", duration_ms=1.0,
    )  # fmt: skip
    with own_database.transaction() as session:
        prompts.add(session, [row])
    report = compare(own_database, vectors, max_regression=1.0, min_overlap=0.9)
    assert [line.split(" keep ")[0] for line in report.reasons] == ["Prompts"]


@pytest.mark.parametrize(
    ("text", "telling"),
    [("Red dress", True), ("IMG_2041", False), ("product 12", False), ("Kleid", True), ("a 1 b2", False)],
)
def test_which_texts_say_something(text: str, telling: bool) -> None:
    assert says_something(text) is telling
