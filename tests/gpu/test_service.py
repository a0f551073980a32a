"""The service on a GPU: the same code, another YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gpu.rates import NO_GPU
from tests.gpu.service import assert_exact_scores, gpu_config
from tests.stack import Stack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
LEAST_TAKEN_BYTES = 100 * 2**20  # a process that computes on a GPU takes more by itself


def test_the_service_answers_from_a_gpu(tmp_path: Path) -> None:
    free, _ = torch.cuda.mem_get_info()
    stack = Stack.launch(tmp_path / "data", str(gpu_config(tmp_path / "gpu.yaml")), "--port", "0")
    try:
        stack.wait_until_ready()
        assert free - torch.cuda.mem_get_info()[0] > LEAST_TAKEN_BYTES
        assert_exact_scores(stack)
        stack.stop()
    finally:
        stack.kill_everything()
