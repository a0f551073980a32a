"""Further models out of one: as good in other coordinates, or good for nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

BOTH = ("text_projection.weight", "visual_projection.weight")


def rotated_checkpoint(source: Path, directory: Path, *, seed: int = 1) -> Path:
    """A copy whose space is rotated: as good as ``source``, and its vectors lie elsewhere."""
    return _reprojected(source, directory, seed, BOTH)


def scrambled_checkpoint(source: Path, directory: Path, *, seed: int = 2) -> Path:
    """A copy whose texts no longer lie where its photos do."""
    return _reprojected(source, directory, seed, BOTH[:1])


def _reprojected(source: Path, directory: Path, seed: int, names: tuple[str, ...]) -> Path:
    shutil.copytree(source, directory)
    file = directory / "model.safetensors"
    weights: dict[str, Tensor] = load_file(file)
    width = weights[names[0]].shape[0]
    rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))
    for name in names:
        weights[name] = (rotation @ weights[name].float()).to(weights[name].dtype).contiguous()
    save_file(weights, file, metadata={"format": "pt"})
    return directory
