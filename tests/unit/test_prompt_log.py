"""Prompts are logged in batches beside the requests: none lost, none doubled, no bad row stops the others."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from db.session import Database
from models.errors import DependencyUnavailable
from models.prompt import Prompt
from serve_app import prompt_log
from serve_app.prompt_log import PromptLog
from tests.fakes import Tally
from tests.shop_client import ShopClient
from tests.statements import statements
from tests.unit.conftest import FakeService


@dataclass
class Unreliable:
    """A database that may be away, or take its time."""

    real: Database
    away: bool = False
    slow: asyncio.Event | None = None
    tries: int = 0
    tried_often: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, work: Callable[..., Any]) -> Any:
        self.tries += 1
        if self.tries == 3:
            self.tried_often.set()
        if self.away:
            raise DependencyUnavailable("The database does not answer.")
        done = await self.real.run(work)
        if self.slow is not None:
            await self.slow.wait()
        return done


@dataclass
class Bench:
    database: Unreliable
    shop_id: int
    dropped: Tally = field(default_factory=Tally)

    def log(self, capacity: int = 10_000) -> PromptLog:
        return PromptLog(self.database, self.dropped, capacity=capacity)  # type: ignore[arg-type]

    def row(self, text: str = "a red dress", **fields: Any) -> Prompt:
        values = {"number_recommended": 5, "result_ids": [2, 1], "scores": [0.1, -1 / 3], "model_key": "m"}
        values |= {"id": uuid.uuid4(), "shop_id": self.shop_id, "duration_ms": 1.5, "prompt": text}
        return Prompt(**(values | fields))

    def stored(self) -> list[Prompt]:
        with self.database.real.transaction() as session:
            query = select(Prompt).where(col(Prompt.shop_id) == self.shop_id)
            return list(session.scalars(query.order_by(col(Prompt.prompt))))

    async def wait_for(self, count: int) -> list[Prompt]:
        for _ in range(200):
            if len(found := self.stored()) == count:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(found)} rows instead of {count}")


@pytest.fixture
def bench(service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(prompt_log, "INTERVAL_S", 0.01)
    monkeypatch.setattr(prompt_log, "RETRY_S", 0.01)
    return Bench(Unreliable(service.database), shop.shop_id)


async def test_a_row_is_stored_as_it_was_answered(bench: Bench) -> None:
    asked_at = datetime.now(UTC) - timedelta(seconds=30)
    row = bench.row(
        " A  Red\tDRESS é ",
        filters={"Category": [1]},
        query={"offset": 3},
        no_match=True,
        also_shown={"17": 2},
        created_at=asked_at,
    )
    log = bench.log()
    log.add(row)
    await log.flush()
    (found,) = bench.stored()
    assert found.model_dump() == row.model_dump() | {"normalised": "a red dress é"}


async def test_many_rows_are_one_statement(bench: Bench) -> None:
    log = bench.log()
    for number in range(50):
        log.add(bench.row(f"{number:02}", result_ids=list(range(number)), scores=[0.5] * number))
    with statements(bench.database.real) as sent:
        await log.flush()
    assert len(sent) == 1
    assert [row.result_ids for row in bench.stored()] == [list(range(number)) for number in range(50)]
    assert len(log) == 0


async def test_it_writes_by_itself_and_the_rest_at_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = bench.log()
    async with log.running():
        log.add(bench.row("1"))
        await bench.wait_for(1)
        monkeypatch.setattr(prompt_log, "INTERVAL_S", 60)
        await asyncio.sleep(0.02)
        log.add(bench.row("2"))
    assert len(bench.stored()) == 2


async def test_an_outage_loses_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    log = bench.log()
    bench.database.away = True
    async with log.running():
        for number in range(3):
            log.add(bench.row(str(number)))
        await asyncio.wait_for(bench.database.tried_often.wait(), 10)
        assert len(log) == 3
        bench.database.away = False
        await bench.wait_for(3)
    assert bench.dropped.count == 0
    assert len([line for line in caplog.messages if "wait to be logged" in line]) == 1


async def test_a_write_that_was_not_heard_of_is_not_doubled(bench: Bench) -> None:
    log, bench.database.slow = bench.log(), asyncio.Event()
    log.add(bench.row())
    writing = asyncio.create_task(log.flush())
    await bench.wait_for(1)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert len(log) == 1
    bench.database.slow.set()
    await log.flush()
    assert (len(bench.stored()), len(log)) == (1, 0)


async def test_memory_is_bounded(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    log = bench.log(capacity=3)
    for number in range(10):
        log.add(bench.row(str(number)))
    await log.flush()
    assert [row.prompt for row in bench.stored()] == ["0", "1", "2"]
    assert bench.dropped.count == 7
    assert len(caplog.messages) == 1


BAD: dict[str, dict[str, Any]] = {
    "a text that PostgreSQL does not know": {"query": {"x": "\x00"}},
    "half a surrogate pair": {"filters": {"x": "\ud800"}},
    "a model's key too long": {"model_key": "m" * 300},
    "a number too large": {"number_recommended": 2**40},
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_row_does_not_hold_up_the_others(
    bench: Bench, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = bench.log()
    for number in range(7):
        log.add(bench.row(f"canary {number}", **(BAD[what] if number == 4 else {})))
    await log.flush()
    assert [row.prompt[-1] for row in bench.stored()] == list("012356")
    assert (len(log), bench.dropped.count) == (0, 1)
    assert "canary" not in caplog.text


async def test_the_key_may_be_gone_and_so_may_the_shop(bench: Bench) -> None:
    log = bench.log()
    log.add(bench.row("key", api_key_id=2**31 - 1))
    log.add(bench.row("shop", shop_id=2**31 - 1))
    await log.flush()
    (found,) = bench.stored()
    assert (found.prompt, found.api_key_id) == ("key", None)
    assert bench.dropped.count == 0, "a closed shop's prompts are left out on purpose"


async def test_what_cannot_be_written_at_the_end_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prompt_log, "CLOSING_S", 0.05)
    log, bench.database.slow = bench.log(), asyncio.Event()
    async with log.running():
        log.add(bench.row())
    assert bench.dropped.count == 1
    assert "TimeoutError at shutdown" in caplog.text


def test_a_key_in_the_body_is_not_logged(service: FakeService, shop: ShopClient) -> None:
    body = {"api_key": shop.key, "prompt": "a red dress", "number_of_images": 2}
    prompt_id = service.http.post("/api/recommendations/", json=body).json()["prompt_id"]
    service.flush_prompts()
    with service.database.transaction() as session:
        row = session.get_one(Prompt, uuid.UUID(prompt_id))
    assert shop.key not in row.model_dump_json()


def test_requests_do_not_wait_for_the_log(service: FakeService, shop: ShopClient) -> None:
    prompt_id = shop.ask("a red dress").json()["prompt_id"]
    service.flush_prompts()
    with service.database.transaction() as session:
        sql = text("SELECT now() - created_at FROM prompt WHERE id = :id")
        age = session.execute(sql, {"id": prompt_id}).scalar_one()
    assert timedelta() < age < timedelta(seconds=30)
