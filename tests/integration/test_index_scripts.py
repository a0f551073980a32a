"""The scripts of the index's audit, on a real PostgreSQL and Chroma; and the audit in the background."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, text
from sqlmodel import col

from db.vectors import VectorRecord
from models.image import Embedding, ImageStatus
from models.shop import Shop
from scripts import export_vectors, import_vectors, rebuild_index, verify
from serve_app.background_audit import BackgroundAudit
from tests.audit_bench import MODEL, Bench, MakeBench, make_bench, quick_rounds, unit
from tests.fakes import Tally
from tests.services import create_shop

__all__ = ["make_bench", "quick_rounds"]
Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(
    own_database: Any, chroma_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A script's exit status and its JSON; its words where it ended with an error."""
    address = own_database._engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", address.replace("postgresql+psycopg2", "postgresql"))
    monkeypatch.setenv("CHROMA_URL", chroma_url)

    def run(script: Any, *arguments: str) -> tuple[int, Any]:
        monkeypatch.setattr(sys, "argv", [script.__name__, *arguments, "--json"])
        status = script.main()
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else printed.err

    return run


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    bench = make_bench()
    bench.add(12)
    return bench


def email_of(bench: Bench) -> str:
    with bench.photos.database.transaction() as session:
        return session.get_one(Shop, bench.photos.shop_id).email


def test_verify_tells_what_is_wrong_and_repairs_it(bench: Bench, run: Run) -> None:
    version_id, shop_id = bench.place
    bench.store.delete(version_id, shop_id, [*bench.vectors][:2])
    bench.store.upsert(version_id, 2**30, [VectorRecord(1, unit(1), "a" * 64)])
    status, told = run(verify)
    (one,) = told["collections"]
    assert (status, one["found"], one["left"], one["shop"]) == (1, {"missing": 2}, 2, email_of(bench))
    assert {"version_id": version_id, "shop_id": 2**30} in told["foreign_collections"]
    only = ("--shop", email_of(bench), "--version", str(version_id), "--sample", "5")
    status, told = run(verify, "--repair", *only)
    assert (status, told["collections"][0]["repaired"], told["foreign_collections"]) == (
        0,
        {"missing": 2},
        [],
    )
    assert run(verify, *only)[0] == 0
    bench.store.drop(version_id, 2**30)
    bench.assert_equal()


def test_a_lost_index_is_made_anew(bench: Bench, run: Run) -> None:
    bench.store.drop(*bench.place)
    status, told = run(rebuild_index)
    assert (status, told["collections"][0]["photos"], told["collections"][0]["left"]) == (0, 12, 0)
    bench.assert_equal()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shop", "nobody@example.com"), "no shop with the e-mail address"),
        (("--version", "1"), "no index version 1"),
        (("--config", "nowhere.yaml"), "cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_said(
    bench: Bench, run: Run, arguments: tuple[str, ...], words: str
) -> None:
    assert bench.vectors
    status, told = run(verify, *arguments)
    assert status == 2
    assert words in told


def test_vectors_leave_and_come_back_without_a_model(bench: Bench, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "vectors.parquet"
    assert run(export_vectors, str(file)) == (0, {"file": str(file), "model_key": MODEL, "vectors": 12})
    kept = pq.read_table(file)
    assert kept.schema.metadata[b"model_key"] == MODEL.encode()
    assert kept.schema.field("vector").type == pa.list_(pa.float32(), 16)
    before = dict(zip(kept["image_id"].to_pylist(), kept["vector"].to_pylist(), strict=True))
    assert before == {one: vector.tolist() for one, vector in bench.vectors.items()}
    status, told = run(import_vectors, str(file))
    assert (status, told["stored"], told["unchanged"], told["rejected"]) == (0, 0, 12, 0)
    with bench.photos.database.transaction() as session:
        session.execute(text("DELETE FROM embedding"))
        session.execute(text("UPDATE image SET status = 'pending'"))
    bench.store.drop(*bench.place)
    assert run(import_vectors, str(file))[1]["stored"] == 12
    for _ in range(3):
        bench.work()
    bench.assert_equal()


def test_photos_are_named_by_sku_and_get_the_new_vector_in_the_index(
    bench: Bench, run: Run, tmp_path: Path
) -> None:
    (one,) = [*bench.vectors][:1]
    row = bench.photos.read(one)
    bench.vectors[one] = unit(one, 7)
    columns = {
        "sku": [row.sku],
        "photo_sha256": [row.photo_sha256],
        "vector": [bench.vectors[one].tolist()],
    }
    pq.write_table(pa.table(columns), tmp_path / "some.parquet")
    status, told = run(import_vectors, str(tmp_path / "some.parquet"), "--shop", email_of(bench))
    assert (status, "--model-key" in told) == (2, True)
    names = ("--shop", email_of(bench), "--model-key", MODEL)
    assert run(import_vectors, str(tmp_path / "some.parquet"), *names)[1]["stored"] == 1
    bench.work()
    bench.assert_equal()
    assert bench.photos.read(one).vector_revision == row.vector_revision + 1


def test_wrong_rows_are_named_and_nothing_is_stored(bench: Bench, run: Run, tmp_path: Path) -> None:
    file, bad = tmp_path / "vectors.parquet", tmp_path / "bad.parquet"
    run(export_vectors, str(file))
    rows = pq.read_table(file).to_pylist()
    other = create_shop(bench.photos.database)
    with bench.photos.database.transaction() as session:
        foreign = session.get_one(Shop, other).email
    changes: list[dict[str, Any]] = [
        {"photo_sha256": "0" * 64},
        {"vector": [2 * number for number in rows[1]["vector"]]},
        {"vector": [float("nan"), *rows[2]["vector"][1:]]},
        {"vector": rows[3]["vector"][1:]},
        {"vector": None},
        {"shop": foreign},
        {"shop": "nobody@example.com"},
        {"model_key": "another@2"},
        rows[9],
        {},
        {"vector": unit(77).tolist()},
        {"image_id": None, "sku": None},
    ]
    wrong = [row | change for row, change in zip(rows, changes, strict=True)]
    layout = pq.read_schema(file)
    place = layout.get_field_index("vector")
    layout = layout.set(place, pa.field("vector", pa.list_(pa.float64())))
    pq.write_table(pa.Table.from_pylist(wrong, schema=layout), bad)
    before = stored_vectors(bench)
    status, told = run(import_vectors, str(bad))
    assert status == 2
    assert [one["row"] for one in told["bad"]] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12]
    reasons = " ".join(one["reason"] for one in told["bad"])
    for words in ("photo_sha256", "length 2", "not finite", "15 numbers", "no vector", "no photo", "no shop"):
        assert words in reasons
    assert stored_vectors(bench) == before
    status, told = run(import_vectors, str(bad), "--skip-bad")
    assert (status, told["stored"], told["unchanged"], told["rejected"]) == (1, 1, 1, 10)
    after = stored_vectors(bench)
    assert {one for one in before if before[one] != after[one]} == {rows[10]["image_id"]}


def stored_vectors(bench: Bench) -> dict[int, bytes]:
    with bench.photos.database.transaction() as session:
        query = select(col(Embedding.image_id), col(Embedding.vector))
        return {row.image_id: row.vector for row in session.execute(query)}


def test_vectors_of_another_model_begin_a_version_and_touch_no_photo(
    bench: Bench, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "vectors.parquet"
    run(export_vectors, str(file))
    kept = pq.read_table(file)
    key = "other/model@0123456789ab+p1"
    metadata = dict(kept.schema.metadata) | {b"model_key": key.encode()}
    table = kept.set_column(
        kept.schema.get_field_index("model_key"), "model_key", [[key] * 12]
    ).replace_schema_metadata(metadata)
    pq.write_table(table, file)
    status, told = run(import_vectors, str(file))
    assert (status, "no index version of the model" in told) == (2, True)
    assert run(import_vectors, str(file), "--model", "third/model", "--revision", "1")[0] == 2
    named = ("--model", "other/model", "--revision", "0123456789abcdef")
    status, told = run(import_vectors, str(file), *named)
    assert (status, told["stored"]) == (0, 12)
    assert {bench.photos.read(one).status for one in bench.vectors} == {ImageStatus.EMBEDDED}
    with bench.photos.database.transaction() as session:
        rows = session.execute(text("SELECT state FROM index_version WHERE model_key = :key"), {"key": key})
        assert rows.scalars().all() == ["building"]


def test_what_is_no_such_file_is_refused(bench: Bench, run: Run, tmp_path: Path) -> None:
    assert bench.vectors
    (tmp_path / "text").write_text("no Parquet")
    pq.write_table(pa.table({"vector": [[1.0]]}), tmp_path / "few")
    pq.write_table(pa.table({"vector": [[1.0]], "photo_sha256": ["a"]}), tmp_path / "nameless")
    for name, words in (
        ("absent", "cannot be read"),
        ("text", "cannot be read"),
        ("few", "photo_sha256"),
        ("nameless", "names no photos"),
    ):
        status, told = run(import_vectors, str(tmp_path / name))
        assert (status, words in told) == (2, True), told


def test_the_background_audit_repairs_what_is_due_and_tells(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    quick = replace(bench.parts, args=bench.parts.args.model_copy(update={"every_h": 1.0, "pause_s": 0.0}))
    damaged = Tally()
    audit = BackgroundAudit(quick, damaged, links=32)
    assert not audit.step(), "the shop is new"
    with bench.photos.database.transaction() as session:
        session.execute(text("UPDATE shop SET created_at = now() - interval '2 hours'"))
    bench.store.delete(*bench.place, [*bench.vectors][:3])
    with caplog.at_level(logging.WARNING, "serve_app"):
        assert audit.step()
    assert damaged.count == 1
    assert f"the index of shop {bench.photos.shop_id}" in caplog.text
    assert "missing 3; repaired: 3, left: 0" in caplog.text
    assert not audit.step(), "it is not due for another hour"
    bench.assert_equal()
    assert np.isfinite([*bench.vectors.values()]).all()
