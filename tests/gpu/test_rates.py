"""What this GPU computes in a second: recorded, not asserted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scripts.benchmark import bulk
from serve_app.encoder import FashionClipEncoder
from tests.checkpoints import FASHION_CLIP_SHAPE, make_checkpoint
from tests.gpu.rates import NO_GPU, keep, tower_rates
from tests.gpu.service import gpu_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
BULK = bulk.Options(photos=2048, rounds=2, peer=False)


def test_both_towers(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path, FASHION_CLIP_SHAPE)
    encoders = {
        backend: FashionClipEncoder.load(checkpoint, device="cuda", backend=backend)
        for backend in ("torch", "cuda_graphs")
    }
    keep("gpu-towers", tower_rates(encoders), {"dtype": encoders["torch"].dtype})


def test_bulk_work(tmp_path: Path) -> None:
    """Through the whole service, beside the bare tower, as ``scripts.benchmark bulk`` measures it."""
    figures, details = bulk.measure(tmp_path, None, gpu_config(tmp_path / "gpu.yaml"), BULK)
    keep("gpu-bulk", figures, details)
