"""A zip directory that trusts nothing it reads (PKWARE APPNOTE 6.3, with zip64).

Stored members are windows on the file, so that their bytes are never copied to be looked at;
deflated ones are inflated to an anonymous temporary file when they are first read. Either way no
byte reaches a caller before the member's CRC-32 was found right (0 means "not computed": torch
writes it so when asked to). A member that is only copied is checked as it passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

from isal.isal_zlib import crc32

from ckptconv.codecs.deflate import Inflated, inflate
from ckptconv.codecs.zip.directory import (
    DEFLATED,
    LOCAL,
    UTF8,
    Record,
    decode,
    find,
    limits,
    parse,
    widen,
)
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source, Span, Update, Window

_AHEAD = 16 << 10
_STORED, _ENCRYPTED, _DESCRIPTOR = 0, 1, 8


class Archive:
    """The members of a zip file.

    Attributes:
        records: name → Record in the directory's order.

    Raises:
        ContainerError: no directory, a damaged one, duplicate names or overlapping members.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        offset, size, count = find(source)
        self.records = parse(source, offset, size, count)
        self._limits = limits(source, self.records, offset)
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
        member = self._members.get(name)
        if member is None:
            member = self._members[name] = self._open(name)
        return member

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
        if record.method != DEFLATED:
            raise self._error(name, "unreadable", "stored or deflated", f"method {record.method}")
        packed = self.source.window(start, record.packed)
        chunks = partial(inflate, packed, record.size, record.crc, name)
        return Inflated(self.source.path, record.size, chunks)

    def _payload(self, name: str, record: Record) -> int:
        """Return where the payload starts; only the local header knows."""
        raw = self._peek(record.header, LOCAL.size)
        mark, _, flags, method, _, _, crc, packed, size, named, extra = LOCAL.unpack(raw)
        at = record.header + LOCAL.size
        text = self._peek(at, named + extra)
        same = text[:named] == name.encode() or decode(text[:named], flags) == name
        honest = mark == b"PK\3\4" and same
        honest &= (method, flags & ~UTF8) == (record.method, record.flags & ~UTF8)
        if not flags & _DESCRIPTOR:
            meant = record.size, record.packed
            honest &= crc == record.crc
            honest &= (size, packed) == meant or widen(text[named:], size, packed) == meant
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

    def read_into(self, buffer: memoryview, offset: int) -> None:
        if self._trusted:
            super().read_into(buffer, offset)
        elif (offset, len(buffer)) == (0, self.size):
            super().read_into(buffer, offset)
            self._compare(crc32(buffer))
        else:
            self._verify()
            super().read_into(buffer, offset)

    def read_runs(self, buffer: memoryview, offsets: Sequence[int]) -> None:
        if not self._trusted:
            self._verify()
        super().read_runs(buffer, offsets)

    def span(self, offset: int, length: int) -> Span:
        self._require(offset, length)
        return Span(self, offset, length)

    @contextmanager
    def passing(self, offset: int, length: int) -> Iterator[Update | None]:
        if self._trusted or (offset, length) != (0, self.size):
            yield None  # reading a part verifies the whole first
            return
        self._trusted, running = True, 0

        def update(piece: memoryview) -> None:
            nonlocal running
            running = crc32(piece, running)

        yield update
        self._compare(running)

    def _verify(self) -> None:
        self._trusted = True  # so that crc32 may read
        self._compare(self.crc32(0, self.size))

    def _compare(self, found: int) -> None:
        self._trusted = found == self.crc
        if not self._trusted:
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
    names = _names.get(source)
    if names is None:
        names = _names[source] = _directory(source) if is_zip(source) else b""
    return name.encode() in names


def _directory(source: Source) -> bytes:
    try:
        offset, size, _ = find(source)
        return source.read(offset, size)
    except ContainerError:
        return source.head(_AHEAD)  # truncated: reading will say so


_names = WeakKeyDictionary[Source, bytes]()
"""Directories of files that several formats ask for their members, one after the other."""
