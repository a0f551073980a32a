"""Embed with the ``fashion-clip`` package itself; run by an interpreter that has it, never imported.

python embed_with_package.py CHECKPOINT PROMPTS.json OUT.npz PHOTO…
"""

from __future__ import annotations

import json
import sys

import numpy as np
from fashion_clip import fashion_clip  # type: ignore[import-not-found]


def main(checkpoint: str, prompts_file: str, out: str, *photos: str) -> None:
    # The package knows one short name; anything else it looks for on the hub, even a directory.
    fashion_clip._MODELS["fashion-clip"] = checkpoint
    package = fashion_clip.FashionCLIP("fashion-clip")
    with open(prompts_file, encoding="utf-8") as file:
        prompts = json.load(file)
    texts = package.encode_text(prompts, batch_size=4)
    images = package.encode_images(list(photos), batch_size=4)
    np.savez(out, texts=texts, images=images)


if __name__ == "__main__":
    main(*sys.argv[1:])
