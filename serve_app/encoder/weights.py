"""A tower's weights as every backend takes them: float32, and rearranged so that less is left to compute.

Queries, keys and values are one matrix. The attention's scale is in the queries' part. ``quick_gelu(x)``,
``x * sigmoid(1.702 x)``, is ``silu(1.702 x) / 1.702``: the factors are in the matrices around it, and what is
left is an activation that CPU kernels append to a product. Pixels come as they are, less 128: the image
processor's scale is in the patches' matrix, its mean in the positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import CLIPConfig

from models.errors import ConfigurationError
from serve_app.checkpoints import Preprocessing
from serve_app.encoder.loading import Tensors

Activation = Literal["silu", "gelu"]
PIXEL_CENTRE = 128
_QUICK_GELU = 1.702


@dataclass(frozen=True, slots=True)
class Affine:
    """``weight``: (out, in) of a product, or (width,) of a layer norm."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Layer:
    """``qkv``: (3 * width, width); ``up`` and ``down``: the two products of the MLP."""

    norm_1: Affine
    qkv: Affine
    out: Affine
    norm_2: Affine
    up: Affine
    down: Affine


@dataclass(frozen=True, slots=True)
class Trunk:
    """What both towers share: layers, then the pooled row's norm and projection (dimension, width)."""

    layers: tuple[Layer, ...]
    heads: int
    activation: Activation
    epsilon: float
    final_norm: Affine
    projection: Tensor


@dataclass(frozen=True, slots=True)
class TextWeights:
    """``tokens``: (vocabulary, width); ``positions``: (limit, width).

    ``end_id``: the token whose first place is pooled; None: the first place of the highest id.
    """

    tokens: Tensor
    positions: Tensor
    trunk: Trunk
    end_id: int | None


@dataclass(frozen=True, slots=True)
class ImageWeights:
    """``patches``: (width, patch_px * patch_px * 3), of rows, columns, channels; ``positions``: (1 + patches,
    width), the class embedding in the first.
    """

    patches: Tensor
    positions: Tensor
    first_norm: Affine
    trunk: Trunk
    patch_px: int

    @property
    def size_px(self) -> int:
        """Of the photos' edges."""
        return self.patch_px * isqrt(len(self.positions) - 1)


def text_weights(tensors: Tensors, config: CLIPConfig) -> TextWeights:
    """``tensors``: as ``load_tensors``. Raises ConfigurationError for an activation that no CLIP has."""
    own = config.text_config
    return TextWeights(
        tokens=tensors["text_model.embeddings.token_embedding.weight"],
        positions=tensors["text_model.embeddings.position_embedding.weight"],
        trunk=_trunk(
            tensors, "text_model", own, _affine(tensors, "text_model.final_layer_norm"), "text_projection"
        ),
        # The configurations of OpenAI's and FashionCLIP's checkpoints name a wrong token, 2.
        end_id=None if own.eos_token_id == 2 else int(own.eos_token_id),
    )


def image_weights(tensors: Tensors, config: CLIPConfig, preprocessing: Preprocessing) -> ImageWeights:
    """As ``text_weights``."""
    own = config.vision_config
    std = torch.tensor(preprocessing.std)
    scale = preprocessing.rescale / std
    shift = PIXEL_CENTRE * scale - torch.tensor(preprocessing.mean) / std
    kernels = tensors["vision_model.embeddings.patch_embedding.weight"].permute(0, 2, 3, 1)
    positions = tensors["vision_model.embeddings.position_embedding.weight"].clone()
    positions[0] += tensors["vision_model.embeddings.class_embedding"]
    positions[1:] += (kernels * shift).sum((1, 2, 3))
    return ImageWeights(
        patches=(kernels * scale).flatten(1),
        positions=positions,
        first_norm=_affine(tensors, "vision_model.pre_layrnorm"),
        trunk=_trunk(
            tensors, "vision_model", own, _affine(tensors, "vision_model.post_layernorm"), "visual_projection"
        ),
        patch_px=int(own.patch_size),
    )


def _trunk(tensors: Tensors, model: str, own: Any, final_norm: Affine, projection: str) -> Trunk:
    activations: dict[str, Activation] = {"quick_gelu": "silu", "gelu": "gelu"}
    if own.hidden_act not in activations:
        raise ConfigurationError(
            f"The model's activation {own.hidden_act!r} is not served, only {' and '.join(activations)}. "
            "Set model: to a CLIP checkpoint."
        )
    factor = _QUICK_GELU if own.hidden_act == "quick_gelu" else 1.0
    heads = int(own.num_attention_heads)
    scale = (own.hidden_size // heads) ** -0.5
    layers = (f"{model}.encoder.layers.{number}" for number in range(own.num_hidden_layers))
    return Trunk(
        layers=tuple(_layer(tensors, layer, scale, factor) for layer in layers),
        heads=heads,
        activation=activations[own.hidden_act],
        epsilon=float(own.layer_norm_eps),
        final_norm=final_norm,
        projection=tensors[f"{projection}.weight"],
    )


def _layer(tensors: Tensors, layer: str, scale: float, factor: float) -> Layer:
    """``scale``: of the attention; ``factor``: of the activation."""
    query, key, value = (_affine(tensors, f"{layer}.self_attn.{name}_proj") for name in "qkv")
    parts = [Affine(query.weight * scale, query.bias * scale), key, value]
    up, down = _affine(tensors, f"{layer}.mlp.fc1"), _affine(tensors, f"{layer}.mlp.fc2")
    return Layer(
        norm_1=_affine(tensors, f"{layer}.layer_norm1"),
        qkv=Affine(torch.cat([one.weight for one in parts]), torch.cat([one.bias for one in parts])),
        out=_affine(tensors, f"{layer}.self_attn.out_proj"),
        norm_2=_affine(tensors, f"{layer}.layer_norm2"),
        up=Affine(up.weight * factor, up.bias * factor),
        down=Affine(down.weight / factor, down.bias),
    )


def _affine(tensors: Tensors, name: str) -> Affine:
    return Affine(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
