"""Limits of keys, shops and strangers: counted, refused, told, forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.aio.strategies import FixedWindowRateLimiter

from configs.serving import LimitArgs
from models.errors import QuotaExceeded, TooManyRequests
from models.shop import KeyScope
from serve_app.callers import Caller
from serve_app.client_address import ClientAddress
from serve_app.rate_counters import BoundedMemory, Slot
from serve_app.rate_limits import DAY_S, KEY, MINUTE_S, PROMPTS, SHOP, Budget, RateLimiter, Rule, Verdict
from tests.fakes import FakeClock, Tally

NOON = 1_800_014_400.0


@dataclass
class SilentCounters:
    """A Redis that is down."""

    asked: list[str] = field(default_factory=list)

    async def add(self, slots: object, amount: int) -> None:
        self.asked.append(f"{slots} {amount}")

    async def state(self) -> str:
        return "down"

    async def close(self) -> None: ...


def caller(key_id: int = 1, shop_id: int = 1, **limits: int) -> Caller:
    return Caller(shop_id, key_id, KeyScope.SECRET, **limits)


def limiter(clock: FakeClock, **limits: int | None) -> RateLimiter:
    none: dict[str, int | None] = dict.fromkeys(LimitArgs.model_fields)
    return RateLimiter(LimitArgs(**(none | limits)), Tally(), clock=clock)


def told(address: str) -> ClientAddress:
    return ClientAddress(address, shared=False)


def remaining(verdict: Verdict) -> dict[str, int | None]:
    return {one.budget.rule.name: one.remaining for one in verdict.standings}


async def test_no_limit_counts_nothing() -> None:
    verdict = await limiter(FakeClock()).take_request(caller(), prompt=True)
    assert (verdict.standings, verdict.error()) == ((), None)


async def test_a_full_budget_refuses_until_its_window_ends() -> None:
    clock = FakeClock()
    limited = limiter(clock, key_requests_per_minute=2)
    assert [remaining(await limited.take_request(caller()))["key"] for _ in range(2)] == [1, 0]
    refused = await limited.take_request(caller())
    error = refused.error()
    assert isinstance(error, TooManyRequests)
    assert not isinstance(error, QuotaExceeded)
    assert refused.refused is not None
    assert "limited to 2 a minute" in error.message
    assert f"Try again in {refused.refused.reset_s} s" in error.message
    assert 1 <= refused.refused.reset_s <= MINUTE_S
    clock.now += refused.refused.reset_s - 1.5
    assert (await limited.take_request(caller())).error() is not None
    clock.now += 1.5
    assert remaining(await limited.take_request(caller()))["key"] == 1


async def test_the_row_wins_over_the_configuration() -> None:
    limited = limiter(FakeClock(), key_requests_per_minute=5, shop_requests_per_minute=5, prompts_per_day=5)
    own = caller(key_requests_per_minute=9, shop_requests_per_minute=0, prompts_per_day=7)
    verdict = await limited.take_request(own, prompt=True)
    assert {one.budget.rule: one.budget.quota for one in verdict.standings} == {KEY: 9, SHOP: 0, PROMPTS: 7}
    assert verdict.error() is not None


async def test_a_refused_request_costs_no_budget_anything() -> None:
    limited = limiter(FakeClock(), key_requests_per_minute=1, shop_requests_per_minute=3, prompts_per_day=3)
    for _ in range(5):
        last = await limited.take_request(caller(key_id=1), prompt=True)
    assert remaining(last) == {"key": 0, "shop": 2, "prompts": 2}
    other = await limited.take_request(caller(key_id=2), prompt=True)
    assert (other.error(), remaining(other)) == (None, {"key": 0, "shop": 1, "prompts": 1})


async def test_keys_share_their_shop_only() -> None:
    limited = limiter(FakeClock(), shop_requests_per_minute=2)
    assert (await limited.take_request(caller(key_id=1))).error() is None
    assert (await limited.take_request(caller(key_id=2))).error() is None
    assert (await limited.take_request(caller(key_id=3))).error() is not None
    assert (await limited.take_request(caller(key_id=4, shop_id=2))).error() is None


async def test_prompts_end_at_midnight_and_can_be_given_back() -> None:
    clock = FakeClock(NOON - 1)
    limited = limiter(clock, prompts_per_day=1)
    first = await limited.take_request(caller(), prompt=True)
    assert remaining(await limited.give_back(first, PROMPTS)) == {"prompts": 1}
    assert (await limited.take_request(caller(), prompt=True)).error() is None
    refused = await limited.take_request(caller(), prompt=True)
    assert isinstance(refused.error(), QuotaExceeded)
    assert refused.refused is not None
    assert refused.refused.reset_s == 12 * 3600 + 1
    assert (await limited.give_back(refused)).refused is refused.refused
    assert (await limited.take_request(caller())).error() is None
    clock.now += refused.refused.reset_s
    assert (await limited.take_request(caller(), prompt=True)).error() is None


async def test_the_longest_wait_is_named() -> None:
    limited = limiter(FakeClock(), key_requests_per_minute=1, prompts_per_day=1)
    await limited.take_request(caller(), prompt=True)
    refused = (await limited.take_request(caller(), prompt=True)).refused
    assert refused is not None
    assert refused.budget.rule is PROMPTS


async def test_only_failed_logins_count_by_address_and_by_email() -> None:
    limited = limiter(FakeClock(), logins_per_minute=2)
    for _ in range(5):
        good = await limited.take_login("ada@example.com", told("192.0.2.1"))
        assert good.error() is None
        await limited.give_back(good)
    for _ in range(2):
        assert (await limited.take_login("ada@example.com", told("192.0.2.1"))).error() is None
    for stranger in range(18):
        assert (await limited.take_login("ada@example.com", told(f"198.51.100.{stranger}"))).error() is None
    assert (await limited.take_login(" Ada@Example.com", told("192.0.2.2"))).error() is not None
    assert (await limited.take_login("eve@example.com", told("192.0.2.1"))).error() is not None
    free = await limited.take_login("eve@example.com", told("192.0.2.2"))
    assert free.error() is None
    assert "@" not in str(free)


async def test_an_address_that_all_share_has_room_for_many() -> None:
    limited, proxy = (
        limiter(FakeClock(), logins_per_minute=2, signups_per_hour=3),
        ClientAddress("p", shared=True),
    )
    logins = [(await limited.take_login(f"{n}@example.com", proxy)).error() for n in range(101)]
    assert [error is None for error in logins] == [True] * 100 + [False]
    signups = [(await limited.take_signup(proxy)).error() is None for _ in range(151)]
    assert signups == [True] * 150 + [False]
    # An e-mail address has no more room than elsewhere.
    limited = limiter(FakeClock(), logins_per_minute=2)
    assert [(await limited.take_login("a@b.example", proxy)).error() is None for _ in range(21)] == (
        [True] * 20 + [False]
    )


async def test_shops_are_served_and_strangers_counted_here_while_the_counters_are_silent() -> None:
    tally, silent = Tally(), SilentCounters()
    args = LimitArgs(key_requests_per_minute=1, signups_per_hour=1, logins_per_minute=1)
    limited = RateLimiter(args, tally, silent, clock=FakeClock())
    for _ in range(3):
        verdict = await limited.take_request(caller())
        assert verdict.error() is None
        assert set(remaining(verdict).values()) == {None}
    assert tally.count == 3
    assert await limited.state() == "down"
    assert [(await limited.take_signup(told("a"))).error() is None for _ in range(2)] == [True, False]
    login = await limited.take_login("a@b.example", told("a"))
    assert (await limited.take_login("a@b.example", told("a"))).error() is not None
    await limited.give_back(login)
    assert (await limited.take_login("a@b.example", told("a"))).error() is None


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 40)), max_size=60), st.integers(1, 4))
async def test_windows_admit_as_many_as_an_independent_count(
    steps: list[tuple[int, float]], quota: int
) -> None:
    """Oracle: a list of the admitted requests' windows, told from when each window begins."""
    clock, admitted = FakeClock(), []
    limited = limiter(clock, key_requests_per_minute=quota)
    for key_id, pause_s in steps:
        clock.now += pause_s
        verdict = await limited.take_request(caller(key_id=key_id))
        (standing,) = verdict.standings
        window_ends = clock.now + standing.budget.window(clock.now)[1]
        mine = [end for key, end in admitted if key == key_id and abs(end - window_ends) <= 1.0]
        assert (verdict.error() is None) == (len(mine) < quota)
        assert standing.remaining == max(0, quota - len(mine) - 1)
        if verdict.error() is None:
            admitted.append((key_id, window_ends))


@given(st.floats(0, 4e9), st.sampled_from((KEY, PROMPTS)), st.text(max_size=8))
def test_a_window_ends_when_it_says(now: float, rule: Rule, subject: str) -> None:
    budget = Budget(rule, subject, 1)
    slot, reset_s = budget.window(now)
    assert 1 <= reset_s <= budget.rule.window_s + (now % 1 > 0)
    assert budget.window(now + reset_s)[0] != slot
    assert budget.window(now)[0] == slot
    if rule is PROMPTS:
        assert int((now + reset_s) // DAY_S) == int(now // DAY_S) + 1


async def test_memory_agrees_with_the_librarys_fixed_window() -> None:
    clock = FakeClock()
    memory = BoundedMemory(10, clock)
    fixed, item = FixedWindowRateLimiter(memory), RateLimitItemPerMinute(3)
    assert [await fixed.hit(item, "a") for _ in range(4)] == [True, True, True, False]
    reset_at, left = await fixed.get_window_stats(item, "a")
    assert (reset_at, left) == (NOON + 60, 0)
    clock.now += 60
    assert await fixed.test(item, "a")
    assert await fixed.hit(item, "a")
    await fixed.clear(item, "a")
    assert (await fixed.get_window_stats(item, "a")).remaining == 3


async def test_memory_is_bounded_and_forgets() -> None:
    clock = FakeClock()
    memory = BoundedMemory(100, clock)
    for number in range(1000):
        await memory.incr(str(number), 60)
    assert len(memory) == 100
    assert await memory.get("999") == 1
    clock.now += 61
    await memory.incr("new", 60)
    assert len(memory) == 1
    assert await memory.check()
    assert await memory.reset() == 1


def test_slots_name_no_window_twice() -> None:
    slots = {Budget(KEY, "1", 5).window(NOON + 60 * step)[0] for step in range(50)}
    assert len(slots) == 50
    assert all(isinstance(slot, Slot) and slot.ttl_s == 60 for slot in slots)


@pytest.mark.parametrize("rule", [KEY, PROMPTS])
def test_only_short_windows_begin_at_different_moments(rule: Rule) -> None:
    resets = {Budget(rule, str(subject), 1).window(NOON)[1] for subject in range(50)}
    assert (len(resets) > 10) == (rule is KEY)
