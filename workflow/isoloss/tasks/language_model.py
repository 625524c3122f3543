"""Predict the next token of a stream of tokens, in windows that do not overlap.

A model of this task may have the fields `context` and `vocabulary`. Its module is called with
tokens, int64 (batch, context), and returns the log-odds of the token behind each, float32
(batch * context, vocabulary). For none of them may it use tokens that come later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isoloss.tasks._tokens import HeldOut, Stream, Windows

TITLE = "Language modelling"
ABOUT = (
    "Rows are joined to a stream of tokens. A window holds `context` tokens; of each the token"
    " behind it is predicted. The loss is the cross-entropy in nats a token."
)
SOURCE = "Radford et al. 2019, section 2"
EXAMPLE = "token"
ITEM = "window"
OPTIONS = {
    "context": {
        "type": "integer",
        "minimum": 2,
        "maximum": 1048576,
        "default": 64,
        "unit": "tokens",
        "description": "Tokens that a window holds.",
    },
    "vocabulary": {
        "type": "integer",
        "minimum": 2,
        "maximum": 2147483647,
        "default": 256,
        "unit": "tokens",
        "description": "Tokens that there are to choose from; every token of the dataset is below. "
        "The default is the size of the dataset's tokenizer: 256 where a token is a byte.",
    },
}


def shapes(context: int, vocabulary: int) -> dict[str, int]:
    """The length of a model's input, and how many tokens there are to choose from."""
    return {"context": context, "vocabulary": vocabulary}


def examples_per_item(context: int, vocabulary: int) -> int:
    """Tokens of a window."""
    return context


def training(dataset: Any, index: Any) -> Stream:
    """The training rows of a weighting as one stream, copies of a row adjacent.

    Args:
        dataset: `tokens` and `starts` of its rows.
        index: `rows` (positions) and `copies` of each.
    """
    from isoloss.tasks._tokens import stream

    return stream(dataset.tokens, dataset.starts, index.rows, index.copies)


def validation(dataset: Any) -> HeldOut:
    """The validation rows, each once, with the tags by which losses are summed.

    Args:
        dataset: `tokens` and `starts` of its rows, and `held_out`: position and tags of those on
            the validation side.
    """
    from isoloss.tasks._tokens import held_out

    return held_out(dataset.tokens, dataset.starts, dataset.held_out)


def made_up(n_items: int, context: int, vocabulary: int) -> tuple[Stream, HeldOut]:
    """Both sides of random tokens, of as many windows: what a step's time is measured on."""
    from types import SimpleNamespace

    import numpy as np
    import pyarrow as pa

    from isoloss.tasks._tokens import held_out, stream

    count = n_items * context + 1
    drawn = np.random.default_rng(0).integers(0, vocabulary, count)
    tokens = SimpleNamespace(values=drawn, release=lambda: None)
    starts, row = np.array([0, count]), np.zeros(1, dtype=np.int64)
    tags = pa.array([[]], pa.map_(pa.string(), pa.string()))
    rows = pa.table({"row": row, "n_tokens": [count], "tags": tags})
    return stream(tokens, starts, row, row + 1), held_out(tokens, starts, rows)


def task(
    training: Stream,
    validation: HeldOut,
    n_valid: int,
    seed: int,
    n_unique: int | None = None,
    **options: int,
) -> Windows:
    """The task of a run."""
    from isoloss.tasks._tokens import Windows

    return Windows(training, validation, n_valid, seed, shapes(**options), n_unique)
