"""Prompts without padding: what is kept, where it stands, which kernels compute it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigurationError
from serve_app.encoder import FashionClipEncoder, linear
from serve_app.encoder.layout import lay_out
from serve_app.encoder.linear import PlainLinear, PrepackedLinear, linear_kind
from tests.checkpoints import make_checkpoint

START, END, PAD = 7, 9, 0
CPU = torch.device("cpu")

prompts = st.lists(st.lists(st.integers(1, 6), max_size=12), min_size=1, max_size=9)


def _padded(texts: list[list[int]]) -> np.ndarray:
    longest = max(map(len, texts)) + 2
    rows = [[START, *text, END] for text in texts]
    return np.array([[*row, *[PAD] * (longest - len(row))] for row in rows])


@given(texts=prompts, legacy=st.booleans())
def test_a_layout_holds_every_token_once_and_finds_it_again(texts: list[list[int]], legacy: bool) -> None:
    ids = _padded(texts)
    layout = lay_out(ids, None if legacy else END)
    assert layout.rows.tolist() == [token for text in texts for token in (START, *text, END)]
    assert layout.positions.tolist() == [place for text in texts for place in range(len(text) + 2)]
    assert layout.rows[layout.pooled].tolist() == [END] * len(texts)
    padded = layout.rows if layout.spread is None else layout.rows[layout.spread]
    assert padded.size == layout.count * layout.longest == ids.size
    assert padded[layout.padded_pooled].tolist() == [END] * len(texts)
    kept = padded if layout.kept is None else padded[layout.kept]
    assert kept.tolist() == layout.rows.tolist()
    assert (layout.spread is None) == (len({len(text) for text in texts}) == 1)


def test_what_stands_behind_the_first_end_is_cut() -> None:
    layout = lay_out(np.array([[START, 1, END, 2, 3, END], [START, END, PAD, PAD, PAD, PAD]]), END)
    assert (layout.rows.tolist(), layout.longest) == ([START, 1, END, START, END], 3)


def test_prepacked_weights_are_used_on_this_processor() -> None:
    assert linear_kind(CPU, torch.float32) is PrepackedLinear
    if torch.cpu.get_capabilities().get("avx512_bf16"):
        assert linear_kind(CPU, torch.bfloat16) is PrepackedLinear


def _missing(*_: object) -> None:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_reorder_linear_weight'")


def _wrong(self: PrepackedLinear, x: torch.Tensor) -> torch.Tensor:
    return self._product(x, self._weight, -self._bias, "none", [], "")


@pytest.mark.parametrize(("name", "broken"), [("__init__", _missing), ("__call__", _wrong)])
def test_a_torch_without_them_or_with_others_gives_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, broken: object
) -> None:
    checkpoint = make_checkpoint(tmp_path)
    photos = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    prepacked = FashionClipEncoder.load(checkpoint, dtype="float32")
    monkeypatch.setattr(linear.PrepackedLinear, name, broken)
    assert linear_kind(CPU, torch.float32) is PlainLinear
    plain = FashionClipEncoder.load(checkpoint, dtype="float32")
    texts = ["a red dress", "hat", "a blue shirt of green"]
    for one, other in (
        (prepacked.encode_texts(texts), plain.encode_texts(texts)),
        (prepacked.encode_images(photos), plain.encode_images(photos)),
    ):
        assert np.abs(one - other).max() < 1e-5


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path)
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace("quick_gelu", "relu"))
    with pytest.raises(ConfigurationError, match="'relu' is not served"):
        FashionClipEncoder.load(checkpoint)
