"""Captions from a grammar: what is said of a garment, in which words, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from scripts.garments.held_out import is_held_out
from scripts.garments.picture import Look
from scripts.garments.vocabulary import (
    COLOUR_WORDS,
    KIND_WORDS,
    LENGTH_WORDS,
    PATTERN_ADJECTIVES,
    PATTERN_NOUNS,
    PLURALS,
    SLEEVE_WORDS,
    is_plural,
)

OPENINGS = (
    "show me", "i am looking for", "i'm looking for", "a photo of", "a picture of", "i want",
    "i want to buy", "i would like", "i need", "find", "find me", "do you have", "do you sell",
    "search for", "please show me", "where can i find", "looking for", "my friend needs",
    "can you recommend", "i love", "something like", "my mother would like", "get me", "we need",
    "image of", "have you got", "what about", "could you find", "let me see", "is there", "this is",
    "she wears", "he wears", "here is",
)  # fmt: skip
CLOSINGS = (
    "for summer", "for winter", "for a party", "for work", "for my birthday", "please", "in my size",
    "for women", "for men", "for a child", "to wear at a wedding", "for the office", "for school",
    "on sale", "for the weekend", "as a gift", "for everyday", "for the beach", "that looks nice",
    "for a date", "under 50 dollars", "for my daughter", "for autumn", "thanks", "today", "for her",
    "for him", "for the evening", "made of cotton", "that is comfortable", "in store",
    "from the new collection",
)  # fmt: skip
PRAISE = (
    "nice",
    "new",
    "beautiful",
    "cute",
    "elegant",
    "comfortable",
    "cheap",
    "modern",
    "cool",
    "soft",
    "lovely",
    "casual",
    "pretty",
)
PRINTS = ("print", "pattern", "design", "motif", "prints", "patterns")


@dataclass(frozen=True)
class Caption:
    """A sentence and the attributes that it states; what it leaves out may be anything."""

    text: str
    said: dict[str, str]


def chosen(rng: Random, look: Look) -> dict[str, str]:
    """Which attributes a caption states: mostly the kind and the colour, often the pattern."""
    chances = {"kind": 0.94, "colour": 0.86, "pattern": 0.72, "sleeve": 0.22, "length": 0.25}
    said = {name: value for name, value in look.attributes().items() if rng.random() < chances[name]}
    return said or {"kind": look.kind}


def noun(rng: Random, kind: str | None) -> tuple[str, bool]:
    """A word for the kind, or a word for any garment; and whether it is plural."""
    if kind is None:
        return rng.choice(
            (("clothes", True), ("something", False), ("item", False), ("garment", False), ("piece", False))
        )
    words = KIND_WORDS[kind]
    word = words[0] if rng.random() < 0.45 else rng.choice(words)
    if word in PLURALS and rng.random() < 0.15:
        return PLURALS[word], True
    return word, is_plural(kind, word)


def printed(rng: Random, pattern: str) -> str:
    return "" if pattern == "plain" else rng.choice(("", "", "", "", " print", " patterned"))


def before(rng: Random, said: dict[str, str]) -> list[str]:
    """Every stated attribute as words that stand before the noun."""
    words = {
        "colour": lambda value: rng.choice(COLOUR_WORDS[value]),
        "pattern": lambda value: rng.choice(PATTERN_ADJECTIVES[value]) + printed(rng, value),
        "sleeve": lambda value: rng.choice(SLEEVE_WORDS[value][0]),
        "length": lambda value: rng.choice(LENGTH_WORDS[value]),
    }
    return [words[name](said[name]) for name in said if name in words]


def pattern_phrase(rng: Random, pattern: str) -> str:
    """The pattern as words that stand after the noun."""
    link = rng.choice(("with", "with", "with", "featuring", "that has", "having", "which has", "showing"))
    if pattern == "plain":
        return f"{link} {rng.choice(PATTERN_NOUNS[pattern])}" if rng.random() < 0.5 else "in a plain colour"
    draw, adjective = rng.random(), rng.choice(PATTERN_ADJECTIVES[pattern])
    if draw < 0.4:
        return f"{link} {rng.choice(PATTERN_NOUNS[pattern])}"
    if draw < 0.75:
        return f"{link} {rng.choice(('', 'a ', 'a '))}{adjective} {rng.choice(PRINTS)}"
    if draw < 0.85:
        return f"in {rng.choice(('', 'a '))}{adjective} {rng.choice(PRINTS)}"
    return f"{rng.choice(('that is', 'which is', 'in'))} {adjective}"


def after(rng: Random, said: dict[str, str]) -> list[str]:
    """Every stated attribute as words that stand after the noun."""
    phrases = []
    if "colour" in said:
        colour = rng.choice(COLOUR_WORDS[said["colour"]])
        links = (
            "in {}",
            "in {}",
            "in {}",
            "that is {}",
            "coloured {}",
            "of {} colour",
            "in the colour {}",
            "in {} fabric",
            "in {} tones",
        )
        phrases.append(rng.choice(links).format(colour))
    if "pattern" in said:
        phrases.append(pattern_phrase(rng, said["pattern"]))
    if "sleeve" in said:
        phrases.append(f"with {rng.choice(SLEEVE_WORDS[said['sleeve']][1])}")
    if "length" in said:
        phrases.append(f"of {rng.choice(LENGTH_WORDS[said['length']])} length")
    return phrases


def phrase(rng: Random, said: dict[str, str]) -> str:
    """A noun with every attribute before or after it: "striped tee in red"."""
    word, plural = noun(rng, said.get("kind"))
    early = {name: value for name, value in said.items() if name != "kind" and rng.random() < 0.62}
    late = {name: value for name, value in said.items() if name != "kind" and name not in early}
    words, phrases = before(rng, early), after(rng, late)
    if rng.random() < 0.15:
        words.append(rng.choice(PRAISE))
    rng.shuffle(words)
    rng.shuffle(phrases)
    glue = rng.choice((" ", " ", " ", " and ", ", ")) if len(words) > 1 else " "
    head = f"{glue.join(words)} {word}".strip()
    article = (
        ""
        if rng.random() < 0.3
        else ("some " if plural else rng.choice(("a ", "a ", "the ", "one ", "any ")))
    )
    return " ".join([article + head, rng.choice((" ", " ", " and ", ", ")).join(phrases)]).strip()


def keywords(rng: Random, said: dict[str, str]) -> str:
    """The same as bare words in any order: "floral, dress, red"."""
    words = before(rng, {name: value for name, value in said.items() if name != "kind"})
    if "kind" in said:
        words.append(noun(rng, said["kind"])[0])
    rng.shuffle(words)
    return rng.choice((" ", " ", ", ", " / ", " and ", " - ", ": ")).join(words)


def clauses(rng: Random, said: dict[str, str]) -> str:
    """The kind first and the rest told of it: "the dress should be red and have flowers"."""
    word, plural = noun(rng, said.get("kind"))
    facts = []
    if "colour" in said:
        verb = rng.choice(("be", "look", "be mostly", "have the colour"))
        facts.append(f"{verb} {rng.choice(COLOUR_WORDS[said['colour']])}")
    if "pattern" in said:
        adjective, things = (
            rng.choice(PATTERN_ADJECTIVES[said["pattern"]]),
            rng.choice(PATTERN_NOUNS[said["pattern"]]),
        )
        facts.append(
            rng.choice((f"be {adjective}", f"have {things}", f"come with {things}", f"be {adjective}"))
        )
    rest = before(rng, {name: value for name, value in said.items() if name in ("sleeve", "length")})
    rng.shuffle(facts)
    owner = rng.choice(("the", "my", "this", "our") if not plural else ("the", "my", "these", "our"))
    modal = rng.choice(("should", "must", "has to", "could", "may", "will"))
    told = f"{modal} {rng.choice((' and ', ', ')).join(facts)}" if facts else ""
    return " ".join(part for part in (owner, *rest, word, told) if part)


def loosened(rng: Random, text: str) -> str:
    """The sentence as people type it: other case, a full stop or none, now and then a small word missing."""
    if rng.random() < 0.12:
        text = " ".join(
            word
            for word in text.split()
            if word not in ("a", "the", "in", "with", "some") or rng.random() < 0.4
        )
    draw = rng.random()
    text = text.upper() if draw < 0.04 else text.capitalize() if draw < 0.4 else text
    return text + rng.choice(("", "", "", "", ".", "?", "!"))


def made_up(rng: Random) -> str:
    """A word that no one knows, so that strange words are learned to mean nothing."""
    syllables = [
        rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") + rng.choice(("", "n", "r", "s", "l", "t"))
        for _ in range(3)
    ]
    return "".join(syllables[: rng.randint(1, 3)])


def with_strange_words(rng: Random, text: str) -> str:
    """The sentence with one to three made-up words before it or after it."""
    strange = " ".join(made_up(rng) for _ in range(rng.randint(1, 3)))
    return f"{strange} {text}" if rng.random() < 0.5 else f"{text} {strange}"


def sentence(rng: Random, said: dict[str, str]) -> str:
    draw = rng.random()
    if draw < 0.18:
        core = keywords(rng, said)
    elif draw < 0.28 and ("colour" in said or "pattern" in said):
        core = clauses(rng, said)
    else:
        core = phrase(rng, said)
    opening = rng.choice(OPENINGS) + " " if rng.random() < 0.4 else ""
    closing = " " + rng.choice(CLOSINGS) if rng.random() < 0.3 else ""
    if rng.random() < 0.2:
        core = with_strange_words(rng, core)
    return loosened(rng, opening + core + closing)


def caption(rng: Random, look: Look, said: dict[str, str] | None = None) -> Caption:
    """A caption of `look` that states `said`, by lot if not given; never in a held-out sentence pattern."""
    said = said or chosen(rng, look)
    text = sentence(rng, said)
    while is_held_out(text):
        text = sentence(rng, said)
    return Caption(text, said)
