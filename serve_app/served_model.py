"""Which model is served: the configured one, the one already indexed with, or the loud fallback."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import loads
from math import exp
from pathlib import Path
from typing import Any, Self

import numpy as np

from configs.serving import FASHION_CLIP, FASHION_CLIP_REVISION, ModelArgs
from models.errors import ConfigurationError
from serve_app.checkpoints import ResolvedCheckpoint, model_key, resolve_checkpoint
from serve_app.photos import PREPROCESSING_VERSION, SHRINKS_ON_LOAD, ImageGeometry

PINNED_REVISIONS = {FASHION_CLIP: FASHION_CLIP_REVISION}
# At which Radford et al. (2021, section 2.5) clip it, and their published models end; where a file lacks it.
LARGEST_LOGIT_SCALE = 100.0
PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model behind every vector of one index version; travels to the replicas, so no directory in it.

    ``geometry``: how its photos are cut, for those who prepare them and do not have the checkpoint.
    ``logit_scale``: the factor that it was trained to multiply a cosine with before the softmax.
    """

    source: str
    name: str
    revision: str
    key: str
    dimension: int
    geometry: ImageGeometry
    logit_scale: float
    fell_back: bool

    @property
    def label(self) -> str:
        """How answers name it: ``name@revision``."""
        return f"{self.name}@{self.revision[:12]}"

    def prepared_as(self, key: str | None) -> Self:
        """Preparing photos as those of that model key were, where nothing else tells the two models apart."""
        for version, shrinks in SHRINKS_ON_LOAD.items():
            if key == model_key(self.name, self.revision, version):
                return replace(self, key=key, geometry=replace(self.geometry, shrinks=shrinks))
        return self


def choose_model(args: ModelArgs, indexed_with: str | None = None) -> ServedModel:
    """Resolve ``args.name``, or ``args.fallback`` where that cannot be had.

    A database that was indexed with the fallback (``indexed_with``, a model key) keeps it, so that a hub
    that answers one day and not the next does not part photos from their index. It also keeps a former
    release's way of preparing photos. Raises ConfigurationError when neither is there.
    """
    if args.fallback is not None and indexed_with is not None:
        fallback = _fallback(args, args.fallback).prepared_as(indexed_with)
        if fallback.key == indexed_with:
            return fallback
    try:
        revision = args.revision or PINNED_REVISIONS.get(args.name)
        found = served_model(args.name, revision, hub_timeout_s=args.hub_timeout_s, fell_back=args.fell_back)
    except ConfigurationError:
        if args.fallback is None or Path(_absolute(args.name)).is_dir():
            raise
        return _fallback(args, args.fallback)
    return found.prepared_as(indexed_with)


def _fallback(args: ModelArgs, name: str) -> ServedModel:
    return served_model(name, None, hub_timeout_s=args.hub_timeout_s, fell_back=True)


def served_model(name: str, revision: str | None, *, hub_timeout_s: float, fell_back: bool) -> ServedModel:
    """Describe a checkpoint, downloading it if need be. Raises ConfigurationError."""
    found = resolve_checkpoint(_absolute(name), revision, timeout_s=hub_timeout_s)
    try:
        return _described(name, found, fell_back=fell_back)
    except (ValueError, KeyError, TypeError, OSError, OverflowError) as error:
        raise ConfigurationError(
            f"The files of the checkpoint {found.directory} are damaged ({type(error).__name__}). "
            "Set model: to a complete CLIP checkpoint."
        ) from error


def _described(name: str, found: ResolvedCheckpoint, *, fell_back: bool) -> ServedModel:
    return ServedModel(
        source=_absolute(name),
        name=found.name,
        revision=found.revision,
        key=model_key(found.name, found.revision, PREPROCESSING_VERSION),
        dimension=projection_dimension(found),
        geometry=ImageGeometry.of(found.directory),
        logit_scale=logit_scale(found.directory),
        fell_back=fell_back,
    )


def locate(model: ServedModel, *, hub_timeout_s: float) -> ResolvedCheckpoint:
    """The checkpoint's directory on this machine; it must be the very revision that was chosen."""
    is_directory = Path(model.source).is_dir()
    found = resolve_checkpoint(
        model.source, None if is_directory else model.revision, timeout_s=hub_timeout_s
    )
    if found.revision != model.revision:
        raise ConfigurationError(
            f"The checkpoint {model.source} here is revision {found.revision}, but the service started with "
            f"{model.revision}. Give every machine the same files."
        )
    return found


def _absolute(name: str) -> str:
    """A directory's whole path, from here or from the project's root; a hub name stays as it is."""
    for directory in (Path(name).expanduser(), PROJECT / name):
        if directory.is_dir():
            return str(directory.resolve())
    return name


def projection_dimension(checkpoint: ResolvedCheckpoint) -> int:
    """The length of the checkpoint's vectors, from its config.json."""
    config = loads((checkpoint.directory / "config.json").read_text("utf-8"))
    return int(config.get("projection_dim", 512))


def logit_scale(checkpoint: Path) -> float:
    """The learned temperature of the checkpoint in this directory: exp of its parameter ``logit_scale``."""
    for weights in sorted(checkpoint.glob("*.safetensors")):
        learned = _scalar(weights, "logit_scale")
        if learned is not None:
            return min(exp(learned), LARGEST_LOGIT_SCALE)
    return LARGEST_LOGIT_SCALE


def _scalar(weights: Path, name: str) -> float | None:
    """One number of a safetensors file, read by itself: NumPy, as the library uses it, knows no bfloat16."""
    with weights.open("rb") as file:
        header: dict[str, Any] = loads(file.read(int.from_bytes(file.read(8), "little")))
        if name not in header:
            return None
        first, end = header[name]["data_offsets"]
        file.seek(first, 1)
        data = file.read(end - first)
    kind = header[name]["dtype"]
    if kind == "BF16":  # the upper half of a float32
        data, kind = b"\0\0" + data, "F32"
    return float(np.frombuffer(data, {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[kind])[0])
