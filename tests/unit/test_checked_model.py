"""A model is put to the test before photos are indexed with it; what is wrong is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import AppError
from scripts.reindexing.checked_model import checked_model
from serve_app.checkpoints import files_digest
from tests.stack import DEMO_MODEL, PROJECT

DEMO_CLIP = PROJECT / DEMO_MODEL
Damage = Callable[[Path], object]


def change_config(**values: Any) -> Damage:
    def change(directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text("utf-8"))
        (directory / "config.json").write_text(json.dumps(config | values), "utf-8")

    return change


def make_nan(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    weights["visual_projection.weight"] = torch.full_like(weights["visual_projection.weight"], torch.nan)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def cut_weights(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def test_a_directory_needs_no_revision_and_its_digest_is_one() -> None:
    digest = files_digest(DEMO_CLIP)
    assert checked_model(str(DEMO_CLIP), None, 1.0).revision == digest
    assert checked_model(str(DEMO_CLIP), digest, 1.0).revision == digest
    with pytest.raises(AppError, match=f"is revision {digest}, not 0123abcd"):
        checked_model(str(DEMO_CLIP), "0123abcd", 1.0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/not/there", "does not exist"),
        ("../not-there", "does not exist"),
        ("somebody/clip", "Give --revision COMMIT"),
        ("clip", "Give --revision COMMIT"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(name: str, said: str) -> None:
    with pytest.raises(AppError, match=said):
        checked_model(name, None, 1.0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change_config(projection_dim=7), "contradicts itself: text_projection.weight is"),
        (make_nan, "The image tower of .* makes no usable vectors"),
        (cut_weights, "are damaged"),
        (lambda directory: (directory / "config.json").write_text("{"), "are damaged"),
        (lambda directory: (directory / "config.json").unlink(), "config.json"),
    ],
)
def test_a_bad_checkpoint_is_told_in_one_line(tmp_path: Path, damage: Damage, said: str) -> None:
    directory = tmp_path / "clip"
    shutil.copytree(DEMO_CLIP, directory)
    damage(directory)
    with pytest.raises(AppError, match=said) as error:
        checked_model(str(directory), None, 1.0)
    assert "\n" not in error.value.message
