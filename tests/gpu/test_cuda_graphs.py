"""Both towers on a real GPU, by CUDA graphs and without, against the CPU's float32."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scripts.console import out
from serve_app.encoder import FashionClipEncoder
from serve_app.encoder.buckets import BucketedImageTower, BucketedTextTower
from tests.checkpoints import FASHION_CLIP_SHAPE, make_checkpoint
from tests.gpu.rates import NO_GPU, photos_of, prompts_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
LEAST_COSINE = {"float32": 0.9999, "float16": 0.999, "bfloat16": 0.999}
COUNTS = 1, 3, 8, 30, 70, 130
Vectors = NDArray[np.float32]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("model"), FASHION_CLIP_SHAPE)


@pytest.fixture(scope="module")
def exact(checkpoint: Path) -> FashionClipEncoder:
    return FashionClipEncoder.load(checkpoint, device="cpu", dtype="float32", backend="torch")


@pytest.fixture(scope="module", params=list(LEAST_COSINE))
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graphed(checkpoint: Path, dtype: str) -> FashionClipEncoder:
    return FashionClipEncoder.load(checkpoint, device="cuda", dtype=dtype)


def _cosine(one: Vectors, other: Vectors) -> float:
    return float((one * other).sum(axis=1).min())


def test_a_gpu_gives_the_cpus_vectors(
    exact: FashionClipEncoder, graphed: FashionClipEncoder, dtype: str
) -> None:
    for seed in (5, 12, 89):  # short prompts, longer ones, some that are cut
        prompts = prompts_of(9, seed)
        assert _cosine(exact.encode_texts(prompts), graphed.encode_texts(prompts)) >= LEAST_COSINE[dtype]
    pixels = photos_of(5)
    assert _cosine(exact.encode_images(pixels), graphed.encode_images(pixels)) >= LEAST_COSINE[dtype]


def test_a_gpu_without_graphs_gives_the_cpus_vectors(
    checkpoint: Path, exact: FashionClipEncoder, dtype: str
) -> None:
    plain = FashionClipEncoder.load(checkpoint, device="cuda", dtype=dtype, backend="torch")
    prompts, pixels = prompts_of(9, 12), photos_of(5)
    assert _cosine(exact.encode_texts(prompts), plain.encode_texts(prompts)) >= LEAST_COSINE[dtype]
    assert _cosine(exact.encode_images(pixels), plain.encode_images(pixels)) >= LEAST_COSINE[dtype]


def test_graphs_give_the_kernels_vectors(checkpoint: Path, graphed: FashionClipEncoder, dtype: str) -> None:
    plain = FashionClipEncoder.load(checkpoint, device="cuda", dtype=dtype, backend="torch")
    for seed, count in enumerate(COUNTS):
        prompts, pixels = prompts_of(count, 1 + 7 * seed), photos_of(count, seed)
        for _ in range(2):  # captured, then replayed
            assert _cosine(plain.encode_texts(prompts), graphed.encode_texts(prompts)) >= LEAST_COSINE[dtype]
            assert _cosine(plain.encode_images(pixels), graphed.encode_images(pixels)) >= LEAST_COSINE[dtype]


def test_every_shape_is_captured(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder = FashionClipEncoder.load(checkpoint, device="cuda")
    before = torch.cuda.memory_reserved()
    started = time.monotonic()
    encoder.warm_up(budget_s=120.0)
    out.print(f"\nwarm-up: {time.monotonic() - started:.1f} s")
    out.print(f"memory of the graphs: {(torch.cuda.memory_reserved() - before) / 2**20:.0f} MiB")
    towers = encoder._towers.text, encoder._towers.image
    assert isinstance(towers[0], BucketedTextTower)
    assert isinstance(towers[1], BucketedImageTower)
    assert [len(tower._run._graphs) for tower in towers] == [42, 11]
    assert not caplog.records


def test_threads_capture_and_replay_at_the_same_time(checkpoint: Path, exact: FashionClipEncoder) -> None:
    encoder = FashionClipEncoder.load(checkpoint, device="cuda")
    known = prompts_of(40, seed=9), photos_of(10)
    wanted = exact.encode_texts(known[0]), exact.encode_images(known[1])

    def ask(number: int) -> float:
        first, count = number % 8, 1 + number % 2 * 2
        if number % 3:
            found = encoder.encode_texts(known[0][first : first + 16 * count])
            return _cosine(wanted[0][first : first + 16 * count], found)
        return _cosine(
            wanted[1][first : first + count], encoder.encode_images(known[1][first : first + count])
        )

    with ThreadPoolExecutor(8) as pool:
        assert min(pool.map(ask, range(400))) >= 0.999
