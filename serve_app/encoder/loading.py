"""Tokenizer and weights of a checkpoint directory, from safetensors and this disk only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from models.errors import ConfigurationError

Tower = Literal["text", "image"]

_MODEL_CLASSES: dict[Tower, type[PreTrainedModel]] = {
    "text": CLIPTextModelWithProjection,
    "image": CLIPVisionModelWithProjection,
}


def load_tokenizer(checkpoint: Path, config: CLIPConfig) -> Any:
    """It cuts at what the text tower reads."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    limit = config.text_config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return tokenizer


def load_tower(checkpoint: Path, tower: Tower, config: CLIPConfig) -> PreTrainedModel:
    """The model as transformers has it, in float32. Raises ConfigurationError where weights are missing."""
    own = config.text_config if tower == "text" else config.vision_config
    own.projection_dim = config.projection_dim
    with _quiet():
        model, report = _MODEL_CLASSES[tower].from_pretrained(
            checkpoint,
            config=own,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if missing := sorted(report["missing_keys"]):
        raise ConfigurationError(
            f"The checkpoint {checkpoint} lacks {len(missing)} weights of the {tower} tower, such as "
            f"{missing[0]}. Set model: to a complete CLIP checkpoint."
        )
    return model.eval()


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
