"""BLAKE2b of many short values at once, compiled by numba; `core/hashing.py` is the way in.

128 values are hashed side by side, one a lane: what one round does to all lanes is one loop, which
the compiler turns into vector instructions. A lane whose value ends takes the next one.
"""

from __future__ import annotations

import numpy as np

from isoloss.core.compiled import compiled

LANES = 128
BLOCK = 128  # bytes
_IV = np.array(  # RFC 7693, section 2.6
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    np.uint64,
)
_SIGMA = (  # section 2.7: the words of the message that a round takes, in hexadecimal
    "0123456789abcdef ea489fd61c02b753 b8c052fdae367194 7931dcbe265a40f8 905724afe1bc683d "
    "2c6a0b834d75fe19 c51fed4a0763928b db7ec13950f4862a 6fe9b308c2d714a5 a2847615fb9e3cd0 "
    "0123456789abcdef ea489fd61c02b753"
)
_STATE = (  # section 3.2: the words of the state that each of the 8 steps of a round mixes
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)
# all 96 steps: four words of the state, two of the message
_STEPS = np.array(
    [
        (*_STATE[step], int(order[2 * step], 16), int(order[2 * step + 1], 16))
        for order in _SIGMA.split()
        for step in range(8)
    ],
    np.uint64,
)
_U = np.uint64


def _compress(h, words, count, last, v):
    """The compression function F (section 3.2) of every lane.

    Args:
        h: the state so far, uint64 (8, LANES), changed in place.
        words: a block of every message, uint64 (16, LANES).
        count: bytes of the message up to the end of the block, uint64 (LANES,).
        last: all bits set where it is the message's last block, else 0, uint64 (LANES,).
        v: room for the working state, uint64 (16, LANES).
    """
    for w in range(8):
        for i in range(LANES):
            v[w, i] = h[w, i]
            v[w + 8, i] = _IV[w]
    for i in range(LANES):
        v[12, i] ^= count[i]
        v[14, i] ^= last[i]
    for step in range(96):
        a, b, c, d, x, y = _STEPS[step]
        for i in range(LANES):
            va = v[a, i] + v[b, i] + words[x, i]
            vd = v[d, i] ^ va
            vd = (vd >> _U(32)) | (vd << _U(32))
            vc = v[c, i] + vd
            vb = v[b, i] ^ vc
            vb = (vb >> _U(24)) | (vb << _U(40))
            va = va + vb + words[y, i]
            vd ^= va
            vd = (vd >> _U(16)) | (vd << _U(48))
            vc += vd
            vb ^= vc
            v[a, i] = va
            v[b, i] = (vb >> _U(63)) | (vb << _U(1))
            v[c, i] = vc
            v[d, i] = vd
    for w in range(8):
        for i in range(LANES):
            h[w, i] ^= v[w, i] ^ v[w + 8, i]


def _hash_each(data, begin, end, prefix, out):
    """Write BLAKE2b(prefix + data[begin:end]) of every value into `out`.

    Args:
        data: the bytes of all values, uint8.
        begin: where each value begins, int64 (n,).
        end: and ends, int64 (n,).
        prefix: bytes before each value, uint8.
        out: uint8 (n, digest size).
    """
    n, size, length = len(begin), out.shape[1], len(prefix)
    value, at = np.full(LANES, -1), np.zeros(LANES, np.int64)
    h, v = np.zeros((8, LANES), np.uint64), np.empty((16, LANES), np.uint64)
    count, last = np.zeros(LANES, np.uint64), np.zeros(LANES, np.uint64)
    blocks, words = np.zeros((LANES, BLOCK), np.uint8), np.zeros((16, LANES), np.uint64)
    block_words = blocks.view(np.uint64)  # (LANES, 16)
    following = active = 0
    while following < n or active:
        for i in range(LANES):
            if value[i] < 0 and following < n:
                value[i], at[i] = following, 0
                following += 1
                active += 1
                for w in range(8):
                    h[w, i] = _IV[w]
                h[0, i] ^= _U(0x01010000 ^ size)  # section 2.5: no key, the size of the digest
            if value[i] < 0:
                continue
            first, total = begin[value[i]], length + end[value[i]] - begin[value[i]]
            stop = min(at[i] + BLOCK, total)
            row = blocks[i]
            row[:] = 0
            for k in range(at[i], min(stop, length)):
                row[k - at[i]] = prefix[k]
            start = max(at[i], length)
            # unsigned positions spare the compiler to ask whether they count from the end
            source, target = _U(first + start - length), _U(start - at[i])
            for k in range(_U(max(stop - start, 0))):
                row[target + k] = data[source + k]
            at[i], count[i] = stop, _U(stop)
            last[i] = ~_U(0) if stop == total else _U(0)
        for i in range(LANES):
            for w in range(16):
                words[w, i] = block_words[i, w]
        _compress(h, words, count, last, v)
        for i in range(LANES):
            if value[i] >= 0 and last[i]:
                for k in range(size):
                    out[value[i], k] = (h[k >> 3, i] >> _U(8 * (k & 7))) & _U(255)
                value[i] = -1
                active -= 1


_WORDS = "uint64[:,::1]"
_compress = compiled(_compress, f"void({_WORDS}, {_WORDS}, uint64[::1], uint64[::1], {_WORDS})")
hash_each = compiled(
    _hash_each,
    # what Arrow hands out cannot be written to
    "void(Array(uint8, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), "
    "Array(int64, 1, 'C', readonly=True), "
    "Array(uint8, 1, 'C', readonly=True), uint8[:,::1])",
)
