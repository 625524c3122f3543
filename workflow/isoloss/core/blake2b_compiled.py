"""BLAKE2b of many short values at once, compiled by numba; `core/hashing.py` is the way in.

64 values are hashed side by side, one a lane: all rounds are one loop over lanes, which the
compiler turns into vector instructions. A lane whose value ends takes the next one.
"""

from __future__ import annotations

import numpy as np

from isoloss.core.compiled import compiled, given

LANES = 64
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
_SIGMA = tuple(  # section 2.7: the order in which each round takes the words of the message
    tuple(int(digit, 16) for digit in order)
    for order in (
        *("0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8"),
        *("905724afe1bc683d", "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a"),
        *("6fe9b308c2d714a5", "a2847615fb9e3cd0", "0123456789abcdef", "ea489fd61c02b753"),
    )
)
_U = np.uint64


def _mix(a, b, c, d, x, y):
    """The mixing function G (section 3.1): four words of the state, two of the message."""
    a = a + b + x
    d ^= a
    d = (d >> _U(32)) | (d << _U(32))
    c += d
    b ^= c
    b = (b >> _U(24)) | (b << _U(40))
    a = a + b + y
    d ^= a
    d = (d >> _U(16)) | (d << _U(48))
    c += d
    b ^= c
    b = (b >> _U(63)) | (b << _U(1))
    return a, b, c, d


def _round(v, m, order):
    """The state after a round (section 3.2) that takes the words of a message in an order."""
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 = v
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[order[0]], m[order[1]])
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[order[2]], m[order[3]])
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[order[4]], m[order[5]])
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[order[6]], m[order[7]])
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[order[8]], m[order[9]])
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[order[10]], m[order[11]])
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[order[12]], m[order[13]])
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[order[14]], m[order[15]])
    return v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15


def _eight(lanes, w, i):
    """Eight words of lane i, from word w on."""
    a, b = w * LANES + i, (w + 4) * LANES + i
    low = (lanes[a], lanes[a + LANES], lanes[a + 2 * LANES], lanes[a + 3 * LANES])
    high = (lanes[b], lanes[b + LANES], lanes[b + 2 * LANES], lanes[b + 3 * LANES])
    return low + high


def _compress(h, words, count, last):
    """The compression function F (section 3.2) of every lane.

    All rounds are one loop over lanes, in flat arrays with positions that are known: only so does
    the compiler see that no lane depends on another, and keeps the state in vector registers.

    Args:
        h: the state so far, uint64 (8 * LANES,), changed in place.
        words: a block of every message, uint64 (16 * LANES,).
        count: bytes of the message up to the end of the block, uint64 (LANES,).
        last: all bits set where it is the message's last block, else 0, uint64 (LANES,).
    """
    for i in range(LANES):
        s = _eight(h, 0, i)
        m = _eight(words, 0, i) + _eight(words, 8, i)
        low = (_IV[0], _IV[1], _IV[2], _IV[3])
        high = (_IV[4] ^ count[i], _IV[5], _IV[6] ^ last[i], _IV[7])
        v = s + low + high
        v = _round(v, m, _SIGMA[0])
        v = _round(v, m, _SIGMA[1])
        v = _round(v, m, _SIGMA[2])
        v = _round(v, m, _SIGMA[3])
        v = _round(v, m, _SIGMA[4])
        v = _round(v, m, _SIGMA[5])
        v = _round(v, m, _SIGMA[6])
        v = _round(v, m, _SIGMA[7])
        v = _round(v, m, _SIGMA[8])
        v = _round(v, m, _SIGMA[9])
        v = _round(v, m, _SIGMA[10])
        v = _round(v, m, _SIGMA[11])
        h[i] = s[0] ^ v[0] ^ v[8]
        h[1 * LANES + i] = s[1] ^ v[1] ^ v[9]
        h[2 * LANES + i] = s[2] ^ v[2] ^ v[10]
        h[3 * LANES + i] = s[3] ^ v[3] ^ v[11]
        h[4 * LANES + i] = s[4] ^ v[4] ^ v[12]
        h[5 * LANES + i] = s[5] ^ v[5] ^ v[13]
        h[6 * LANES + i] = s[6] ^ v[6] ^ v[14]
        h[7 * LANES + i] = s[7] ^ v[7] ^ v[15]


def _hash_each(data, begin, end, prefix, size, out):
    """Write BLAKE2b(prefix + data[begin:end]) of every value into `out`.

    Args:
        data: the bytes of all values, uint8.
        begin: where each value begins, int64 (n,).
        end: and ends, int64 (n,).
        prefix: bytes before each value, uint8.
        size: of a digest, bytes.
        out: the words that digests are in, uint64 (n, words of a digest).
    """
    n, length = len(begin), len(prefix)
    value, at = np.full(LANES, -1), np.zeros(LANES, np.int64)
    h, words = np.zeros(8 * LANES, np.uint64), np.zeros(16 * LANES, np.uint64)
    count, last = np.zeros(LANES, np.uint64), np.zeros(LANES, np.uint64)
    blocks = np.zeros((LANES, BLOCK), np.uint8)
    block_words = blocks.view(np.uint64)  # (LANES, 16)
    following = active = 0
    while following < n or active:
        for i in range(LANES):
            if value[i] < 0 and following < n:
                value[i], at[i] = following, 0
                following += 1
                active += 1
                for w in range(8):
                    h[w * LANES + i] = _IV[w]
                h[i] ^= _U(0x01010000 ^ size)  # section 2.5: no key, the size of the digest
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
                words[w * LANES + i] = block_words[i, w]
        _compress(h, words, count, last)
        for i in range(LANES):
            if value[i] >= 0 and last[i]:
                for w in range(out.shape[1]):
                    out[value[i], w] = h[w * LANES + i]
                value[i] = -1
                active -= 1


_mix = compiled(_mix)
_round = compiled(_round)
_eight = compiled(_eight)
_compress = compiled(_compress, "void(uint64[::1], uint64[::1], uint64[::1], uint64[::1])")
hash_each = compiled(
    _hash_each,
    f"void({given('uint8')}, {given('int64')}, {given('int64')}, {given('uint8')}, int64, "
    "uint64[:, ::1])",
)
