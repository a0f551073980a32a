"""The feeds that the benchmarks send, and how they follow their jobs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from models.feed import FeedRow, PhotoData, PhotoFile
from scripts.benchmark import feeds
from scripts.benchmark.photos import write_photos
from scripts.benchmark.workbench import Shop, Workbench
from serve_app.feeds.read_feed import read_feed

COUNTS = {"rows": 2, "created": 2, "failed": 0}
TIMES = {"started_at": "2026-11-23T12:00:00.500000Z", "finished_at": "2026-11-23T12:00:30.500000Z"}


def rows_of(path: Path) -> list[FeedRow]:
    with path.open("rb") as file:
        rows = list(read_feed(file))
    found = [row for row in rows if isinstance(row, FeedRow)]
    assert len(found) == len(rows)
    return found


def test_a_zip_names_each_photo_of_a_catalogue(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "media", 3)
    rows = rows_of(feeds.write_zip(tmp_path / "photos.zip", photos))
    assert [row.sku for row in rows] == ["SKU-0", "SKU-1", "SKU-2"]
    sizes = [row.photo.size_bytes for row in rows if isinstance(row.photo, PhotoFile)]
    assert sizes == [photo.size_bytes for photo in photos]


def test_a_csv_has_a_photo_in_each_line_in_turn(tmp_path: Path) -> None:
    rows = rows_of(feeds.write_csv(tmp_path / "feed.csv", 5, [b"one", b"other"]))
    photos = [row.photo.base64 for row in rows if isinstance(row.photo, PhotoData)]
    assert len({row.sku for row in rows}) == 5
    assert (len(photos), photos[0] == photos[2] == photos[4], len(set(photos))) == (5, True, 2)


def service(states: list[dict[str, Any]], asked: list[httpx.Request]) -> Workbench:
    """Takes a feed and then shows its job, a state a time."""

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        asked.append(request)
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": "/api/jobs/1/"})
        return httpx.Response(200, content=json.dumps(states.pop(0)))

    def client(_: Shop) -> httpx.Client:
        return httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))

    return cast(Workbench, SimpleNamespace(client=client))


def state(status: str, **counts: int) -> dict[str, Any]:
    return {"status": status, "counts": COUNTS | counts, "error": None, **TIMES}


def test_an_import_is_followed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "POLL_S", 0.0)
    feed = tmp_path / "feed.zip"
    feed.write_bytes(b"PK" * 10**6)
    asked: list[httpx.Request] = []
    bench = service([state("queued"), state("running"), state("succeeded")], asked)
    job = feeds.import_feed(bench, Shop(1, "shop@example.com", "key"), feed, 10.0)
    assert asked[0].headers["Content-Type"] == "application/zip"
    assert asked[0].content == feed.read_bytes()
    assert feeds.seconds_of(job) == 30.0


@pytest.mark.parametrize("end", [state("failed"), state("succeeded", failed=1)])
def test_an_import_that_loses_rows_is_no_measurement(tmp_path: Path, end: dict[str, Any]) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_bytes(b"sku\n")
    with pytest.raises(AssertionError, match=end["status"]):
        feeds.import_feed(service([end], []), Shop(1, "shop@example.com", "key"), feed, 10.0)
