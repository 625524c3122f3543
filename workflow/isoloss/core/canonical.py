"""Canonical JSON: equal values have equal text, so that digests can be made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> str:
    """The canonical JSON of a value: sorted keys, and 2.0 written as 2."""

    def plain(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list | tuple):
            return [plain(inner) for inner in part]
        return int(part) if isinstance(part, float) and part.is_integer() else part

    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
