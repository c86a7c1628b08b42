"""HDF5's filters: what undoes each, bounded by the size a chunk may have."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

from ckptconv.tensors.lazy import np


def _inflate(data: bytes, _: tuple[int, ...], size: int) -> bytes:
    return zlib.decompressobj().decompress(data, size + 4)  # a checksum may follow the values


def _unshuffle(data: bytes, values: tuple[int, ...], _: int) -> bytes:
    width = values[0]
    if width < 1 or len(data) % width:
        raise ValueError(f"shuffled by {width}")
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()


def _fletcher32(data: bytes, _: tuple[int, ...], __: int) -> bytes:
    """Check and remove the checksum: sums of big-endian 16-bit words modulo 65535."""
    body = data[:-4]
    words = np.frombuffer(body + b"\0" * (len(body) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64)
    sums = int(words.sum()), int((words * weights % 65535).sum())
    low, high = ((n - 1) % 65535 + 1 if n else 0 for n in sums)
    if int.from_bytes(data[-4:], "little") != high << 16 | low:
        raise ValueError("a wrong checksum")
    return body


def _lzf(data: bytes, _: tuple[int, ...], size: int) -> bytes:
    """Decompress LZF: literal runs, and copies of what was written before."""
    out, at = bytearray(), 0
    while at < len(data) and len(out) <= size:
        head = data[at]
        at += 1
        if head < 32:
            out += data[at : at + head + 1]
            at += head + 1
            continue
        length = head >> 5
        if length == 7:
            length += data[at]
            at += 1
        back = ((head & 31) << 8 | data[at]) + 1
        at += 1
        start = len(out) - back
        if start < 0:
            raise ValueError("a copy from before the beginning")
        pattern, count = out[start : start + length + 2], length + 2
        out += (pattern * -(-count // len(pattern)))[:count]
    return bytes(out)


DECODERS: Mapping[int, Callable[[bytes, tuple[int, ...], int], bytes]] = {
    1: _inflate,
    2: _unshuffle,
    3: _fletcher32,
    32000: _lzf,
}
"""Filter number → function of (data, the filter's values, bytes of a whole chunk)."""
