"""A zip directory that trusts nothing it reads (PKWARE APPNOTE 6.3, with zip64).

Stored members are windows on the file, so that their bytes are never copied to be looked at;
deflated ones are inflated to an anonymous temporary file when they are first read. Either way no
byte reaches a caller before the member's CRC-32 was found right (0 means "not computed": torch
writes it so when asked to). A large member that is only copied is checked alongside the copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import numpy as np

from ckptconv.containers.inflate import Inflated, inflate, most
from ckptconv.errors import ContainerError
from ckptconv.source import Alongside, Source, Span, Window
from ckptconv.tensor import Array

MAX_RECORDS = 1 << 18
_MAX_DIRECTORY = 64 << 20
_ALONGSIDE = 1 << 20
_AHEAD = 16 << 10
_STORED, _DEFLATED = 0, 8
_ONES = 0xFFFFFFFF
"""A 32-bit field whose value stands in a zip64 one."""
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 1, 8, 0x800
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s2H2H2H3L3H2H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


class Record(NamedTuple):
    """One entry of the central directory."""

    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int


class Archive:
    """The members of a zip file.

    Attributes:
        records: name → Record in the directory's order.

    Raises:
        ContainerError: no directory, a damaged one, duplicate names or overlapping members.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        offset, size, count = _find_directory(source)
        self.records = _parse_directory(source, offset, size, count)
        self._limits = _check_overlap(source, self.records, offset)
        self._members: dict[str, Source] = {}
        self._cache = (0, b"")

    def __contains__(self, name: str) -> bool:
        return name in self.records

    def member(self, name: str) -> Source:
        """Return a member's bytes, lazily; the same object each time.

        Raises:
            ContainerError: no such member, its local header lies, it is encrypted or compressed
                by another method than deflate.
        """
        if name not in self._members:
            self._members[name] = self._open(name)
        return self._members[name]

    def read(self, name: str, limit: int = 64 << 20) -> bytes:
        """Return all of a member.

        Raises:
            ContainerError: as ``member``, or it is larger than ``limit`` or its CRC is wrong.
        """
        member = self.member(name)
        if member.size > limit:
            raise self._error(name, "too large", f"at most {limit} bytes", member.size)
        return member.read(0, member.size)

    def _open(self, name: str) -> Source:
        record = self.records.get(name)
        if record is None:
            raise self._error(name, "no such member in the archive")
        start = self._payload(name, record)
        if start + record.packed > self._limits[name]:
            raise self._error(name, "the member overlaps the next one")
        if record.method == _STORED and record.packed == record.size:
            return Member(self.source, start, record.size, record.crc, name)
        if record.method != _DEFLATED:
            raise self._error(name, "unreadable", "stored or deflated", f"method {record.method}")
        packed = self.source.window(start, record.packed)
        chunks = partial(inflate, packed, record.size, record.crc, name)
        return Inflated(self.source.path, record.size, chunks)

    def _payload(self, name: str, record: Record) -> int:
        """Return where the payload starts; only the local header knows."""
        raw = self._peek(record.header, _LOCAL.size)
        mark, _, flags, method, _, _, crc, packed, size, named, extra = _LOCAL.unpack(raw)
        at = record.header + _LOCAL.size
        text = self._peek(at, named + extra)
        honest = mark == b"PK\3\4" and _decode(text[:named], flags) == name
        honest &= (method, flags & ~_UTF8) == (record.method, record.flags & ~_UTF8)
        if not flags & _DESCRIPTOR:
            told = _widen(text[named:], size, packed)
            honest &= (crc, *told) == (record.crc, record.size, record.packed)
        if not honest:
            raise self._error(name, "its local header does not agree with the directory")
        if flags & _ENCRYPTED:
            raise self._error(name, "the member is encrypted")
        return at + len(text)

    def _peek(self, offset: int, length: int) -> bytes:
        """Return bytes, from a little cache: the headers of small members lie close together."""
        base, cached = self._cache
        if not base <= offset <= offset + length <= base + len(cached):
            ahead = min(max(length, _AHEAD), self.source.size - offset)
            base, cached = self._cache = offset, self.source.read(offset, max(length, ahead))
        return cached[offset - base : offset - base + length]

    def _error(
        self, name: str, problem: str, expected: object = None, found: object = None
    ) -> ContainerError:
        path = self.source.path
        return ContainerError(problem, file=path, tensor=name, expected=expected, found=found)


class Member(Window):
    """A stored member; verified once, before its first byte is given out."""

    def __init__(self, source: Source, offset: int, size: int, crc: int, name: str) -> None:
        super().__init__(source, offset, size)
        self.crc, self.name = crc, name
        self._trusted = crc == 0

    def read_into(self, buffer: Array, offset: int) -> None:
        if not self._trusted:
            self._verify()
        super().read_into(buffer, offset)

    def span(self, offset: int, length: int) -> Span:
        self._require(offset, length)
        return Span(self, offset, length)

    def checking(self) -> AbstractContextManager[None]:
        if self._trusted:
            return nullcontext()
        if self.size < _ALONGSIDE:
            self._verify()
            return nullcontext()
        return self._check_alongside()

    @contextmanager
    def _check_alongside(self) -> Iterator[None]:
        self._trusted = True
        check = Alongside(self._verify)
        yield
        check.result()

    def _verify(self) -> None:
        self._trusted = True  # so that crc32 may read
        found = self.crc32(0, self.size)
        if found != self.crc:
            self._trusted = False
            raise ContainerError(
                "damaged",
                file=self.path,
                tensor=self.name,
                expected=f"CRC-32 {self.crc:08x}",
                found=f"{found:08x}",
            )


def is_zip(source: Source) -> bool:
    """Tell whether a file begins as a zip archive that is not empty."""
    return source.head(4) == b"PK\3\4"


def has_member(source: Source, name: str) -> bool:
    """Tell whether a zip file seems to have a member of this name, in any folder."""
    if not is_zip(source):
        return False
    try:
        offset, size, _ = _find_directory(source)
        names = source.read(offset, size)
    except ContainerError:
        names = source.head(_AHEAD)  # truncated: reading will say so
    return name.encode() in names


def _find_directory(source: Source) -> tuple[int, int, int]:
    """Return the central directory's offset, size and number of entries."""
    tail = source.read(source.size - (n := min(source.size, _END.size + 0xFFFF)), n)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > n:
        raise _damaged(source, "an end of directory", "none: the file is truncated or no zip")
    fields = _END.unpack_from(tail, at)
    count, size, offset, comment = fields[4:]
    end = source.size - n + at
    if end + _END.size + comment != source.size:
        raise _damaged(source, "the end of directory as last", "other bytes after it")
    if tail[:at][-_LOCATOR.size :].startswith(b"PK\6\7"):
        end, *wide = _find_directory64(source, end - _LOCATOR.size)
        narrow = (count if count < 0xFFFF else _ONES, size, offset)
        count, size, offset = wide
        if any(n not in (_ONES, w) for n, w in zip(narrow, wide, strict=True)):
            raise _damaged(source, "two ends of directory that agree", narrow)
    if offset + size != end or size > _MAX_DIRECTORY or count > MAX_RECORDS:
        raise _damaged(source, f"a directory of {size} bytes before {end}", f"one at {offset}")
    return offset, size, count


def _find_directory64(source: Source, locator: int) -> tuple[int, int, int, int]:
    """Return the zip64 end's own offset, then count, size and offset of the directory."""
    _, _, at, _ = _LOCATOR.unpack(source.read(locator, _LOCATOR.size))
    if at + _END64.size != locator:
        raise _damaged(source, f"a zip64 end of directory before {locator}", f"one at {at}")
    mark, *_, count, size, offset = _END64.unpack(source.read(at, _END64.size))
    if mark != b"PK\6\6":
        raise _damaged(source, "a zip64 end of directory", "none")
    return at, count, size, offset


def _parse_directory(source: Source, offset: int, size: int, count: int) -> dict[str, Record]:
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
        name = _decode(raw[start : start + named], flags)
        if name is None or name in records:
            raise _damaged(source, "distinct names", f"{name!r} twice" if name else "no text")
        wide = raw[start + named : position - more]
        full, packed, header = _widen(wide, full, packed, header)
        records[name] = Record(flags, method, crc, packed, full, header)
    if position != size:
        raise _damaged(source, f"{count} directory entries", "bytes after them")
    return records


def _widen(extra: bytes, *fields: int) -> tuple[int, ...]:
    """Return the fields with those that are all ones taken from the zip64 extra field."""
    if _ONES not in fields:
        return fields
    at, wide = 0, b""
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        wide = extra[at + 4 : at + 4 + length] if kind == 1 else wide
        at += 4 + length
    words = iter(np.frombuffer(wide[: len(wide) & ~7], "<u8").tolist())
    return tuple(next(words, field) if field == _ONES else field for field in fields)


def _check_overlap(source: Source, records: dict[str, Record], end: int) -> dict[str, int]:
    """Return where each member must end: at the next header, or at the directory."""
    order = sorted(records.items(), key=lambda item: -item[1].header)
    limits: dict[str, int] = {}
    inflated = 0
    for name, record in order:
        if record.header + _LOCAL.size + record.packed > end:
            raise _damaged(source, "members that do not overlap", f"{name!r} reaching to {end}")
        limits[name] = end
        end = record.header
        inflated += record.size if record.method == _DEFLATED else 0
    limit = most(source.size)
    if inflated > limit:
        raise _damaged(source, f"at most {limit} bytes once inflated", inflated)
    return limits


def _decode(raw: bytes, flags: int) -> str | None:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        return None


def _damaged(source: Source, expected: object, found: object) -> ContainerError:
    return ContainerError("damaged archive", file=source.path, expected=expected, found=found)
