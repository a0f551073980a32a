"""Train the bundled demo checkpoint on captioned drawings and write it in Hugging Face format."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils.logging import disable_progress_bar

from scripts.training.batches import Batch, DrawnBatches, batches
from scripts.training.objective import AttributeHeads, agreement, contrast, unit
from scripts.training.tokenizer import MAX_TOKENS, train_tokenizer

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
console = Console()


@dataclass(frozen=True)
class Recipe:
    """Everything that the result depends on, besides the number of threads."""

    seed: int = 0
    steps: int = 4500
    batch: int = 128
    side_px: int = 64
    patch_px: int = 8
    vision_width: int = 128
    vision_layers: int = 4
    text_width: int = 128
    text_layers: int = 3
    joint_width: int = 128
    learning_rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.05
    attribute_weight: float = 0.5


def build_model(recipe: Recipe, tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP; eager attention is the fastest at these lengths on a CPU."""
    text = {
        "hidden_size": recipe.text_width,
        "intermediate_size": 4 * recipe.text_width,
        "num_hidden_layers": recipe.text_layers,
        "num_attention_heads": recipe.text_width // 64,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_act": "gelu",
    }
    vision = {
        "hidden_size": recipe.vision_width,
        "intermediate_size": 4 * recipe.vision_width,
        "num_hidden_layers": recipe.vision_layers,
        "num_attention_heads": max(1, recipe.vision_width // 64),
        "image_size": recipe.side_px,
        "patch_size": recipe.patch_px,
        "hidden_act": "gelu",
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=recipe.joint_width)
    return CLIPModel._from_config(config, attn_implementation="eager")


def processor(side_px: int) -> CLIPImageProcessorPil:
    """Shortest edge to `side_px` (bicubic), centre crop, scale to -1 … 1."""
    size = {"shortest_edge": side_px}
    crop = {"height": side_px, "width": side_px}
    return CLIPImageProcessorPil(
        size=size, crop_size=crop, image_mean=list(MEAN), image_std=list(STD), resample=3
    )


def pixel_values(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (n, S, S, 3) to float32 (n, 3, S, S), as the processor normalises."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def embed(model: CLIPModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors of the batch's captions and pictures, each (n, d)."""
    with torch.autocast("cpu", torch.bfloat16):
        texts = model.text_model(batch.tokens, attention_mask=batch.mask).pooler_output
        pictures = model.vision_model(pixel_values(batch.pixels)).pooler_output
        return unit(model.text_projection(texts)), unit(model.visual_projection(pictures))


def loss_of(
    model: CLIPModel, heads: AttributeHeads, batch: Batch, weight: float
) -> tuple[torch.Tensor, list[float]]:
    texts, pictures = embed(model, batch)
    logits = model.logit_scale.exp().clamp(max=60) * texts @ pictures.T
    matched = contrast(logits, agreement(batch.said, batch.seen))
    from_pictures, accuracies = heads(pictures, batch.seen)
    from_texts, text_accuracies = heads(texts, batch.said)
    return matched + weight * (from_pictures + from_texts), [
        matched.item(),
        *accuracies[:3],
        *text_accuracies[:3],
    ]


def schedule(recipe: Recipe, step: int) -> float:
    """The share of the learning rate at `step`: linear warm-up, then a cosine to zero."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)))


def optimizer_of(recipe: Recipe, modules: list[torch.nn.Module]) -> torch.optim.AdamW:
    """AdamW that lets biases, norms and embeddings keep their size."""
    named = [(name, weight) for module in modules for name, weight in module.named_parameters()]
    decayed = [weight for name, weight in named if weight.ndim > 1 and "embedding" not in name]
    kept = [weight for name, weight in named if not (weight.ndim > 1 and "embedding" not in name)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def save(model: CLIPModel, tokenizer: CLIPTokenizer, side_px: int, out: Path) -> None:
    """Write the checkpoint, weights as fp16 safetensors."""
    model.logit_scale.data.clamp_(max=math.log(60))
    weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}
    half = CLIPModel(model.config)
    half.load_state_dict(weights)
    half.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    processor(side_px).save_pretrained(out)


def train(recipe: Recipe, out: Path, log_every: int, save_every: int) -> None:
    """Run the recipe; deterministic for one recipe and one number of threads."""
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(recipe.seed)
    model = build_model(recipe, tokenizer).train()
    heads = AttributeHeads(recipe.joint_width)
    optimizer = optimizer_of(recipe, [model, heads])
    count = sum(weight.numel() for weight in model.parameters())
    console.print(f"{count:,} parameters, {len(tokenizer)} tokens, {recipe.steps} steps of {recipe.batch}")
    source = DrawnBatches(recipe.seed, recipe.batch, recipe.side_px, tokenizer)
    started, sums = time.monotonic(), torch.zeros(7)
    for step, batch in enumerate(batches(source, recipe.steps)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(recipe, step)
        loss, figures = loss_of(model, heads, batch, recipe.attribute_weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], 1.0)
        optimizer.step()
        sums += torch.tensor(figures)
        if (step + 1) % log_every == 0:
            report(step + 1, sums / log_every, time.monotonic() - started)
            sums.zero_()
        if (step + 1) % save_every == 0:
            save(model, tokenizer, recipe.side_px, out)
    save(model, tokenizer, recipe.side_px, out)


def report(step: int, means: torch.Tensor, seconds: float) -> None:
    """One line: the contrast loss, then how often each tower's vectors tell kind, colour and pattern."""
    loss, *shares = means.tolist()
    picture, text = (" ".join(f"{share:.2f}" for share in part) for part in (shares[:3], shares[3:]))
    console.print(
        f"step {step:5d}  loss {loss:.3f}  pictures {picture}  texts {text}  {seconds / 60:.1f} min"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_demo_model", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the checkpoint to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--threads", type=int, default=1, help="default 1; drawing takes another core")
    parser.add_argument("--save-every", type=int, default=500, help="steps between saved checkpoints")
    parser.add_argument("--log-every", type=int, default=50, help="steps between progress lines")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    disable_progress_bar()
    recipe = Recipe(seed=args.seed, steps=args.steps, batch=args.batch, learning_rate=args.learning_rate)
    train(recipe, args.out, args.log_every, args.save_every)


if __name__ == "__main__":
    main()
