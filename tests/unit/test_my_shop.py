"""A shop that deletes itself: what the answer promises holds from that answer on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlmodel import col

from models.prompt import Prompt
from models.shop import Shop, ShopStatus
from serve_app import secrets
from serve_app.secrets import ReportSigner
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import ROOT_SECRET, FakeService

MY_SHOP = "/api/shops/me/"


def set_status(service: FakeService, shop: ShopClient, status: ShopStatus) -> None:
    with service.database.transaction() as session:
        session.execute(update(Shop).where(col(Shop.id) == shop.shop_id).values(status=status))


def delete(shop: ShopClient) -> dict[str, Any]:
    answer = shop.request("DELETE", MY_SHOP)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def test_from_delete_on_nothing_answers(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    photo, other = shop.add(garment()), new_shop()
    kept = other.add(garment())
    delete(shop)
    for answer in (
        shop.request("GET", MY_SHOP),
        shop.request("DELETE", MY_SHOP),
        shop.get(photo["ImageID"]),
        shop.upload(garment(), name="More"),
        shop.ask("a dress"),
    ):
        assert_problem(answer, 401, "not_authenticated")
    assert_problem(service.http.get(photo["Photo"]), 404, "not_found")
    assert service.http.get(kept["Photo"]).status_code == 200
    assert len(service.stored(shop.shop_id)[0]) == 1


def test_the_report_needs_its_whole_address_and_nothing_else(service: FakeService, shop: ShopClient) -> None:
    accepted = delete(shop)
    assert accepted["status"] == "queued"
    answer = service.http.get(accepted["report"])
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert (
        answer.json().items()
        >= {
            "job_id": accepted["job_id"],
            "status": "queued",
            "finished_at": None,
            "removed": {},
        }.items()
    )
    job_id = str(accepted["job_id"])
    for wrong in (
        accepted["report"].replace(f"/{job_id}/", f"/{accepted['job_id'] + 1}/"),
        accepted["report"][:-1] + ("0" if accepted["report"][-1] != "0" else "1"),
        accepted["report"].replace("expires=", "expires=9"),
        accepted["report"].partition("?")[0],
    ):
        assert_problem(service.http.get(wrong), 404, "not_found")


def test_the_reports_address_expires(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = delete(shop)["job_id"]
    monkeypatch.setattr(secrets, "REPORT_LIFETIME_S", -2)
    assert_problem(service.http.get(ReportSigner(ROOT_SECRET).path(job_id)), 404, "not_found")


def test_a_write_that_was_authenticated_before_is_refused(service: FakeService, shop: ShopClient) -> None:
    """The key is known in memory; the shop's row decides."""
    photo = shop.add(garment())
    before = service.stored(shop.shop_id)
    set_status(service, shop, ShopStatus.DELETING)
    for answer in (
        shop.upload(garment(seed=2), name="More"),
        shop.patch(photo["ImageID"], name="Other"),
        shop.request("POST", "/api/keys/", json={"name": "Mine", "scope": "secret"}),
        shop.request("DELETE", MY_SHOP),
    ):
        assert_problem(answer, 401, "not_authenticated")
    assert service.stored(shop.shop_id) == before


def test_a_prompt_of_a_key_still_in_memory_leaves_no_trace(service: FakeService, shop: ShopClient) -> None:
    """Within the seconds for which a key counts, a closed shop may be answered; nothing of it is logged."""
    shop.ask("a dress")
    service.flush_prompts()
    set_status(service, shop, ShopStatus.DELETING)
    prompt_id = shop.ask("a dress").json()["prompt_id"]
    service.flush_prompts()
    with service.database.transaction() as session:
        assert session.get(Prompt, UUID(prompt_id)) is None
        assert len(session.scalars(select(Prompt).where(col(Prompt.shop_id) == shop.shop_id)).all()) == 1


def test_photo_addresses_rest_while_the_shop_is_suspended(service: FakeService, shop: ShopClient) -> None:
    photo = shop.add(garment())
    set_status(service, shop, ShopStatus.SUSPENDED)
    assert_problem(service.http.get(photo["Photo"]), 404, "not_found")
    set_status(service, shop, ShopStatus.ACTIVE)
    assert service.http.get(photo["Photo"]).status_code == 200
