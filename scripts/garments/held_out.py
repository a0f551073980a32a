"""Sentence patterns kept out of training, and the check that keeps them out.

A sentence's *skeleton* is what is left when its attribute words become slots (`K` kind, `C` colour,
`P` pattern) and articles, case, punctuation and the choice among print/pattern/design words no longer matter.
"""

from __future__ import annotations

import re
from random import Random

from scripts.garments.vocabulary import (
    COLOUR_WORDS,
    KIND_WORDS,
    PATTERN_ADJECTIVES,
    PATTERN_NOUNS,
    PLURALS,
)

KIND_COLOUR: tuple[str, ...] = (
    "A {kind} whose colour is {colour}",
    "{colour} would suit me, so let me see one {kind}",
    "Could I try on the {colour} {kind} from the window",
    "I saw somebody wearing a {colour} {kind} yesterday",
    "Which {kind} here comes in {colour}?",
    "Is there any {kind} left that is {colour}?",
)
KIND_COLOUR_PATTERN: tuple[str, ...] = (
    "A {colour} {kind} with {adjective} patterns",
    "{kind} made of {adjective} {colour} fabric",
    "My sister wants a {kind}: {adjective}, ideally {colour}",
    "{colour} is my favourite, so a {adjective} {kind} would be lovely",
    "{adjective} print, {colour} background, {kind}",
    "Which {kind} here is both {colour} and {adjective}?",
)
# "with plain patterns" is not English: a plain garment is asked for in other words.
PLAIN_INSTEAD = {
    "A {colour} {kind} with {adjective} patterns": "A {colour} {kind} without any patterns",
    "{adjective} print, {colour} background, {kind}": "{adjective} {colour} background, {kind}",
}

PRINT_WORDS = ("prints", "print", "patterns", "pattern", "designs", "design", "motifs", "motif")
DROPPED = frozenset({"a", "an", "the", "some", "any", "one"})


def _slots() -> dict[str, str]:
    slots = {word: "P" for words in (*PATTERN_ADJECTIVES.values(), *PATTERN_NOUNS.values()) for word in words}
    slots |= {word: "C" for words in COLOUR_WORDS.values() for word in words}
    slots |= {word: "K" for words in KIND_WORDS.values() for word in words}
    slots |= dict.fromkeys(PLURALS.values(), "K")
    return slots | dict.fromkeys(PRINT_WORDS, "print")


SLOTS = _slots()
LONGEST_FIRST = "|".join(re.escape(word) for word in sorted(SLOTS, key=len, reverse=True))
SLOT_PATTERN = re.compile(rf"(?<![\w-])({LONGEST_FIRST})(?![\w-])")


def skeleton(sentence: str) -> str:
    """The sentence with slots for its attribute words, without articles, case and punctuation."""
    slotted = SLOT_PATTERN.sub(lambda found: SLOTS[found.group(1)], sentence.lower())
    words = re.findall(r"[A-Za-z]+", slotted)
    return " ".join(word for word in words if word not in DROPPED)


def _forbidden() -> frozenset[str]:
    shown = {"kind": "dress", "colour": "red", "adjective": "floral"}
    forms = (*KIND_COLOUR, *KIND_COLOUR_PATTERN, *PLAIN_INSTEAD.values())
    return frozenset(skeleton(form.format(**shown)) for form in forms)


FORBIDDEN = _forbidden()


def is_held_out(sentence: str) -> bool:
    """Whether the sentence holds a held-out pattern, whatever stands round it."""
    form = f" {skeleton(sentence)} "
    return any(f" {forbidden} " in form for forbidden in FORBIDDEN)


def held_out_prompt(rng: Random, kind: str, colour: str, pattern: str | None = None) -> str:
    """A prompt in a held-out sentence pattern, its words drawn by lot from those that training knows."""
    words = {"kind": rng.choice(KIND_WORDS[kind]), "colour": rng.choice(COLOUR_WORDS[colour])}
    if pattern is None:
        return rng.choice(KIND_COLOUR).format(**words)
    form = rng.choice(KIND_COLOUR_PATTERN)
    if pattern == "plain":
        form = PLAIN_INSTEAD.get(form, form)
    return form.format(**words, adjective=rng.choice(PATTERN_ADJECTIVES[pattern]))
