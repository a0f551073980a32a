"""The peer: FastAPI, the model and Chroma in one process, as one would write it in an afternoon.

    python -m scripts.benchmark.monolith CHECKPOINT VECTORS.npy DIRECTORY PORT

It knows one shop and no keys, keeps names beside the vectors, and embeds one prompt at a time.
"""

from __future__ import annotations

import sys
from typing import Any

import chromadb
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import CLIPModel, CLIPTokenizerFast

ROWS_PER_CALL = 5_000


class Query(BaseModel):
    prompt: str
    number_of_images: int = 10


def create_app(checkpoint: str, vectors: str, directory: str) -> FastAPI:
    """``vectors``: a file with (n, d) float32; photo n is called n."""
    tokenizer = CLIPTokenizerFast.from_pretrained(checkpoint)
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.bfloat16).eval()
    client = chromadb.PersistentClient(directory)
    photos = client.create_collection(
        "photos", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    rows = np.load(vectors)
    for start in range(0, len(rows), ROWS_PER_CALL):
        numbers = range(start, min(start + ROWS_PER_CALL, len(rows)))
        photos.add(
            ids=[str(number) for number in numbers],
            embeddings=rows[start : start + ROWS_PER_CALL],
            metadatas=[{"name": f"Garment {number}", "sku": f"SKU-{number}"} for number in numbers],
        )
    app = FastAPI()

    @app.post("/recommend")
    def recommend(query: Query) -> list[dict[str, object]]:
        tokens = tokenizer([query.prompt], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            vector = model.get_text_features(**tokens).pooler_output[0].float()
        vector = vector / vector.norm()
        found: Any = photos.query(query_embeddings=[vector.numpy()], n_results=query.number_of_images)
        places = zip(found["ids"][0], found["distances"][0], found["metadatas"][0], strict=True)
        return [{"id": int(one), "score": 1 - far, **known} for one, far, known in places]

    return app


if __name__ == "__main__":
    where, of_vectors, of_chroma, port = sys.argv[1:]
    uvicorn.run(create_app(where, of_vectors, of_chroma), port=int(port), log_level="error")
