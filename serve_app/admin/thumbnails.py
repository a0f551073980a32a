"""Photos on the pages of the admin, by the addresses that shops get, too."""

from __future__ import annotations

from markupsafe import Markup, escape
from starlette.requests import Request

from models.image import Image, ImageStatus
from serve_app.admin.protection import public_path
from serve_app.services import Services


def thumbnail(request: Request, image: Image, *, height_px: int) -> Markup:
    """The photo, made small by the browser and loaded when it is scrolled to."""
    services: Services = request.app.state.services
    if image.status is ImageStatus.DELETING or image.id is None:
        return escape("(deleted)")
    address = public_path(services.public_url) + services.signer.path(image.id, image.photo_sha256)
    return Markup("<a href='{0}'><img src='{0}' height='{1}' loading='lazy' alt='{2}'></a>").format(
        address, height_px, image.name
    )
