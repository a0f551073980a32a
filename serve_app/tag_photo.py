"""A photo in, the names that fit it out. Nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy.orm import Session

from db import embeddings, images, vocabularies
from db.vocabularies import Term
from models.errors import Conflict, InvalidInput, PhotoMissing
from models.image import ImageStatus
from models.tag_api import LabelScore, TagRequest, Tags, TagScore
from serve_app.add_image import no_such_image
from serve_app.embed_photo import embed_photo
from serve_app.ports import Vector
from serve_app.services import Services
from serve_app.zero_shot import TEMPLATES, Label, confidences, own_label, texts_of


async def tag_photo(services: Services, shop_id: int, request: TagRequest, photo: bytes | None) -> Tags:
    """Raises the photo errors of ``check_photo``, PhotoMissing, InvalidInput, NotFound, Conflict, and
    the ports'."""
    vector = await _photo_vector(services, shop_id, request.image_id, photo)
    answer = Tags(model=services.model.label, fallback_model=services.model.fell_back)
    if request.labels is not None:
        shares = await _shares(services, vector, [own_label(label) for label in request.labels])
        ranked = sorted(zip(request.labels, shares, strict=True), key=lambda one: -one[1])
        best = [LabelScore(label=label, confidence=share) for label, share in ranked[: request.top]]
        return answer.model_copy(update={"labels": best})
    terms = await services.database.read(vocabularies.all_terms)
    scores = {field: await _ranked(services, vector, field, terms, request.top) for field in TEMPLATES}
    return answer.model_copy(update=scores)


async def _photo_vector(
    services: Services, shop_id: int, image_id: int | None, photo: bytes | None
) -> Vector:
    """(d,): of the bytes, or of the shop's photo."""
    if photo is not None and image_id is not None:
        raise InvalidInput("Send either Photo or image_id, not both.").at("/image_id")
    if photo is not None:
        return (await embed_photo(services, photo)).vector
    if image_id is None:
        raise PhotoMissing(
            "Photo is missing. Send the file as the form field 'Photo', base64 text in JSON, or the image_id "
            "of a photo of your shop."
        ).at("/Photo")
    return await services.database.read(
        partial(_stored_vector, shop_id=shop_id, image_id=image_id, model_key=services.model.key)
    )


def _stored_vector(session: Session, shop_id: int, image_id: int, model_key: str) -> Vector:
    row = images.get(session, shop_id, image_id)
    if row is None:
        raise no_such_image(image_id).at("/image_id")
    vector = embeddings.load(session, shop_id, model_key, [image_id]).get(image_id)
    if row.image.status is not ImageStatus.EMBEDDED or vector is None:
        raise Conflict(
            f"Photo {image_id} is not embedded yet: its status is {row.image.status.value}. Ask again once "
            "it is embedded."
        ).at("/image_id")
    return vector


async def _ranked(
    services: Services, vector: Vector, field: str, terms: Mapping[str, Sequence[Term]], top: int | None
) -> list[TagScore]:
    own = terms[field]
    if not own:
        return []
    labels = [TEMPLATES[field].label(term.name, term.description) for term in own]
    ranked = sorted(zip(own, await _shares(services, vector, labels), strict=True), key=lambda one: -one[1])
    return [TagScore(id=term.id, name=term.name, confidence=share) for term, share in ranked[:top]]


async def _shares(services: Services, vector: Vector, labels: Sequence[Label]) -> list[float]:
    vectors = await services.text_vectors.get(services.text_embedder, texts_of(labels))
    scale = services.model.logit_scale
    shares = await asyncio.to_thread(confidences, vector[None], labels, vectors, scale)
    return [float(share) for share in shares[0]]
