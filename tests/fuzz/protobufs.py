"""Mutations of MindSpore checkpoints: protobuf fields, with right or lying lengths."""

from __future__ import annotations

import zlib
from functools import lru_cache
from random import Random

from tests.fuzz import bits

_TRAILER = b"crc_num"
_TYPES = [b"Float32", b"Float64", b"Int8", b"Bool", b"BFloat16", b"str", b"Int4", b"Complex64", b""]

Field = tuple[int, int, object]
"""(number, wire type, an int, bytes, or a tuple of Fields)"""


def mutate(data: bytes, rng: Random) -> bytes:
    """Return records with one to three fields changed; the CRC, if there is one, is made right."""
    if rng.random() < 0.15:
        return bits.mutate(data, rng)
    has_crc = data[-17:].startswith(_TRAILER)
    fields = _parse(data[:-17] if has_crc else data, 0)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        fields = _changed(fields, rng)
    out = _encode(fields, rng, 0.02)
    if not has_crc:
        return out
    crc = zlib.crc32(out) if rng.random() < 0.95 else bits.number(rng) % 2**80
    return out + _TRAILER + crc.to_bytes(10, "big")


@lru_cache(64)
def _parse(data: bytes, depth: int) -> tuple[Field, ...]:
    """Parse the three levels of messages: Checkpoint, Value, TensorProto."""
    fields, at = [], 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        content: object = value
        if key & 7 == 2:
            content, at = data[at : at + value], at + value
        if (depth, key) in ((0, 0x0A), (1, 0x12)):
            content = _parse(content, depth + 1)  # type: ignore[arg-type]
        fields.append((key >> 3, key & 7, content))
    return tuple(fields)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def _changed(fields: tuple[Field, ...], rng: Random) -> tuple[Field, ...]:
    """Walk down to a random field and change it."""
    at = rng.randrange(len(fields)) if fields else 0
    if not fields:
        return ((bits.number(rng) & 31, 0, 1),)
    number, wire, content = fields[at]
    if isinstance(content, tuple) and rng.random() < 0.85:
        new = [(number, wire, _changed(content, rng))]
    else:
        new = _replacement(fields[at], fields, rng)
    return (*fields[:at], *new, *fields[at + 1 :])


def _replacement(old: Field, fields: tuple[Field, ...], rng: Random) -> list[Field]:
    number, wire, content = old
    chance = rng.random()
    if chance < 0.12:
        return []
    if chance < 0.25:
        return [old] * rng.choice((2, 2, 3, 70))
    if chance < 0.35:
        return [rng.choice(fields), old]
    if chance < 0.45:
        return [(rng.randrange(5), rng.choice((0, 1, 2, 3, 5, wire)), content)]
    if isinstance(content, int):
        return [(number, wire, bits.number(rng, content) % 2**64)]
    if isinstance(content, bytes):
        text = rng.choice((rng.choice(bits.TEXTS), rng.choice(_TYPES), content + b"x"))
        return [(number, wire, rng.choice((text, bits.mutate(content, rng), content[:-1])))]
    return [old, rng.choice(fields)]


def _encode(fields: tuple[Field, ...], rng: Random, lies: float) -> bytes:
    out = bytearray()
    for number, wire, content in fields:
        out += _number(number << 3 | wire)
        if isinstance(content, int):
            out += _number(content)
            continue
        raw = _encode(content, rng, lies) if isinstance(content, tuple) else content
        lie = rng.random() < lies
        out += _number(bits.number(rng, len(raw)) % 2**64 if lie else len(raw))
        out += raw  # type: ignore[operator]
    return bytes(out)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])
