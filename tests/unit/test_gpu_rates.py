"""What tests/gpu records, on a machine without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from ray.serve.schema import ServeDeploySchema

from models.errors import ConfigurationError
from scripts.benchmark import image, text
from scripts.benchmark.workbench import CONFIG
from serve_app.encoder import FashionClipEncoder
from tests.checkpoints import TINY, make_checkpoint
from tests.gpu.rates import RECORD, keep, tower_rates
from tests.gpu.service import gpu_config


def test_rates_of_both_towers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(RECORD, str(tmp_path / "record"))
    encoder = FashionClipEncoder.load(
        make_checkpoint(tmp_path / "model"), device="cpu", dtype="float32", backend="torch"
    )
    figures = tower_rates({"torch": encoder}, TINY.image_size_px, rounds=1)
    kept = json.loads(keep("gpu-towers", figures, {"dtype": encoder.dtype}).read_text("utf-8"))
    values = {one["name"]: one["value"] for one in kept["figures"]}
    assert len(values) == 16
    assert min(values.values()) > 0
    ms = values["text tower, torch, 32 prompts: ms"]
    assert values["text tower, torch, 32 prompts: a second"] == pytest.approx(32 / ms * 1000)
    assert (kept["details"], kept["machine"]["commit"] is not None) == ({"dtype": "float32"}, True)
    assert "image tower, torch, 96 photos: a second" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_served_config_is_one_that_serve_takes(tmp_path: Path, device: str) -> None:
    document = yaml.safe_load(gpu_config(tmp_path / "gpu.yaml", device).read_text("utf-8"))
    (application,) = ServeDeploySchema.model_validate(document).applications
    assert (
        application.args["text_embedder"]["device"] == application.args["image_embedder"]["device"] == device
    )
    gpus = [one.ray_actor_options.num_gpus for one in application.deployments]
    assert any(gpus) is (device == "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cuda"):
        text.measure(tmp_path, None, CONFIG, text.Options("torch", "cuda", [1], [16], 1.0, 1))
    with pytest.raises(ConfigurationError, match="cuda"):
        image.measure(tmp_path, None, CONFIG, image.Options("cuda", [1], 1))
    assert not list(tmp_path.iterdir())
