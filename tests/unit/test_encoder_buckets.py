"""Fixed shapes: whatever a batch is padded with, its vectors are those of the towers without padding.

The CUDA graphs' bookkeeping is tested with ``tests/recorded_graphs.py``; real graphs in ``tests/gpu``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import CLIPConfig

from serve_app.checkpoints import Preprocessing
from serve_app.encoder import buckets, cuda_graphs
from serve_app.encoder.buckets import BucketedImageTower, BucketedTextTower, bucket_for, lengths_of, padded
from serve_app.encoder.cuda_graphs import CudaGraphs
from serve_app.encoder.layout import Layout, lay_out
from serve_app.encoder.loading import load_tensors
from serve_app.encoder.towers import TorchImageTower, TorchTextTower
from serve_app.encoder.weights import image_weights, text_weights
from tests.checkpoints import TINY, make_checkpoint
from tests.recorded_graphs import CPU, record_graphs

START, END, LIMIT = 30, 31, 77
Vectors = NDArray[np.float32]
texts = st.lists(st.lists(st.integers(1, 29), max_size=20), min_size=1, max_size=11)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> tuple[TorchTextTower, TorchImageTower]:
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("tiny"))
    config = CLIPConfig.from_pretrained(checkpoint)
    text = text_weights(load_tensors(checkpoint, "text", config), config)
    image = image_weights(load_tensors(checkpoint, "image", config), config, Preprocessing.of(checkpoint))
    return TorchTextTower(text, CPU, torch.float32), TorchImageTower(image, CPU, torch.float32)


class Uncaptured:
    """A ``Run`` without a GPU. Rows that are not asked for hold what cannot matter."""

    def __init__(self, compute: Callable[..., torch.Tensor]) -> None:
        self._compute, self.batches = compute, list[int]()

    @torch.inference_mode()
    def __call__(self, batch: int, *rows: NDArray[Any]) -> Vectors:
        self.batches.append(batch)
        rest = [np.ones((batch - len(one), *one.shape[1:]), one.dtype) for one in rows]
        filled = [torch.from_numpy(np.concatenate(pair)) for pair in zip(rows, rest, strict=True)]
        found: Vectors = self._compute(*filled)[: len(rows[0])].numpy()
        return found


def _layout(prompts: list[list[int]]) -> Layout:
    longest = max(map(len, prompts)) + 2
    rows = [[START, *prompt, END, *[END] * (longest - len(prompt) - 2)] for prompt in prompts]
    return lay_out(np.array(rows), END)


def _photos(count: int, seed: int = 0) -> NDArray[np.uint8]:
    side = TINY.image_size_px
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@given(size=st.integers(1, 500))
def test_a_bucket_is_the_smallest_that_holds_a_batch_or_the_largest(size: int) -> None:
    for sizes in (buckets.TEXT_BATCHES, buckets.IMAGE_BATCHES, buckets.LENGTHS):
        found = bucket_for(size, sizes)
        assert found >= min(size, sizes[-1])
        assert not any(size <= one < found for one in sizes)


def test_the_longest_bucket_is_what_the_model_reads() -> None:
    assert lengths_of(77) == [8, 16, 24, 32, 48, 77]
    assert lengths_of(20) == [8, 16, 20]
    assert lengths_of(100) == [8, 16, 24, 32, 48, 77, 100]


@given(prompts=texts, more=st.integers(0, 9))
def test_padding_keeps_every_token_in_its_place(prompts: list[list[int]], more: int) -> None:
    layout = _layout(prompts)
    ids, ends = padded(layout, layout.longest + more)
    whole = [[START, *prompt, END] for prompt in prompts]
    assert [row[: len(one)] for row, one in zip(ids.tolist(), whole, strict=True)] == whole
    assert [int(ids[len(one) :].sum()) for ids, one in zip(ids, whole, strict=True)] == [0] * len(prompts)
    assert ends.tolist() == [len(one) - 1 for one in whole]


@settings(max_examples=40, deadline=None)
@given(prompts=texts)
def test_prompts_in_fixed_shapes_have_the_same_vectors(
    towers: tuple[TorchTextTower, TorchImageTower], prompts: list[list[int]]
) -> None:
    text, _ = towers
    layout = _layout(prompts)
    run = Uncaptured(text.padded)
    found = BucketedTextTower(run, LIMIT)(layout)
    assert run.batches == [bucket_for(len(prompts), buckets.TEXT_BATCHES)]
    assert np.abs(found - text(layout)).max() < 1e-5


@pytest.mark.parametrize(("count", "parts"), [(1, [1]), (3, [4]), (17, [24]), (128, [128]), (150, [128, 24])])
def test_photos_in_fixed_shapes_have_the_same_vectors(
    towers: tuple[TorchTextTower, TorchImageTower], count: int, parts: list[int]
) -> None:
    _, image = towers
    run = Uncaptured(image.of_sent)
    found = BucketedImageTower(run, TINY.image_size_px)(_photos(count))
    assert run.batches == parts
    assert np.abs(found - image(_photos(count))).max() < 1e-5


def test_more_prompts_than_the_largest_batch_go_in_parts(
    towers: tuple[TorchTextTower, TorchImageTower],
) -> None:
    text, _ = towers
    layout = _layout([[1 + number % 29] * (number % 20) for number in range(70)])
    run = Uncaptured(text.padded)
    assert np.abs(BucketedTextTower(run, LIMIT)(layout) - text(layout)).max() < 1e-5
    assert run.batches == [64, 8]


def test_a_warm_up_runs_every_shape_or_ends_in_time() -> None:
    shapes: list[tuple[int, ...]] = []

    def run(batch: int, *rows: NDArray[Any]) -> Vectors:
        shapes.append(rows[0].shape)
        return np.empty((batch, 4), np.float32)

    for tower in (BucketedTextTower(run, LIMIT), BucketedImageTower(run, 16)):
        before = len(shapes)
        tower.warm_up(time.monotonic() - 1)
        assert len(shapes) == before
        tower.warm_up(time.monotonic() + 60)
    assert shapes[: len(buckets.TEXT_BATCHES)] == [(batch, 8) for batch in buckets.TEXT_BATCHES]
    assert len(set(shapes)) == len(shapes) == 7 * 6 + 11


def test_one_graph_a_shape_computes_whatever_comes(
    towers: tuple[TorchTextTower, TorchImageTower], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, image = towers
    captured = record_graphs(monkeypatch)
    of_texts = BucketedTextTower(CudaGraphs(text.padded, CPU), LIMIT)
    of_photos = BucketedImageTower(CudaGraphs(image.of_sent, CPU), TINY.image_size_px)
    for count in (5, 7, 8, 6):  # fewer than before: the rows of the former batch are still there
        layout = _layout([[count] * (1 + number % count) for number in range(count)])
        assert np.abs(of_texts(layout) - text(layout)).max() < 1e-5
        pixels = _photos(count, seed=count)
        assert np.abs(of_photos(pixels) - image(pixels)).max() < 1e-5
    assert len(captured) == 3  # 8 photos; 8 prompts of up to 8 tokens and of up to 16


def test_threads_may_share_graphs(
    towers: tuple[TorchTextTower, TorchImageTower], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _ = towers
    record_graphs(monkeypatch)
    tower = BucketedTextTower(CudaGraphs(text.padded, CPU), LIMIT)
    layouts = [_layout([[1 + seed % 29] * (1 + seed % 5)] * (1 + seed % 3)) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(tower, layouts))
    for one, layout in zip(found, layouts, strict=True):
        assert np.abs(one - text(layout)).max() < 1e-5


def test_where_no_graph_can_be_captured_the_kernels_are_launched_one_by_one(
    towers: tuple[TorchTextTower, TorchImageTower],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text, _ = towers
    captured = record_graphs(monkeypatch)
    tower = BucketedTextTower(CudaGraphs(text.padded, CPU), LIMIT)
    short, long = _layout([[3, 4]]), _layout([[3] * 12])
    tower(short)

    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    with caplog.at_level(logging.WARNING, cuda_graphs.logger.name):
        for layout in (long, _layout([[5] * 30]), short):
            assert np.abs(tower(layout) - text(layout)).max() < 1e-5
    (record,) = caplog.records
    assert "CUDA out of memory" in record.getMessage()
    assert len(captured) == 1
