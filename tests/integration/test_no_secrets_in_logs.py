"""The whole service used with secrets that are known, and then every log searched for them."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from serve_app.passwords import Passwords
from tests.drawings import garment
from tests.mail_server import PASSWORD, USER, MailServer
from tests.shop_client import RECOMMENDATIONS, ShopClient, base64_text
from tests.sign_up import ask, keys_of, new_address, post_token
from tests.stack import Stack

PATIENCE_S = 20.0
Flow = Callable[[Stack, MailServer], list[str]]


def shop_flow(stack: Stack, mail_server: MailServer) -> list[str]:
    """Everything a shop does with its link and its keys, and what it may get wrong; returns its secrets."""
    email = new_address()
    ask(stack, email)
    token = mail_server.wait_for(email).token
    assert post_token(stack, f"{token[:-1]}~").status_code == 404
    assert post_token(stack, [token]).status_code == 422
    malformed = stack.http.post("/api/shops/activate/", content=f'{{"token": "{token}"')
    assert malformed.status_code == 422
    owner, shopper = keys_of(stack, token)
    assert post_token(stack, token).status_code == 410

    use_keys(owner, shopper)
    of_webhook = use_webhook(owner)
    (listed, *_) = owner.request("GET", "/api/keys/").json()["results"]
    rotated = owner.request("POST", f"/api/keys/{listed['id']}/rotate/").json()["key"]
    unknown = f"{owner.key[:-1]}{'0' if owner.key[-1] != '0' else '1'}"
    for key in (unknown, f"{owner.key}x", owner.key[1:]):
        assert ShopClient(stack.http, owner.shop_id, key).ask("a dress").status_code == 401
    assert owner.request("DELETE", "/api/shops/me/", json={}).status_code < 500
    return [token, f"{token[:-1]}~", owner.key, shopper.key, rotated, unknown, *of_webhook]


def use_keys(owner: ShopClient, shopper: ShopClient) -> None:
    """In each place that takes them, with what is acceptable and what is not."""
    owner.add(garment(), wait_s=30)
    for client in (owner, shopper):
        assert client.ask("a red dress").status_code == 200
        body = {"api_key": client.key, "prompt": "a red dress"}
        assert client.http.request("POST", RECOMMENDATIONS, json=body).status_code == 200
        assert client.http.request("POST", RECOMMENDATIONS, json=body | {"x": 1}).status_code == 422
        event = {"api_key": client.key, "prompt_id": client.key, "ImageID": 1, "event": "click"}
        assert client.http.request("POST", "/api/events/", json=event).status_code == 422
        form = {"APIKey": client.key, "name": ""}
        assert client.http.request("POST", "/api/image-collection/", data=form).status_code in (403, 422)
    photo = {"APIKey": owner.key, "name": "x", "Photo": base64_text(b"no photo")}
    assert owner.http.request("POST", "/api/image-collection/", json=photo).status_code == 415


def use_webhook(owner: ShopClient) -> list[str]:
    """An address with a token in it, at which nobody answers."""
    path, token = "/api/shops/me/webhook/", f"canary-hook-{secrets.token_hex(8)}"
    url = f"https://hooks.invalid/{token}"
    assert owner.request("PUT", path, json={"url": url, "secret": token}).status_code == 422
    assert owner.request("PUT", path, json={"url": f"http:{token}"}).status_code == 422
    secret: str = owner.request("PUT", path, json={"url": url}).json()["secret"]
    assert owner.request("POST", f"{path}test/").status_code == 202
    deadline = time.monotonic() + PATIENCE_S
    while not owner.request("GET", path).json()["deliveries"][0]["error"]:
        assert time.monotonic() < deadline, "the webhook was not tried"
        time.sleep(0.1)
    return [token, secret, secret.removeprefix("whsec_")]


def refused_mail_flow(stack: Stack, mail_server: MailServer) -> list[str]:
    """A mail server that answers with the login and with the mail's own words."""
    email = new_address()
    mail_server.plan(email, f"554 5.7.1 login {USER} {PASSWORD} refused", "451 4.3.0 later")
    ask(stack, email)
    token = mail_server.wait_for(email).token
    (reason,) = stack.execute("SELECT error FROM mail WHERE recipient = :email", email=email)[0]
    assert reason is None
    login = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    return [token, PASSWORD, login, base64.b64encode(PASSWORD.encode()).decode()]


def staff_flow(stack: Stack, mail_server: MailServer) -> list[str]:
    """A member of staff logs in, to the API and to the admin, rightly and wrongly."""
    del mail_server
    email, password = f"{secrets.token_hex(8)}@staff.example", f"canary-staff-{secrets.token_hex(8)}"
    query = "INSERT INTO staff (email, password_hash, active) VALUES (:email, :hash, true)"
    stack.execute(query, email=email, hash=Passwords().hash(password))
    login = {"email": email, "password": password}
    token: str = stack.http.post("/api/staff/login/", json=login).json()["token"]
    wrong = f"wrong-{password}"
    assert stack.http.post("/api/staff/login/", json=login | {"password": wrong}).status_code == 401
    assert stack.http.post("/api/staff/login/", json=login | {"password": [wrong]}).status_code == 422
    headers = {"Authorization": f"Bearer {token}"}
    assert stack.http.get("/api/staff/me/", headers=headers).status_code == 200
    assert stack.http.post("/api/staff/logout/", headers=headers).status_code == 204
    return [password, token, *admin_cookie(stack, email, password)]


def admin_cookie(stack: Stack, email: str, password: str) -> list[str]:
    """What a browser keeps of a login."""
    form, origin = {"username": email, "password": password}, {"Origin": stack.url}
    answer = stack.http.post("/admin/login", data=form, headers=origin)
    assert answer.status_code == 303, answer.text
    stack.http.cookies.clear()
    return [answer.cookies["admin_session"]]


# Whoever adds a secret to the service adds the flow that uses it.
FLOWS: list[Flow] = [shop_flow, refused_mail_flow, staff_flow]


def log_files(stack: Stack) -> Iterator[Path]:
    """The launcher's, PostgreSQL's, Chroma's, and all that Ray, Serve and HAProxy write."""
    yield stack.scratch_parent / "stderr"
    yield stack.postgres_log
    yield from (path for path in (stack.data_dir / "logs").rglob("*") if path.is_file())
    for scratch in stack.scratch_parent.glob("fr-*"):
        yield from (path for path in scratch.rglob("*") if path.is_file() and not path.is_symlink())


def files_with(stack: Stack, text: str) -> list[str]:
    """Names of the logs that hold the text, plain or as a URL has it."""
    wanted = {text.encode(), quote(text).encode()}
    found = []
    for path in log_files(stack):
        content = path.read_bytes()
        if any(form in content for form in wanted):
            found.append(path.name)
    return found


def wait_for_control(stack: Stack, text: str, log: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not any(log in name for name in files_with(stack, text)):
        assert time.monotonic() < deadline, f"{text} is not in {log}: logs are not where they are searched"
        time.sleep(0.1)


def test_no_log_holds_a_secret(stack: Stack, mail_server: MailServer) -> None:
    canaries = [secret for flow in FLOWS for secret in flow(stack, mail_server)]
    canaries += [stack.secret_key, (stack.data_dir / "ray-token").read_text().strip()]
    canaries += stack.servers.passwords if stack.servers is not None else []
    assert all(len(secret) >= 16 for secret in canaries)

    # What came last is there, so what came before it is.
    control = f"control-{secrets.token_hex(8)}"
    assert stack.http.get("/api/keys/", headers={"X-Request-ID": control}).status_code == 401
    stack.execute(f"DO $$ BEGIN RAISE LOG '{control}'; END $$")
    wait_for_control(stack, control, "replica_fashion_Ingress")
    wait_for_control(stack, control, "log")
    assert stack.postgres_log.name in files_with(stack, control)
    wait_for_control(stack, "was not sent", "replica_fashion_Indexer")

    leaks = {secret: files for secret in canaries if (files := files_with(stack, secret))}
    assert leaks == {}
