"""What a stage did to every tag, in rows and tokens; load and expand both account for it."""

from __future__ import annotations

import pandas as pd


def tag_audit(tags: list, n_tokens: pd.Series, copies: pd.Series) -> pd.DataFrame:
    """Count rows and tokens by tag, before and after each row was repeated `copies` times.

    Args:
        tags: (key, value) pairs of every row.
        n_tokens: tokens of every row.
        copies: how often every row goes out, 0 if dropped.
    """
    rows_of = [i for i, pairs in enumerate(tags) for _ in pairs]
    long = pd.DataFrame(
        [(key, value) for pairs in tags for key, value in pairs], columns=["tag_key", "tag_value"]
    )
    tokens, times = n_tokens.to_numpy()[rows_of], copies.to_numpy()[rows_of]
    long = long.assign(
        rows_before=1, rows_after=times, tokens_before=tokens, tokens_after=tokens * times
    )
    return long.groupby(["tag_key", "tag_value"], as_index=False, sort=True).sum()
