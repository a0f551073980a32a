"""The peer of bulk work: a loop over files, as one would write it in an afternoon.

    python -m scripts.benchmark.plain_loop CHECKPOINT PHOTOS DIRECTORY

It knows one shop, and nothing of crashes: transformers' model and image processor, Pillow, Chroma's own
files. Torch takes as many threads as it likes. Each line of standard input is a number of photos; they go
into a collection of their own.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import chromadb
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel

from scripts.benchmark.line_process import answer_lines

BATCH = 8


class PlainLoop:
    """``photos``: a directory of JPEGs; ``directory``: where Chroma keeps its files."""

    def __init__(self, checkpoint: str, photos: str, directory: str) -> None:
        self._processor = CLIPImageProcessor.from_pretrained(checkpoint)
        self._model = CLIPModel.from_pretrained(checkpoint, dtype=torch.bfloat16).eval()
        self._client = chromadb.PersistentClient(directory)
        self._files = sorted(Path(photos).glob("*.jpg"))
        self._rounds = 0

    def index(self, count: int) -> dict[str, Any]:
        """Read, embed and store the first ``count`` photos; how long it took, and how many are found."""
        self._rounds += 1
        started = time.perf_counter()
        collection = self._client.create_collection(
            f"round-{self._rounds}",
            configuration={"hnsw": {"space": "cosine"}},
            embedding_function=None,
        )
        files = self._files[:count]
        for start in range(0, len(files), BATCH):
            part = files[start : start + BATCH]
            images = [Image.open(path).convert("RGB") for path in part]
            pixels = self._processor(images=images, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                vectors = self._model.get_image_features(pixel_values=pixels.bfloat16()).pooler_output.float()
            vectors = vectors / vectors.norm(dim=-1, keepdim=True)
            collection.add(ids=[path.name for path in part], embeddings=vectors.numpy())
        return {"seconds": time.perf_counter() - started, "stored": collection.count()}


if __name__ == "__main__":
    loop = PlainLoop(*sys.argv[1:])
    loop.index(BATCH)
    answer_lines(lambda words: loop.index(int(words[0])))
