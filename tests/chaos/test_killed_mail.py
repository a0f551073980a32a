"""The process that sends mail killed before and after the mail server has it: one usable link arrives."""

from __future__ import annotations

import pytest

from tests.chaos.test_killed_parts import kill
from tests.mail_server import ACCEPT_AND_HANG, HANG, MailServer
from tests.shop_client import assert_problem
from tests.sign_up import ask, keys_of, new_address, post_token
from tests.stack import Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def test_one_usable_link_arrives_whenever_the_sender_is_killed(stack: Stack, mail_server: MailServer) -> None:
    before, after = new_address(), new_address()
    mail_server.plan(before, HANG)
    mail_server.plan(after, ACCEPT_AND_HANG)
    for email in (before, after):
        ask(stack, email)
        mail_server.wait_for_attempt(email)
    assert (len(mail_server.of(before)), len(mail_server.of(after))) == (0, 1)
    kill(stack, "ServeReplica:fashion:Indexer")

    mail_server.wait_for(before)
    mail_server.wait_for(after, 2)
    for email in (before, after):
        mails = mail_server.of(email)
        assert len({mail.message["Message-ID"] for mail in mails}) == 1
        (token,) = {mail.token for mail in mails}
        query = "SELECT count(*) FROM signup_link JOIN shop ON shop.id = shop_id WHERE email = :email"
        assert stack.execute(query, email=email) == [(1,)]
        keys_of(stack, token)
        assert_problem(post_token(stack, token), 410, "gone")
