"""Make a CLIP checkpoint with random weights in Hugging Face format: no download, any shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

WORDS = (
    *("a", "the", "with", "of", "and", "red", "blue", "green", "black", "white", "pink", "yellow", "grey"),
    *("dress", "shirt", "skirt", "coat", "hat", "boots", "bag", "floral", "striped", "dotted", "pattern"),
)


@dataclass(frozen=True)
class Shape:
    """The sizes of a CLIP; the default takes milliseconds."""

    dimension: int = 32
    text_width: int = 48
    text_layers: int = 2
    text_heads: int = 4
    image_width: int = 48
    image_layers: int = 2
    image_heads: int = 4
    image_size_px: int = 64
    patch_px: int = 16
    positions: int = 77


TINY = Shape()
FASHION_CLIP_SHAPE = Shape(
    dimension=512,
    text_width=512,
    text_layers=12,
    text_heads=8,
    image_width=768,
    image_layers=12,
    image_heads=12,
    image_size_px=224,
    patch_px=32,
)


def make_checkpoint(directory: Path, shape: Shape = TINY, *, seed: int = 0, legacy_eos: bool = False) -> Path:
    """Write model, tokenizer and image processor into ``directory`` and return it.

    ``legacy_eos`` writes ``eos_token_id`` 2, as OpenAI's and FashionCLIP's configurations do: the text tower
    then pools at the highest token id.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(shape)
    torch.manual_seed(seed)
    model = CLIPModel(_config(shape, tokenizer, legacy_eos))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    edge = shape.image_size_px
    CLIPImageProcessorPil(
        size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}
    ).save_pretrained(directory)
    return directory


def _tokenizer(shape: Shape) -> CLIPTokenizer:
    """Byte-level BPE over every byte, one merge chain for each word, the end-of-text token last."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in letters]
    characters = [chr(code) for code in (*letters, *(256 + n for n in range(len(others))))]
    tokens = characters + [character + "</w>" for character in characters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append((parts[-2], parts[-1]))
            parts[-2:] = [parts[-2] + parts[-1]]
            tokens.append(parts[-1])
    merges = list(dict.fromkeys(merges))
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=shape.positions)


def _config(shape: Shape, tokenizer: CLIPTokenizer, legacy_eos: bool) -> CLIPConfig:
    return CLIPConfig(
        projection_dim=shape.dimension,
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.text_width,
            "intermediate_size": shape.text_width * 4,
            "num_hidden_layers": shape.text_layers,
            "num_attention_heads": shape.text_heads,
            "max_position_embeddings": shape.positions,
            "bos_token_id": 0 if legacy_eos else tokenizer.bos_token_id,
            "eos_token_id": 2 if legacy_eos else tokenizer.eos_token_id,
            "pad_token_id": 1 if legacy_eos else tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": shape.image_width,
            "intermediate_size": shape.image_width * 4,
            "num_hidden_layers": shape.image_layers,
            "num_attention_heads": shape.image_heads,
            "image_size": shape.image_size_px,
            "patch_size": shape.patch_px,
        },
    )
