"""Every draw comes from a generator of its own: (seed, purpose, identity)."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def generator(seed: int, purpose: str, identity: str) -> np.random.Generator:
    """The generator for one purpose of one thing; independent of every other one."""
    import numpy as np

    digest = blake2b(f"{seed}\0{purpose}\0{identity}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
