"""Metrics by hand-made examples, and the parts of training on which the figures stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.evaluate import TARGETS, missed
from scripts.evaluation.metrics import mean_reciprocal_rank, own_ranks, precision_at, recall_at, top
from scripts.evaluation.prompts import Prompt, kind_colour, kind_colour_pattern, relevance, seed_sentence
from scripts.garments.held_out import is_held_out
from scripts.garments.picture import Look
from scripts.training.batches import UNSAID, DrawnBatches, numbers
from scripts.training.objective import agreement, contrast
from scripts.training.tokenizer import train_tokenizer

SCORES = np.array([[0.1, 0.9, 0.5, 0.3], [0.8, 0.2, 0.9, 0.1]], np.float32)


def test_top_is_best_first() -> None:
    assert top(SCORES, 3).tolist() == [[1, 2, 3], [2, 0, 1]]


def test_precision_counts_the_relevant_among_the_first() -> None:
    relevant = np.array([[True, True, False, False], [True, False, True, False]])
    assert precision_at(SCORES, relevant, 2).tolist() == [0.5, 1.0]


def test_own_ranks_and_what_follows_from_them() -> None:
    ranks = own_ranks(np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.4], [0.3, 0.2, 0.1]], np.float32))
    assert ranks.tolist() == [1, 2, 3]
    assert recall_at(ranks, 1) == pytest.approx(1 / 3)
    assert mean_reciprocal_rank(ranks, 2) == pytest.approx((1 + 1 / 2) / 3)


def test_relevance_asks_for_all_that_the_prompt_names() -> None:
    looks = [Look("dress", "red", "floral"), Look("dress", "red", "plain"), Look("coat", "red", "floral")]
    prompts = [Prompt("", {"kind": "dress", "colour": "red"}), Prompt("", {"pattern": "floral"})]
    assert relevance(prompts, looks).tolist() == [[True, True, False], [True, False, True]]


def test_every_prompt_of_the_evaluation_is_held_out() -> None:
    family = [*kind_colour(0, 1), *kind_colour_pattern(0, 1), *seed_sentence()]
    assert not [prompt.text for prompt in family if not is_held_out(prompt.text)]


def test_missed_targets_are_named() -> None:
    figures = dict.fromkeys(TARGETS, 1.0) | {"precision@5 kind+colour+pattern": 0.79}
    assert missed(figures) == ["precision@5 kind+colour+pattern"]


def test_a_caption_agrees_with_every_picture_that_shows_what_it_says() -> None:
    seen = torch.tensor(
        [numbers(Look(*look).attributes()) for look in (("tie", "red", "plain"), ("tie", "blue", "plain"))]
    )
    said = torch.tensor([numbers({"kind": "tie"}), numbers({"kind": "tie", "colour": "blue"})])
    assert agreement(said, seen).tolist() == [[1, 1], [0, 1]]
    assert numbers({"kind": "tie"}).count(UNSAID) == 4


def test_contrast_is_least_where_agreeing_pairs_score_alike_and_highest() -> None:
    agrees = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert contrast(10 * agrees, agrees) < contrast(10 * torch.eye(3), agrees)


def test_a_step_of_a_seed_is_one_batch() -> None:
    tokenizer = train_tokenizer(seed=0, sentences=300, merges=100)
    again = DrawnBatches(0, 4, 64, tokenizer)[7]
    for one, other in zip(DrawnBatches(0, 4, 64, tokenizer)[7], again, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(DrawnBatches(0, 4, 64, tokenizer)[8].pixels, again.pixels)
    assert not torch.equal(DrawnBatches(1, 4, 64, tokenizer)[7].pixels, again.pixels)
