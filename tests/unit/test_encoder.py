"""The encoder against transformers' own CLIPModel, tokenizer and image processor on the same checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from models.errors import ConfigurationError
from serve_app.encoder import FashionClipEncoder, choose_device, choose_dtype
from serve_app.photos import ImageGeometry, prepare_photo
from tests.checkpoints import FASHION_CLIP_SHAPE, WORDS, Shape, make_checkpoint
from tests.photographs import encoded, photograph

DEMO = Path(__file__).parents[2] / "assets" / "demo-clip"
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.999}
PROMPTS = [
    "A red dress with floral pattern",
    "black boots",
    "",
    "a striped shirt, the blue one; with dots & flowers (été) 100% \N{DRESS}",
    "hat " * 120,
    "a pink skirt and a grey coat and a white bag of green",
]
SIZES = [(300, 201), (120, 333), (64, 64), (50, 40), (640, 480)]
MakeCheckpoint = Callable[[str], Path]


@pytest.fixture(scope="module")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Directory of a checkpoint by name, made once."""
    root = tmp_path_factory.mktemp("checkpoints")
    makers: dict[str, Callable[[Path], Path]] = {
        "tiny": make_checkpoint,
        "legacy": lambda path: make_checkpoint(path, legacy_eos=True),
        "crop": lambda path: make_checkpoint(path, Shape(image_size_px=48, dimension=24), seed=1),
        "gelu": lambda path: _with_gelu(make_checkpoint(path, seed=2)),
    }

    def make(name: str) -> Path:
        if name == "demo":
            if not (DEMO / "model.safetensors").is_file():
                pytest.skip(f"the demo checkpoint is not at {DEMO}")
            return DEMO
        path = root / name
        return path if path.exists() else makers[name](path)

    return make


@pytest.fixture(scope="module")
def tiny(checkpoint_of: MakeCheckpoint) -> FashionClipEncoder:
    return FashionClipEncoder.load(checkpoint_of("tiny"), dtype="float32", threads=1)


def _with_gelu(checkpoint: Path) -> Path:
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace("quick_gelu", "gelu"))
    return checkpoint


class Oracle:
    """The pipeline as the documentation of transformers shows it, in float32."""

    def __init__(self, checkpoint: Path) -> None:
        self._model: Any = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self._tokenizer: Any = CLIPTokenizer.from_pretrained(checkpoint)
        self._processor: Any = CLIPImageProcessorPil.from_pretrained(checkpoint)

    @torch.inference_mode()
    def texts(self, prompts: list[str]) -> NDArray[np.float32]:
        limit = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            prompts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt"
        )
        return _unit(self._model.get_text_features(**tokens).pooler_output)

    @torch.inference_mode()
    def images(self, photos: list[Image.Image]) -> NDArray[np.float32]:
        pixels = self._processor(photos, return_tensors="pt")
        return _unit(self._model.get_image_features(**pixels).pooler_output)


def _unit(vectors: torch.Tensor) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (vectors / vectors.norm(dim=-1, keepdim=True)).numpy()
    return unit


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    product: NDArray[np.float32] = (one * other).sum(axis=1)
    return product


def _pixels(checkpoint: Path, photos: list[Image.Image]) -> NDArray[np.uint8]:
    geometry = ImageGeometry.of(checkpoint)
    return np.stack([prepare_photo(encoded(photo, "PNG"), geometry) for photo in photos])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tiny", "legacy", "crop", "gelu", "demo"])
def test_text_vectors_equal_transformers(checkpoint_of: MakeCheckpoint, name: str, dtype: str) -> None:
    checkpoint = checkpoint_of(name)
    ours = FashionClipEncoder.load(checkpoint, towers=["text"], dtype=dtype).encode_texts(PROMPTS)
    theirs = Oracle(checkpoint).texts(PROMPTS)
    assert (ours.dtype, ours.shape) == (np.dtype(np.float32), theirs.shape)
    assert _cosines(ours, theirs).min() >= LEAST_COSINE[dtype]
    assert _cosines(theirs[:-1], theirs[1:]).max() < 0.99, "the oracle must tell the prompts apart"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["tiny", "legacy", "crop", "gelu", "demo"])
def test_image_vectors_equal_transformers(checkpoint_of: MakeCheckpoint, name: str, dtype: str) -> None:
    checkpoint = checkpoint_of(name)
    photos = [photograph(*size, seed) for seed, size in enumerate(SIZES)]
    encoder = FashionClipEncoder.load(checkpoint, towers=["image"], dtype=dtype)
    ours = encoder.encode_images(_pixels(checkpoint, photos))
    theirs = Oracle(checkpoint).images(photos)
    assert (ours.dtype, ours.shape) == (np.dtype(np.float32), theirs.shape)
    assert _cosines(ours, theirs).min() >= LEAST_COSINE[dtype]
    assert _cosines(theirs[:-1], theirs[1:]).max() < 0.99, "the oracle must tell the photos apart"


def test_vectors_have_unit_length(tiny: FashionClipEncoder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    vectors = np.concatenate([tiny.encode_texts(PROMPTS), tiny.encode_images(pixels)])
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


words = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)


@given(prompt=words, neighbours=st.lists(words, min_size=1, max_size=5), place=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_prompts_vector_does_not_depend_on_its_neighbours(
    tiny: FashionClipEncoder, prompt: str, neighbours: list[str], place: int
) -> None:
    place = min(place, len(neighbours))
    together = tiny.encode_texts([*neighbours[:place], prompt, *neighbours[place:]])
    assert np.abs(together[place] - tiny.encode_texts([prompt])[0]).max() < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_neighbours_do_not_matter_in_either_precision(checkpoint_of: MakeCheckpoint, dtype: str) -> None:
    encoder = FashionClipEncoder.load(checkpoint_of("tiny"), dtype=dtype)
    pixels = np.stack([np.asarray(photograph(64, 64, seed)) for seed in range(7)])
    for together, alone in (
        (encoder.encode_texts(PROMPTS), [encoder.encode_texts([prompt]) for prompt in PROMPTS]),
        (encoder.encode_images(pixels), [encoder.encode_images(one[None]) for one in pixels]),
    ):
        assert _cosines(together, np.concatenate(alone)).min() >= (1 - 1e-6 if dtype == "float32" else 0.9999)


def test_embedded_prompts_say_whether_they_were_cut(tiny: FashionClipEncoder) -> None:
    fits, cut = "hat " * 75, "hat " * 76
    embedded = tiny.embed_prompts([fits, cut, "a hat"])
    assert [one.truncated for one in embedded] == tiny.is_truncated([fits, cut, "a hat"])
    assert [one.truncated for one in embedded] == [False, True, False]
    assert np.array_equal(np.stack([one.vector for one in embedded]), tiny.encode_texts([fits, cut, "a hat"]))
    assert _cosines(tiny.encode_texts([fits]), tiny.encode_texts([cut]))[0] > 1 - 1e-6


def test_prompts_are_padded_to_the_longest_only(tiny: FashionClipEncoder) -> None:
    assert tiny.tokenize(["a red dress", "hat"]).input_ids.shape == (2, 5)


def test_threads_may_share_an_encoder(tiny: FashionClipEncoder) -> None:
    batches = [[word] * (1 + number % 3) for number, word in enumerate(WORDS * 8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(tiny.encode_texts, batches))
    assert all(
        np.abs(one - tiny.encode_texts(batch)).max() < 1e-5 for one, batch in zip(found, batches, strict=True)
    )


def test_empty_batches(tiny: FashionClipEncoder) -> None:
    assert tiny.encode_texts([]).shape == (0, tiny.dimension)
    assert tiny.encode_images(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, tiny.dimension)
    assert tiny.embed_prompts([]) == []


def test_pixels_of_another_shape_or_type_are_refused(tiny: FashionClipEncoder) -> None:
    refused: list[Any] = [np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 64, 64, 3), np.float32)]
    for pixels in refused:
        with pytest.raises(ValueError, match="need uint8"):
            tiny.encode_images(pixels)


def test_pixels_may_be_read_only_as_shared_memory_is(tiny: FashionClipEncoder) -> None:
    pixels = np.full((1, 64, 64, 3), 7, np.uint8)
    pixels.flags.writeable = False
    assert tiny.encode_images(pixels).shape == (1, tiny.dimension)


def test_one_tower_holds_its_own_weights_only(checkpoint_of: MakeCheckpoint) -> None:
    text = FashionClipEncoder.load(checkpoint_of("tiny"), towers=["text"])
    image = FashionClipEncoder.load(checkpoint_of("tiny"), towers=["image"])
    text.warm_up()
    image.warm_up()
    with pytest.raises(RuntimeError, match="without its image tower"):
        text.encode_images(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(RuntimeError, match="without its text tower"):
        image.encode_texts(["a hat"])


def test_it_describes_itself(tiny: FashionClipEncoder) -> None:
    found = (tiny.dimension, tiny.image_size_px, tiny.device, tiny.dtype)
    assert found == (32, 64, choose_device("auto").type, "float32")


def test_the_widths_of_fashion_clip_load(tmp_path: Path) -> None:
    shallow = replace(FASHION_CLIP_SHAPE, text_layers=1, image_layers=1)
    checkpoint = make_checkpoint(tmp_path, shallow, legacy_eos=True)
    text = FashionClipEncoder.load(checkpoint, towers=["text"])
    assert (text.dimension, text.image_size_px) == (512, 224)
    assert text.encode_texts(["a red dress"]).shape == (1, 512)


@pytest.mark.parametrize("tower", ["text", "image"])
def test_missing_weights_are_named(tmp_path: Path, tower: Any) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = make_checkpoint(tmp_path)
    weights = load_file(checkpoint / "model.safetensors")
    lost = {"text": "text_projection.weight", "image": "visual_projection.weight"}[tower]
    del weights[lost]
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=lost):
        FashionClipEncoder.load(checkpoint, towers=[tower])


def test_weights_may_lie_in_several_files(checkpoint_of: MakeCheckpoint, tmp_path: Path) -> None:
    parted = Path(shutil.copytree(checkpoint_of("tiny"), tmp_path / "parted"))
    CLIPModel.from_pretrained(parted).save_pretrained(parted, max_shard_size="100KB")
    (parted / "model.safetensors").unlink()
    assert len(list(parted.glob("model-*.safetensors"))) > 1
    one, other = (
        FashionClipEncoder.load(path, dtype="float32").encode_texts(PROMPTS)
        for path in (checkpoint_of("tiny"), parted)
    )
    np.testing.assert_array_equal(one, other)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace('"projection_dim": 32', '"projection_dim": 16'))
    with pytest.raises(ConfigurationError, match=r"text_projection.weight is \(32, 48\).* and \(16, 48\)"):
        FashionClipEncoder.load(checkpoint, towers=["text"])


def test_damaged_weights_are_a_configuration_error(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        FashionClipEncoder.load(checkpoint)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    model = CLIPModel.from_pretrained(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    torch.save(model.state_dict(), checkpoint / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        FashionClipEncoder.load(checkpoint)


def test_a_processor_that_contradicts_the_model_is_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96}).save_pretrained(
        checkpoint
    )
    with pytest.raises(ConfigurationError, match="makes 96 px"):
        FashionClipEncoder.load(checkpoint)


def test_dtype_and_device_choices() -> None:
    cpu = torch.device("cpu")
    native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    assert choose_dtype("float16", cpu) is torch.float16
    assert not native or choose_dtype("auto", cpu) is torch.bfloat16
    with pytest.raises(ConfigurationError, match="int8"):
        choose_dtype("int8", cpu)
    for device in ("cuda:99", "toaster"):
        with pytest.raises(ConfigurationError, match=device):
            choose_device(device)
