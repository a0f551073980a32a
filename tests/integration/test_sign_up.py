"""A shop's way in: sign-up, mail, link, keys, first photo, first prompt."""

from __future__ import annotations

import httpx

from tests.drawings import garment
from tests.mail_server import MailServer
from tests.shop_client import assert_problem
from tests.sign_up import ask, keys_of, let_a_minute_pass, new_address, post_token
from tests.stack import Stack


def test_from_mail_to_photos_and_prompts(stack: Stack, mail_server: MailServer) -> None:
    email = new_address()
    ask(stack, email)
    mail = mail_server.wait_for(email)
    assert mail.link == f"{stack.url}/activate/#{mail.token}"
    assert mail.link in mail.body("html")
    assert "Rose" not in mail.message.as_string()

    for _ in range(2):
        assert stack.http.get(mail.link).status_code == 200
    owner, shopper = keys_of(stack, mail.token)
    photo = owner.add(garment(), wait_s=30)
    assert photo["status"] == "embedded"
    for client in (owner, shopper):
        assert [one["ImageID"] for one in client.recommendations("a red dress")] == [photo["ImageID"]]
    assert "used already" in assert_problem(post_token(stack, mail.token), 410, "gone")["detail"]

    let_a_minute_pass(stack, email)
    assert stack.http.post("/api/shops/resend/", json={"email": email}).status_code == 202
    recovery = mail_server.wait_for(email, 2)
    assert recovery.message["Subject"] == "New keys for your shop"
    again, _ = keys_of(stack, recovery.token)
    assert again.shop_id == owner.shop_id
    assert [one.read(photo["ImageID"])["name"] for one in (owner, again)] == ["A photo"] * 2


def test_an_expired_link(stack: Stack, mail_server: MailServer) -> None:
    email = new_address()
    ask(stack, email)
    mail = mail_server.wait_for(email)
    query = "UPDATE signup_link SET expires_at = now() FROM shop WHERE shop.id = shop_id AND email = :email"
    stack.execute(query, email=email)
    assert "resend" in assert_problem(post_token(stack, mail.token), 410, "gone")["detail"]


def test_the_host_of_a_request_is_not_the_host_of_a_link(stack: Stack, mail_server: MailServer) -> None:
    email = new_address()
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    body = {"name": "Rose", "email": email}
    answer = httpx.post(f"{stack.url}/api/shops/", json=body, headers=forged)
    assert answer.status_code == 202
    mail = mail_server.wait_for(email)
    assert mail.link.startswith(f"{stack.url}/activate/#")
    assert "evil.example" not in mail.message.as_string()


def test_a_server_that_refuses_and_then_accepts(stack: Stack, mail_server: MailServer) -> None:
    refused = new_address()
    mail_server.plan(refused, "451 4.3.2 later", "550 5.1.1 unknown", "554 5.7.1 no")
    ask(stack, refused)
    mail_server.wait_for(refused)
    waiting = new_address()
    mail_server.stop()
    try:
        ask(stack, waiting)
        query = "SELECT attempts, error FROM mail WHERE recipient = :email AND error IS NOT NULL"
        while not (tried := stack.execute(query, email=waiting)):
            pass
        assert tried[0][1].endswith("Connection refused")
    finally:
        mail_server.start()
    mail_server.wait_for(waiting)
    for email in (refused, waiting):
        (mail,) = mail_server.of(email)
        keys_of(stack, mail.token)
    assert mail_server.attempts[refused] == 4
