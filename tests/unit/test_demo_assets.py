"""The bundled checkpoint and catalogue: complete, consistent, small, and good at what the demo shows."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from scripts.evaluate import DEMO_MODEL, precisions
from scripts.evaluation.gallery import embedded, geometry_of, photograph
from scripts.evaluation.prompts import Prompt
from scripts.garments.catalogue import COLUMNS, JPEG_QUALITY, PHOTO_SIZE_PX, items
from scripts.garments.held_out import held_out_prompt
from scripts.garments.picture import draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERNS
from serve_app.checkpoints import Preprocessing
from serve_app.encoder import FashionClipEncoder
from serve_app.photos import ImageGeometry, check_photo, prepare_photo

ASSETS = DEMO_MODEL.parent
PHOTOS = ASSETS / "catalogue" / "photos"
SEED_PROMPT = "A red dress with floral patterns"
CATEGORIES = {
    *("Dresses", "T-shirts", "Shirts", "Sweaters", "Hoodies", "Jackets", "Coats", "Skirts", "Trousers"),
    *("Jeans", "Shorts", "Suits", "Shoes", "Bags", "Hats", "Scarves", "Accessories"),
}
STYLES = {"Casual", "Formal", "Business", "Sporty", "Bohemian", "Streetwear", "Vintage", "Party"}
AGE_GROUPS = {"Baby", "Kids", "Teens", "Adults", "Seniors"}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (ASSETS / "catalogue" / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def encoder() -> FashionClipEncoder:
    return FashionClipEncoder.load(DEMO_MODEL)


@pytest.fixture(scope="module")
def geometry() -> ImageGeometry:
    return geometry_of(Preprocessing.of(DEMO_MODEL))


def is_seed_answer(row: dict[str, str]) -> bool:
    attributes = json.loads(row["attributes"])
    return (row["category"], attributes["colour"], attributes["pattern"]) == ("Dresses", "red", "floral")


def test_assets_are_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 25e6


def test_catalogue_has_its_columns_photos_and_taxonomies(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 240
    assert tuple(rows[0]) == COLUMNS
    assert {row["photo"] for row in rows} == {path.name for path in PHOTOS.iterdir()}
    assert len({row["sku"] for row in rows}) == len(rows)
    assert {row["category"] for row in rows} <= CATEGORIES
    assert {row["style"] for row in rows} <= STYLES
    assert {row["age_group"] for row in rows} <= AGE_GROUPS
    assert all(row["name"] and row["description"] and len(row["name"]) <= 250 for row in rows)


def test_a_product_id_groups_colours_of_one_product(rows: list[dict[str, str]]) -> None:
    for product_id in {row["product_id"] for row in rows}:
        variants = [row for row in rows if row["product_id"] == product_id]
        colours = [json.loads(row["attributes"])["colour"] for row in variants]
        assert len(set(colours)) == len(colours) >= 2
        assert len({row["category"] for row in variants}) == 1


def test_catalogue_is_what_its_script_writes(rows: list[dict[str, str]]) -> None:
    made = list(items(seed=0))
    assert [item.row() for item in made] == rows


def test_catalogue_photos_are_accepted_and_are_the_drawings() -> None:
    for item in list(items(seed=0))[::48]:
        data = (PHOTOS / f"{item.sku}.jpg").read_bytes()
        info = check_photo(data)
        assert (info.width_px, info.height_px) == PHOTO_SIZE_PX
        drawing = draw(item.look, Random(f"catalogue:0:{item.sku}"), PHOTO_SIZE_PX)
        shown = prepare_photo(data, ImageGeometry(64, 64)).astype(float)
        expected = np.asarray(drawing.resize((64, 80)).crop((0, 8, 64, 72)), float)
        assert abs(shown - expected).mean() < 6, JPEG_QUALITY


def test_the_seed_prompt_finds_red_floral_dresses_in_the_catalogue(
    encoder: FashionClipEncoder, geometry: ImageGeometry, rows: list[dict[str, str]]
) -> None:
    assert 5 <= sum(map(is_seed_answer, rows)) <= 8
    pixels = np.stack([prepare_photo((PHOTOS / row["photo"]).read_bytes(), geometry) for row in rows])
    scores = encoder.encode_images(pixels) @ encoder.encode_texts([SEED_PROMPT])[0]
    best = [rows[index] for index in np.argsort(-scores)[:5]]
    assert all(map(is_seed_answer, best)), [row["name"] for row in best]


def test_precision_on_held_out_drawings_and_sentences(
    encoder: FashionClipEncoder, geometry: ImageGeometry
) -> None:
    """A small gallery with five matches for each of 24 combinations; `scripts.evaluate` measures all."""
    started = time.monotonic()
    rng = Random("small gallery")
    wanted = [(rng.choice(KINDS), rng.choice(COLOURS), rng.choice(PATTERNS)) for _ in range(24)]
    matching = [(random_look(rng, *each), rng) for each in wanted for _ in range(5)]
    gallery = embedded(encoder, geometry, matching + [(random_look(rng), rng) for _ in range(480)])
    names = ("kind", "colour", "pattern")
    prompts = [Prompt(held_out_prompt(rng, *each), dict(zip(names, each, strict=True))) for each in wanted]
    assert np.mean(precisions(encoder, gallery, prompts)) >= 0.80
    assert time.monotonic() - started < 60


def test_a_photograph_is_what_the_encoder_takes(encoder: FashionClipEncoder, geometry: ImageGeometry) -> None:
    rng = Random(2)
    pixels = photograph(random_look(rng), rng, geometry)
    assert pixels.shape == (encoder.image_size_px, encoder.image_size_px, 3)


def test_checkpoint_reads_any_input_and_pools_at_the_end_token() -> None:
    config = json.loads(Path(DEMO_MODEL / "config.json").read_text(encoding="utf-8"))
    text = config["text_config"]
    assert text["eos_token_id"] == text["vocab_size"] - 1
    encoder = FashionClipEncoder.load(DEMO_MODEL, dtype="float32")
    vectors = encoder.encode_texts(["a RED dress", "A red DRESS", "漢字 😀 zebra", "", "word " * 200])
    assert np.isfinite(vectors).all()
    assert np.allclose(vectors[0], vectors[1])
    assert encoder.is_truncated(["word " * 200]) == [True]


def test_checkpoint_loads_with_transformers_alone_and_means_the_same(geometry: ImageGeometry) -> None:
    model = CLIPModel.from_pretrained(DEMO_MODEL, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    processor = CLIPImageProcessorPil.from_pretrained(DEMO_MODEL)
    photo = (PHOTOS / "DRE-001-RED.jpg").read_bytes()
    with torch.inference_mode(), Image.open(BytesIO(photo)) as picture:
        inputs = processor(picture, return_tensors="pt")
        output = model(**tokenizer([SEED_PROMPT], return_tensors="pt"), **inputs)
    encoder = FashionClipEncoder.load(DEMO_MODEL, dtype="float32")
    served = encoder.encode_images(prepare_photo(photo, replace(geometry, shrinks=False))[None])
    assert float(output.image_embeds[0] @ torch.from_numpy(served[0])) >= 0.9999
    assert float(output.text_embeds[0] @ torch.from_numpy(encoder.encode_texts([SEED_PROMPT])[0])) >= 0.9999
