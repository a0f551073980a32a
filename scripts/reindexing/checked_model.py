"""A checkpoint put to the test before photos are indexed with it."""

from __future__ import annotations

import numpy as np

from models.errors import ConfigurationError, InvalidInput
from serve_app.checkpoints import looks_like_directory
from serve_app.served_model import PINNED_REVISIONS, ServedModel, locate, served_model


def checked_model(name: str, revision: str | None, hub_timeout_s: float) -> ServedModel:
    """A hub name with its commit, or a directory, whose digest ``revision`` then is.

    Loads both towers and asks each one once. Raises InvalidInput, ConfigurationError.
    """
    wanted = revision or PINNED_REVISIONS.get(name)
    if wanted is None and not looks_like_directory(name):
        raise InvalidInput(f"Give --revision COMMIT: what {name} is may change.")
    model = served_model(name, wanted, hub_timeout_s=hub_timeout_s, fell_back=False)
    if revision is not None and not model.revision.startswith(revision):
        raise InvalidInput(f"The checkpoint {model.source} is revision {model.revision}, not {revision}.")
    _try(model, hub_timeout_s)
    return model


def _try(model: ServedModel, hub_timeout_s: float) -> None:
    from serve_app.encoder import FashionClipEncoder

    directory = locate(model, hub_timeout_s=hub_timeout_s).directory
    encoder = FashionClipEncoder.load(directory, device="cpu", dtype="float32")
    side = encoder.image_size_px
    texts = encoder.encode_texts(["a red dress"])
    photos = encoder.encode_images(np.full((1, side, side, 3), 127, np.uint8))
    for tower, vectors in (("text", texts), ("image", photos)):
        if vectors.shape != (1, model.dimension):
            raise ConfigurationError(
                f"The {tower} tower of {model.source} makes vectors of {vectors.shape[1]} numbers, but its "
                f"config.json says projection_dim {model.dimension}."
            )
        if not np.isfinite(vectors).all() or not np.isclose(np.linalg.norm(vectors), 1.0, atol=1e-3):
            raise ConfigurationError(f"The {tower} tower of {model.source} makes no usable vectors.")
