"""The encoder that the service calls: prompts and pixels in, unit vectors out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import CLIPConfig

from models.errors import ConfigurationError
from models.search import TextEmbedding
from serve_app.checkpoints import Preprocessing
from serve_app.encoder.devices import choose_device, choose_dtype
from serve_app.encoder.layout import lay_out
from serve_app.encoder.loading import Tower, load_tokenizer, load_tower
from serve_app.encoder.towers import TorchImageTower, TorchTextTower
from serve_app.encoder.weights import image_weights, text_weights


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """``input_ids``: of shape (n, longest), padded on the right; ``truncated``: one flag a prompt."""

    input_ids: NDArray[np.int64]
    truncated: list[bool]


@dataclass(frozen=True, slots=True)
class Towers:
    """What was loaded; ``end_id`` as in ``TextWeights``."""

    text: TorchTextTower | None
    image: TorchImageTower | None
    tokenizer: Any
    end_id: int | None


class FashionClipEncoder:
    """Both towers of a CLIP, or one of them; may be called from several threads."""

    def __init__(self, towers: Towers, config: CLIPConfig, device: torch.device, dtype: torch.dtype) -> None:
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
    ) -> Self:
        """Load ``towers`` of a checkpoint directory, from safetensors and this disk only.

        ``threads`` sets torch's threads for the whole process. Raises ConfigurationError.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        where = choose_device(device)
        kind = choose_dtype(dtype, where)
        preprocessing = Preprocessing.of(checkpoint)
        try:
            config = CLIPConfig.from_pretrained(checkpoint, local_files_only=True)
            tokenizer = load_tokenizer(checkpoint, config) if "text" in towers else None
            models = {tower: load_tower(checkpoint, tower, config) for tower in towers}
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
        text = text_weights(models["text"], config) if "text" in models else None
        image = image_weights(models["image"], config, preprocessing) if "image" in models else None
        loaded = Towers(
            TorchTextTower(text, where, kind) if text else None,
            TorchImageTower(image, where, kind) if image else None,
            tokenizer,
            text.end_id if text else None,
        )
        return cls(loaded, config, where, kind)

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
    def dtype(self) -> str:
        return str(self._dtype).removeprefix("torch.")

    def warm_up(self) -> None:
        """Run every loaded tower once, so that the first caller does not pay for lazy set-up."""
        if self._towers.text:
            self.encode_texts(["a dress"])
        if self._towers.image:
            self.encode_images(np.zeros((1, self.image_size_px, self.image_size_px, 3), np.uint8))

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
