"""Rows as the API shows them."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import URL

from db.images import ImageRow
from models.image import ImageStatus
from models.image_api import ImageDetail
from models.recommendation_api import Recommendation
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
            **self._public(row),
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
                }
            ),
        )

    def recommendation(self, row: ImageRow, score: float, rank: int) -> Recommendation:
        return Recommendation(**self._public(row), score=score, rank=rank)

    def _public(self, row: ImageRow) -> dict[str, Any]:
        image = row.image
        return {
            "ImageID": row.image_id,
            "sku": image.sku,
            "product_id": image.product_id,
            "name": image.name,
            "description": image.description,
            "Category": image.category_id,
            "category_name": row.category_name,
            "Styles": image.style_id,
            "style_name": row.style_name,
            "AgeGroup": image.age_group_id,
            "age_group_name": row.age_group_name,
            "attributes": image.attributes,
            "product_url": image.product_url,
            "Photo": self._base_url + self._signer.path(row.image_id, image.photo_sha256),
        }
