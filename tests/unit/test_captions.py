"""Captions: what they state is in them, and no held-out sentence pattern is among them."""

from __future__ import annotations

from random import Random

import pytest

from scripts.garments.captions import caption
from scripts.garments.held_out import (
    KIND_COLOUR,
    KIND_COLOUR_PATTERN,
    PLAIN_INSTEAD,
    held_out_prompt,
    is_held_out,
    skeleton,
)
from scripts.garments.picture import Look, random_look
from scripts.garments.vocabulary import COLOUR_WORDS, KIND_WORDS, KINDS, PATTERN_ADJECTIVES, PLURALS

SEED_PROMPT = "A red dress with floral patterns"


@pytest.mark.parametrize(
    "sentence",
    [
        SEED_PROMPT,
        "a BLUE frock with a stripy print.",
        "Please show me some navy blue trainers with polka dot designs for summer",
        "my sister wants a tie: plain, ideally grey",
        "Which coats here is both black and tartan?",
    ],
)
def test_held_out_patterns_are_recognised_in_other_words(sentence: str) -> None:
    assert is_held_out(sentence)


@pytest.mark.parametrize(
    "sentence",
    ["red dress", "a red dress with flowers", "floral dress in red", "dress with floral print in red"],
)
def test_other_sentences_are_not_held_out(sentence: str) -> None:
    assert not is_held_out(sentence)


@pytest.mark.parametrize("form", [*KIND_COLOUR, *KIND_COLOUR_PATTERN, *PLAIN_INSTEAD.values()])
def test_every_held_out_form_is_held_out_with_any_words(form: str) -> None:
    for kind, colour, pattern in zip(KINDS, COLOUR_WORDS, [*PATTERN_ADJECTIVES] * 2, strict=False):
        words = {"kind": KIND_WORDS[kind][-1], "colour": COLOUR_WORDS[colour][-1]}
        assert is_held_out(form.format(**words, adjective=PATTERN_ADJECTIVES[pattern][-1]))


def test_training_captions_are_varied_and_never_held_out() -> None:
    rng = Random(5)
    sentences = [caption(rng, random_look(rng)).text for _ in range(5000)]
    assert not [sentence for sentence in sentences if is_held_out(sentence)]
    assert len({skeleton(sentence) for sentence in sentences}) > 2000


def test_the_seed_prompt_would_be_drawn_were_it_not_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.garments.captions.is_held_out", lambda _sentence: False)
    rng = Random(5)
    assert any(is_held_out(caption(rng, random_look(rng)).text) for _ in range(20_000))


def test_a_caption_holds_a_word_for_the_kind_that_it_states() -> None:
    rng = Random(7)
    for _ in range(500):
        look = random_look(rng)
        made = caption(rng, look)
        assert made.said.items() <= look.attributes().items()
        if "kind" in made.said:
            words = [*KIND_WORDS[look.kind], PLURALS.get(look.kind, look.kind)]
            assert any(word in made.text.lower() for word in words), made


def test_a_caption_can_be_told_what_to_state() -> None:
    look = Look("tie", "navy", "dotted")
    assert caption(Random(1), look, look.attributes()).said == look.attributes()


def test_one_seed_gives_one_prompt() -> None:
    assert held_out_prompt(Random(3), "dress", "red", "floral") == held_out_prompt(
        Random(3), "dress", "red", "floral"
    )
