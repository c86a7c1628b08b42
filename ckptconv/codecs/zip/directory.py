"""The central directory of a zip file, checked before anything in it is believed."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ckptconv.codecs.deflate import most
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

MAX_RECORDS = 1 << 18
LOCAL = struct.Struct("<4s5H3L2H")
UTF8 = 0x800
DEFLATED = 8
_MAX_DIRECTORY = 64 << 20
_ONES = 0xFFFFFFFF
"""A 32-bit field whose value stands in a zip64 one."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s2H2H2H3L3H2H2L")


class Record(NamedTuple):
    """One entry of the central directory."""

    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int


def find(source: Source) -> tuple[int, int, int]:
    """Return the central directory's offset, size and number of entries.

    Raises:
        ContainerError: none at the end of the file, or one that does not fit there.
    """
    for limit in (_LOCATOR.size + _END.size, _END.size + 0xFFFF):  # hardly one has a comment
        tail = source.read(source.size - (n := min(source.size, limit)), n)
        at = tail.rfind(b"PK\5\6")
        if at >= _LOCATOR.size:
            break
    if at < 0 or at + _END.size > n:
        raise _damaged(source, "an end of directory", "none: the file is truncated or no zip")
    fields = _END.unpack_from(tail, at)
    count, size, offset, comment = fields[4:]
    end = source.size - n + at
    if end + _END.size + comment != source.size:
        raise _damaged(source, "the end of directory as last", "other bytes after it")
    if tail[:at][-_LOCATOR.size :].startswith(b"PK\6\7"):
        end, *wide = _find64(source, end - _LOCATOR.size)
        narrow = (count if count < 0xFFFF else _ONES, size, offset)
        count, size, offset = wide
        if any(n not in (_ONES, w) for n, w in zip(narrow, wide, strict=True)):
            raise _damaged(source, "two ends of directory that agree", narrow)
    if offset + size != end or size > _MAX_DIRECTORY or count > MAX_RECORDS:
        raise _damaged(source, f"a directory of {size} bytes before {end}", f"one at {offset}")
    return offset, size, count


def _find64(source: Source, locator: int) -> tuple[int, int, int, int]:
    """Return the zip64 end's own offset, then count, size and offset of the directory."""
    _, _, at, _ = _LOCATOR.unpack(source.read(locator, _LOCATOR.size))
    if at + _END64.size != locator:
        raise _damaged(source, f"a zip64 end of directory before {locator}", f"one at {at}")
    mark, *_, count, size, offset = _END64.unpack(source.read(at, _END64.size))
    if mark != b"PK\6\6":
        raise _damaged(source, "a zip64 end of directory", "none")
    return at, count, size, offset


def parse(source: Source, offset: int, size: int, count: int) -> dict[str, Record]:
    """Return name → Record in the directory's order.

    Raises:
        ContainerError: other bytes, or a name that stands twice.
    """
    raw, position = source.read(offset, size), 0
    records: dict[str, Record] = {}
    for _ in range(count):
        if position + _CENTRAL.size > size:
            raise _damaged(source, f"{count} directory entries", "fewer")
        fields = _CENTRAL.unpack_from(raw, position)
        mark, _, _, flags, method, _, _, crc, packed, full, named, extra, more, *_, header = fields
        start = position + _CENTRAL.size
        position = start + named + extra + more
        if mark != b"PK\1\2" or position > size:
            raise _damaged(source, "a directory entry", f"other bytes at {offset + start}")
        name = decode(raw[start : start + named], flags)
        if name is None or name in records:
            raise _damaged(source, "distinct names", f"{name!r} twice" if name else "no text")
        if _ONES in (full, packed, header):
            full, packed, header = widen(raw[start + named : position - more], full, packed, header)
        records[name] = Record(flags, method, crc, packed, full, header)
    if position != size:
        raise _damaged(source, f"{count} directory entries", "bytes after them")
    return records


def widen(extra: bytes, *fields: int) -> tuple[int, ...]:
    """Return the fields with those that are all ones taken from the zip64 extra field."""
    at, wide = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        wide = extra[at + 4 : at + 4 + length] if kind == 1 else wide
        at += 4 + length
    words = iter(struct.unpack(f"<{len(wide) // 8}Q", wide[: len(wide) & ~7]))
    return tuple(next(words, field) if field == _ONES else field for field in fields)


def limits(source: Source, records: dict[str, Record], end: int) -> dict[str, int]:
    """Return where each member must end: at the next header, or at the directory.

    Raises:
        ContainerError: members that overlap, or that would inflate to too much.
    """
    order = sorted(records.items(), key=lambda item: -item[1].header)
    ends: dict[str, int] = {}
    inflated = 0
    for name, record in order:
        if record.header + LOCAL.size + record.packed > end:
            raise _damaged(source, "members that do not overlap", f"{name!r} reaching to {end}")
        ends[name] = end
        end = record.header
        inflated += record.size if record.method == DEFLATED else 0
    limit = most(source.size)
    if inflated > limit:
        raise _damaged(source, f"at most {limit} bytes once inflated", inflated)
    return ends


def decode(raw: bytes, flags: int) -> str | None:
    """Return a member's name, or None where it is no text."""
    try:
        return raw.decode("utf-8" if flags & UTF8 or raw.isascii() else "cp437")
    except UnicodeDecodeError:
        return None


def _damaged(source: Source, expected: object, found: object) -> ContainerError:
    return ContainerError("damaged archive", file=source.path, expected=expected, found=found)
