"""FashionCLIP, or any CLIP in Hugging Face format: texts and pixels in, unit vectors out. No Ray, no HTTP."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from models.errors import ConfigurationError
from models.search import TextEmbedding
from serve_app.checkpoints import Preprocessing

Tower = Literal["text", "image"]

_MODEL_CLASSES: dict[Tower, type[PreTrainedModel]] = {
    "text": CLIPTextModelWithProjection,
    "image": CLIPVisionModelWithProjection,
}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """``input_ids``: int64 of shape (n, longest), padded on the right; ``truncated``: one flag a prompt."""

    input_ids: Tensor
    truncated: list[bool]


class FashionClipEncoder:
    """Both towers of a CLIP, or one of them; may be called from several threads."""

    def __init__(
        self,
        towers: dict[Tower, PreTrainedModel],
        config: CLIPConfig,
        tokenizer: Any,
        preprocessing: Preprocessing,
    ) -> None:
        self._towers = towers
        self._config = config
        self._tokenizer = tokenizer
        # A fast tokenizer keeps padding and truncation as state, and fails when two threads set it at once.
        self._tokenizing = Lock()
        anyone = next(iter(towers.values()))
        self._device, self._dtype = anyone.device, anyone.dtype
        std = torch.tensor(preprocessing.std)
        self._scale = (preprocessing.rescale / std).to(self._device)
        self._shift = (-torch.tensor(preprocessing.mean) / std).to(self._device)

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
            tokenizer = _load_tokenizer(checkpoint, config) if "text" in towers else None
            models = {tower: _load_tower(checkpoint, tower, config, kind).to(where) for tower in towers}
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
        return cls(models, config, tokenizer, preprocessing)

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
        if "text" in self._towers:
            self.encode_texts(["a dress"])
        if "image" in self._towers:
            self.encode_images(np.zeros((1, self.image_size_px, self.image_size_px, 3), np.uint8))

    def embed_prompts(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """One TextEmbedding for each prompt, in order."""
        batch = self.tokenize(prompts)
        vectors = self._postprocess(self._encode_tokens(batch)) if prompts else ()
        return [TextEmbedding(*pair) for pair in zip(vectors, batch.truncated, strict=True)]

    def encode_texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (n, dimension); what exceeds the model's token limit is cut off."""
        if not prompts:
            return np.empty((0, self.dimension), np.float32)
        return self._postprocess(self._encode_tokens(self.tokenize(prompts)))

    def is_truncated(self, prompts: Sequence[str]) -> list[bool]:
        """Which prompts have more tokens than the model reads."""
        return self.tokenize(prompts).truncated

    def encode_images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors of shape (n, dimension) for uint8 RGB of (n, image_size_px, image_size_px, 3)."""
        side = self.image_size_px
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, 3):
            raise ValueError(f"need uint8 (n, {side}, {side}, 3), not {pixels.dtype} {pixels.shape}")
        if not len(pixels):
            return np.empty((0, self.dimension), np.float32)
        return self._postprocess(self._encode_pixels(self._normalise(pixels)))

    def tokenize(self, prompts: Sequence[str]) -> TokenBatch:
        """Token ids padded to the longest of the batch and cut at the model's limit."""
        if self._tokenizer is None:
            raise RuntimeError("this encoder was loaded without its text tower")
        if not prompts:
            return TokenBatch(torch.empty((0, 0), dtype=torch.int64), [])
        with self._tokenizing:
            tokens = self._tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        return TokenBatch(tokens["input_ids"], [bool(one.overflowing) for one in tokens.encodings])

    @torch.inference_mode()
    def _encode_tokens(self, batch: TokenBatch) -> Tensor:
        # No attention mask: the text tower is causal and pools at the first end-of-text token, so nothing
        # on its right, padding included, reaches the vector.
        output: Tensor = self._towers["text"](input_ids=batch.input_ids.to(self._device)).text_embeds
        return output

    @torch.inference_mode()
    def _normalise(self, pixels: NDArray[np.uint8]) -> Tensor:
        on_device = torch.tensor(pixels).to(self._device)
        scaled = on_device.float() * self._scale + self._shift
        return scaled.permute(0, 3, 1, 2).to(self._dtype)

    @torch.inference_mode()
    def _encode_pixels(self, pixels: Tensor) -> Tensor:
        if "image" not in self._towers:
            raise RuntimeError("this encoder was loaded without its image tower")
        output: Tensor = self._towers["image"](pixel_values=pixels).image_embeds
        return output

    @torch.inference_mode()
    def _postprocess(self, vectors: Tensor) -> NDArray[np.float32]:
        unit: NDArray[np.float32] = normalize(vectors.float(), dim=-1).cpu().numpy()
        return unit


def choose_device(device: str) -> torch.device:
    """``auto``: the GPU where there is one. Raises ConfigurationError for a device that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"The device {device!r} is not here. Set device: auto or cpu.") from error
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto``: what the device computes natively: bfloat16, float16 on older GPUs, else float32."""
    if dtype in _DTYPES:
        return _DTYPES[dtype]
    if dtype != "auto":
        raise ConfigurationError(f"Unknown dtype {dtype!r}. Set dtype: auto, {', '.join(_DTYPES)}.")
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, and no report of the other tower's weights as unexpected."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _load_tokenizer(checkpoint: Path, config: CLIPConfig) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    limit = config.text_config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return tokenizer


def _load_tower(checkpoint: Path, tower: Tower, config: CLIPConfig, dtype: torch.dtype) -> PreTrainedModel:
    own = config.text_config if tower == "text" else config.vision_config
    own.projection_dim = config.projection_dim
    with _quiet():
        model, report = _MODEL_CLASSES[tower].from_pretrained(
            checkpoint,
            config=own,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        raise ConfigurationError(
            f"The checkpoint {checkpoint} lacks {len(missing)} weights of the {tower} tower, such as "
            f"{missing[0]}. Set model: to a complete CLIP checkpoint."
        )
    return model.eval()
