"""Prompts with what they ask for, in sentence patterns that training never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from numpy.typing import NDArray

from scripts.garments.held_out import held_out_prompt
from scripts.garments.picture import Look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERN_ADJECTIVES, PATTERNS


@dataclass(frozen=True)
class Prompt:
    """A text and the attributes that an answer to it must have."""

    text: str
    wanted: dict[str, str]


def kind_colour(seed: int, rounds: int) -> list[Prompt]:
    """`rounds` prompts for every kind and colour."""
    rng = Random(f"kind and colour:{seed}")
    pairs = list(product(KINDS, COLOURS)) * rounds
    return [
        Prompt(held_out_prompt(rng, kind, colour), {"kind": kind, "colour": colour}) for kind, colour in pairs
    ]


def kind_colour_pattern(seed: int, rounds: int) -> list[Prompt]:
    """`rounds` prompts for every kind, colour and pattern."""
    rng = Random(f"kind, colour and pattern:{seed}")
    return [
        Prompt(
            held_out_prompt(rng, kind, colour, pattern), {"kind": kind, "colour": colour, "pattern": pattern}
        )
        for kind, colour, pattern in list(product(KINDS, COLOURS, PATTERNS)) * rounds
    ]


def seed_sentence() -> list[Prompt]:
    """The words of "A red dress with floral patterns" for every kind, colour and printed pattern."""
    return [
        Prompt(
            f"A {colour} {kind} with {PATTERN_ADJECTIVES[pattern][0]} patterns",
            {"kind": kind, "colour": colour, "pattern": pattern},
        )
        for kind, colour, pattern in product(KINDS, COLOURS, PATTERNS)
        if pattern != "plain"
    ]


def relevance(prompts: Sequence[Prompt], looks: Sequence[Look]) -> NDArray[np.bool_]:
    """(prompts, pictures): whether the picture has all that the prompt asks for."""
    answers = np.ones((len(prompts), len(looks)), bool)
    for name in ("kind", "colour", "pattern"):
        shown = np.array([getattr(look, name) for look in looks])
        asked = np.array([prompt.wanted.get(name, "") for prompt in prompts])
        answers &= (asked[:, None] == "") | (asked[:, None] == shown[None, :])
    return answers
