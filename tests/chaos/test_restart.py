"""What a data directory keeps: over a stop, over a kill -9 of the launcher.

Run after ``test_reindex``, as with all tests, the service has changed its model before.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text

from serve_app.data_directory import SCRATCH_PREFIX
from serve_app.local_services import NO_PROCESS, LocalPostgres
from tests.drawings import garment
from tests.shop_client import PHOTOS, ShopClient, assert_problem
from tests.sign_up import ask, keys_of, new_address
from tests.stack import STOP_LIMIT_S, Stack, nothing_left

PROMPTS = ("a red dress", "a blue hat", "something floral")
COLOURS = ("red", "blue", "green", "yellow")


def answers(shop: ShopClient) -> list[list[tuple[int, float]]]:
    found = [shop.recommendations(prompt, 8) for prompt in PROMPTS]
    return [[(one["ImageID"], one["score"]) for one in answer] for answer in found]


def assert_same(now: list[list[tuple[int, float]]], before: list[list[tuple[int, float]]]) -> None:
    assert [[image_id for image_id, _ in one] for one in now] == [
        [image_id for image_id, _ in one] for one in before
    ]
    scores = [score for one in before for _, score in one]
    assert [score for one in now for _, score in one] == pytest.approx(scores, abs=1e-6)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_stop_and_a_kill_change_no_answer_and_embed_nothing_again(
    stack: Stack, second_stack: Stack
) -> None:
    """Its first life is beside another service, its second ends by SIGKILL, its third by SIGTERM."""
    first, data_dir = second_stack, second_stack.data_dir
    lives = [first]
    try:
        shop = first.new_shop()
        for number, colour in enumerate(COLOURS * 2):
            shop.add(
                garment(("dress", "hat")[number % 2], colour, ("plain", "floral")[number // 4]), name=colour
            )
        before = Before(shop.wait_until_embedded(), answers(shop), first.embedded_when(shop.shop_id))
        assert_apart(first, shop, stack)
        assert_link_is_shown(first)
        last = ask_at_the_last_moment(shop)
        stop_as_a_terminal_does(first)
        assert stack.new_shop().recommendations("a dress") == []

        lives.append(second := Stack.start(data_dir))
        listed = second.client(shop.key).request("GET", "/api/prompts/", params={"limit": 100}).json()
        assert last <= {one["prompt_id"] for one in listed["results"]}
        before.assert_unchanged(second, shop.key)
        second.process.send_signal(signal.SIGKILL)
        second.process.wait()

        lives.append(third := Stack.start(data_dir))
        before.assert_unchanged(third, shop.key)
        assert nothing_left(f"{second.scratch_parent}/", patience_s=10) == []
        assert list(second.scratch_parent.glob(f"{SCRATCH_PREFIX}*")) == [], "the next start tidies up"
        assert list((data_dir / "logs" / "serve").glob("replica_*Ingress*")), "logs outlive the run"
        last = ask_at_the_last_moment(third.client(shop.key))
        assert third.stop(signal.SIGTERM) < STOP_LIMIT_S
        assert last <= logged_prompts(data_dir)
    finally:
        for life in lives:
            life.kill_everything()


def ask_at_the_last_moment(shop: ShopClient) -> set[str]:
    """Ids of prompts that were answered less time ago than it takes until they are logged."""
    return {shop.ask(prompt).json()["prompt_id"] for prompt in PROMPTS}


def logged_prompts(data_dir: Path) -> set[str]:
    """As they lie in the database of a service that has ended."""
    server = LocalPostgres(data_dir)
    engine = create_engine(server.start(), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return {str(prompt_id) for prompt_id in connection.scalars(text("SELECT id FROM prompt"))}
    finally:
        engine.dispose()
        server.stop()


def assert_apart(one: Stack, shop: ShopClient, other: Stack) -> None:
    """Two services on one machine share neither address nor shops nor photos."""
    assert one.url != other.url
    assert other.new_shop().recommendations("a red dress") == []
    assert_problem(other.http.get(PHOTOS, headers=shop.headers), 401, "not_authenticated")
    assert len(shop.recommendations("a red dress", 100)) == 2 * len(COLOURS)


def assert_link_is_shown(one: Stack) -> None:
    """Without a mail server, the link of a sign-up is on the launcher's console."""
    email = new_address()
    ask(one, email)
    line = one.wait_for(f"activation link for {email}: {one.url}/activate/#", patience_s=30)
    assert line in (one.data_dir / "logs" / "sign-up-links.log").read_text("utf-8")
    keys_of(one, line.rpartition("#")[2])


def stop_as_a_terminal_does(stack: Stack) -> None:
    """Ctrl-C goes to the whole process group."""
    stack.close()
    started = time.monotonic()
    os.killpg(stack.process.pid, signal.SIGINT)
    assert stack.finish() == 0, stack.lines
    assert time.monotonic() - started < STOP_LIMIT_S
    stack.assert_nothing_left()


class Before:
    """What a shop saw before the stop."""

    def __init__(
        self,
        photos: list[dict[str, Any]],
        found: list[list[tuple[int, float]]],
        embedded_when: dict[tuple[int, str], Any],
    ) -> None:
        self._photos, self._found, self._embedded_when = photos, found, embedded_when

    def assert_unchanged(self, stack: Stack, key: str) -> None:
        shop = stack.client(key)
        assert_same(answers(shop), self._found)
        assert stack.embedded_when(shop.shop_id) == self._embedded_when
        moved = {"Photo"}  # the address holds the port, which is another one now
        strip = [
            {name: value for name, value in one.items() if name not in moved} for one in shop.all_photos()
        ]
        assert strip == [
            {name: value for name, value in one.items() if name not in moved} for one in self._photos
        ]
        old = httpx.URL(self._photos[0]["Photo"])
        answer = stack.http.get(old.raw_path.decode())
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_a_server_killed_while_it_started_does_not_block_the_next(tmp_path: Path) -> None:
    """It leaves a pid file that is cut short, which pgserver alone would never get past."""
    server = LocalPostgres(tmp_path)
    server.start()
    server.stop()
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{NO_PROCESS}\n{tmp_path / 'postgres'}\n1795000000\n")
    again = LocalPostgres(tmp_path)
    try:
        started = time.monotonic()
        engine = create_engine(again.start(), poolclass=NullPool)
        assert time.monotonic() - started < 60
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        (pid,) = pid_file.read_text().splitlines()[:1]
        assert psutil.Process(int(pid)).is_running()
    finally:
        again.stop()
