"""Our vectors against those of the ``fashion-clip`` package on one checkpoint.

The package does not run beside transformers 5, so it lives in an environment of its own, whose interpreter
``FASHION_CLIP_PYTHON`` names. Where there is none, these tests say so and skip.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from configs.serving import FASHION_CLIP, FASHION_CLIP_REVISION
from models.errors import ConfigurationError
from serve_app.checkpoints import resolve_checkpoint
from serve_app.encoder import FashionClipEncoder
from serve_app.photos import ImageGeometry, prepare_photo
from tests.checkpoints import FASHION_CLIP_SHAPE, TINY, make_checkpoint
from tests.photographs import encoded, photograph

SCRIPT = Path(__file__).parent / "embed_with_package.py"
PROMPTS = [
    "A red dress with floral patterns",
    "black leather boots",
    "a striped shirt, the blue one; 100% cotton & été",
    "hat " * 120,
    "a pink skirt and a grey coat",
]
SIZES = [(300, 201), (250, 333), (640, 480), (224, 224), (60, 50)]


@pytest.fixture(scope="module")
def reference_python() -> str:
    """An interpreter that can import the package."""
    named = os.environ.get("FASHION_CLIP_PYTHON")
    if named:
        return named
    if importlib.util.find_spec("fashion_clip") is None:
        pytest.skip(
            "the fashion-clip package is not installed: set FASHION_CLIP_PYTHON to an interpreter with it"
        )
    return sys.executable


def _checkpoint(name: str, directory: Path) -> Path:
    if name == "tiny":
        return make_checkpoint(directory, TINY)
    if name == "random weights of FashionCLIP's shape":
        return make_checkpoint(directory, FASHION_CLIP_SHAPE, legacy_eos=True)
    try:
        found = resolve_checkpoint(FASHION_CLIP, FASHION_CLIP_REVISION, timeout_s=5, allow_download=False)
    except ConfigurationError as error:
        pytest.skip(error.message)
    return found.directory


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("name", ["tiny", "random weights of FashionCLIP's shape", FASHION_CLIP])
def test_vectors_equal_the_package(reference_python: str, tmp_path: Path, name: str) -> None:
    checkpoint = _checkpoint(name, tmp_path / "checkpoint")
    files = [tmp_path / f"{number}.png" for number in range(len(SIZES))]
    for file, size in zip(files, SIZES, strict=True):
        file.write_bytes(encoded(photograph(*size), "PNG"))
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    out = tmp_path / "vectors.npz"
    subprocess.run(
        [
            reference_python,
            str(SCRIPT),
            str(checkpoint),
            str(tmp_path / "prompts.json"),
            str(out),
            *map(str, files),
        ],
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    theirs = np.load(out)

    encoder = FashionClipEncoder.load(checkpoint, dtype="float32")
    geometry = replace(ImageGeometry.of(checkpoint), shrinks=False)  # as the package decodes
    texts = encoder.encode_texts(PROMPTS)
    images = encoder.encode_images(np.stack([prepare_photo(file.read_bytes(), geometry) for file in files]))
    for ours, reference in ((texts, _unit(theirs["texts"])), (images, _unit(theirs["images"]))):
        cosines = (ours * reference).sum(axis=1)
        assert cosines.min() >= 0.9999
        assert (reference[:-1] * reference[1:]).sum(axis=1).max() < 0.9999, "the package must tell them apart"
        sys.stdout.write(f"{name}: least cosine {cosines.min():.7f}\n")
