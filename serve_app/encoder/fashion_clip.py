"""The encoder that the service calls: prompts and pixels in, unit vectors out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import CLIPConfig

from models.errors import ConfigurationError
from models.search import TextEmbedding
from serve_app.checkpoints import Preprocessing
from serve_app.encoder.backends import choose_backend
from serve_app.encoder.buckets import BucketedImageTower, BucketedTextTower
from serve_app.encoder.cuda_graphs import CudaGraphs
from serve_app.encoder.devices import choose_device, choose_dtype
from serve_app.encoder.layout import Layout, lay_out
from serve_app.encoder.loading import Tower, load_tensors, load_tokenizer
from serve_app.encoder.towers import TorchImageTower, TorchTextTower
from serve_app.encoder.weights import ImageWeights, TextWeights, image_weights, text_weights

Vectors = NDArray[np.float32]
_Batch = TypeVar("_Batch")
_WARM_UP_WORDS = range(1, 15)
_WARM_UP_PROMPTS = 2, 4, 8, 16, 32
_WARM_UP_PHOTOS = 1, 8, 4, 2


class TextTower(Protocol):
    """A layout of n prompts → unit vectors (n, dimension); may be called from several threads."""

    def __call__(self, layout: Layout) -> Vectors: ...


class ImageTower(Protocol):
    """uint8 (n, size_px, size_px, 3) → unit vectors (n, dimension); may be called from several threads."""

    def __call__(self, pixels: NDArray[np.uint8]) -> Vectors: ...


MakeTowers = Callable[[TextWeights | None, ImageWeights | None], tuple[TextTower | None, ImageTower | None]]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """``input_ids``: of shape (n, longest), padded on the right; ``truncated``: one flag a prompt."""

    input_ids: NDArray[np.int64]
    truncated: list[bool]


@dataclass(frozen=True, slots=True)
class Towers:
    """What was loaded; ``end_id`` as in ``TextWeights``."""

    text: TextTower | None
    image: ImageTower | None
    tokenizer: Any
    end_id: int | None


class FashionClipEncoder:
    """Both towers of a CLIP, or one of them; may be called from several threads."""

    def __init__(self, towers: Towers, config: CLIPConfig, device: torch.device, dtype: str) -> None:
        self._towers = towers
        self._config = config
        # A fast tokenizer keeps padding and truncation as state, and fails when two threads set it at once.
        self._tokenizing = Lock()
        self._device, self._dtype = device, dtype

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        *,
        towers: Collection[Tower] = ("text", "image"),
        device: str = "auto",
        dtype: str = "auto",
        threads: int | None = None,
        backend: str = "auto",
    ) -> Self:
        """Load ``towers`` of a checkpoint directory, from safetensors and this disk only.

        ``threads`` sets torch's threads for the whole process. Raises ConfigurationError.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        where = choose_device(device)
        computing = choose_backend(backend, where, dtype, towers)
        kind = choose_dtype("auto" if dtype == "int8" else dtype, where)
        preprocessing = Preprocessing.of(checkpoint)
        try:
            config = CLIPConfig.from_pretrained(checkpoint, local_files_only=True)
            tokenizer = load_tokenizer(checkpoint, config) if "text" in towers else None
            tensors = {tower: load_tensors(checkpoint, tower, config) for tower in towers}
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfigurationError(
                f"The checkpoint {checkpoint} cannot be loaded: {reason} "
                "Set model: to a complete CLIP checkpoint."
            ) from error
        if config.vision_config.image_size != preprocessing.crop_px:
            raise ConfigurationError(
                f"The checkpoint {checkpoint} contradicts itself: its image processor makes "
                f"{preprocessing.crop_px} px and its image tower takes {config.vision_config.image_size} px."
            )
        text = text_weights(tensors["text"], config) if "text" in tensors else None
        image = image_weights(tensors["image"], config, preprocessing) if "image" in tensors else None
        if computing == "openvino":
            make = _openvino(kind, int8=dtype == "int8")
        else:
            make = (_cuda_graphs if computing == "cuda_graphs" else _torch)(where, kind)
        loaded = Towers(*make(text, image), tokenizer, text.end_id if text else None)
        return cls(loaded, config, where, dtype if dtype == "int8" else str(kind).removeprefix("torch."))

    @property
    def dimension(self) -> int:
        return int(self._config.projection_dim)

    @property
    def image_size_px(self) -> int:
        return int(self._config.vision_config.image_size)

    @property
    def device(self) -> str:
        return str(self._device)

    @property
    def bulk_calls(self) -> int:
        """How many calls to make at a time: a GPU takes the photos of one while it computes another."""
        return 2 if self._device.type == "cuda" else 1

    @property
    def dtype(self) -> str:
        return self._dtype

    def warm_up(self, budget_s: float = 3.0) -> None:
        """Run batches such as will come, so that no caller pays for kernels made at a shape's first use.

        Each loaded tower runs at least once; none begins another batch after ``budget_s``.
        """
        until = time.monotonic() + budget_s
        for tower in (self._towers.text, self._towers.image):
            if isinstance(tower, BucketedTextTower | BucketedImageTower):
                tower.warm_up(until)
        if self._towers.text:
            _each_until(until, self.encode_texts, _likely_prompts())
        if self._towers.image:
            shape = (self.image_size_px, self.image_size_px, 3)
            photos = (np.zeros((count, *shape), np.uint8) for count in _WARM_UP_PHOTOS)
            _each_until(until, self.encode_images, photos)

    def embed_prompts(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """One TextEmbedding for each prompt, in order."""
        batch = self.tokenize(prompts)
        vectors = self._encode_tokens(batch)
        return [TextEmbedding(*pair) for pair in zip(vectors, batch.truncated, strict=True)]

    def encode_texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (n, dimension); what exceeds the model's token limit is cut off."""
        return self._encode_tokens(self.tokenize(prompts))

    def is_truncated(self, prompts: Sequence[str]) -> list[bool]:
        """Which prompts have more tokens than the model reads."""
        return self.tokenize(prompts).truncated

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors of shape (n, dimension) for uint8 RGB of (n, image_size_px, image_size_px, 3)."""
        side = self.image_size_px
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
            raise ValueError(f"need uint8 (n, {side}, {side}, 3), not {pixels.dtype} {pixels.shape}")
        if self._towers.image is None:
            raise RuntimeError("this encoder was loaded without its image tower")
        if not len(pixels):
            return np.empty((0, self.dimension), np.float32)
        return self._towers.image(pixels)

    def tokenize(self, prompts: Sequence[str]) -> TokenBatch:
        """Token ids padded to the longest of the batch and cut at the model's limit."""
        if self._towers.tokenizer is None:
            raise RuntimeError("this encoder was loaded without its text tower")
        if not prompts:
            return TokenBatch(np.empty((0, 0), np.int64), [])
        with self._tokenizing:
            tokens = self._towers.tokenizer(list(prompts), padding=True, truncation=True, return_tensors="np")
        return TokenBatch(tokens["input_ids"], [bool(one.overflowing) for one in tokens.encodings])

    def _encode_tokens(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._towers.text is None:
            raise RuntimeError("this encoder was loaded without its text tower")
        if not len(batch.input_ids):
            return np.empty((0, self.dimension), np.float32)
        return self._towers.text(lay_out(batch.input_ids, self._towers.end_id))


def _each_until(until: float, encode: Callable[[_Batch], object], batches: Iterable[_Batch]) -> None:
    for batch in batches:
        encode(batch)
        if time.monotonic() >= until:
            return


def _likely_prompts() -> Iterator[list[str]]:
    for words in _WARM_UP_WORDS:
        yield ["a " * words]
    for count in _WARM_UP_PROMPTS:
        yield [("a " * words) for words, _ in zip(cycle(_WARM_UP_WORDS), range(count), strict=False)]


def _torch(device: torch.device, dtype: torch.dtype) -> MakeTowers:
    def make(
        text: TextWeights | None, image: ImageWeights | None
    ) -> tuple[TextTower | None, ImageTower | None]:
        return (
            TorchTextTower(text, device, dtype) if text else None,
            TorchImageTower(image, device, dtype) if image else None,
        )

    return make


def _cuda_graphs(device: torch.device, dtype: torch.dtype) -> MakeTowers:
    def make(
        text: TextWeights | None, image: ImageWeights | None
    ) -> tuple[TextTower | None, ImageTower | None]:
        texts, photos = None, None
        if text:
            run = CudaGraphs(TorchTextTower(text, device, dtype).padded, device)
            texts = BucketedTextTower(run, len(text.positions))
        if image:
            run = CudaGraphs(TorchImageTower(image, device, dtype).of_sent, device)
            photos = BucketedImageTower(run, image.size_px)
        return texts, photos

    return make


def _openvino(dtype: torch.dtype, *, int8: bool) -> MakeTowers:
    # Here, since it need not be installed.
    from serve_app.encoder.openvino_towers import OpenVinoImageTower, OpenVinoTextTower, Precision

    precision: Precision = "bf16" if dtype is torch.bfloat16 else "f32"
    threads = torch.get_num_threads()

    def make(
        text: TextWeights | None, image: ImageWeights | None
    ) -> tuple[TextTower | None, ImageTower | None]:
        return (
            OpenVinoTextTower(text, precision, int8=int8, threads=threads) if text else None,
            OpenVinoImageTower(image, precision, int8=int8, threads=threads) if image else None,
        )

    return make
