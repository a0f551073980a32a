"""Threads that call handles at the same moment, the first of their process."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from serve_app import handles

THREADS = 4


def test_all_threads_share_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    make, together = asyncio.new_event_loop, Barrier(THREADS)

    def make_slowly() -> asyncio.AbstractEventLoop:
        time.sleep(0.05)
        return make()

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def call(_: int) -> asyncio.AbstractEventLoop:
        together.wait()
        return handles.run_async(running())

    monkeypatch.setattr(asyncio, "new_event_loop", make_slowly)
    handles._made_loop.cache_clear()
    with ThreadPoolExecutor(THREADS) as pool:
        assert len(set(pool.map(call, range(THREADS)))) == 1
