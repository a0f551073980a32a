"""configs/gpu.yaml served for a test, and its answers held against the encoder on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import yaml

from serve_app.encoder import FashionClipEncoder
from serve_app.photos import ImageGeometry, prepare_photo
from tests.drawings import garment
from tests.stack import DEMO_MODEL, PROJECT, Stack

LEAST_CORES = 6
TOLERANCE = 0.01  # of a score, in bfloat16
COLOURS = "red", "blue", "green"
PROMPT = "a red dress"


def gpu_config(path: Path, device: str = "cuda") -> Path:
    """Write ``path``. Where the machine has few cores, each replica asks for a share of one; on another
    ``device``, for no GPU."""
    document = yaml.safe_load((PROJECT / "configs" / "gpu.yaml").read_text("utf-8"))
    document["proxy_location"] = "HeadOnly"
    document["http_options"]["host"] = "127.0.0.1"
    application = document["applications"][0]
    for tower in ("text_embedder", "image_embedder"):
        application["args"][tower]["device"] = device
    for deployment in application["deployments"]:
        own = deployment["ray_actor_options"]
        if (os.cpu_count() or 1) < LEAST_CORES:
            own["num_cpus"] = 0.1
        if not device.startswith("cuda"):
            own.pop("num_gpus", None)
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def assert_exact_scores(stack: Stack) -> None:
    """Photos that the service embeds come back for a prompt, each with the CPU's float32 score."""
    shop = stack.new_shop()
    photos = {
        shop.add(garment(colour=colour), wait_s=60, name=colour)["ImageID"]: colour for colour in COLOURS
    }
    checkpoint = PROJECT / DEMO_MODEL
    encoder = FashionClipEncoder.load(checkpoint, device="cpu", dtype="float32", backend="torch")
    geometry = ImageGeometry.of(checkpoint)
    pixels = np.stack([prepare_photo(garment(colour=colour), geometry) for colour in photos.values()])
    wanted = encoder.encode_images(pixels) @ encoder.encode_texts([PROMPT])[0]
    scores = dict(zip(photos, wanted.tolist(), strict=True))
    found = shop.recommendations(PROMPT, len(COLOURS))
    assert [one["ImageID"] for one in found] == sorted(scores, key=lambda one: -scores[one])
    for one in found:
        assert abs(one["score"] - scores[one["ImageID"]]) < TOLERANCE
