"""Where a model's files are: a directory, the local Hugging Face cache, or the hub.

Nothing here imports torch, so that any process can resolve a checkpoint or read its preprocessing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from configs.serving import FASHION_CLIP
from models.errors import ConfigurationError

_Answer = TypeVar("_Answer")

_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
_NEEDED_FILES = ("config.json", *PREPROCESSOR_FILES, *_TOKENIZER_FILES, *_WEIGHT_FILES)


@dataclass(frozen=True, slots=True)
class ResolvedCheckpoint:
    """A checkpoint on this machine: ``revision`` is a hub commit or 12 hex digits of its files' sha256."""

    directory: Path
    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a checkpoint's image processor does: lengths in px; pixel * rescale, then (x - mean) / std."""

    shortest_edge_px: int
    crop_px: int
    resample: int
    rescale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, checkpoint: Path) -> Self:
        """Read ``preprocessor_config.json``, or ``processor_config.json`` as transformers 5 writes it."""
        settings = _preprocessor_settings(checkpoint)
        try:
            found = cls(
                shortest_edge_px=_edge(settings["size"], "shortest_edge"),
                crop_px=_edge(settings["crop_size"], "height", "width"),
                resample=int(settings.get("resample", 3)),
                rescale=float(settings.get("rescale_factor", 1 / 255)),
                mean=_channels(settings["image_mean"]),
                std=_channels(settings["image_std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The image preprocessing of the checkpoint {checkpoint} cannot be read ({error}). "
                "It needs size.shortest_edge, a square crop_size, image_mean and image_std, as CLIP's has."
            ) from error
        if found.crop_px > found.shortest_edge_px:
            raise ConfigurationError(
                f"The checkpoint {checkpoint} crops {found.crop_px} px out of an edge of "
                f"{found.shortest_edge_px} px. Its crop_size must not exceed size.shortest_edge."
            )
        return found


def model_key(name: str, revision: str, preprocessing: str) -> str:
    """Name one embedding space: vectors with different keys are never compared."""
    return f"{name}@{revision[:12]}+{preprocessing}"


def resolve_checkpoint(
    model: str, revision: str | None, *, timeout_s: float, allow_download: bool = True
) -> ResolvedCheckpoint:
    """Find ``model``, a directory or a hub name, and download it only when it is not on this machine.

    ``timeout_s`` bounds how long an unreachable hub can delay the answer; a download that has begun may
    take longer. Raises ConfigurationError with one line that says what to do.
    """
    directory = Path(model).expanduser()
    if directory.is_dir():
        directory = directory.resolve()
        _require_complete(directory)
        return ResolvedCheckpoint(directory, directory.name, files_digest(directory))
    if looks_like_directory(model):
        raise ConfigurationError(
            f"The model directory {model!r} does not exist. Set model: to a directory with a CLIP checkpoint "
            f"or to a hub name such as {FASHION_CLIP}."
        )
    snapshot = _cached(model, revision)
    if snapshot is None:
        snapshot = _download(model, revision, timeout_s, allow_download)
    _require_complete(snapshot)
    return ResolvedCheckpoint(snapshot, model, snapshot.name)


def looks_like_directory(model: str) -> bool:
    """Whether no hub name is meant, be it there or not."""
    named = model.startswith((".", "/", "~")) or model.count("/") > 1
    return named or Path(model).expanduser().is_dir()


def files_digest(directory: Path) -> str:
    """First 12 hex digits of the sha256 over the weights, configuration, tokenizer and preprocessor files."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _NEEDED_FILES for path in directory.glob(pattern)}):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()[:12]


def missing_files(directory: Path) -> list[str]:
    """What ``directory`` lacks of a CLIP checkpoint, in words; empty when it is complete."""
    has = {path.name for path in directory.iterdir()}
    missing = [] if "config.json" in has else ["config.json"]
    missing += sorted(_weight_files(directory) - has)
    if "tokenizer.json" not in has and not {"vocab.json", "merges.txt"} <= has:
        missing.append("tokenizer.json")
    if not has.intersection(PREPROCESSOR_FILES):
        missing.append("preprocessor_config.json")
    return missing


def _weight_files(directory: Path) -> set[str]:
    index = directory / "model.safetensors.index.json"
    if not index.is_file():
        return {"model.safetensors"}
    shards: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
    return set(shards.values())


def _require_complete(directory: Path) -> None:
    if missing := missing_files(directory):
        raise ConfigurationError(
            f"The checkpoint {directory} lacks {', '.join(missing)}. It must be a Hugging Face CLIP "
            "checkpoint with its weights as safetensors (pytorch_model.bin is never read)."
        )


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError as error:
        raise _unavailable(name, revision, "it is no name that the hub allows") from error
    if not isinstance(found, str):
        return None
    return None if missing_files(Path(found).parent) else Path(found).parent


def _download(name: str, revision: str | None, timeout_s: float, allow_download: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    if not allow_download:
        raise _unavailable(name, revision, "it is not in the local cache and downloads are off")
    try:
        found = _within(lambda: HfApi().model_info(name, revision=revision, timeout=timeout_s).sha, timeout_s)
        return Path(snapshot_download(name, revision=found, allow_patterns=list(_NEEDED_FILES)))
    except TimeoutError as error:
        raise _unavailable(name, revision, f"the hub did not answer within {timeout_s:g} s") from error
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise _unavailable(name, revision, f"asking the hub ended with: {reason}") from error


def _within(call: Callable[[], _Answer], timeout_s: float) -> _Answer:
    """Bound a call whose own time-out does not cover name look-ups; a late thread dies with the process."""
    future: Future[_Answer] = Future()

    def ask() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 - the caller gets it from the future
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True, name="hub-check").start()
    return future.result(timeout_s)


def _unavailable(name: str, revision: str | None, reason: str) -> ConfigurationError:
    at = f" at revision {revision[:12]}" if revision else ""
    return ConfigurationError(
        f"The model {name}{at} cannot be loaded: no directory of that name is here, and {reason}. Set model: "
        f"to a checkpoint's directory, or fetch it once where the hub answers (hf download {name}), or use "
        "configs/local.yaml, which falls back to the bundled demo model."
    )


def _preprocessor_settings(checkpoint: Path) -> Mapping[str, Any]:
    for name in PREPROCESSOR_FILES:
        path = checkpoint / name
        if path.is_file():
            try:
                settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
            except ValueError as error:
                raise ConfigurationError(f"{path} is not valid JSON ({error}).") from error
            nested: Mapping[str, Any] = settings.get("image_processor", settings)
            return nested
    raise ConfigurationError(f"The checkpoint {checkpoint} lacks preprocessor_config.json.")


def _edge(size: object, *names: str) -> int:
    """An edge as both generations of files write it: ``224`` or ``{"shortest_edge": 224}``."""
    if isinstance(size, int):
        return size
    if not isinstance(size, dict):
        raise TypeError(f"{size!r} is not a size")
    edges = {int(size[name]) for name in names}
    if len(edges) != 1:
        raise ValueError(f"{size!r} is not square")
    return edges.pop()


def _channels(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
