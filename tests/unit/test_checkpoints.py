"""Where a checkpoint comes from, and what a person is told when it is not there."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from configs.serving import FASHION_CLIP, FASHION_CLIP_REVISION
from models.errors import ConfigurationError
from serve_app.checkpoints import (
    Preprocessing,
    model_key,
    resolve_checkpoint,
)
from tests.checkpoints import make_checkpoint


def _resolve(model: str, revision: str | None = None) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        resolve_checkpoint(model, revision, timeout_s=5, allow_download=False)
    assert "\n" not in caught.value.message
    return caught.value


def test_a_directory_is_named_by_its_content(tmp_path: Path) -> None:
    one = resolve_checkpoint(str(make_checkpoint(tmp_path / "one")), None, timeout_s=5)
    same = resolve_checkpoint(str(make_checkpoint(tmp_path / "same")), None, timeout_s=5)
    other = resolve_checkpoint(str(make_checkpoint(tmp_path / "other", seed=1)), None, timeout_s=5)
    assert (one.name, one.directory) == ("one", tmp_path / "one")
    assert one.revision == same.revision != other.revision
    assert len(one.revision) == 12


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "vocab.json", "tokenizer.json"])
def test_every_file_that_changes_vectors_changes_the_revision(tmp_path: Path, name: str) -> None:
    checkpoint = make_checkpoint(tmp_path / "clip")
    before = resolve_checkpoint(str(checkpoint), None, timeout_s=5).revision
    with (checkpoint / name).open("a") as file:
        file.write(" ")
    assert resolve_checkpoint(str(checkpoint), None, timeout_s=5).revision != before


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    checkpoint = make_checkpoint(tmp_path / "clip")
    (checkpoint / name).unlink()
    assert f"lacks {name}" in _resolve(str(checkpoint)).message


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "clip")
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "lacks model-00002-of-00002.safetensors." in _resolve(str(checkpoint)).message


@pytest.mark.parametrize("model", ["./nowhere", "/no/such/place", "~/no/such/place", "a/b/c"])
def test_a_path_that_does_not_exist_is_not_asked_of_the_hub(model: str) -> None:
    assert repr(model) in _resolve(model).message


def test_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = _resolve(FASHION_CLIP, FASHION_CLIP_REVISION).message
    for part in (FASHION_CLIP, FASHION_CLIP_REVISION[:12], "downloads are off", "Set model:", "local.yaml"):
        assert part in message


def _cache(root: Path, revision: str) -> Path:
    repository = root / f"models--{FASHION_CLIP.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    return make_checkpoint(repository / "snapshots" / revision)


@pytest.mark.parametrize("asked", [FASHION_CLIP_REVISION, None])
def test_the_local_cache_is_used_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    snapshot = _cache(tmp_path, FASHION_CLIP_REVISION)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = resolve_checkpoint(FASHION_CLIP, asked, timeout_s=5, allow_download=False)
    assert (found.directory, found.name, found.revision) == (snapshot, FASHION_CLIP, FASHION_CLIP_REVISION)


def test_an_incomplete_cache_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (_cache(tmp_path, FASHION_CLIP_REVISION) / "model.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "downloads are off" in _resolve(FASHION_CLIP, FASHION_CLIP_REVISION).message


def test_a_hub_that_never_answers_fails_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        started = time.monotonic()
        with pytest.raises(ConfigurationError, match="hub"):
            resolve_checkpoint(FASHION_CLIP, FASHION_CLIP_REVISION, timeout_s=0.5)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("form", ["new", "old", "processor"])
def test_preprocessing_is_read_from_every_generation_of_files(tmp_path: Path, form: str) -> None:
    settings = {
        "size": 224 if form == "old" else {"shortest_edge": 224},
        "crop_size": 224 if form == "old" else {"height": 224, "width": 224},
        "image_mean": [0.5, 0.25, 0.125],
        "image_std": [0.5, 0.5, 1],
        "resample": 3,
    }
    name = "processor_config.json" if form == "processor" else "preprocessor_config.json"
    (tmp_path / name).write_text(
        json.dumps({"image_processor": settings} if form == "processor" else settings)
    )
    found = Preprocessing.of(tmp_path)
    assert (found.shortest_edge_px, found.crop_px, found.resample) == (224, 224, 3)
    assert (found.mean, found.std, found.rescale) == ((0.5, 0.25, 0.125), (0.5, 0.5, 1.0), 1 / 255)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": {"height": 224, "width": 224}}, "shortest_edge"),
        ({"crop_size": {"height": 224, "width": 112}}, "not square"),
        ({"crop_size": 256}, "must not exceed"),
        ({"image_mean": [0.5]}, "image_mean"),
    ],
)
def test_preprocessing_that_is_not_clips_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    settings = {"size": 224, "crop_size": 224, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], **changes}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigurationError, match=said):
        Preprocessing.of(tmp_path)


def test_a_model_key_changes_with_each_of_its_parts() -> None:
    key = model_key(FASHION_CLIP, FASHION_CLIP_REVISION, "p1")
    assert key == "patrickjohncyh/fashion-clip@7e3ba62ce16b+p1"
    assert (
        len({key, model_key("other", FASHION_CLIP_REVISION, "p1"), model_key(FASHION_CLIP, "0" * 40, "p1")})
        == 3
    )
