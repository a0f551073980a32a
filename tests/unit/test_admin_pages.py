"""What each page of the admin shows, what it never shows, and what its actions do."""

from __future__ import annotations

import re
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlmodel import col

from db import import_requests
from db.media import new_source_key
from models.errors import DependencyUnavailable
from models.image import Image, ImageStatus
from models.import_job import ImportRequest
from models.job import Job, JobKind, JobStatus
from models.mail import Mail, MailKind, MailStatus
from models.shop import ApiKey, Shop, ShopStatus, SignupLink
from models.staff import Staff
from serve_app.sign_up import link_address
from tests.drawings import garment
from tests.fakes import vector_of
from tests.shop_client import ShopClient
from tests.unit.admin_client import HERE, Browser, new_browser
from tests.unit.conftest import FakeService

CANARY = "what-nobody-may-see"


@dataclass(frozen=True)
class Shelf:
    """A shop with one record of each kind, found again by ``mark``."""

    shop: ShopClient
    mark: str
    ids: dict[str, Any]


@pytest.fixture(scope="module")
def staff(service: FakeService) -> Browser:
    return new_browser(service)


@pytest.fixture(scope="module")
def shelf(service: FakeService, staff: Browser) -> Shelf:
    """Every secret in it is a canary."""
    shop, mark = service.new_shop(), f"mark<{uuid.uuid4().hex}>"
    photo = shop.add(garment(), name=mark, sku=mark)["ImageID"]
    service.embed(shop.shop_id, photo, vector_of("dress"))
    failed = shop.add(garment(seed=1), name="A failed photo")["ImageID"]
    service.set_status(failed, ImageStatus.FAILED, f"Damaged: {mark}")
    shop.ask(f"dress {mark}")
    service.flush_prompts()
    with service.database.transaction() as session:
        link = SignupLink(shop_id=shop.shop_id, nonce=CANARY.encode(), token_hash=(CANARY + mark).encode())
        session.add(link)
        session.flush()
        assert link.id is not None
        mail = Mail(
            shop_id=shop.shop_id,
            link_id=link.id,
            kind=MailKind.ACTIVATION,
            recipient=f"{mark}@example.com",
            status=MailStatus.FAILED,
            error=f"refused {mark}",
            lease_token=CANARY,
        )
        job = Job(
            shop_id=shop.shop_id,
            kind=JobKind.DELETE_SHOP,
            status=JobStatus.FAILED,
            counts={"photos": mark},
            lease_token=CANARY,
        )
        session.add_all([mail, job])
        session.execute(
            text("UPDATE api_key SET secret_hmac = :secret, name = :mark WHERE shop_id = :shop"),
            {"secret": CANARY.encode(), "mark": mark, "shop": shop.shop_id},
        )
        session.execute(text("UPDATE shop SET name = :n WHERE id = :i"), {"n": mark, "i": shop.shop_id})
        session.execute(
            text("UPDATE staff SET password_hash = :p WHERE id = :id"), {"p": CANARY, "id": staff.staff_id}
        )
        session.execute(
            text("UPDATE staff_session SET token_hash = :t WHERE staff_id = :id"),
            {"t": CANARY.encode(), "id": staff.staff_id},
        )
        key = session.scalars(select(ApiKey).where(col(ApiKey.shop_id) == shop.shop_id)).one()
        session.flush()
        ids = {"image": photo, "failed": failed, "mail": mail.id, "job": job.id, "api-key": key.id}
    prompt = _prompt_id(service, shop.shop_id)
    return Shelf(shop, mark, ids | {"shop": shop.shop_id, "prompt": prompt})


def _prompt_id(service: FakeService, shop_id: int) -> str:
    with service.database.transaction() as session:
        return str(session.scalar(text("SELECT id FROM prompt WHERE shop_id = :s"), {"s": shop_id}))


def _escaped(mark: str) -> str:
    return mark.replace("<", "&lt;").replace(">", "&gt;")


def _shows_no_secret(page: str) -> None:
    for secret in (CANARY, CANARY.encode().hex()):
        assert secret not in page


LISTS = {
    "shop": "",
    "api-key": "?shop_id={shop}",
    "image": "?shop_id={shop}",
    "prompt": "?shop_id={shop}",
    "job": "?shop_id={shop}",
    "mail": "?shop_id={shop}",
}


@pytest.mark.parametrize("identity", LISTS)
def test_a_list_shows_the_record_and_no_secret(staff: Browser, shelf: Shelf, identity: str) -> None:
    answer = staff.get(f"/{identity}/list{LISTS[identity].format(**shelf.ids)}")
    assert answer.status_code == 200
    assert _escaped(shelf.mark) in answer.text
    assert shelf.mark not in answer.text
    _shows_no_secret(answer.text)


@pytest.mark.parametrize("identity", LISTS)
def test_details_show_the_record_and_no_secret(staff: Browser, shelf: Shelf, identity: str) -> None:
    answer = staff.get(f"/{identity}/details/{shelf.ids[identity]}")
    assert answer.status_code == 200
    assert _escaped(shelf.mark) in answer.text
    assert shelf.mark not in answer.text
    _shows_no_secret(answer.text)


@pytest.mark.parametrize(
    ("identity", "shown"),
    [("category", "Dresses"), ("style", "Bohemian"), ("age-group", "Adults"), ("staff", "@staff.example")],
)
def test_the_shared_tables_are_shown(staff: Browser, shelf: Shelf, identity: str, shown: str) -> None:
    page = staff.get(f"/{identity}/list").text
    assert shown in page
    _shows_no_secret(page)
    details = staff.get(f"/{identity}/details/1")
    assert details.status_code == 200
    _shows_no_secret(details.text)
    assert shelf.mark not in page


def test_the_audit_is_shown_and_cannot_be_changed(staff: Browser) -> None:
    page = staff.get("/audit-entry/list?search=staff.login")
    assert staff.email in page.text
    _shows_no_secret(page.text)
    for method, path in (("GET", "/create"), ("GET", "/edit/1"), ("DELETE", "/delete?pks=1")):
        answer = staff.http.request(
            method, f"/admin/audit-entry{path}", headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert answer.status_code == 403, path


def test_the_start_page_counts_what_failed(staff: Browser, shelf: Shelf, service: FakeService) -> None:
    def failed(kind: str) -> int:
        found = re.search(rf'/admin/{kind}/list\?status=failed"[^>]*>(\d+) failed', staff.get("/").text)
        assert found is not None
        return int(found[1])

    service.set_status(shelf.ids["failed"], ImageStatus.FAILED, "Damaged.")
    before = {kind: failed(kind) for kind in ("image", "mail", "job")}
    assert min(before.values()) >= 1
    service.set_status(shelf.ids["failed"], ImageStatus.PENDING)
    assert failed("image") == before["image"] - 1
    service.set_status(shelf.ids["failed"], ImageStatus.FAILED, f"Damaged: {shelf.mark}")


def test_a_photo_has_a_thumbnail_that_opens(staff: Browser, shelf: Shelf, service: FakeService) -> None:
    page = staff.get(f"/image/list?shop_id={shelf.ids['shop']}&status=embedded").text
    address = page.split("<img src='")[1].split("'")[0].replace("&amp;", "&")
    assert address.startswith("/media/")
    assert service.http.get(address).status_code == 200
    assert "A failed photo" not in page


def test_a_prompt_shows_its_results(staff: Browser, shelf: Shelf) -> None:
    page = staff.get(f"/prompt/details/{shelf.ids['prompt']}").text
    assert f"/admin/image/details/{shelf.ids['image']}" in page
    assert "<img src='/media/" in page
    assert "<ol start='1'>" in page


def test_a_failed_photo_is_retried(staff: Browser, shelf: Shelf, service: FakeService) -> None:
    failed, embedded = shelf.ids["failed"], shelf.ids["image"]
    service.set_status(failed, ImageStatus.FAILED, "Damaged.")
    said = staff.act("image", "retry", failed, embedded)
    assert said == "1 photo queued again. 1 photo left alone: did not fail."
    with service.database.transaction() as session:
        rows = {row.id: row for row in session.scalars(select(Image).where(col(Image.id).in_([failed])))}
    assert (rows[failed].status, rows[failed].attempts, rows[failed].error) == (ImageStatus.PENDING, 0, None)
    assert staff.audited("photo.retry")[-1] == (str(failed), {"before": "failed", "after": "pending"})


def test_an_embedded_photo_is_written_to_the_index_again(
    staff: Browser, service: FakeService, shop: ShopClient
) -> None:
    photo = shop.add(garment())["ImageID"]
    assert "left alone" in staff.act("image", "reindex", photo)
    service.embed(shop.shop_id, photo)
    assert staff.act("image", "reindex", photo) == "1 photo queued for the index."
    assert shop.get(photo).json()["status"] == "pending"
    assert staff.audited("photo.reindex") == [(str(photo), {"before": "embedded", "after": "pending"})]


def test_a_shop_is_suspended_and_let_in_again(staff: Browser, shop: ShopClient) -> None:
    assert staff.act("shop", "activate", shop.shop_id) == "1 shop not suspended before."
    assert staff.act("shop", "suspend", shop.shop_id) == "1 shop suspended."
    assert staff.act("shop", "suspend", shop.shop_id) == "1 shop not active before."
    assert staff.act("shop", "activate", shop.shop_id) == "1 shop active again."
    assert shop.request("GET", "/api/categories/").status_code == 200
    suspended = [entry for entry in staff.audited("shop.suspended") if entry[0] == str(shop.shop_id)]
    assert suspended == [(str(shop.shop_id), {"before": "active", "after": "suspended"})]


def test_a_suspended_shops_keys_stop_working(staff: Browser, shop: ShopClient) -> None:
    assert shop.request("GET", "/api/categories/").status_code == 200
    staff.act("shop", "suspend", shop.shop_id)
    assert shop.request("GET", "/api/categories/").status_code == 401


def test_a_key_is_revoked(staff: Browser, service: FakeService, shop: ShopClient) -> None:
    assert shop.request("GET", "/api/categories/").status_code == 200
    with service.database.transaction() as session:
        key = session.scalars(select(ApiKey).where(col(ApiKey.shop_id) == shop.shop_id)).one()
    assert key.id is not None
    assert staff.act("api-key", "revoke", key.id) == "1 api key revoked."
    assert shop.request("GET", "/api/categories/").status_code == 401
    assert staff.act("api-key", "revoke", key.id) == "1 api key revoked before."
    audited = [(str(key.id), {"public_id": key.public_id, "shop_id": shop.shop_id})]
    assert staff.audited("key.revoke") == audited
    assert staff.act("api-key", "revoke", 2**31 - 1) == f"There is no key {2**31 - 1}."


def test_a_shop_is_deleted_by_the_use_case_of_its_owner(
    staff: Browser, service: FakeService, shop: ShopClient
) -> None:
    assert staff.act("shop", "delete", shop.shop_id) == "1 shop being deleted, see Jobs."
    assert shop.request("GET", "/api/categories/").status_code == 401
    assert staff.act("shop", "delete", shop.shop_id) == "1 shop in deletion already."
    with service.database.transaction() as session:
        job = session.scalars(select(Job).where(col(Job.shop_id) == shop.shop_id)).one()
    assert (job.kind, job.status) == (JobKind.DELETE_SHOP, JobStatus.QUEUED)
    ((target, details),) = staff.audited("shop.delete")
    assert (target, details["job_id"]) == (str(shop.shop_id), job.id)
    assert details["before"]["status"] == "active"


def test_a_term_is_made_changed_and_deleted(staff: Browser, shop: ShopClient) -> None:
    name = f"Kilts {uuid.uuid4().hex}"
    created = staff.post("/category/create", data={"name": f" {name} ", "description": "", "save": "Save"})
    assert created.status_code == 302
    ((target, details),) = staff.audited("category.create")
    assert details["after"] == {"name": name, "description": ""}
    changed = staff.post(f"/category/edit/{target}", data={"name": name, "description": "x", "save": "Save"})
    assert changed.status_code == 302
    photo = shop.add(garment(), Category=int(target))["ImageID"]
    gone = staff.http.delete(f"/admin/category/delete?pks={target}", headers=HERE)
    assert gone.status_code == 200
    assert f"Category {target} is deleted. Photos that lost it: 1." in staff.http.get(gone.text).text
    assert shop.get(photo).json()["Category"] is None
    ((_, details),) = staff.audited("category.delete")
    assert details["before"] == {"name": name, "description": "x"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("DRESSES", "is in use: &#39;Dresses&#39;"), (" ", "name: "), ("nul\x00", "name"), ("x" * 251, "250")],
)
def test_a_wrong_term_is_told(staff: Browser, name: str, words: str) -> None:
    answer = staff.post("/category/create", data={"name": name, "description": "", "save": "Save"})
    assert answer.status_code == 400
    assert words in answer.text


def test_a_failed_job_is_retried(staff: Browser, shelf: Shelf, service: FakeService) -> None:
    assert staff.act("job", "retry", shelf.ids["job"]) == "1 job queued again."
    assert staff.act("job", "retry", shelf.ids["job"]).startswith("1 job left alone: did not fail")
    assert staff.act("job", "cancel", shelf.ids["job"]) == "1 job left alone: no import, or finished."
    with service.database.transaction() as session:
        job = session.get(Job, shelf.ids["job"])
        assert job is not None
        assert job.status is JobStatus.QUEUED
        job.status = JobStatus.FAILED
    assert len(staff.audited("job.retry")) == 1


def test_a_reindex_is_shown_and_left_to_its_command(staff: Browser, service: FakeService) -> None:
    counts = {"phase": "comparing", "filled": 1234}
    job = Job(kind=JobKind.REINDEX, status=JobStatus.FAILED, error="recall@1 falls", counts=counts)
    with service.database.transaction() as session:
        session.add(job)
        session.flush()
    page = staff.get(f"/job/details/{job.id}").text
    assert "recall@1 falls" in page
    assert "1234" in page
    assert staff.get("/job/list").status_code == 200
    said = "1 job left alone: did not fail, or imports, which their shop sends again, or of scripts.reindex."
    assert staff.act("job", "retry", job.id or 0) == said


def test_an_import_is_cancelled(staff: Browser, shop: ShopClient, service: FakeService) -> None:
    request = ImportRequest(source=new_source_key(shop.shop_id), size_bytes=1, sha256="0" * 64)
    with service.database.transaction() as session:
        job = import_requests.add(session, shop.shop_id, request, None)
    assert job is not None
    assert job.id is not None
    assert request.source in staff.get(f"/job/details/{job.id}").text
    assert staff.act("job", "cancel", job.id) == "1 job cancelled."
    assert shop.request("GET", f"/api/jobs/{job.id}/").json()["status"] == "cancelled"
    assert len(staff.audited("job.cancel")) == 1


def test_a_failed_mail_is_sent_again(staff: Browser, shelf: Shelf, service: FakeService) -> None:
    mail_id = shelf.ids["mail"]
    assert staff.act("mail", "send-again", mail_id) == "1 mail queued again."
    assert staff.act("mail", "send-again", mail_id) == "1 mail left alone: did not fail."
    assert staff.audited("mail.send_again") == [(str(mail_id), {})]
    with service.database.transaction() as session:
        mail = session.get(Mail, mail_id)
        assert mail is not None
        assert (mail.status, mail.error) == (MailStatus.QUEUED, None)
        mail.status, mail.error = MailStatus.FAILED, f"refused {shelf.mark}"


def test_a_link_is_shown_only_without_a_mail_server(staff: Browser, service: FakeService) -> None:
    services = service.http.app.state.services  # type: ignore[attr-defined]
    email = f"{uuid.uuid4().hex}@example.com"
    assert service.http.post("/api/shops/", json={"name": "Rose", "email": email}).status_code == 202
    with service.database.transaction() as session:
        mail = session.scalars(select(Mail).where(col(Mail.recipient) == email)).one()
        link = session.get(SignupLink, mail.link_id)
    assert link is not None
    address = link_address(services, link)
    page = f"/mail/details/{mail.id}"
    assert address not in staff.get(page).text
    assert staff.audited("mail.show_link") == []
    object.__setattr__(services, "shows_links", True)
    try:
        assert address in staff.get(page).text
        assert "/activate/" not in staff.get("/mail/list").text
        assert [target for target, _ in staff.audited("mail.show_link")] == [str(mail.id)]
        with service.database.transaction() as session:
            session.execute(text("UPDATE signup_link SET used_at = now() WHERE id = :i"), {"i": link.id})
        assert "/activate/" not in staff.get(page).text
    finally:
        object.__setattr__(services, "shows_links", False)


def test_a_shops_limits_are_edited(staff: Browser, service: FakeService, shop: ShopClient) -> None:
    path = f"/shop/edit/{shop.shop_id}"
    assert staff.get(path).status_code == 200
    fields = {"name": " Rose & Co ", "requests_per_minute": "120", "max_photos": "", "save": "Save"}
    assert staff.post(path, data=fields).status_code == 302
    with service.database.transaction() as session:
        stored = session.get(Shop, shop.shop_id)
        assert stored is not None
        assert (stored.name, stored.requests_per_minute, stored.max_photos) == ("Rose & Co", 120, None)
    before = {"name": "Test shop", "requests_per_minute": None}
    after = {"name": "Rose & Co", "requests_per_minute": 120}
    assert (str(shop.shop_id), {"before": before, "after": after}) in staff.audited("shop.update")
    assert "120" in staff.get(path).text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 251),
        ("max_photos", "0"),
        ("max_photos", "2147483648"),
        ("max_photos", "x"),
    ],
)
def test_a_wrong_value_is_told_and_changes_nothing(
    staff: Browser, service: FakeService, shop: ShopClient, field: str, value: str
) -> None:
    fields = {"name": "Rose", "status": "deleting", "save": "Save"} | {field: value}
    answer = staff.post(f"/shop/edit/{shop.shop_id}", data=fields)
    assert answer.status_code == 400
    assert "invalid-feedback" in answer.text
    with service.database.transaction() as session:
        stored = session.get(Shop, shop.shop_id)
        assert stored is not None
        assert (stored.name, stored.status) == ("Test shop", ShopStatus.ACTIVE)


def test_a_shop_that_is_being_deleted_stays_so(
    staff: Browser, service: FakeService, shop: ShopClient
) -> None:
    with service.database.transaction() as session:
        stored = session.get(Shop, shop.shop_id)
        assert stored is not None
        stored.status = ShopStatus.DELETING
    sentence = f"Shop {shop.shop_id} is being deleted and cannot be changed."
    assert staff.act("shop", "activate", shop.shop_id) == sentence
    answer = staff.post(f"/shop/edit/{shop.shop_id}", data={"name": "Rose", "save": "Save"})
    assert (answer.status_code, sentence in answer.text) == (400, True)


def test_staff_deactivate_each_other_but_not_themselves(staff: Browser, service: FakeService) -> None:
    other = new_browser(service)
    assert staff.act("staff", "deactivate", other.staff_id, staff.staff_id).startswith("You cannot")
    assert other.get("/", follow_redirects=False).status_code == 200
    assert staff.act("staff", "deactivate", other.staff_id) == "1 person deactivated."
    assert other.get("/", follow_redirects=False).status_code == 303
    assert staff.audited("staff.deactivate") == [(other.email, {"was_active": True, "sessions_ended": 1})]
    with service.database.transaction() as session:
        row = session.get(Staff, other.staff_id)
        assert row is not None
        assert not row.active


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/shop/details/0", 404),
        ("/shop/details/99999999999999999999", 404),
        ("/shop/details/abc", 404),
        ("/prompt/details/abc", 404),
        ("/nothing/list", 404),
        ("/shop/list?page=abc", 400),
        ("/shop/list?pageSize=0", 400),
        ("/shop/list?sortBy=password_hash", 400),
        ("/image/list?shop_id=abc", 400),
        ("/image/list?shop_id=99999999999", 400),
        ("/shop/list?search=%00", 400),
        ("/image/list?status=nonsense", 200),
        ("/shop/export/csv", 403),
        ("/api-key/export/json", 403),
        ("/api-key/1/secret_hmac/download/", 404),
        ("/staff/edit/1", 403),
        ("/image/edit/1", 403),
        ("/api-key/create", 403),
    ],
)
def test_a_malformed_or_forbidden_request_is_told(
    staff: Browser, shelf: Shelf, path: str, status: int
) -> None:
    answer = staff.get(path)
    assert answer.status_code == status
    for word in ("Traceback", "psycopg2", "SELECT", "sqlalchemy"):
        assert word not in answer.text
    _shows_no_secret(answer.text)
    assert shelf.mark not in answer.text


@pytest.mark.parametrize("pks", ["", "abc", "0", "99999999999999", ",".join(map(str, range(1, 103)))])
def test_a_malformed_selection_is_told(staff: Browser, pks: str) -> None:
    answer = staff.get("/image/action/retry", params={"pks": pks})
    assert (answer.status_code, 'role="alert">' in answer.text) == (200, True)
    assert "retry" in answer.text
    assert staff.http.delete("/admin/shop/delete", headers={"Sec-Fetch-Site": "same-origin"}).status_code in {
        400,
        403,
    }


@pytest.mark.parametrize(
    "error", [DependencyUnavailable("The database does not answer."), ValueError(CANARY)]
)
def test_a_failure_is_a_sentence_without_its_text(
    staff: Browser, monkeypatch: pytest.MonkeyPatch, shop: ShopClient, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("serve_app.admin.shops.suspend_shop", fail)
    monkeypatch.setattr("serve_app.admin.shops.change_shop", fail)
    said = staff.act("shop", "suspend", shop.shop_id)
    assert said.startswith(
        ("The database does not answer.", "Something went wrong, and nothing was changed.")
    )
    assert CANARY not in said
    edit = staff.post(f"/shop/edit/{shop.shop_id}", data={"name": "Rose", "save": "Save"})
    assert edit.status_code == 400
    assert CANARY not in edit.text
    assert said.split(",")[0] in edit.text


def test_no_page_needs_inline_scripts(staff: Browser, shelf: Shelf) -> None:
    """The Content-Security-Policy would stop them."""
    staff.act("shop", "activate", shelf.ids["shop"])
    paths = ["/", "/login", "/category/create", f"/shop/edit/{shelf.ids['shop']}"]
    paths += [f"/{identity}/list" for identity in LISTS]
    paths += [f"/{identity}/details/{shelf.ids[identity]}" for identity in LISTS]
    for path in paths:
        page = staff.get(path).text
        assert re.findall(r"<script(?![^>]* src=)|\son[a-z]+=|javascript:", page) == [], path


def test_no_page_waits_for_the_database_on_the_event_loop(staff: Browser, shelf: Shelf) -> None:
    threads: set[str] = set()

    def note(*_: object) -> None:
        threads.add(threading.current_thread().name.rsplit("_", 1)[0])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for identity in LISTS:
            staff.get(f"/{identity}/list?search=x&status=failed")
            staff.get(f"/{identity}/details/{shelf.ids[identity]}")
        staff.get(f"/shop/edit/{shelf.ids['shop']}")
        staff.act("shop", "activate", shelf.ids["shop"])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert threads == {"database"}
