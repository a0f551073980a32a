"""Who gets into the admin, and whose requests change something."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from sqlalchemy import func, update
from sqlmodel import col
from starlette.testclient import TestClient

from configs.serving import LimitArgs
from models.staff import StaffSession
from serve_app import staff_accounts
from serve_app.api import create_api
from tests.shop_client import ShopClient
from tests.unit.admin_client import HERE, PASSWORD, Browser, new_browser
from tests.unit.conftest import FakeService

PAGES = [
    *("", "/", "/logout", "/login/list", "/nothing/here", "/shop/list", "/image/details/1", "/shop/edit/1"),
    *("/image/action/retry?pks=1", "/shop/export/csv", "/shop/ajax/lookup", "/x/1/y/download/"),
]


@pytest.fixture
def stranger(service: FakeService) -> Browser:
    return new_browser(service, login=False)


@pytest.fixture
def staff(service: FakeService) -> Browser:
    return new_browser(service)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_sends_a_stranger_to_the_login(stranger: Browser, shop: ShopClient, path: str) -> None:
    for headers in ({}, shop.headers):
        answer = stranger.get(path, headers=headers, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "http://testserver/admin/login"
        assert answer.text == ""


def test_a_stranger_changes_nothing(stranger: Browser, shop: ShopClient) -> None:
    edit = stranger.post(f"/shop/edit/{shop.shop_id}", data={"name": "Mine now", "save": "Save"})
    assert edit.headers["location"].endswith("/admin/login")
    gone = stranger.http.delete("/admin/category/delete?pks=1", headers=HERE)
    assert (gone.status_code, gone.text) == (401, "Your login has ended. Log in again.")


def test_the_cookie_is_locked_to_the_admin_and_holds_no_token(staff: Browser) -> None:
    answer = staff.login()
    cookie = answer.headers["set-cookie"]
    parts = [part.strip().lower() for part in cookie.split(";")]
    assert {"httponly", "samesite=strict", "path=/admin", "max-age=43200"} <= set(parts)
    payload = json.loads(base64.b64decode(cookie.split("=", 1)[1].split(".")[0]))
    assert payload.keys() == {"session_id"}
    assert isinstance(payload["session_id"], int)


def test_wrong_passwords_are_told_and_let_nobody_in(stranger: Browser) -> None:
    for password in ("wrong horse battery", ""):
        answer = stranger.login(password)
        assert answer.status_code == 401
        assert "The e-mail address or the password is wrong." in answer.text
    assert stranger.get("/", follow_redirects=False).status_code == 303
    assert len(stranger.audited("staff.login_failed")) == 2
    assert stranger.login(PASSWORD).status_code == 303
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("end", ["logout", "deactivation", "expiry", "forgery"])
def test_a_login_ends_at_once(service: FakeService, staff: Browser, end: str) -> None:
    cookie = staff.http.cookies["admin_session"]
    assert staff.get("/shop/list").status_code == 200
    if end == "logout":
        assert staff.get("/logout", follow_redirects=False).status_code == 303
        _set_cookie(staff, cookie)
    elif end == "deactivation":
        with service.database.transaction() as session:
            staff_accounts.deactivate(session, None, staff.email)
    elif end == "expiry":
        with service.database.transaction() as session:
            mine = update(StaffSession).where(col(StaffSession.staff_id) == staff.staff_id)
            session.execute(mine.values(expires_at=func.now()))
    else:
        payload = base64.b64encode(json.dumps({"session_id": 1}).encode()).decode()
        forged = ".".join([payload, *cookie.split(".")[1:]])
        _set_cookie(staff, forged)
    answer = staff.get("/shop/list", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].endswith("/admin/login")


def _set_cookie(staff: Browser, value: str) -> None:
    staff.http.cookies.clear()
    staff.http.cookies.set("admin_session", value, path="/admin")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "http://evil.example/admin/"},
        {"Referer": "http://testserver.evil.example/"},
        {},
    ],
    ids=lambda headers: "-".join(headers.values()) or "nothing",
)
def test_changes_from_elsewhere_are_refused_even_with_the_cookie(
    staff: Browser, shop: ShopClient, headers: dict[str, str]
) -> None:
    http: TestClient = staff.http
    for method, path in (
        ("GET", f"/admin/shop/action/suspend?pks={shop.shop_id}"),
        ("POST", f"/admin/shop/edit/{shop.shop_id}"),
        ("DELETE", "/admin/category/delete?pks=1"),
        ("GET", "/admin/logout"),
        ("POST", "/admin/login"),
    ):
        answer = http.request(method, path, headers=headers, follow_redirects=False)
        assert answer.status_code == 403, (method, path)
    assert shop.request("GET", "/api/categories/").status_code == 200
    assert staff.get("/shop/list").status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://testserver"}, {"Referer": "http://testserver/admin/shop/list"}]
)
def test_old_browsers_tell_by_origin_or_referer(staff: Browser, headers: dict[str, str]) -> None:
    path = "/admin/shop/action/suspend?pks=2147483647"
    assert staff.http.get(path, headers=headers, follow_redirects=False).status_code == 303


def test_pages_are_neither_framed_nor_kept(staff: Browser) -> None:
    for path in ("/", "/login", "/shop/list", "/nothing/list"):
        headers = staff.get(path).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_scripts_and_styles_come_from_here(stranger: Browser) -> None:
    page = stranger.get("/login").text
    assert "http" not in page.replace("http://testserver/", "")
    answer = stranger.get("/statics/js/main.js")
    assert answer.status_code == 200
    assert "max-age" in answer.headers["cache-control"]


def test_logins_are_limited_here_too(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = new_browser(service, login=False, address="192.0.2.8")
    limiter = service.http.app.state.services.limiter  # type: ignore[attr-defined]
    monkeypatch.setattr(limiter, "_args", LimitArgs(logins_per_minute=1))
    for _ in range(10):
        assert stranger.login("wrong horse battery").status_code == 401
    answer = stranger.login()
    assert answer.status_code == 429
    assert "Failed logins are limited to 10 a minute." in answer.text
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_behind_a_proxy_everything_follows_the_public_address(service: FakeService) -> None:
    services = service.http.app.state.services  # type: ignore[attr-defined]
    public = create_api(replace(services, public_url="https://shop.example/search/"))
    http = TestClient(public, base_url="http://10.0.0.7:8000", follow_redirects=False)
    http.portal = service.http.portal
    start = "https://shop.example/search/admin/"
    assert http.get("/admin").headers["location"] == f"{start}login"
    page = http.get("/admin/login").text
    assert f'action="{start}login"' in page
    assert "http:" not in page
    person = new_browser(service, login=False)
    fields = {"username": person.email, "password": PASSWORD}
    for origin, status in (("https://shop.example", 303), ("http://10.0.0.7:8000", 403)):
        answer = http.post("/admin/login", data=fields, headers={"Origin": origin})
        assert answer.status_code == status
    answer = http.post("/admin/login", data=fields, headers=HERE)
    assert answer.headers["location"] == start
    cookie = answer.headers["set-cookie"]
    assert {"path=/search/admin", "secure"} <= {part.strip().lower() for part in cookie.split(";")}
    # The first application goes on as before.
    assert person.login().headers["location"] == "http://testserver/admin/"
