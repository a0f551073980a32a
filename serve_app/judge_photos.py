"""What the model thinks of photos that are being indexed: terms that were left out, and what looks wrong.

Warnings, never refusals: nothing here keeps a photo from its shoppers, except that one whose terms are to be
filled in (``auto_tag``) waits for a text tower that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from configs.serving import TagArgs
from db import photo_tags, photo_warnings, vocabularies
from db.photo_tags import Suggestion, TermState
from db.session import Database
from db.vocabularies import Term
from db.work import ClaimedPhoto
from models.search import Hit
from serve_app.context import ServingContext
from serve_app.ports import BulkTextEmbedder, Vector
from serve_app.zero_shot import TEMPLATES, TextVectors, confidences, texts_of

NEAREST = 8
PhotoWarning = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Terms with the vectors of their texts."""

    field: str
    terms: list[Term]
    vectors: Mapping[str, Vector]

    def confidences(self, photos: Vector, logit_scale: float) -> NDArray[np.float64]:
        """(n, terms) for photos (n, d)."""
        labels = [TEMPLATES[self.field].label(term.name, term.description) for term in self.terms]
        return confidences(photos, labels, self.vectors, logit_scale)


@dataclass(frozen=True, slots=True)
class Judgement:
    """``suggested``: terms by field. ``warnings``: of a category that the photo contradicts."""

    suggested: dict[str, Suggestion] = field(default_factory=dict)
    warnings: list[PhotoWarning] = field(default_factory=list)


@dataclass(frozen=True)
class Judge:
    """One per process: it keeps the vectors of the terms' texts."""

    database: Database
    model_key: str
    logit_scale: float
    args: TagArgs
    near_duplicate_score: float
    texts: TextVectors = field(default_factory=TextVectors)

    @classmethod
    def of(cls, context: ServingContext, database: Database) -> Self:
        """As the service is configured."""
        model, args = context.model, context.args
        return cls(database, model.key, model.logit_scale, args.tags, args.search.near_duplicate_score)

    def states(self, photos: Sequence[ClaimedPhoto]) -> dict[int, TermState]:
        """Which of the photos' terms are to be judged, by photo."""
        with self.database.transaction() as session:
            found = photo_tags.states(session, [photo.image_id for photo in photos])
        return {photo.image_id: found.get(photo.image_id, TermState()) for photo in photos}

    def vocabularies(
        self, embedder: BulkTextEmbedder, states: Mapping[int, TermState], hold: Callable[[], object]
    ) -> dict[str, Vocabulary]:
        """Those that the photos are to be judged by. Where there is no choice there is nothing to judge.

        Raises what the embedder raises; it is asked for texts that this process does not have yet, some at a
        time, and ``hold`` is called in between, to prolong the photos' leases.
        """
        needed = {name for state in states.values() for name in state.missing}
        if any(state.stated_category is not None for state in states.values()):
            needed.add("Category")
        if not needed:
            return {}
        with self.database.transaction() as session:
            terms = vocabularies.all_terms(session)
        chosen = {name: terms[name] for name in needed if len(terms[name]) > 1}
        texts = texts_of(
            TEMPLATES[name].label(one.name, one.description) for name, own in chosen.items() for one in own
        )
        vectors = self.texts.get_in_bulk(embedder, texts, hold)
        return {name: Vocabulary(name, own, vectors) for name, own in chosen.items()}

    def judge(
        self,
        states: Mapping[int, TermState],
        by: Mapping[str, Vocabulary],
        vectors: Mapping[int, Vector],
    ) -> dict[int, Judgement]:
        """By photo, of those in ``vectors``."""
        found = {image_id: Judgement() for image_id in vectors}
        for name, vocabulary in by.items():
            asked = [
                image_id
                for image_id in vectors
                if name in states[image_id].missing
                or (name == "Category" and states[image_id].stated_category is not None)
            ]
            if not asked:
                continue
            photos = np.stack([vectors[image_id] for image_id in asked])
            shares = vocabulary.confidences(photos, self.logit_scale)
            for image_id, row in zip(asked, shares, strict=True):
                self._note(found[image_id], states[image_id], vocabulary, row.tolist())
        return found

    def _note(
        self, judgement: Judgement, state: TermState, vocabulary: Vocabulary, shares: list[float]
    ) -> None:
        best = max(range(len(shares)), key=shares.__getitem__)
        suggestion = Suggestion(vocabulary.terms[best].id, shares[best])
        if vocabulary.field in state.missing:
            if suggestion.confidence >= self.args.min_confidence:
                judgement.suggested[vocabulary.field] = suggestion
            return
        stated = {term.id: share for term, share in zip(vocabulary.terms, shares, strict=True)}
        category = state.stated_category
        if category is not None and self.contradicted(stated.get(category, 1.0), suggestion.confidence):
            judgement.warnings.append(
                {
                    "code": "category_contradicted",
                    "Category": category,
                    "confidence": round(stated[category], 4),
                    "suggested": suggestion.term_id,
                    "suggested_confidence": round(suggestion.confidence, 4),
                }
            )

    def contradicted(self, stated: float, best: float) -> bool:
        """Whether confidences of the stated category and of the best one are worth a warning."""
        return stated < self.args.contradicted_below and best >= self.args.contradicted_by

    def fill(
        self, token: str, photos: list[ClaimedPhoto], judged: Mapping[int, Judgement]
    ) -> list[ClaimedPhoto]:
        """Write what was suggested; the photos as the index is to have them."""
        suggested = {image_id: one.suggested for image_id, one in judged.items() if one.suggested}
        if not suggested:
            return photos
        with self.database.transaction() as session:
            return photo_tags.fill(session, token, photos, suggested)

    def near_duplicates(
        self,
        shop_id: int,
        photos: Sequence[ClaimedPhoto],
        vectors: Mapping[int, Vector],
        hits: Sequence[Sequence[Hit]],
    ) -> dict[int, PhotoWarning]:
        """For each photo the one that looks most like it, of another product, if it looks the same.

        ``hits``: each photo's nearest in the index, which may weigh in texts; the photos' own vectors decide.
        """
        ids = {hit.image_id for row in hits for hit in row} | {photo.image_id for photo in photos}
        with self.database.transaction() as session:
            twins = photo_warnings.twins(session, shop_id, self.model_key, ids)
        found: dict[int, PhotoWarning] = {}
        for photo, row in zip(photos, hits, strict=True):
            own = twins.get(photo.image_id)
            if own is None:
                continue
            others = {
                hit.image_id: float(twins[hit.image_id].vector @ vectors[photo.image_id])
                for hit in row
                if hit.image_id in twins and hit.image_id != photo.image_id
                if own.product_id is None or twins[hit.image_id].product_id != own.product_id
            }
            best = max(others, key=lambda image_id: (others[image_id], -image_id), default=None)
            if best is not None and others[best] >= self.near_duplicate_score:
                found[photo.image_id] = {
                    "code": "near_duplicate",
                    "ImageID": best,
                    "photo_sha256": twins[best].photo_sha256,
                    "score": round(others[best], 4),
                }
        return found
