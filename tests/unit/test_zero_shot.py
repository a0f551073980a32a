"""Texts, confidences and kept vectors of zero-shot tags."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.zero_shot import TEMPLATES, Label, TextVectors, confidences, own_label, texts_of
from tests.fakes import FakeBulkTextEmbedder, FakeTextEmbedder, vector_of

X, Y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


class Counting(FakeTextEmbedder):
    """Both ways of embedding; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, prompt: str):  # type: ignore[no-untyped-def]
        self.asked.append(prompt)
        return await super().embed(prompt)


def test_a_term_is_its_name_and_its_description() -> None:
    label = TEMPLATES["Category"].label("Shoes", "Footwear: boots.")
    named, described = label.groups
    assert named == ("Shoes", "a photo of Shoes", "a picture of Shoes")
    assert described == ("a photo of Shoes, Footwear: boots.",)
    assert TEMPLATES["Styles"].label("{x} {", "").groups == (("{x} { clothing", "a photo of {x} { clothes"),)
    assert own_label("a tie").groups == (("a photo of a tie",),)


def test_confidences_are_the_softmax_of_the_scaled_cosines() -> None:
    labels = [Label((("x",),)), Label((("y",),))]
    photos = np.stack([X, (X + Y) / np.sqrt(2)]).astype(np.float32)
    found = confidences(photos, labels, {"x": X, "y": Y}, logit_scale=3.0)
    e = np.exp(3.0)
    assert found[0] == pytest.approx([e / (e + 1), 1 / (e + 1)])
    assert found[1] == pytest.approx([0.5, 0.5])


def test_templates_are_averaged_and_the_better_of_name_and_description_counts() -> None:
    both, described = Label((("x", "y"),)), Label((("y",), ("x",)))
    found = confidences(X[None], [both, described], {"x": X, "y": Y}, logit_scale=1.0)[0]
    assert np.log(found[1] / found[0]) == pytest.approx(1.0 - np.sqrt(0.5))


def test_a_large_scale_does_not_overflow() -> None:
    found = confidences(X[None], [Label((("x",),)), Label((("y",),))], {"x": X, "y": -X}, 1e6)[0]
    assert found.tolist() == [1.0, 0.0]


async def test_a_text_is_embedded_once() -> None:
    kept, embedder, bulk = TextVectors(), Counting(), FakeBulkTextEmbedder()
    texts = texts_of([Label((("a", "b"), ("c",))), Label((("a",),))])
    assert texts == ["a", "b", "c"]
    first = await kept.get(embedder, texts[:2])
    again = kept.get_in_bulk(bulk, texts, bool)
    assert (embedder.asked, bulk.asked) == (["a", "b"], ["c"])
    assert first.keys() == {"a", "b"}
    for text in texts:
        assert np.array_equal(again[text], vector_of(text))


def test_the_oldest_texts_are_forgotten() -> None:
    kept, bulk = TextVectors(limit=2), FakeBulkTextEmbedder()
    kept.get_in_bulk(bulk, ["a", "b"], bool)
    kept.get_in_bulk(bulk, ["a"], bool)
    assert kept.get_in_bulk(bulk, ["c", "d", "e"], bool).keys() == {"c", "d", "e"}, "more than are kept"
    bulk.asked.clear()
    kept.get_in_bulk(bulk, ["d", "e", "a"], bool)
    assert bulk.asked == ["a"]
