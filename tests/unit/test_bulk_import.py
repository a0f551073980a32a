"""The script that imports files and directories; the service is the one in this process."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlmodel import col

from db import import_rows
from db.open_shops import Shop
from models.errors import DependencyUnavailable, InvalidInput
from models.feed import FeedRow
from models.import_api import JobDetail
from models.import_job import ImportCounts, ImportOptions
from models.job import Job, JobStatus
from scripts import bulk_import
from scripts.importing import feed_source as sources
from scripts.importing import over_http, watch
from scripts.importing.broken_rows_file import broken_rows_file
from scripts.importing.directly import Directly
from scripts.importing.feed_source import FeedSource, feed_source, parts_of
from scripts.importing.over_http import OverHttp
from scripts.importing.target import ImportTarget
from serve_app.feeds.read_feed import read_feed
from tests.shop_client import ShopClient
from tests.unit.conftest import FakeService

FEED = b"sku,name\nA,Dress\n,Nameless\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "red").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("red/A-1.JPG", "B 2.png", ".hidden/C.jpg", "notes.txt"):
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def packed(path: Path) -> bytes:
    return b"".join(feed_source(path).chunks())


def rows_of(path: Path) -> list[FeedRow]:
    rows = list(read_feed(io.BytesIO(packed(path))))
    assert all(isinstance(row, FeedRow) for row in rows), rows
    return [row for row in rows if isinstance(row, FeedRow)]


def test_a_directory_is_a_zip_of_its_photos(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK_BYTES", 700)
    assert sorted(row.sku for row in rows_of(directory)) == ["A-1", "B 2"]
    assert packed(directory) == packed(directory)
    assert max(map(len, feed_source(directory).chunks())) < 2000
    assert feed_source(directory).size_bytes == 1000 * (len("red/A-1.JPG") + len("B 2.png"))


def test_the_feed_in_a_directory_goes_with_its_photos(directory: Path) -> None:
    (directory / "feed.csv").write_text("sku,name,photo\nX,Dress,red/A-1.JPG\n")
    (row,) = rows_of(directory)
    assert (row.sku, getattr(row.photo, "size_bytes", 0)) == ("X", 11_000)
    (directory / "other.jsonl").write_text("{}")
    with pytest.raises(InvalidInput, match=r"several feeds: feed\.csv, other\.jsonl"):
        feed_source(directory)


def test_many_photos_go_in_parts(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, source = 1000 * (len("red/A-1.JPG") + len("B 2.png")), feed_source(directory)
    assert parts_of(source, both) == [source]
    parts = parts_of(source, both - 1)
    assert [[name for name, _ in part.files] for part in parts] == [["B 2.png"], ["red/A-1.JPG"]]
    assert [part.part for part in parts] == [1, 2]
    assert len(parts_of(source, 1)) == 2
    monkeypatch.setattr(sources, "PART_PHOTOS", 1)
    assert len(parts_of(source)) == 2
    (directory / "feed.csv").write_text("sku,name,photo\nX,Dress,red/A-1.JPG\n")
    assert len(parts_of(feed_source(directory), 1)) == 1


def test_what_cannot_be_read_is_not_left_out(directory: Path) -> None:
    (directory / "red" / "gone.jpg").symlink_to("nowhere.jpg")
    (directory / "red" / os.fsdecode(b"\xff.jpg")).touch()
    with pytest.raises(InvalidInput, match="no UTF-8"):
        feed_source(directory)
    (directory / "red" / os.fsdecode(b"\xff.jpg")).unlink()
    assert len(feed_source(directory).files) == 2
    with pytest.raises(PermissionError), unlistable(directory / "red"):
        feed_source(directory)


@contextmanager
def unlistable(folder: Path) -> Iterator[None]:
    """Also for root, who may list any folder."""
    listed = os.scandir

    def refusing(path: str) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refusing)
        yield


def test_broken_rows_replace_a_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("before")
    with broken_rows_file(path):
        """No row is broken."""
    assert path.read_text() == "before"
    with broken_rows_file(path) as rows:
        assert rows is not None
        rows.add(iter([b"sku,na", b"me\r\nA,1\r\n"]))
        rows.add(iter([b"sku,na", b"me\r\nB,", b"2\r\n", b"C,3\r\n"]))
        assert path.read_text() == "before"
    assert path.read_bytes() == b"sku,name\r\nA,1\r\nB,2\r\nC,3\r\n"
    assert list(tmp_path.iterdir()) == [path]
    for place in (tmp_path, tmp_path / "nowhere" / "broken.csv"):
        with pytest.raises(InvalidInput, match=str(place)), broken_rows_file(place):
            """Nothing is sent."""


@pytest.mark.parametrize(("name", "content"), [("x.xlsx", "x"), ("x.csv", ""), ("nowhere.csv", None)])
def test_what_is_no_feed_is_not_sent(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(InvalidInput, match=str(tmp_path)):
            feed_source(path)


def ended(service: FakeService, shop: ShopClient) -> None:
    """What the Indexer makes of the shop's newest job."""
    with service.database.transaction() as session:
        job = session.scalars(
            update(Job)
            .where(col(Job.shop_id) == shop.shop_id, col(Job.status) == JobStatus.QUEUED)
            .values(
                status=JobStatus.SUCCEEDED, counts=ImportCounts(total=2, created=1, failed=1).model_dump()
            )
            .returning(Job)
        ).one()
        assert job.id is not None
        import_rows.add_errors(
            session, job.id, import_rows.add(session, job.id, list(read_feed(io.BytesIO(FEED)))), 9
        )


class EndsSoon:
    """An ImportTarget whose job ends at the second look."""

    def __init__(self, target: ImportTarget, service: FakeService, shop: ShopClient) -> None:
        self._target, self._end, self._looks = target, lambda: ended(service, shop), 0
        self.send, self.errors = target.send, target.errors

    def read(self, job_id: int) -> JobDetail:
        self._looks += 1
        if self._looks == 2:
            self._end()
        return self._target.read(job_id)


def over(shop: ShopClient) -> OverHttp:
    """The application in this process, behind a client as the script has it."""

    def handle(request: httpx.Request) -> httpx.Response:
        headers = shop.headers | dict(request.headers)
        answer = shop.http.request(request.method, str(request.url), content=request.read(), headers=headers)
        return httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

    return OverHttp(httpx.Client(base_url="http://testserver", transport=httpx.MockTransport(handle)))


def beside(service: FakeService, shop: ShopClient) -> Directly:
    return Directly(service.database, service.services.media, shop.shop_id, None)


@pytest.mark.parametrize("way", ["http", "direct"])
def test_a_file_is_sent_followed_and_reported(
    service: FakeService,
    shop: ShopClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    monkeypatch.setattr(watch, "POLL_S", 0.0)
    feed, errors = tmp_path / "feed.csv", tmp_path / "broken.csv"
    feed.write_bytes(FEED)
    target = over(shop) if way == "http" else beside(service, shop)

    @contextmanager
    def same(*_: Any) -> Iterator[ImportTarget]:
        yield EndsSoon(target, service, shop)

    monkeypatch.setattr(bulk_import, "over_http", same)
    monkeypatch.setattr(bulk_import, "directly", same)
    where = ["--url", "http://x", "--key", shop.key] if way == "http" else ["--email", "x@x.example"]
    options = ["--mode", "full", "--auto-tag", "--json", "--errors", str(errors), *where]
    arguments = bulk_import._parser().parse_args([str(feed), *options])
    assert bulk_import.bulk_import(arguments) == 1
    jobs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [job["status"] for job in jobs] == ["queued", "succeeded"]
    assert (jobs[1]["options"]["mode"], jobs[1]["options"]["auto_tag"]) == ("full", True)
    assert (jobs[1]["size_bytes"], jobs[1]["counts"]["failed"]) == (len(FEED), 1)
    assert errors.read_text("utf-8-sig").splitlines()[1].startswith(",Nameless,3,")
    with service.database.transaction() as session:
        source = session.get_one(Job, jobs[1]["id"]).request["source"]
    assert service.services.media.load(source) == FEED


def test_a_job_is_left_to_itself(
    service: FakeService, shop: ShopClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "feed.csv").write_bytes(FEED)

    @contextmanager
    def same(*_: Any) -> Iterator[ImportTarget]:
        yield beside(service, shop)

    monkeypatch.setattr(bulk_import, "directly", same)
    for options in (["--no-wait"], ["--data-dir", str(tmp_path)]):
        command = [str(tmp_path / "feed.csv"), "--email", "x@x.example", *options]
        assert bulk_import.bulk_import(bulk_import._parser().parse_args(command)) == 0


def test_a_closed_shop_is_not_written_to_directly(
    service: FakeService, shop: ShopClient, tmp_path: Path
) -> None:
    (tmp_path / "feed.csv").write_bytes(FEED)
    with service.database.transaction() as session:
        session.get_one(Shop, shop.shop_id).status = "suspended"  # type: ignore[assignment]
    with pytest.raises(Exception, match="not active"):
        beside(service, shop).send(feed_source(tmp_path / "feed.csv"), ImportOptions(), print)
    assert [path for path in (service.media_dir / "uploads").rglob("*") if path.is_file()] == []


def answering(*answers: httpx.Response | BaseException) -> tuple[OverHttp, list[httpx.Request]]:
    """A service that gives these answers, one after the other."""
    left, asked = list(answers), list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        request.read()
        answer = left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    client = httpx.Client(base_url="http://x", transport=httpx.MockTransport(handle))
    return OverHttp(client), asked


def test_what_passes_by_is_tried_again_with_the_same_key(
    shop: ShopClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_http, "PAUSES_S", (0.0, 0.0))
    (tmp_path / "feed.csv").write_bytes(FEED)
    source = feed_source(tmp_path / "feed.csv")
    job = shop.request("POST", "/api/image-collection/bulk/", files={"file": FEED}).json()
    target, asked = answering(httpx.ReadError("x"), httpx.Response(503), httpx.Response(202, json=job))
    assert target.send(source, ImportOptions(), lambda _: None).id == job["id"]
    assert len({request.headers["idempotency-key"] for request in asked}) == 1
    assert [request.content for request in asked] == [FEED] * 3
    assert {request.headers["content-length"] for request in asked} == {str(len(FEED))}
    second = replace(source, part=2)
    target, asked = answering(*[httpx.Response(202, json=job)] * 2)
    for part in (source, second):
        target.send(part, ImportOptions(), lambda _: None)
    first_key, second_key = (request.headers["idempotency-key"] for request in asked)
    assert second_key == f"{first_key}-2"
    target, asked = answering(*[httpx.ConnectError("sk_secret")] * 3)
    with pytest.raises(DependencyUnavailable, match="does not answer") as error:
        target.read(1)
    assert "sk_secret" not in error.value.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(422, json={"detail": "mode: no."}), "mode: no."),
        (httpx.Response(404, text="<html>"), "Not Found"),
        (httpx.Response(200, text="<html>"), "Check --url"),
        (httpx.Response(200, json=[1]), "Check --url"),
    ],
)
def test_the_services_words_are_shown(answer: httpx.Response, words: str) -> None:
    target, _ = answering(answer)
    with pytest.raises(InvalidInput, match=words):
        target.read(1)


def arranged(
    monkeypatch: pytest.MonkeyPatch, *answers: httpx.Response | BaseException
) -> list[httpx.Request]:
    """The script meets a service that gives these answers."""
    target, asked = answering(*answers)

    @contextmanager
    def same(*_: Any) -> Iterator[ImportTarget]:
        yield target

    monkeypatch.setattr(bulk_import, "over_http", same)
    monkeypatch.setattr(bulk_import, "load_dotenv", lambda _: None)
    monkeypatch.setattr(watch, "POLL_S", 0.0)
    return asked


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["bulk_import", "--url", "http://x", "--key", "sk_x", *options])
    return bulk_import.main()


def test_a_stopped_script_says_how_to_go_on(
    shop: ShopClient,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = shop.request("POST", "/api/image-collection/bulk/", files={"file": FEED}).json()
    queued, done = httpx.Response(202, json=job), httpx.Response(200, json=job | {"status": "succeeded"})
    parts = [str(directory), "--part-bytes", "1"]
    asked = arranged(monkeypatch, queued, done, queued, KeyboardInterrupt())
    assert run(monkeypatch, *parts) == 130
    assert [request.method for request in asked] == ["POST", "GET", "POST", "GET"]
    said = capsys.readouterr()
    assert f"--job {job['id']}" in said.err
    assert "Part 2 of 2; to go on from here: --from-part 2" in said.err
    asked = arranged(monkeypatch, queued, done)
    assert run(monkeypatch, *parts, "--from-part", "2") == 0
    assert [request.method for request in asked] == ["POST", "GET"]
    arranged(monkeypatch, KeyboardInterrupt())
    assert run(monkeypatch, *parts) == 130
    asked = arranged(monkeypatch, httpx.Response(200, json=job), done)
    assert run(monkeypatch, "--job", str(job["id"])) == 0
    assert [request.url.path for request in asked] == [f"/api/jobs/{job['id']}/"] * 2


@pytest.mark.parametrize(
    "options", [["--from-part", "3"], ["--from-part", "0"], ["--job", "1"]], ids=" ".join
)
def test_nothing_is_sent_for_a_mistake(
    directory: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    asked = arranged(monkeypatch)
    assert run(monkeypatch, str(directory), *options) == 2
    assert asked == []


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", ""])
def test_an_address_that_is_none_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    (tmp_path / "feed.csv").write_bytes(FEED)
    monkeypatch.setattr(over_http, "PAUSES_S", ())
    assert run(monkeypatch, str(tmp_path / "feed.csv"), "--url", url) == 2
    assert "--url is no address" in capsys.readouterr().err


def test_a_directory_that_no_service_used_is_not_made_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "feed.csv").write_bytes(FEED)
    where = "--email", "me@rose.example", "--data-dir", str(tmp_path / "data")
    assert run(monkeypatch, str(tmp_path / "feed.csv"), *where) == 2
    assert "Check --data-dir" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_feed_without_rows_is_told(shop: ShopClient) -> None:
    sent = shop.request("POST", "/api/image-collection/bulk/", files={"file": FEED}).json()
    none = JobDetail.model_validate(sent | {"status": "succeeded"})
    assert "no rows" in watch.summary(none)
    one = none.model_copy(update={"counts": none.counts.model_copy(update={"rows": 1})})
    assert "no rows" not in watch.summary(one)


def test_a_photo_that_goes_while_it_is_sent(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arranged(monkeypatch, httpx.Response(202))
    found = bulk_import.feed_source(directory)
    monkeypatch.setattr(bulk_import, "feed_source", lambda _: found)
    monkeypatch.setattr(FeedSource, "size_bytes", 1)
    (directory / "B 2.png").unlink()
    assert run(monkeypatch, str(directory), "--mode", "full") == 2
    assert "B 2.png: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [[], ["--url", "http://x"], ["--key", "sk_x"], ["--data-dir", "nowhere"]], ids=" ".join
)
def test_a_command_that_says_not_where_to(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(bulk_import.KEY_VARIABLE, raising=False)
    monkeypatch.setattr(bulk_import, "load_dotenv", lambda _: None)
    (tmp_path / "feed.csv").write_bytes(FEED)
    monkeypatch.setattr("sys.argv", ["bulk_import", str(tmp_path / "feed.csv"), *options])
    assert bulk_import.main() == 2
    assert bulk_import.KEY_VARIABLE in capsys.readouterr().err
    assert not os.path.exists("nowhere")
