"""What is minimised: contrast between captions and pictures, and attributes read off both towers' vectors."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from scripts.training.batches import ATTRIBUTES, UNSAID


def agreement(said: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """(captions, pictures) of 0 and 1: whether the picture shows all that the caption says."""
    stated = said[:, None, :]
    return ((stated == UNSAID) | (stated == seen[None, :, :])).all(dim=2).float()


def contrast(logits: torch.Tensor, agrees: torch.Tensor) -> torch.Tensor:
    """Cross-entropy both ways, every agreeing pair an equally right answer (as SupCon, Khosla 2020)."""
    to_pictures = -(agrees / agrees.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1)
    to_captions = -(agrees / agrees.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0)
    return (to_pictures.mean() + to_captions.mean()) / 2


class AttributeHeads(nn.Module):
    """One linear reader per attribute, shared by both towers so that they agree; not saved."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, len(values)) for values in ATTRIBUTES.values())

    def forward(self, vectors: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        """The summed loss of unit `vectors` (n, d) for `targets` (n, 5), and each attribute's accuracy."""
        total = vectors.new_zeros(())
        accuracies = []
        for column, head in enumerate(self.heads):
            wanted = targets[:, column]
            known = wanted != UNSAID
            if not known.any():
                accuracies.append(1.0)
                continue
            scores = head(vectors[known] * 10)
            total = total + cross_entropy(scores, wanted[known])
            accuracies.append(float((scores.argmax(1) == wanted[known]).float().mean()))
        return total, accuracies


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return normalize(vectors.float(), dim=-1)
