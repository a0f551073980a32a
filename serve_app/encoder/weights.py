"""A tower's weights as every backend takes them: float32, and rearranged so that less is left to compute.

Queries, keys and values are one matrix. The attention's scale is in the queries' part. ``quick_gelu(x)``,
``x * sigmoid(1.702 x)``, is ``silu(1.702 x) / 1.702``: the factors are in the matrices around it, and what is
left is an activation that CPU kernels append to a product. Pixels come as they are, less 128: the image
processor's scale is in the patches' matrix, its mean in the positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import CLIPConfig, PreTrainedModel

from models.errors import ConfigurationError
from serve_app.checkpoints import Preprocessing

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


def text_weights(model: PreTrainedModel, config: CLIPConfig) -> TextWeights:
    """Raises ConfigurationError for an activation that no CLIP has."""
    tower, own = model.text_model, config.text_config
    embeddings = tower.embeddings
    return TextWeights(
        tokens=embeddings.token_embedding.weight.detach(),
        positions=embeddings.position_embedding.weight.detach(),
        trunk=_trunk(tower.encoder, own, tower.final_layer_norm, model.text_projection),
        # The configurations of OpenAI's and FashionCLIP's checkpoints name a wrong token, 2.
        end_id=None if own.eos_token_id == 2 else int(own.eos_token_id),
    )


def image_weights(model: PreTrainedModel, config: CLIPConfig, preprocessing: Preprocessing) -> ImageWeights:
    """Raises as ``text_weights`` does."""
    tower, own = model.vision_model, config.vision_config
    embeddings = tower.embeddings
    std = torch.tensor(preprocessing.std)
    scale = preprocessing.rescale / std
    shift = PIXEL_CENTRE * scale - torch.tensor(preprocessing.mean) / std
    kernels = embeddings.patch_embedding.weight.detach().permute(0, 2, 3, 1)
    positions = embeddings.position_embedding.weight.detach().clone()
    positions[0] += embeddings.class_embedding.detach()
    positions[1:] += (kernels * shift).sum((1, 2, 3))
    return ImageWeights(
        patches=(kernels * scale).flatten(1),
        positions=positions,
        first_norm=_affine(tower.pre_layrnorm),
        trunk=_trunk(tower.encoder, own, tower.post_layernorm, model.visual_projection),
        patch_px=int(own.patch_size),
    )


def _trunk(encoder: Any, own: Any, final_norm: Any, projection: Any) -> Trunk:
    activations: dict[str, Activation] = {"quick_gelu": "silu", "gelu": "gelu"}
    if own.hidden_act not in activations:
        raise ConfigurationError(
            f"The model's activation {own.hidden_act!r} is not served, only {' and '.join(activations)}. "
            "Set model: to a CLIP checkpoint."
        )
    factor = _QUICK_GELU if own.hidden_act == "quick_gelu" else 1.0
    return Trunk(
        layers=tuple(_layer(layer, factor) for layer in encoder.layers),
        heads=int(own.num_attention_heads),
        activation=activations[own.hidden_act],
        epsilon=float(own.layer_norm_eps),
        final_norm=_affine(final_norm),
        projection=projection.weight.detach(),
    )


def _layer(layer: Any, factor: float) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    query = _affine(attention.q_proj)
    parts = [
        Affine(query.weight * attention.scale, query.bias * attention.scale),
        _affine(attention.k_proj),
        _affine(attention.v_proj),
    ]
    up, down = _affine(mlp.fc1), _affine(mlp.fc2)
    return Layer(
        norm_1=_affine(layer.layer_norm1),
        qkv=Affine(torch.cat([one.weight for one in parts]), torch.cat([one.bias for one in parts])),
        out=_affine(attention.out_proj),
        norm_2=_affine(layer.layer_norm2),
        up=Affine(up.weight * factor, up.bias * factor),
        down=Affine(down.weight / factor, down.bias),
    )


def _affine(module: Any) -> Affine:
    return Affine(module.weight.detach(), module.bias.detach())
