"""How much a key, a shop or a stranger may ask for, counted in windows (docs/decisions, rate limits)."""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from configs.serving import LimitArgs
from models.errors import QuotaExceeded, TooManyRequests
from serve_app.callers import Caller
from serve_app.client_address import ClientAddress
from serve_app.ports import EventCounter
from serve_app.rate_counters import Counters, MemoryCounters, Slot

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
LOGIN_ADDRESSES = 10
CLIENTS_OF_SHARED_ADDRESS = 50
MAX_SHOP_COUNTERS = 200_000
MAX_STRANGER_COUNTERS = 100_000


@dataclass(frozen=True, slots=True)
class Rule:
    """``sentence`` tells who was refused what the limit is."""

    name: str
    window_s: int
    sentence: str
    error: type[TooManyRequests] = TooManyRequests


KEY = Rule("key", MINUTE_S, "This key's requests are limited to {quota:,} a minute.")
SHOP = Rule("shop", MINUTE_S, "The shop's requests are limited to {quota:,} a minute, over all its keys.")
PROMPTS = Rule("prompts", DAY_S, "The shop's prompts are limited to {quota:,} a day (UTC).", QuotaExceeded)
SIGNUPS = Rule("signups", HOUR_S, "Sign-ups from one network address are limited to {quota:,} an hour.")
LOGINS_OF_EMAIL = Rule("logins-email", MINUTE_S, "Failed logins are limited to {quota:,} a minute.")
LOGINS_OF_ADDRESS = Rule("logins-address", MINUTE_S, LOGINS_OF_EMAIL.sentence)


@dataclass(frozen=True, slots=True)
class Budget:
    """``subject`` has ``quota`` requests in each window of the rule.

    Days begin at midnight UTC. Shorter windows begin at another moment for each subject, so that not all
    who were refused come back in the same second.
    """

    rule: Rule
    subject: str
    quota: int

    def window(self, now: float) -> tuple[Slot, int]:
        """The counter at that moment, and the whole seconds (at least 1) until the next one begins."""
        length_s = self.rule.window_s
        stagger_s = zlib.crc32(self.subject.encode()) % length_s if length_s < DAY_S else 0
        number, elapsed_s = divmod(now + stagger_s, length_s)
        slot = Slot(f"{self.rule.name}:{self.subject}:{int(number)}", length_s)
        return slot, max(1, math.ceil(length_s - elapsed_s))


@dataclass(frozen=True, slots=True)
class Standing:
    """``remaining`` is None where it cannot be told now."""

    budget: Budget
    remaining: int | None
    reset_s: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a request leaves its budgets; ``refused`` is the one that has to be waited for longest.

    ``taken``: what was counted, and where; nothing for a request that was refused.
    """

    standings: tuple[Standing, ...] = ()
    refused: Standing | None = None
    taken: tuple[Slot, ...] = ()
    counters: Counters | None = None

    def error(self) -> TooManyRequests | None:
        """What to raise; None for a request that may pass."""
        if self.refused is None:
            return None
        rule, quota = self.refused.budget.rule, self.refused.budget.quota
        return rule.error(f"{rule.sentence.format(quota=quota)} Try again in {self.refused.reset_s:,} s.")


class RateLimiter:
    """Takes one from every budget that a request concerns or, where one of them is empty, from none.

    While ``shared`` counters cannot be told, shops are served without limits, each such request is counted
    in ``unchecked``, and strangers are counted in this process.
    """

    def __init__(
        self,
        args: LimitArgs,
        unchecked: EventCounter,
        shared: Counters | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``shared``: None counts in this process. ``clock``: seconds since 1970, as other replicas have."""
        self._args = args
        self._unchecked = unchecked
        self._clock = clock
        self._shops: Counters = shared or MemoryCounters(MAX_SHOP_COUNTERS, clock)
        self._local_strangers = MemoryCounters(MAX_STRANGER_COUNTERS, clock)
        self._strangers: Counters = shared or self._local_strangers

    async def take_request(self, caller: Caller, *, prompt: bool = False) -> Verdict:
        """One request of a key and of its shop; with ``prompt``, one of the day's prompts too."""
        args = self._args
        prompts = _first(caller.prompts_per_day, args.prompts_per_day) if prompt else None
        budgets = _budgets(
            (KEY, caller.key_id, _first(caller.key_requests_per_minute, args.key_requests_per_minute)),
            (SHOP, caller.shop_id, _first(caller.shop_requests_per_minute, args.shop_requests_per_minute)),
            (PROMPTS, caller.shop_id, prompts),
        )
        verdict = await self._take(self._shops, budgets)
        if verdict is None:
            self._unchecked.increment()
            now = self._clock()
            verdict = Verdict(tuple(Standing(one, None, one.window(now)[1]) for one in budgets))
        return verdict

    async def take_signup(self, address: ClientAddress) -> Verdict:
        """One sign-up, further mail or activation from a client address."""
        quota = _of_address(self._args.signups_per_hour, address)
        return await self._take_from_stranger(_budgets((SIGNUPS, address.text, quota)))

    async def take_login(self, email: str, address: ClientAddress) -> Verdict:
        """One login of staff, before its password is looked at.

        An e-mail address has more room than a client address, so that no stranger alone can keep somebody
        else from logging in.

        ``give_back`` it when the password was right: only failures are to count.
        """
        quota = self._args.logins_per_minute
        of_email = None if quota is None else quota * LOGIN_ADDRESSES
        of_address = _of_address(quota, address)
        name = hashlib.sha256(email.strip().casefold().encode("utf-8", "replace")).hexdigest()[:32]
        return await self._take_from_stranger(
            _budgets((LOGINS_OF_EMAIL, name, of_email), (LOGINS_OF_ADDRESS, address.text, of_address))
        )

    async def give_back(self, verdict: Verdict, *rules: Rule) -> Verdict:
        """Undo what was taken for these rules, or for all; returns how things stand then."""
        if verdict.counters is None:
            return verdict
        standings, returned = [], []
        for standing, slot in zip(verdict.standings, verdict.taken, strict=True):
            if standing.remaining is not None and (not rules or standing.budget.rule in rules):
                returned.append(slot)
                standing = replace(standing, remaining=standing.remaining + 1)
            standings.append(standing)
        await verdict.counters.add(returned, -1)
        return Verdict(tuple(standings))

    async def state(self) -> str:
        """``ok``, or why shops are not limited at the moment."""
        return await self._shops.state()

    async def close(self) -> None:
        await self._shops.close()

    async def _take_from_stranger(self, budgets: list[Budget]) -> Verdict:
        verdict = await self._take(self._strangers, budgets)
        if verdict is None:
            verdict = await self._take(self._local_strangers, budgets)
        return verdict if verdict is not None else Verdict()

    async def _take(self, counters: Counters, budgets: list[Budget]) -> Verdict | None:
        """None where the counters cannot be told."""
        if not budgets:
            return Verdict()
        now = self._clock()
        slots, resets_s = zip(*(budget.window(now) for budget in budgets), strict=True)
        counts = await counters.add(slots, 1)
        if counts is None:
            return None
        over = [count > budget.quota for count, budget in zip(counts, budgets, strict=True)]
        if any(over):
            await counters.add(slots, -1)
            counts = [count - 1 for count in counts]
        standings = tuple(
            Standing(budget, max(0, budget.quota - count), reset_s)
            for budget, count, reset_s in zip(budgets, counts, resets_s, strict=True)
        )
        if not any(over):
            return Verdict(standings, None, slots, counters)
        refused = [standing for standing, is_over in zip(standings, over, strict=True) if is_over]
        return Verdict(standings, max(refused, key=lambda standing: standing.reset_s))


def _budgets(*wanted: tuple[Rule, object, int | None]) -> list[Budget]:
    return [Budget(rule, str(subject), quota) for rule, subject, quota in wanted if quota is not None]


def _of_address(quota: int | None, address: ClientAddress) -> int | None:
    """Where all clients have one address, few of them must not be able to shut out the others."""
    return quota * CLIENTS_OF_SHARED_ADDRESS if quota is not None and address.shared else quota


def _first(own: int | None, general: int | None) -> int | None:
    return general if own is None else own
