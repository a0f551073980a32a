"""What a photo shows, out of given names, by a model that was never trained on them.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021), section 3.1:
each name becomes texts by templates, and the confidences are

    softmax over the names of  logit_scale · score(photo, name)

with the temperature that the model was trained with. A name's templates are averaged (and normalised) into
one vector, as there. A description makes a second vector, beside the name's, and the score is the cosine of
the better of the two: "Shoes" alone does not bring up boots, "Footwear: sneakers, boots, …" does
(descriptions as texts: Menon & Vondrick 2022). ``python -m scripts.evaluate`` measures it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from serve_app.embed_texts import TEXTS_PER_STEP, embed_texts
from serve_app.ports import BulkTextEmbedder, TextEmbedder, Vector

MAX_KEPT_TEXTS = 8192  # 16 MiB at 512 dimensions


@dataclass(frozen=True, slots=True)
class Label:
    """One of the names. ``groups``: texts whose mean is one vector, at least one group of at least one."""

    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Templates:
    """How a vocabulary's terms are put to the model."""

    of_name: tuple[str, ...]
    of_description: str

    def label(self, name: str, description: str) -> Label:
        named = tuple(template.format(name) for template in self.of_name)
        if not description:
            return Label((named,))
        return Label((named, (self.of_description.format(name, description),)))


# By the fields that hold the terms.
TEMPLATES = {
    "Category": Templates(("{}", "a photo of {}", "a picture of {}"), "a photo of {}, {}"),
    "Styles": Templates(("{} clothing", "a photo of {} clothes"), "a photo of {} clothes, {}"),
    "AgeGroup": Templates(("clothes for {}", "a photo of clothes for {}"), "a photo of clothes for {}, {}"),
}


def own_label(text: str) -> Label:
    """A label in the words of who asks."""
    return Label(((f"a photo of {text}",),))


def texts_of(labels: Iterable[Label]) -> list[str]:
    """All texts of the labels, each once."""
    return list(dict.fromkeys(text for label in labels for group in label.groups for text in group))


def confidences(
    photos: Vector, labels: Sequence[Label], vectors: Mapping[str, Vector], logit_scale: float
) -> NDArray[np.float64]:
    """(n, labels), each row adding up to 1, for photos (n, d) and at least one label; all unit vectors."""
    scores = np.stack([_score(photos, label, vectors) for label in labels], axis=1)
    powers = np.exp(logit_scale * (scores - scores.max(axis=1, keepdims=True)))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _score(photos: Vector, label: Label, vectors: Mapping[str, Vector]) -> NDArray[np.float64]:
    means = np.stack([np.mean([vectors[text] for text in group], axis=0) for group in label.groups])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    best: NDArray[np.float64] = (photos.astype(np.float64) @ unit.T).max(axis=1)
    return best


@dataclass
class TextVectors:
    """Vectors of texts that come again and again, of one model; for several threads."""

    limit: int = MAX_KEPT_TEXTS
    _kept: OrderedDict[str, Vector] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    async def get(self, embedder: TextEmbedder, texts: Sequence[str]) -> dict[str, Vector]:
        """By text; what is not kept is embedded. Raises what the embedder raises."""
        known, unknown = self._known(texts)
        if unknown:
            known |= self._keep(unknown, await embed_texts(embedder, unknown))
        return known

    def get_in_bulk(
        self, embedder: BulkTextEmbedder, texts: Sequence[str], after_step: Callable[[], object]
    ) -> dict[str, Vector]:
        """The same, in a thread and some at a time, so that what came before an error is kept."""
        known, unknown = self._known(texts)
        for start in range(0, len(unknown), TEXTS_PER_STEP):
            step = unknown[start : start + TEXTS_PER_STEP]
            known |= self._keep(step, embedder.embed(step))
            after_step()
        return known

    def _known(self, texts: Sequence[str]) -> tuple[dict[str, Vector], list[str]]:
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
            for text in known:
                self._kept.move_to_end(text)
        return known, [text for text in texts if text not in known]

    def _keep(self, texts: Sequence[str], vectors: Vector) -> dict[str, Vector]:
        new = dict(zip(texts, vectors, strict=True))
        with self._lock:
            self._kept |= new
            while len(self._kept) > self.limit:
                self._kept.popitem(last=False)
        return new
