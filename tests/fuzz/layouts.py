"""Mutations of files that are neither zip nor protobuf: safetensors, old torch files, HDF5."""

from __future__ import annotations

import gzip
import pickletools
import tempfile
from functools import lru_cache
from pathlib import Path
from random import Random
from unittest import mock

from ckptconv import formats
from ckptconv.errors import CkptconvError
from ckptconv.io.reader import Source
from tests.fuzz import bits, jsons, pickles

_BLOCK = 512


def safetensors(data: bytes, rng: Random) -> bytes:
    """Change the header, under a right length mostly."""
    length = int.from_bytes(data[:8], "little")
    header, payload = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.9:
        header = jsons.mutate(header, rng)
    else:
        payload = bits.mutate(payload, rng)
    told = len(header) if rng.random() < 0.95 else bits.number(rng, len(header)) % 2**64
    return told.to_bytes(8, "little") + header + payload


def legacy(data: bytes, rng: Random) -> bytes:
    """Change one of the five pickles, or the storages after them."""
    cuts = _pickle_ends(data)
    if rng.random() < 0.15:
        return bits.mutate(data, rng, [(cuts[-1], len(data)), (0, cuts[-1])])
    starts = [0, *cuts[:-1]]
    chosen = rng.choice((3, 3, 3, 3, 3, 4, 4, 2, 1, 0)) % len(starts)
    start, stop = starts[chosen], cuts[chosen]
    return data[:start] + pickles.mutate(data[start:stop], rng) + data[stop:]


@lru_cache(64)
def _pickle_ends(data: bytes) -> list[int]:
    ends, at = [], 0
    for _ in range(5):
        at += 1 + max(place for _, _, place in pickletools.genops(data[at:]))
        ends.append(at)
    return ends


def code(data: bytes, rng: Random) -> bytes:
    """Change TorchScript's source: what follows an equals sign, lines, or any bytes."""
    places = [i for i, byte in enumerate(data) if byte == ord("=")]
    if not places or rng.random() < 0.4:
        return bits.bytewise(data, rng)
    at, depth = rng.choice(places) + 2, rng.choice((3, 90, 150, 3000, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b"(", b")"), (b"-", b""), (b"{1:", b"}")))
    deep = opening * depth + b"1" + closing * depth
    value = rng.choice(
        (deep, deep, b"9" * 5000, b"1e999", b"'\\ud800'", b"...", b"1+" * 999 + b"1j")
    )
    end = data.find(b"\n", at)
    return data[:at] + value + data[end if rng.random() < 0.8 else at :]


def gzipped(data: bytes, rng: Random) -> bytes:
    """Change the compressed bytes, what they inflate to, or members of a tar file in it."""
    if rng.random() < 0.2:
        return bits.mutate(data, rng)
    plain = _gunzip(data)
    plain = tar(plain, rng) if plain[257:262] == b"ustar" else bits.mutate(plain, rng)
    return gzip.compress(plain, 1, mtime=0)


@lru_cache(64)
def _gunzip(data: bytes) -> bytes:
    return gzip.decompress(data)


def tar(data: bytes, rng: Random) -> bytes:
    """Change a member or a header, whose checksum is made right."""
    at = rng.choice(_headers(data))
    size = int(data[at + 124 : at + 135] or b"0", 8)
    head, body = data[at : at + _BLOCK], data[at + _BLOCK : at + _BLOCK + size]
    rest = data[at + _BLOCK + -(-size // _BLOCK) * _BLOCK :]
    chance = rng.random()
    if chance < 0.6:
        body = pickles.mutate(body, rng) if rng.random() < 0.6 else bits.mutate(body, rng)
        head = head[:124] + b"%011o\0" % len(body) + head[136:]
    elif chance < 0.9:
        head = bits.mutate(head, rng, [(0, 100), (124, 136), (156, 157), (345, 500)])[:_BLOCK]
        head = head.ljust(_BLOCK, b"\0")
    else:
        return bits.mutate(data, rng)
    total = sum(head) - sum(head[148:156]) + 8 * 32
    head = head[:148] + b"%06o\0 " % total + head[156:]
    return data[:at] + head + body + bytes(-len(body) % _BLOCK) + rest


@lru_cache(64)
def _headers(data: bytes) -> list[int]:
    found, at = [], 0
    while any(data[at : at + _BLOCK]):
        found.append(at)
        at += _BLOCK + -(-int(data[at + 124 : at + 135], 8) // _BLOCK) * _BLOCK
    return found


def hdf5(data: bytes, rng: Random) -> bytes:
    """Change what the reader looks at: numbers, and addresses into those of other structures."""
    read = _read_ranges(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.3:
            start, stop = rng.choice(read)
            at = rng.randrange(start, stop) // 8 * 8
            address = rng.choice((rng.choice(read)[0], rng.choice(read)[0], start, len(data) - 8))
            data = bits.replace(data, at, (address % 2**64).to_bytes(8, "little"))
        else:
            data = bits.mutate(data, rng, read)
    return data


@lru_cache(256)
def _read_ranges(data: bytes) -> list[tuple[int, int]]:
    """Return the ranges of a seed that opening it reads."""
    found: set[tuple[int, int]] = set()
    plain = Source.read_into

    def recording(source: Source, buffer: memoryview, offset: int) -> None:
        start = source.base + offset
        if len(buffer):
            found.add((start, start + len(buffer)))
        plain(source, buffer, offset)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Source, "read_into", recording):
        path = Path(folder, "seed")
        path.write_bytes(data)
        try:
            formats.read(path)
        except CkptconvError:
            found.add((0, len(data)))
    return sorted(found - {(0, 0)}) or [(0, 8)]


def lines(data: bytes, rng: Random) -> bytes:
    """Change a list: a line moved, left out, said twice, or a word of it another one's."""
    if rng.random() < 0.4:
        return bits.bytewise(data, rng)
    rows = [line.split(b" ", 1) for line in data.split(b"\n")]
    one, other, column = rng.randrange(len(rows)), rng.randrange(len(rows)), rng.randrange(2)
    match rng.randrange(4):
        case 0:
            rows.insert(other, rows.pop(one))
        case 1:
            del rows[one]
        case 2:
            rows.insert(other, [*rows[one]])
        case _:
            new = rng.choice((rows[other][column], rng.choice(bits.TEXTS)))
            rows[one][column] = new
    return b"\n".join(b" ".join(row) for row in rows)
