"""A small byte-level BPE in CLIP's format: every input has tokens, the grammar's words have short ones."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from scripts.garments.captions import caption
from scripts.garments.picture import random_look

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 77


def learned_merges(sentences: list[str], limit: int) -> list[tuple[str, str]]:
    """The BPE merges of `sentences`, at most `limit` of them, most useful first."""
    raw = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    clip = CLIPTokenizer()
    raw.normalizer = clip.backend_tokenizer.normalizer
    raw.pre_tokenizer = clip.backend_tokenizer.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=limit + 2 * len(alphabet),
        initial_alphabet=alphabet,
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    raw.train_from_iterator(sentences, trainer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        raw.save(str(path))
        merges = json.loads(path.read_text(encoding="utf-8"))["model"]["merges"]
    return [(left, right) for left, right in merges[:limit]]


def train_tokenizer(seed: int, sentences: int = 20_000, merges: int = 700) -> CLIPTokenizer:
    """A CLIP tokenizer learned from captions of the training grammar; the end token has the highest id."""
    rng = Random(f"tokenizer:{seed}")
    texts = [caption(rng, random_look(rng)).text for _ in range(sentences)]
    pairs = learned_merges(texts, merges)
    single = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*single, *(byte + END_OF_WORD for byte in single)]
    tokens += [
        token for token in dict.fromkeys(left + right for left, right in pairs) if token not in set(tokens)
    ]
    vocab = {token: number for number, token in enumerate([*tokens, START, END])}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=pairs, model_max_length=MAX_TOKENS)
    return tokenizer
