"""What a request looks for, as one vector.

With photos p, words t and a negative prompt n, all of unit length, and the parts' weights w::

    q = unit( PHOTO Σ w p  +  WORDS (Σ w t - NEGATIVE (n - neutral))  +  KIND Σ w kind(p) )

- Photos and words lie in different cones of CLIP's space, and photos differ more in their similarity to a
  photo than in theirs to a sentence: with equal shares the photo decides alone. Hence PHOTO < WORDS.
- ``kind(p)`` says in words what garment the photo shows (``Garments.kind_of``). Without it, a photo that is
  pulled towards "red" becomes another garment before it becomes red. It is left out where the words name a
  garment themselves: "shoes like this".
- ``neutral`` is the mean of garments' names: what is subtracted is what is special about n, not that it
  speaks of a garment.

Photos alone: q = unit(Σ w p). Words alone: q = unit(Σ w t - NEGATIVE (n - neutral)), and one prompt is its
own vector, unchanged. Measured by ``scripts/evaluation/like_this.py``; docs/decisions/0018 has the reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy.orm import Session

from db import embeddings, images
from models.errors import Conflict, InvalidInput, NotFound
from models.image import Image
from models.recommendation_api import RecommendationRequest
from models.search import TextEmbedding
from serve_app.embed_photo import embed_photos
from serve_app.garment_words import NAMES, Garments, names_a_garment
from serve_app.ports import Vector
from serve_app.services import Services

PHOTO, WORDS, KIND, NEGATIVE = 0.3, 0.7, 0.3, 0.5
SHORTEST = 1e-3  # what is left of parts that cancel each other points anywhere
Pull = tuple[float, Vector]  # a weight and a (d,) float32 vector of unit length


@dataclass(frozen=True, slots=True)
class ComposedQuery:
    """``vector``: (d,) float32, unit length. ``one_prompt``: it is a prompt's own, so a score floor applies.

    ``sha256``: of the photos that came with the request, by pointer. ``image_ids``: the shop's, asked with.
    """

    vector: Vector
    truncated: bool
    one_prompt: bool
    sha256: dict[str, str] = field(default_factory=dict)
    image_ids: frozenset[int] = frozenset()


async def compose(services: Services, shop_id: int, request: RecommendationRequest) -> ComposedQuery:
    """Raises InvalidInput, NotFound, Conflict, the photo errors, and what the ports raise."""
    parts = request.parts()
    prompts = {at: part.prompt for at, part in parts.items() if part.prompt is not None}
    if len(parts) == len(prompts) == 1 and request.negative_prompt is None:
        embedding = await services.text_embedder.embed(next(iter(prompts.values())))
        return ComposedQuery(embedding.vector, embedding.truncated, one_prompt=True)
    ids = {at: part.image_id for at, part in parts.items() if part.image_id is not None}
    photos = await _stored(services, shop_id, ids)
    sent = await embed_photos(services, request.photos())
    photos |= {at: photo.vector for at, photo in sent.items()}
    negative = {} if request.negative_prompt is None else {"/negative_prompt": request.negative_prompt}
    texts = await _embedded(services, prompts | negative)
    return ComposedQuery(
        await _vector(services, request, photos, texts),
        any(text.truncated for text in texts.values()),
        one_prompt=False,
        sha256={at: photo.sha256 for at, photo in sent.items()},
        image_ids=frozenset(ids.values()),
    )


def combined(
    photos: Sequence[Pull], words: Sequence[Pull], negative: Vector | None, garments: Garments, *, named: bool
) -> Vector:
    """The sum in the module's formula, for photos with words, or with anything and a negative prompt.

    ``named``: the words name a garment. Raises InvalidInput where the parts cancel each other.
    """
    wanted = _sum(words)
    if negative is not None:
        wanted = wanted - NEGATIVE * (negative - garments.neutral)
    if not photos:
        return unit(wanted)
    total = PHOTO * _sum(photos) + WORDS * wanted
    if not named:
        total = total + KIND * _sum((weight, garments.kind_of(vector)) for weight, vector in photos)
    return unit(total)


def unit(vector: Vector) -> Vector:
    """The vector at length 1. Raises InvalidInput for one that has no direction."""
    length = float(np.linalg.norm(vector))
    if length < SHORTEST:
        raise InvalidInput(
            "What was asked for cancels itself out: its parts point in opposite directions. Leave one of "
            "them out, or change their weights."
        )
    return (vector / length).astype(np.float32)


async def _vector(
    services: Services,
    request: RecommendationRequest,
    photos: Mapping[str, Vector],
    texts: Mapping[str, TextEmbedding],
) -> Vector:
    parts = request.parts()
    heaviest = max(part.weight for part in parts.values())
    shares = {at: part.weight / heaviest for at, part in parts.items()}
    shown = [(shares[at], vector) for at, vector in photos.items()]
    words = [(shares[at], text.vector) for at, text in texts.items() if at in shares]
    if not texts:
        return unit(_sum(shown))
    if not shown and request.negative_prompt is None:
        return unit(_sum(words))
    negative = None if request.negative_prompt is None else texts["/negative_prompt"].vector
    named = any(part.prompt is not None and names_a_garment(part.prompt) for part in parts.values())
    return combined(shown, words, negative, await _garments(services), named=named)


async def _garments(services: Services) -> Garments:
    """Embedded at the first request that needs them."""
    known = await services.text_vectors.get(services.text_embedder, NAMES)
    return Garments(np.stack([known[name] for name in NAMES]), services.model.logit_scale)


def _sum(pulls: Iterable[Pull]) -> Vector:
    return sum((weight * vector for weight, vector in pulls), start=np.zeros(1, np.float32))


async def _embedded(services: Services, texts: Mapping[str, str]) -> dict[str, TextEmbedding]:
    found = await asyncio.gather(*map(services.text_embedder.embed, texts.values()))
    return dict(zip(texts, found, strict=True))


async def _stored(services: Services, shop_id: int, ids: Mapping[str, int]) -> dict[str, Vector]:
    """The vectors of the shop's photos, by the pointers of the fields that name them.

    Their own vectors, whatever the shop mixes into those that are searched: asked with is what one sees.
    """
    if not ids:
        return {}

    def read(session: Session) -> tuple[dict[int, Image], dict[int, Vector]]:
        wanted = sorted(set(ids.values()))
        living = images.living(session, shop_id, wanted)
        return living, embeddings.load(session, shop_id, services.model.key, wanted)

    living, vectors = await services.database.read(read)
    for at, image_id in ids.items():
        if image_id not in living:
            raise NotFound(f"There is no photo {image_id} in this shop.").at(at)
        if image_id not in vectors:
            raise Conflict(
                f"Photo {image_id} is not embedded yet: its status is {living[image_id].status.value}. Ask "
                "again once it is embedded."
            ).at(at)
    return {at: vectors[image_id] for at, image_id in ids.items()}
