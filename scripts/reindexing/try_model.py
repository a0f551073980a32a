"""A checkpoint put to the test before photos are indexed with it."""

from __future__ import annotations

import numpy as np

from models.errors import ConfigurationError
from serve_app.served_model import ServedModel, locate


def try_model(model: ServedModel, hub_timeout_s: float) -> None:
    """Load both towers and ask each one once. Raises ConfigurationError."""
    from serve_app.encoder import FashionClipEncoder

    directory = locate(model, hub_timeout_s=hub_timeout_s).directory
    encoder = FashionClipEncoder.load(directory, device="cpu", dtype="float32")
    side = encoder.image_size_px
    texts = encoder.encode_texts(["a red dress"])
    photos = encoder.encode_images(np.zeros((1, side, side, 3), np.uint8))
    for tower, vectors in (("text", texts), ("image", photos)):
        if vectors.shape != (1, model.dimension):
            raise ConfigurationError(
                f"The {tower} tower of {model.source} makes vectors of {vectors.shape[1]} numbers, but its "
                f"config.json says projection_dim {model.dimension}."
            )
        if not np.isfinite(vectors).all():
            raise ConfigurationError(
                f"The {tower} tower of {model.source} makes numbers that are not finite."
            )
