"""A small tokenizer of byte pairs, trained in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

CORPUS = ["hello world", "def f():\n    return 1\n", "import os\n", "return the word of the world"]


def byte_pairs(path: Path, words: int = 300) -> Path:
    """Train a tokenizer of at most so many words on a few lines, and save it."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=words, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    made.save(str(path))
    return path
