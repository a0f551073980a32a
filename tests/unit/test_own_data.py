"""What a shop reads of itself: usage, the log of prompts, the export. Never another shop's rows."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlmodel import col

from configs.serving import LimitArgs
from db import embeddings, prompts
from db.session import Database
from models.image import Image
from models.prompt import Prompt
from models.shop import Shop
from serve_app import export as export_module
from serve_app.export import ExportOptions
from serve_app.presentation import Presenter
from tests.drawings import garment
from tests.fakes import vector_of
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import FakeService

USAGE, PROMPTS, EXPORT, MY_SHOP = "/api/usage/", "/api/prompts/", "/api/export/", "/api/shops/me/"
NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)


def log(
    service: FakeService,
    shop: ShopClient,
    moments: Sequence[datetime],
    *,
    durations_ms: Sequence[float] | None = None,
    result_ids: Sequence[int] = (),
) -> list[str]:
    """Prompts that were logged at those moments; their ids."""
    rows = [
        Prompt(
            id=uuid.uuid4(),
            shop_id=shop.shop_id,
            prompt=f"dress {number}",
            number_recommended=5,
            result_ids=list(result_ids),
            scores=[0.5] * len(result_ids),
            model_key="fake",
            duration_ms=durations_ms[number] if durations_ms is not None else 1.0,
        )
        for number, _ in enumerate(moments)
    ]
    with service.database.transaction() as session:
        for row, moment in zip(rows, moments, strict=True):
            prompts.add(session, [row])
            session.execute(update(Prompt).where(col(Prompt.id) == row.id).values(created_at=moment))
    return [str(row.id) for row in rows]


def usage(shop: ShopClient, days: int = 30) -> dict[str, Any]:
    answer = shop.request("GET", USAGE, params={"days": days})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def figures(durations_ms: Sequence[float]) -> dict[str, Any]:
    """The oracle: NumPy's linear interpolation is PostgreSQL's percentile_cont."""
    if not durations_ms:
        return {"prompts": 0, "mean_ms": None, "p50_ms": None, "p95_ms": None}
    half, most = np.percentile(durations_ms, [50, 95])
    mean = float(np.mean(durations_ms))
    wanted = {"prompts": len(durations_ms), "mean_ms": mean, "p50_ms": half, "p95_ms": most}
    return {name: pytest.approx(value, abs=0.0051) for name, value in wanted.items()}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 86_399), st.floats(0.01, 1e4)), min_size=0, max_size=12
    ),
    days=st.integers(1, 5),
)
def test_usage_by_day_is_that_of_the_log(
    service: FakeService,
    new_shop: Callable[[], ShopClient],
    asked: list[tuple[int, int, float]],
    days: int,
) -> None:
    """``asked``: days ago, second of the day, duration."""
    shop, today = new_shop(), datetime.now(UTC).date()
    midnight = datetime.combine(today, datetime.min.time(), UTC)
    moments = [midnight - timedelta(days=ago) + timedelta(seconds=second) for ago, second, _ in asked]
    log(service, shop, moments, durations_ms=[duration for *_, duration in asked])
    log(service, new_shop(), moments)

    found = usage(shop, days)
    per_day = {today - timedelta(days=ago): [d for a, _, d in asked if a == ago] for ago in range(days)}
    assert [date.fromisoformat(one.pop("day")) for one in found["days"]] == sorted(per_day)
    assert found["days"] == [figures(per_day[day]) for day in sorted(per_day)]
    assert found["period"] == figures([duration for ago, _, duration in asked if ago < days])
    assert found["prompts_today"] == len(per_day[today])
    assert (found["since"], found["until"]) == (min(per_day).isoformat(), today.isoformat())


def test_usage_counts_photos_and_their_storage(service: FakeService, shop: ShopClient) -> None:
    photos = [garment(seed=number) for number in range(3)]
    ids = [shop.add(photo)["ImageID"] for photo in photos]
    service.embed(shop.shop_id, ids[0])
    with service.database.transaction() as session:
        embeddings.save(session, "fake@1/p1", [(ids[0], "0" * 64, vector_of("photo"))])
    assert shop.delete(ids[2]).status_code == 204
    found = usage(shop)
    assert found["photos"] == {"pending": 1, "processing": 0, "embedded": 1, "failed": 0}
    assert found["storage"] == {
        "photo_bytes": len(photos[0]) + len(photos[1]),
        "vectors": 1,
        "vector_bytes": 4 * len(vector_of("photo")),
    }
    assert len(found["days"]) == 30


def test_limits_are_the_shops_own_or_the_configurations(service: FakeService, shop: ShopClient) -> None:
    with service.database.transaction() as session:
        session.execute(update(Shop).where(col(Shop.id) == shop.shop_id).values(max_photos=7))
    mine = shop.request("GET", MY_SHOP).json()
    assert (mine["id"], mine["status"]) == (shop.shop_id, "active")
    assert mine["limits"] == usage(shop)["limits"]
    assert mine["limits"]["photos"] == 7
    assert mine["limits"]["prompts_per_day"] == LimitArgs().prompts_per_day


@pytest.mark.parametrize("days", ["0", "367", "x", ""])
def test_days_out_of_range_are_refused(shop: ShopClient, days: str) -> None:
    assert_problem(shop.request("GET", USAGE, params={"days": days}), 422, "invalid_input", "/days")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.integers(0, 3), max_size=14), limit=st.integers(1, 5))
def test_pages_of_prompts_hold_each_once_newest_first(
    service: FakeService, new_shop: Callable[[], ShopClient], seconds: list[int], limit: int
) -> None:
    """Many were logged at the same moment; more arrive while the pages are read."""
    shop = new_shop()
    moments = [NOW + timedelta(seconds=one) for one in seconds]
    ids = log(service, shop, moments)
    log(service, new_shop(), moments)
    found: list[str] = []
    address: str | None = f"{PROMPTS}?limit={limit}"
    while address is not None:
        page = shop.request("GET", address).json()
        assert len(page["results"]) <= limit
        found += [one["prompt_id"] for one in page["results"]]
        address = page["next"]
        log(service, shop, [NOW + timedelta(days=1)])
    by_moment = sorted(zip(moments, ids, strict=True), reverse=True)
    assert found == [prompt_id for _, prompt_id in by_moment]


def test_since_and_until_cut_the_log(service: FakeService, shop: ShopClient) -> None:
    ids = log(service, shop, [NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])
    span = {"since": "2026-05-17T15:00:00+02:00", "until": "2026-05-17T14:00:00", "limit": "1"}
    page = shop.request("GET", PROMPTS, params=span).json()
    assert [one["prompt_id"] for one in page["results"]] == [ids[1]]
    assert page["next"] is None
    open_end = shop.request("GET", PROMPTS, params={"since": "2026-05-17T13:00:00Z", "limit": 1}).json()
    assert [one["prompt_id"] for one in open_end["results"]] == [ids[2]]
    following = shop.request("GET", open_end["next"]).json()
    assert [one["prompt_id"] for one in following["results"]] == [ids[1]]


def test_a_prompt_shows_what_is_left_of_its_results(service: FakeService, shop: ShopClient) -> None:
    kept, gone = (shop.add(garment(seed=number), sku=f"P{number}")["ImageID"] for number in range(2))
    (prompt_id,) = log(service, shop, [NOW], result_ids=[gone, kept])
    assert shop.delete(gone).status_code == 204
    found = shop.request("GET", f"{PROMPTS}{prompt_id}/").json()
    assert found["created_at"] == "2026-05-17T12:00:00Z"
    first, second = found["results"]
    assert first == {"ImageID": gone, "score": 0.5, "rank": 1, "image": None}
    assert (second["ImageID"], second["rank"], second["image"]["sku"]) == (kept, 2, "P0")
    assert service.http.get(second["image"]["Photo"]).status_code == 200
    assert shop.request("GET", PROMPTS).json()["results"] == [found]


@pytest.mark.parametrize("cursor", ["aTEy", "cDEu", "!", "", "cDk5OTk5OTk5OTk5OTk5OTk5OS4" + "A" * 43])
def test_a_cursor_that_no_page_returned_is_refused(shop: ShopClient, cursor: str) -> None:
    assert_problem(shop.request("GET", PROMPTS, params={"cursor": cursor}), 422, "invalid_input", "/cursor")


def export(shop: ShopClient, **options: bool) -> list[dict[str, Any]]:
    answer = shop.request("GET", EXPORT, params={name: str(value) for name, value in options.items()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_export_holds_every_row_once(
    service: FakeService, new_shop: Callable[[], ShopClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than a page, at one moment; another shop has the same."""
    monkeypatch.setattr(export_module, "PAGE_ROWS", 3)
    shop, other = new_shop(), new_shop()
    ids = [shop.add(garment(seed=number), Category=1 + number % 2)["ImageID"] for number in range(7)]
    other.add(garment(), Category=3)
    asked = log(service, shop, [NOW] * 8, result_ids=ids[:2])
    log(service, other, [NOW])
    for number in range(5):
        event = {"prompt_id": asked[number], "ImageID": ids[0], "event": "click"}
        assert shop.request("POST", "/api/events/", json=event).status_code == 201
    lines = export(shop)
    kinds: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        kinds.setdefault(line.pop("type"), []).append(line)
    assert [one["ImageID"] for one in kinds["photo"]] == ids
    assert {one["ImageID"]: one for one in kinds["photo"]} == {one: shop.read(one) for one in ids}
    assert sorted(one["id"] for one in kinds["prompt"]) == sorted(asked)
    assert kinds["prompt"][0]["result_ids"] == ids[:2]
    assert [one["id"] for one in kinds["category"]] == [1, 2]
    assert [one["id"] for one in kinds["shop"]] == [shop.shop_id]
    assert len(kinds["key"]) == 1
    assert [one["prompt_id"] for one in kinds["event"]] == asked[:5]
    (end,) = kinds["end"]
    counts = {"shop": 1, "key": 1, "category": 2, "photo": 7, "prompt": 8, "event": 5}
    assert {name: count for name, count in end["counts"].items() if count} == counts


def test_the_export_adds_files_and_vectors_on_request(service: FakeService, shop: ShopClient) -> None:
    photo, vector = garment(seed=3), vector_of("photo")
    stored = shop.add(photo)
    with service.database.transaction() as session:
        rows = [(stored["ImageID"], stored["photo_sha256"], vector)]
        embeddings.save(session, "fake@1/p1", rows)
        of_the_photo_before = [(stored["ImageID"], "0" * 64, vector)]
        embeddings.save(session, "fake@1/p0", of_the_photo_before)
    (line,) = (one for one in export(shop, photos=True, vectors=True) if one["type"] == "photo")
    assert base64.b64decode(line["file"]) == photo
    (found,) = line["vectors"]
    assert found["model"] == "fake@1/p1"
    assert np.array_equal(np.frombuffer(base64.b64decode(found["float32"]), "<f4"), vector)
    (plain,) = (one for one in export(shop) if one["type"] == "photo")
    assert plain.keys().isdisjoint({"file", "vectors"})


def test_a_file_that_went_away_is_null(service: FakeService, shop: ShopClient) -> None:
    image_id = shop.add(garment())["ImageID"]
    with service.database.transaction() as session:
        session.execute(update(Image).where(col(Image.id) == image_id).values(photo_key="shops/1/gone.jpg"))
    lines = export(shop, photos=True)
    assert [one["file"] for one in lines if one["type"] == "photo"] == [None]
    assert lines[-1]["type"] == "end"


def test_the_export_holds_no_secret(shop: ShopClient) -> None:
    text = json.dumps(export(shop))
    for secret in (shop.key, shop.key[-51:], "hmac", "lease", "token"):
        assert secret not in text


@pytest.mark.parametrize("error", [RuntimeError("psycopg2 secret"), None])
def test_an_export_that_fails_has_no_end(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """``None``: the shop is deleted meanwhile."""
    log(service, shop, [NOW])

    def fail(*_: object, **__: object) -> list[Prompt]:
        if error is not None:
            raise error
        return []

    def delete(*_: object, **__: object) -> list[Image]:
        assert shop.request("DELETE", MY_SHOP).status_code == 202
        return []

    monkeypatch.setattr(export_module.prompts, "oldest", fail)
    if error is None:
        monkeypatch.setattr(export_module.images, "oldest", delete)
    lines = export(shop)
    assert lines[-1]["type"] == "error"
    assert lines[-1]["code"] == ("not_authenticated" if error is None else "internal_error")
    assert "psycopg2" not in json.dumps(lines)
    assert "end" not in {line["type"] for line in lines}


def test_an_export_at_a_time(service: FakeService, shop: ShopClient) -> None:
    turns = service.http.app.state.services.exports  # type: ignore[attr-defined]
    turns.begin(shop.shop_id)
    assert_problem(shop.request("GET", EXPORT), 429, "too_many_requests")
    turns.end(shop.shop_id)
    others = [-1, -2, -3, -4]
    for other in others:
        turns.begin(other)
    assert_problem(shop.request("GET", EXPORT), 503, "too_busy")
    for other in others:
        turns.end(other)
    for _ in range(2):
        assert export(shop)[-1]["type"] == "end"


async def test_a_slow_reader_holds_little_memory_and_no_connection(
    service: FakeService, postgres_url: str, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "PAGE_ROWS", 2)
    monkeypatch.setattr(export_module, "CHUNK_BYTES", 500)
    log(service, shop, [NOW] * 9)
    shop.add(garment())
    database, largest = Database(postgres_url, connections=1), 0
    services = replace(service.http.app.state.services, database=database)  # type: ignore[attr-defined]
    show, options = Presenter(services.signer, "http://test").detail, ExportOptions(files=True)
    try:
        async for chunk in export_module.export(services, shop.shop_id, show, options):
            largest = max(largest, len(chunk))
            database.ping()  # while the reader pauses, the only connection is free
    finally:
        database.close()
    assert b'"type":"end"' in chunk
    assert largest == 500
