"""OpenVINO beside torch: which one is taken, and that the vectors are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.serving import EmbedderArgs
from models.errors import ConfigurationError
from serve_app.encoder import FashionClipEncoder
from serve_app.encoder.backends import choose_backend
from tests.checkpoints import make_checkpoint
from tests.photographs import photograph

DEMO = Path(__file__).parents[2] / "assets" / "demo-clip"
CPU = torch.device("cpu")
PROMPTS = ["a red dress", "hat", "", "a blue shirt of green with pink dots", "hat " * 120]
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.999, "int8": 0.995}
with_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed: pip install -e '.[cpu]'"
)


def _pixels(size_px: int) -> NDArray[np.uint8]:
    return np.stack([np.asarray(photograph(size_px, size_px, seed)) for seed in range(5)])


def _least_cosines(encoder: FashionClipEncoder, checkpoint: Path) -> list[float]:
    exact = FashionClipEncoder.load(checkpoint, device="cpu", dtype="float32", backend="torch")
    pixels = _pixels(exact.image_size_px)
    pairs = (
        (exact.encode_texts(PROMPTS), encoder.encode_texts(PROMPTS)),
        (exact.encode_images(pixels), encoder.encode_images(pixels)),
    )
    return [float((one * other).sum(axis=1).min()) for one, other in pairs]


def test_auto_takes_openvino_for_prompts_on_a_cpu_and_for_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes = ("auto", "float32", "float16", "bfloat16", "int8")
    for installed, of_texts in (
        (object(), ["openvino", "openvino", "torch", "openvino", "openvino"]),
        (None, ["torch"] * 4),
    ):
        monkeypatch.setattr("serve_app.encoder.backends.find_spec", lambda _, found=installed: found)
        asked = dtypes[: len(of_texts)]
        assert [choose_backend("auto", CPU, dtype, ["text"]) for dtype in asked] == of_texts
        assert {choose_backend("auto", CPU, dtype, ["image"]) for dtype in dtypes[:4]} == {"torch"}
        for tower in ("text", "image"):
            assert choose_backend("auto", torch.device("cuda"), "auto", [tower]) == "cuda_graphs"


@pytest.mark.parametrize(
    ("backend", "device", "dtype", "advice"),
    [
        ("torch", "cpu", "int8", "Set backend: openvino"),
        ("openvino", "cuda", "auto", "Set device: cpu"),
        ("auto", "cuda", "int8", "Set device: cpu"),
        ("cuda_graphs", "cpu", "auto", "Set device: cuda"),
        ("cuda_graphs", "cuda", "int8", "another dtype"),
        ("openvino", "cpu", "float16", "Set dtype: auto"),
    ],
)
def test_what_a_backend_cannot_do_is_refused(backend: str, device: str, dtype: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        choose_backend(backend, torch.device(device), dtype, ["text", "image"])


def test_a_missing_backend_fails_the_start_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.encoder.backends.find_spec", lambda _: None)
    args = EmbedderArgs(backend="openvino")
    with pytest.raises(ConfigurationError, match=r"pip install -c constraints.txt -e '.\[cpu\]'"):
        FashionClipEncoder.load(make_checkpoint(tmp_path), dtype=args.dtype, backend=args.backend)


def test_an_installed_openvino_is_not_loaded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # an import of it fails
    assert FashionClipEncoder.load(make_checkpoint(tmp_path)).dtype in ("bfloat16", "float32")


@with_openvino
@pytest.mark.parametrize("dtype", LEAST_COSINE)
@pytest.mark.parametrize("legacy", [False, True])
def test_openvino_gives_torchs_vectors(tmp_path: Path, dtype: str, legacy: bool) -> None:
    checkpoint = make_checkpoint(tmp_path, legacy_eos=legacy)
    encoder = FashionClipEncoder.load(checkpoint, dtype=dtype, backend="openvino")
    assert encoder.dtype == dtype
    assert min(_least_cosines(encoder, checkpoint)) >= LEAST_COSINE[dtype]


@with_openvino
@pytest.mark.parametrize("dtype", LEAST_COSINE)
def test_the_demo_models_vectors_stay(dtype: str) -> None:
    encoder = FashionClipEncoder.load(DEMO, dtype=dtype, backend="openvino")
    assert min(_least_cosines(encoder, DEMO)) >= LEAST_COSINE[dtype]


@with_openvino
def test_openvino_sends_nothing_of_this_machine(tmp_path: Path) -> None:
    code = (
        "from serve_app.encoder import openvino_towers\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__)"
    )
    environment = {"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["openvino.tools.ovc.telemetry_stub"]
    assert not list(tmp_path.iterdir())  # it would keep the machine's id there


@with_openvino
def test_threads_may_share_openvinos_towers(tmp_path: Path) -> None:
    encoder = FashionClipEncoder.load(make_checkpoint(tmp_path), dtype="float32", backend="openvino")
    batches = [[word] * (1 + number % 3) for number, word in enumerate(["hat", "red dress", "bag"] * 8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(encoder.encode_texts, batches))
    for one, batch in zip(found, batches, strict=True):
        assert np.abs(one - encoder.encode_texts(batch)).max() < 1e-5


def test_a_warm_up_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FashionClipEncoder.load(make_checkpoint(tmp_path))
    sizes: dict[str, list[int]] = {"encode_texts": [], "encode_images": []}
    for name, seen in sizes.items():
        monkeypatch.setattr(encoder, name, lambda batch, seen=seen: seen.append(len(batch)))
    encoder.warm_up()
    assert {1, 2, 4, 8, 16} <= set(sizes["encode_texts"])
    assert {1, 2, 4, 8} <= set(sizes["encode_images"])
    for seen in sizes.values():
        seen.clear()
    encoder.warm_up(budget_s=0.0)
    assert sizes == {"encode_texts": [1], "encode_images": [1]}
