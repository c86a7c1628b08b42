"""Mutations of zip archives: members changed under right CRCs, and directories that lie."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Any

from tests.fuzz import bits
from tests.fuzz.bits import Mutation

_LOCAL = "<4s5H3L2H"
_CENTRAL = "<4s6H3L5H2L"
_END = "<4s4H2LH"
_NAMES = [b"data.pkl", b"x/data.pkl", b"../x", b"/etc/passwd", b"", b"\x1b[2J", b"a" * 3000]
_FIELDS = ("flags", "method", "crc", "packed", "size", "named", "extra", "mark", "header")


@dataclass(frozen=True)
class Entry:
    """A member; ``local`` and ``central`` hold the header fields that are not what they should."""

    name: bytes
    data: bytes
    deflated: bool = False
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)
    tail: bytes = b""


def mutate(data: bytes, rng: Random, kinds: Mapping[str, Mutation]) -> bytes:
    """Change a member by its suffix's mutation, or the archive itself, or its bytes.

    Args:
        kinds: the end of a member's name → how to mutate its bytes.
    """
    entries, ending = list(_parse(data)), {}  # type: list[Entry], dict[str, int]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if rng.random() < 0.65:
            _change_member(entries, rng, kinds)
        else:
            _change_archive(entries, ending, rng)
    built = build(entries, ending)
    return bits.mutate(built, rng) if rng.random() < 0.1 else built


@lru_cache(64)
def _parse(data: bytes) -> tuple[Entry, ...]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return tuple(
            Entry(i.filename.encode(), file.read(i), i.compress_type == 8) for i in file.infolist()
        )


def _change_member(entries: list[Entry], rng: Random, kinds: Mapping[str, Mutation]) -> None:
    known = [i for i, e in enumerate(entries) if e.name.endswith(tuple(k.encode() for k in kinds))]
    at = rng.choice(known) if known and rng.random() < 0.9 else rng.randrange(len(entries))
    name = entries[at].name
    way = next((f for k, f in kinds.items() if name.endswith(k.encode())), bits.bytewise)
    entries[at] = replace(entries[at], data=way(entries[at].data, rng))


def _change_archive(entries: list[Entry], ending: dict[str, int], rng: Random) -> None:
    at, other = rng.randrange(len(entries)), rng.randrange(len(entries))
    entry = entries[at]
    chance = rng.random()
    if chance < 0.45:
        change = {rng.choice(_FIELDS): bits.number(rng, len(entry.data))}
        sides = rng.choice((("local",), ("central",), ("local", "central")))
        entries[at] = replace(entry, **{s: {**getattr(entry, s), **change} for s in sides})
    elif chance < 0.55:
        entries[at] = replace(entry, deflated=not entry.deflated)
    elif chance < 0.62:
        wide = struct.pack(
            "<2H2Q", 1, 16, len(entry.data), bits.number(rng, len(entry.data)) % 2**64
        )
        zip64 = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "raw": wide}
        entries[at] = replace(entry, local=zip64, central=zip64)
    elif chance < 0.7:
        entries.insert(at, entries[other])
    elif chance < 0.78 and len(entries) > 1:
        del entries[at]
    elif chance < 0.86:
        entries[at] = replace(entry, name=rng.choice((rng.choice(_NAMES), entries[other].name)))
    elif chance < 0.93:
        entries[at] = replace(entry, data=entries[other].data)
    else:
        key = rng.choice(("count", "size", "offset", "comment"))
        ending[key] = bits.number(rng, len(entries))


def build(entries: list[Entry], ending: Mapping[str, int]) -> bytes:
    """Return the archive's bytes; all that is not overridden is right."""
    out, directory = bytearray(), bytearray()
    for entry in entries:
        packed = _deflate(entry.data) if entry.deflated else entry.data
        right = {
            "mark": None,
            "flags": 0x800,
            "method": 8 if entry.deflated else 0,
            "crc": zlib.crc32(entry.data),
            "packed": len(packed),
            "size": len(entry.data),
            "named": len(entry.name),
            "header": len(out),
            "raw": b"",
        }
        out += _header(_LOCAL, b"PK\3\4", entry.name, {**right, **entry.local}) + packed
        directory += _header(_CENTRAL, b"PK\1\2", entry.name, {**right, **entry.central})
    count = ending.get("count", len(entries)) % 65536
    size, offset = ending.get("size", len(directory)), ending.get("offset", len(out))
    comment = ending.get("comment", 0) % 65536
    end = struct.pack(_END, b"PK\5\6", 0, 0, count, count, size % 2**32, offset % 2**32, comment)
    return bytes(out + directory + end)


def _header(layout: str, mark: bytes, name: bytes, told: Mapping[str, Any]) -> bytes:
    if told["mark"] is not None:
        mark = (told["mark"] % 2**32).to_bytes(4, "little")
    extra = told.get("extra", len(told["raw"])) % 65536
    short = [told[k] % 65536 for k in ("flags", "method")]
    longs = [told[k] % 2**32 for k in ("crc", "packed", "size")]
    rest = [told["named"] % 65536, extra]
    if layout == _LOCAL:
        return struct.pack(layout, mark, 20, *short, 0, 33, *longs, *rest) + name + told["raw"]
    fixed = [mark, 20, 20, *short, 0, 33, *longs, *rest, 0, 0, 0, 0, told["header"] % 2**32]
    return struct.pack(layout, *fixed) + name + told["raw"]


@lru_cache(256)
def _deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(1, wbits=-15)
    return machine.compress(data) + machine.flush()
