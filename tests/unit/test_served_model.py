"""Which checkpoint is served, and what stands in for it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig

from configs.serving import AppArgs, ModelArgs
from models.errors import ConfigurationError
from models.image import IndexState, IndexVersion
from serve_app.checkpoints import model_key
from serve_app.photos import PREPROCESSING_VERSION, ImageGeometry
from serve_app.served_model import LARGEST_LOGIT_SCALE, PROJECT, choose_model, locate, logit_scale
from serve_app.startup import context_of
from tests.checkpoints import TINY, make_checkpoint

NOWHERE = "nobody/no-such-model-here"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_directory_is_served_as_it_is(checkpoint: Path) -> None:
    model = choose_model(ModelArgs(name=str(checkpoint)))
    assert (model.name, model.source, model.fell_back) == ("tiny", str(checkpoint), False)
    assert model.dimension == TINY.dimension
    assert model.geometry == ImageGeometry.of(checkpoint)
    assert model.logit_scale == pytest.approx(exp(CLIPConfig().logit_scale_init_value), rel=1e-6)
    assert model.label == f"tiny@{model.revision[:12]}"
    assert model.revision in model.key
    assert pickle.loads(pickle.dumps(model)) == model
    assert locate(model, hub_timeout_s=1).directory == checkpoint


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_temperature_is_read_from_weights_of_any_type(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {"a": torch.ones(3, dtype=dtype), "logit_scale": torch.tensor(3.25, dtype=dtype)}
    save_file(weights, tmp_path / "model.safetensors")
    assert logit_scale(tmp_path) == pytest.approx(exp(3.25), rel=1e-6)
    save_file(weights | {"logit_scale": torch.tensor(9.0)}, tmp_path / "model.safetensors")
    assert logit_scale(tmp_path) == LARGEST_LOGIT_SCALE
    save_file({"a": weights["a"]}, tmp_path / "model.safetensors")
    assert logit_scale(tmp_path) == LARGEST_LOGIT_SCALE


def test_a_directory_may_be_named_from_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    model = choose_model(ModelArgs(name="assets/demo-clip"))
    assert model.source == str(PROJECT / "assets" / "demo-clip")


def test_other_weights_are_another_model(checkpoint: Path, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "tiny", seed=1)
    one, two = (choose_model(ModelArgs(name=str(path))) for path in (checkpoint, other))
    assert one.name == two.name
    assert one.key != two.key
    with pytest.raises(ConfigurationError, match="Give every machine the same files"):
        locate(
            type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"source": str(other)}),
            hub_timeout_s=1,
        )


def test_photos_are_prepared_as_those_that_are_indexed(checkpoint: Path) -> None:
    args = ModelArgs(name=str(checkpoint))
    model = choose_model(args)
    assert model.key.endswith(f"+{PREPROCESSING_VERSION}")
    assert model.geometry.shrinks
    former_key = model_key(model.name, model.revision, "p1")
    former = choose_model(args, former_key)
    assert former == replace(model, key=former_key, geometry=replace(model.geometry, shrinks=False))
    fallback = choose_model(ModelArgs(name=NOWHERE, fallback=str(checkpoint), hub_timeout_s=1), former_key)
    assert fallback == replace(former, fell_back=True)
    for other in (model.key, "tiny@0123456789ab+p1", model_key(model.name, model.revision, "p0"), None):
        assert choose_model(args, other) == model


def test_a_version_is_served_with_its_own_preprocessing(checkpoint: Path) -> None:
    model = choose_model(ModelArgs(name=str(checkpoint)))
    for preprocessing, shrinks in (("p1", False), ("p2", True)):
        key = model_key(model.name, model.revision, preprocessing)
        version = IndexVersion(
            id=3,
            model_key=key,
            dimension=model.dimension,
            source=model.source,
            revision=model.revision,
            state=IndexState.RETIRED,
        )
        found = context_of(AppArgs(), version).model
        assert (found.key, found.geometry.shrinks) == (key, shrinks)


def test_the_fallback_stands_in_loudly(checkpoint: Path) -> None:
    model = choose_model(ModelArgs(name=NOWHERE, fallback=str(checkpoint), hub_timeout_s=1))
    assert (model.name, model.fell_back) == ("tiny", True)


def test_without_a_fallback_nothing_stands_in() -> None:
    with pytest.raises(ConfigurationError, match=NOWHERE):
        choose_model(ModelArgs(name=NOWHERE, hub_timeout_s=1))


def test_a_broken_directory_is_an_error_even_with_a_fallback(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    with pytest.raises(ConfigurationError, match="broken"):
        choose_model(ModelArgs(name=str(tmp_path / "broken"), fallback=str(checkpoint)))
