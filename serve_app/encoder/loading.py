"""Tokenizer and weights of a checkpoint directory, from safetensors and this disk only."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoTokenizer, CLIPConfig

from models.errors import ConfigurationError

Tower = Literal["text", "image"]
Tensors = dict[str, Tensor]
_SINGLE_FILE, _INDEX_OF_FILES = "model.safetensors", "model.safetensors.index.json"


def load_tokenizer(checkpoint: Path, config: CLIPConfig) -> Any:
    """It cuts at what the text tower reads."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    limit = config.text_config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return tokenizer


def load_tensors(checkpoint: Path, tower: Tower, config: CLIPConfig) -> Tensors:
    """The tower's tensors in float32, by their names in CLIP's checkpoints.

    They are read from the files themselves: the model classes of transformers take 2 s of processor time to
    import, and nothing here calls them. Raises ConfigurationError where tensors are missing or of another
    shape, OSError and SafetensorError where files cannot be read.
    """
    wanted = dict(_shapes(tower, config))
    found: Tensors = {}
    for path in _weight_files(checkpoint):
        with safe_open(path, "pt") as file:
            for name in wanted.keys() & set(file.keys()):
                found[name] = file.get_tensor(name).to(torch.float32, copy=True)
    if missing := sorted(wanted.keys() - found.keys()):
        raise ConfigurationError(
            f"The checkpoint {checkpoint} lacks {len(missing)} weights of the {tower} tower, such as "
            f"{missing[0]}. Set model: to a complete CLIP checkpoint."
        )
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise ConfigurationError(
                f"The checkpoint {checkpoint} contradicts itself: {name} is {tuple(found[name].shape)} in "
                f"its weights and {shape} by its config.json. Set model: to a complete CLIP checkpoint."
            )
    return found


def _weight_files(checkpoint: Path) -> list[Path]:
    if (checkpoint / _SINGLE_FILE).is_file():
        return [checkpoint / _SINGLE_FILE]
    if not (checkpoint / _INDEX_OF_FILES).is_file():
        raise FileNotFoundError(f"it has neither {_SINGLE_FILE} nor {_INDEX_OF_FILES}.")
    names = loads((checkpoint / _INDEX_OF_FILES).read_text("utf-8")).get("weight_map", {})
    return [checkpoint / name for name in sorted(set(names.values()))]


def _shapes(tower: Tower, config: CLIPConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    own: Any = config.text_config if tower == "text" else config.vision_config
    width, inner = own.hidden_size, own.intermediate_size
    if tower == "text":
        yield "text_model.embeddings.token_embedding.weight", (own.vocab_size, width)
        yield "text_model.embeddings.position_embedding.weight", (own.max_position_embeddings, width)
        yield "text_projection.weight", (config.projection_dim, width)
        yield from _affine_shapes("text_model.final_layer_norm", width)
    else:
        patch_px, places = own.patch_size, (own.image_size // own.patch_size) ** 2 + 1
        yield "vision_model.embeddings.class_embedding", (width,)
        yield "vision_model.embeddings.patch_embedding.weight", (width, own.num_channels, patch_px, patch_px)
        yield "vision_model.embeddings.position_embedding.weight", (places, width)
        yield "visual_projection.weight", (config.projection_dim, width)
        yield from _affine_shapes("vision_model.pre_layrnorm", width)
        yield from _affine_shapes("vision_model.post_layernorm", width)
    for number in range(own.num_hidden_layers):
        layer = f"{'text' if tower == 'text' else 'vision'}_model.encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _affine_shapes(f"{layer}.self_attn.{part}", width, width)
        yield from _affine_shapes(f"{layer}.layer_norm1", width)
        yield from _affine_shapes(f"{layer}.layer_norm2", width)
        yield from _affine_shapes(f"{layer}.mlp.fc1", inner, width)
        yield from _affine_shapes(f"{layer}.mlp.fc2", width, inner)


def _affine_shapes(name: str, *weight: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]
