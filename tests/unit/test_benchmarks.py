"""The arithmetic of the benchmarks; their figures are no tests."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmark.accuracy import overlap
from scripts.benchmark.bulk import ratio_of
from scripts.benchmark.memory_use import BUFFERS, MemoryPeaks, pss_bytes
from scripts.benchmark.mixed import quantiles_ms
from scripts.benchmark.processor_time import between
from serve_app.data_directory import DataDirectory
from serve_app.priority import give_way


def test_each_bulk_round_is_held_against_the_bare_one_beside_it() -> None:
    assert ratio_of([(40.0, 36.0), (20.0, 19.0), (40.0, 20.0)]) == pytest.approx(0.9)


def test_overlap_counts_what_both_have_in_whatever_order() -> None:
    exact = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert overlap(exact, exact[:, ::-1]) == 1
    assert overlap(exact, np.array([[4, 9, 1, 0], [8, 7, 6, 1]])) == pytest.approx((2 + 3) / 8)


def test_quantiles_are_in_milliseconds() -> None:
    found = quantiles_ms([n / 1000 for n in range(101)])
    assert found == pytest.approx({"p50": 50.0, "p90": 90.0, "p99": 99.0, "slowest": 100.0})


def test_processor_time_is_summed_by_part_and_new_processes_count_whole() -> None:
    before = {1: ("workers", 2.0), 2: ("Chroma", 5.0)}
    after = {1: ("workers", 3.0), 2: ("Chroma", 5.5), 3: ("workers", 4.0)}
    assert between(before, after) == pytest.approx({"workers": 5.0, "Chroma": 0.5})


def test_memory_is_the_largest_sum_of_one_sample_with_and_without_what_stays(tmp_path: Path) -> None:
    peaks = MemoryPeaks(DataDirectory(tmp_path), launcher_pid=1)
    for sizes in ({"workers": 5, "Chroma": 1}, {"workers": 4, "Chroma": 3, BUFFERS: 2}, {"workers": 1}):
        peaks.note(sizes)
    assert (peaks.total, peaks.working) == (9, 5)
    assert peaks.parts == {"workers": 5, "Chroma": 3, BUFFERS: 2}


def test_memory_is_read_as_linux_writes_it() -> None:
    rollup = b"Rss:  900 kB\nPss:                 300 kB\nPss_Dirty: 7 kB\nPss_Shmem:            20 kB\n"
    assert pss_bytes(rollup) == (300 * 1024, 20 * 1024)
    assert pss_bytes(b"") == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere priorities are of whole processes")
def test_a_thread_gives_way_alone_and_never_comes_back() -> None:
    found: list[int] = []

    def work() -> None:
        for nice in (7, 3):
            give_way(nice)
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [max(before, 7)] * 2
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
