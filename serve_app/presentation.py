"""Rows as the API shows them."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import URL

from db.images import ImageRow
from db.shown_photos import ShownPhoto
from models.image import ImageStatus
from models.image_api import ImageDetail
from models.import_api import JobDetail
from models.prompt_api import PromptDetail, PromptResult, ShownImage
from models.recommendation_api import Recommendation, Variant
from serve_app.arrange import Arranged
from serve_app.import_jobs import ImportView
from serve_app.import_progress import job_detail
from serve_app.photo_notes import suggestions_of, warning_of
from serve_app.prompt_history import PromptEntry
from serve_app.secrets import PhotoSigner


class Presenter:
    """Knows the address under which this client reached the service, for photo URLs."""

    def __init__(self, signer: PhotoSigner, base_url: str) -> None:
        self._signer = signer
        self._base_url = base_url.rstrip("/")

    def absolute(self, url: URL) -> str:
        """A request's address, under the public one."""
        return f"{self._base_url}{url.path}?{url.query}"

    def at(self, path: str) -> str:
        """The absolute address of a path."""
        return self._base_url + path

    def detail(self, row: ImageRow) -> ImageDetail:
        image = row.image
        return ImageDetail(
            **self._public(row.shown),
            Processor_embedded=image.status is ImageStatus.EMBEDDED,
            **image.model_dump(
                include={
                    "status",
                    "error",
                    "photo_sha256",
                    "photo_bytes",
                    "photo_width_px",
                    "photo_height_px",
                    "created_at",
                    "updated_at",
                    "embedded_at",
                    "auto_tag",
                }
            ),
            suggestions=suggestions_of(image),
            warnings=[warning_of(kept) for kept in row.warnings],
        )

    def recommendation(self, place: Arranged) -> Recommendation:
        return Recommendation(
            **self._public(place.photo.row),
            score=place.photo.score,
            rank=place.rank,
            variants=[Variant(**self._public(one.row), score=one.score) for one in place.variants],
            near_duplicates=list(place.near_duplicates),
        )

    def job(self, view: ImportView) -> JobDetail:
        return job_detail(view, self.at(f"/api/jobs/{view.job_id}/errors/"))

    def prompt(self, entry: PromptEntry) -> PromptDetail:
        prompt = entry.prompt
        results = zip(prompt.result_ids, prompt.scores, strict=True)
        return PromptDetail(
            prompt_id=prompt.id,
            prompt=prompt.prompt,
            query=prompt.query,
            no_match=prompt.no_match,
            number_recommended=prompt.number_recommended,
            filters=prompt.filters,
            model=prompt.model_key,
            duration_ms=round(prompt.duration_ms, 2),
            key_id=prompt.api_key_id,
            created_at=entry.place.created_at,
            results=[
                PromptResult(ImageID=image_id, score=score, rank=rank, image=self._shown(entry, image_id))
                for rank, (image_id, score) in enumerate(results, start=prompt.offset + 1)
            ],
        )

    def _shown(self, entry: PromptEntry, image_id: int) -> ShownImage | None:
        image = entry.images.get(image_id)
        if image is None:
            return None
        return ShownImage(sku=image.sku, name=image.name, Photo=self._photo(image_id, image.photo_sha256))

    def _photo(self, image_id: int, photo_sha256: str) -> str:
        return self.at(self._signer.path(image_id, photo_sha256))

    def _public(self, photo: ShownPhoto) -> dict[str, Any]:
        return {
            "ImageID": photo.image_id,
            "sku": photo.sku,
            "product_id": photo.product_id,
            "name": photo.name,
            "description": photo.description,
            "Category": photo.category_id,
            "category_name": photo.category_name,
            "Styles": photo.style_id,
            "style_name": photo.style_name,
            "AgeGroup": photo.age_group_id,
            "age_group_name": photo.age_group_name,
            "attributes": photo.attributes,
            "product_url": photo.product_url,
            "Photo": self._photo(photo.image_id, photo.photo_sha256),
        }
