"""Who may call what: every route, every role. A route that is missing here fails."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette

from serve_app.cors import SHOPPER_PATHS
from tests.drawings import garment
from tests.unit.conftest import FakeService
from tests.unit.route_roles import ORDER, ROLES, all_routes, new_world

PUBLIC = "200 200 200 200 200 200 200"
SHOP_ONLY = "401 403 200 200 401 401 401"
READERS = "401 200 200 200 401 401 200"
STAFF_ONLY = "401 403 403 403 403 403 200"
OWN_THING = "401 403 200 404 401 401 401"
SIGN_UP = {"name": "Rose & Co", "email": "sign-up@roles.example"}
CLICK = {"prompt_id": "{prompt_id}", "ImageID": "{image_id}", "event": "click"}
UNKNOWN_ADDRESS = {"email": "unknown@roles.example"}
NOBODY = {"email": "nobody@staff.example", "password": "correct horse battery"}


@dataclass(frozen=True)
class Row:
    """``answers``: a status for each of ROLES. ``target``: the address, where it is not the path."""

    answers: str
    target: str = ""
    json: Any = None
    photo: bool = False
    file: bool = False
    form: dict[str, str] = field(default_factory=dict)


# Columns:  nobody publishable secret stranger revoked expired staff
TABLE: dict[tuple[str, str], Row] = {
    ("GET", "/healthz"): Row(PUBLIC),
    ("GET", "/readyz"): Row(PUBLIC),
    ("GET", "/docs"): Row(PUBLIC),
    ("GET", "/docs/oauth2-redirect"): Row(PUBLIC),
    ("GET", "/redoc"): Row(PUBLIC),
    ("GET", "/openapi.json"): Row(PUBLIC),
    # The signature in the address is the permission, whoever asks.
    ("GET", "/media/{image_id}/{version}"): Row("404 404 404 404 404 404 404", "/media/{image_id}/0123"),
    ("POST", "/api/image-collection/"): Row(
        "401 403 201 201 401 401 401", photo=True, form={"name": "A photo"}
    ),
    ("GET", "/api/image-collection/"): Row(SHOP_ONLY),
    ("POST", "/api/image-collection/bulk/"): Row("401 403 202 202 401 401 401", file=True),
    ("GET", "/api/jobs/"): Row(SHOP_ONLY),
    ("GET", "/api/jobs/{job_id}/"): Row(OWN_THING),
    ("GET", "/api/jobs/{job_id}/errors/"): Row(OWN_THING),
    ("POST", "/api/jobs/{job_id}/cancel/"): Row("401 403 202 404 401 401 401"),
    ("GET", "/api/image-collection/{image_id}/"): Row(OWN_THING),
    ("PATCH", "/api/image-collection/{image_id}/"): Row(OWN_THING, json={"description": "new"}),
    ("DELETE", "/api/image-collection/{image_id}/"): Row("401 403 204 404 401 401 401"),
    ("POST", "/api/image-collection/{image_id}/retry/"): Row("401 403 202 404 401 401 401"),
    ("GET", "/api/image-collection/{image_id}/similar/"): Row("401 200 200 404 401 401 401"),
    ("POST", "/api/recommendations/"): Row("401 200 200 200 401 401 401", json={"prompt": "a dress"}),
    ("POST", "/api/tags/"): Row("401 403 200 200 401 401 401", photo=True),
    ("POST", "/api/events/"): Row("401 201 200 404 401 401 401", json=CLICK),
    ("GET", "/api/analytics/prompts/"): Row(SHOP_ONLY),
    ("GET", "/api/analytics/unmet-demand/"): Row(SHOP_ONLY),
    ("GET", "/api/categories/"): Row(READERS),
    ("POST", "/api/categories/"): Row("401 403 403 403 403 403 201", json={"name": "Kilts"}),
    ("GET", "/api/categories/{term_id}/"): Row(READERS, "/api/categories/{category_id}/"),
    ("PATCH", "/api/categories/{term_id}/"): Row(STAFF_ONLY, "/api/categories/{category_id}/", json={}),
    ("DELETE", "/api/categories/{term_id}/"): Row(STAFF_ONLY, "/api/categories/{category_id}/"),
    ("GET", "/api/styles/"): Row(READERS),
    ("POST", "/api/styles/"): Row("401 403 403 403 403 403 201", json={"name": "Gothic"}),
    ("GET", "/api/styles/{term_id}/"): Row(READERS, "/api/styles/{style_id}/"),
    ("PATCH", "/api/styles/{term_id}/"): Row(STAFF_ONLY, "/api/styles/{style_id}/", json={}),
    ("DELETE", "/api/styles/{term_id}/"): Row(STAFF_ONLY, "/api/styles/{style_id}/"),
    ("GET", "/api/age-groups/"): Row(READERS),
    ("POST", "/api/age-groups/"): Row("401 403 403 403 403 403 201", json={"name": "Toddlers"}),
    ("GET", "/api/age-groups/{term_id}/"): Row(READERS, "/api/age-groups/{age_group_id}/"),
    ("PATCH", "/api/age-groups/{term_id}/"): Row(STAFF_ONLY, "/api/age-groups/{age_group_id}/", json={}),
    ("DELETE", "/api/age-groups/{term_id}/"): Row(STAFF_ONLY, "/api/age-groups/{age_group_id}/"),
    ("POST", "/api/shops/"): Row("202 202 202 202 202 202 202", json=SIGN_UP),
    ("POST", "/api/shops/resend/"): Row("202 202 202 202 202 202 202", json=UNKNOWN_ADDRESS),
    # The token is the permission, whoever sends it.
    ("POST", "/api/shops/activate/"): Row("404 404 404 404 404 404 404", json={"token": "unknown"}),
    ("GET", "/activate/"): Row(PUBLIC),
    ("GET", "/api/shops/me/"): Row(SHOP_ONLY),
    ("PATCH", "/api/shops/me/"): Row(SHOP_ONLY, json={"text_weight": 0.2}),
    ("PUT", "/api/shops/me/webhook/"): Row(SHOP_ONLY, json={"url": "https://roles.example/hook"}),
    ("GET", "/api/shops/me/webhook/"): Row(SHOP_ONLY),
    ("POST", "/api/shops/me/webhook/test/"): Row("401 403 409 409 401 401 401"),
    ("DELETE", "/api/shops/me/webhook/"): Row("401 403 204 204 401 401 401"),
    ("DELETE", "/api/shops/me/"): Row("401 403 202 202 401 401 401"),
    # As with photos: the signature is the permission.
    ("GET", "/api/shops/deletions/{job_id}/"): Row("404 404 404 404 404 404 404", "/api/shops/deletions/1/"),
    ("GET", "/api/usage/"): Row(SHOP_ONLY),
    ("GET", "/api/keys/"): Row(SHOP_ONLY),
    ("POST", "/api/keys/"): Row("401 403 201 201 401 401 401", json={"name": "x", "scope": "secret"}),
    ("PATCH", "/api/keys/{key_id}/"): Row(OWN_THING, json={"name": "x"}),
    ("POST", "/api/keys/{key_id}/rotate/"): Row("401 403 201 404 401 401 401"),
    ("DELETE", "/api/keys/{key_id}/"): Row("401 403 204 404 401 401 401"),
    ("GET", "/api/prompts/"): Row(SHOP_ONLY),
    ("GET", "/api/prompts/{prompt_id}/"): Row(OWN_THING),
    ("GET", "/api/export/"): Row(SHOP_ONLY),
    ("POST", "/api/staff/login/"): Row("401 401 401 401 401 401 401", json=NOBODY),
    ("POST", "/api/staff/logout/"): Row("401 403 403 403 403 403 204"),
    ("GET", "/api/staff/me/"): Row("401 403 403 403 403 403 200"),
}

# The admin knows its own cookie only: an API credential is worth nothing there. Without Sec-Fetch-Site,
# Origin or Referer no change is looked at.
LOGIN_FIRST = "303 303 303 303 303 303 303"
FROM_NOWHERE = "403 403 403 403 403 403 403"
TABLE |= {
    ("*", "/admin/statics"): Row("200 200 200 200 200 200 200", "/admin/statics/js/main.js"),
    ("GET", "/admin/"): Row(LOGIN_FIRST),
    ("GET", "/admin/login"): Row(PUBLIC),
    ("POST", "/admin/login"): Row(FROM_NOWHERE),
    ("GET", "/admin/logout"): Row(FROM_NOWHERE),
    ("GET", "/admin/{identity}/list"): Row(LOGIN_FIRST, "/admin/shop/list"),
    ("GET", "/admin/{identity}/details/{pk:path}"): Row(LOGIN_FIRST, "/admin/image/details/{image_id}"),
    ("GET", "/admin/{identity}/create"): Row(LOGIN_FIRST, "/admin/category/create"),
    ("POST", "/admin/{identity}/create"): Row(FROM_NOWHERE, "/admin/category/create"),
    ("GET", "/admin/{identity}/edit/{pk:path}"): Row(LOGIN_FIRST, "/admin/shop/edit/1"),
    ("POST", "/admin/{identity}/edit/{pk:path}"): Row(FROM_NOWHERE, "/admin/shop/edit/1"),
    ("DELETE", "/admin/{identity}/delete"): Row(FROM_NOWHERE, "/admin/category/delete?pks=1"),
    ("GET", "/admin/{identity}/export/{export_type}"): Row(LOGIN_FIRST, "/admin/shop/export/csv"),
    ("POST", "/admin/{identity}/import"): Row(FROM_NOWHERE, "/admin/shop/import"),
    ("GET", "/admin/{identity}/ajax/lookup"): Row(LOGIN_FIRST, "/admin/shop/ajax/lookup"),
    ("GET", "/admin/{identity}/{pk:path}/{column_name}/download/"): Row(
        LOGIN_FIRST, "/admin/api-key/1/secret_hmac/download/"
    ),
    ("GET", "/admin/{identity}/{pk:path}/{column_name}/preview/"): Row(
        LOGIN_FIRST, "/admin/api-key/1/secret_hmac/preview/"
    ),
    **{
        ("GET", f"/admin/{action}"): Row(FROM_NOWHERE, f"/admin/{action}?pks=1")
        for action in (
            "image/action/retry",
            "image/action/reindex",
            "shop/action/suspend",
            "shop/action/activate",
            "shop/action/delete",
            "api-key/action/revoke",
            "job/action/retry",
            "job/action/cancel",
            "mail/action/send-again",
            "staff/action/deactivate",
        )
    },
}


def test_every_route_is_in_the_table(service: FakeService) -> None:
    application = service.http.app
    assert isinstance(application, Starlette)
    found = set(all_routes(application.routes))
    assert found - TABLE.keys() == set(), "new routes: say here who may call them"
    assert TABLE.keys() - found == set(), "these routes are gone"


def test_browsers_may_ask_before_they_call_what_publishable_keys_may() -> None:
    """A route that publishable keys may call and that no preflight opens would not work in a browser."""
    for (_, path), row in TABLE.items():
        nobody, publishable, *_rest = row.answers.split()
        example = re.sub(r"\{.*?\}", "1", path)
        assert (nobody, publishable[0]) != ("401", "2") or SHOPPER_PATHS.fullmatch(example)


@pytest.mark.parametrize("route", TABLE, ids=" ".join)
def test_who_may_call(service: FakeService, route: tuple[str, str]) -> None:
    method, path = route
    row, world = TABLE[route], new_world(service)
    assert len(row.answers.split()) == len(ROLES)
    expected = dict(zip(ROLES, row.answers.split(), strict=True))
    options: dict[str, Any] = {"json": world.filled(row.json)} if row.json is not None else {}
    if row.photo:
        options = {"files": {"Photo": garment()}, "data": row.form}
    if row.file:
        options = {"files": {"file": ("feed.csv", b"sku,name\nA,Dress\n")}}
    target = (row.target or path).format(**world.ids)
    answers = {
        role: service.http.request(
            "GET" if method == "*" else method,
            target,
            headers=world.headers(role),
            follow_redirects=False,
            **options,
        )
        for role in ORDER
    }
    assert {role: str(answer.status_code) for role, answer in answers.items()} == expected
    for role in set(ROLES) - {"secret", "publishable"}:
        assert world.canary not in answers[role].text, role
