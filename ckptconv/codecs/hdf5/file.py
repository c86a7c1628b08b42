"""The skeleton of an HDF5 file: superblock, blocks, object headers, B-trees.

Written after the HDF5 File Format Specification, version 3.0, for what h5py writes by default
(``libver="earliest"``) and for the 1.8 format. libhdf5 itself is not used for reading: it can be
made to crash or to hang by changing single bytes of a file, follows external links and external
storage into other files, and cannot be interrupted. Here a block is read only where it lies in the
file, each kind of loop is noticed, and the blocks read are charged against a budget.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = (1 << 64) - 1
_MAX_MESSAGES = 4096
_CHARGE = 96  # what handling one message, link or block costs, in bytes read
_PAGE = 4096
_PREFIXES = {  # of a message: kind, size, flags
    "version 1": struct.Struct("<HHB3x"),
    "version 2": struct.Struct("<BHB"),
    "version 2, ordered": struct.Struct("<BHB2x"),
}
_HEADER_V1 = struct.Struct("<B7xI")  # version, size of the messages
_NODE = struct.Struct("<BBH16x")  # of a B-tree: what it indexes, level, children

DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES = 0x1, 0x2, 0x3, 0x6, 0x7
LAYOUT, GROUP_INFO, FILTERS, ATTRIBUTE, ATTRIBUTE_INFO = 0x8, 0xA, 0xB, 0xC, 0x15
_CONTINUATION, SYMBOL_TABLE = 0x10, 0x11


class Cursor:
    """Little-endian fields of one block, one after another.

    Raises:
        ContainerError: a field reaches beyond the block.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self.data, self.path, self.position = data, path, 0

    def take(self, length: int) -> bytes:
        start = self.position
        self.position = stop = start + length
        if length < 0 or stop > len(self.data):
            raise ContainerError(
                "damaged HDF5 structure: a field reaches out of its block", file=self.path
            )
        return self.data[start:stop]

    def uint(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def fields(self, layout: struct.Struct) -> tuple[int, ...]:
        """Return several fields at once."""
        return layout.unpack(self.take(layout.size))

    def left(self) -> int:
        return len(self.data) - self.position

    def align(self) -> None:
        self.position += -self.position % 8


class Message(NamedTuple):
    """One message of an object header: what it is and its undecoded body."""

    kind: int
    flags: int
    body: bytes


Object = list[Message]


class H5File:
    """An HDF5 file opened for reading its structure.

    Attributes:
        source: the window from the superblock on; addresses in the file are offsets in it.
        root: address of the root group's object header.
        collections: texts of the global heap collections that were read, by address and index;
            those of many attributes stand in one.

    Raises:
        ContainerError: no HDF5 signature, another format version, or truncated.
    """

    def __init__(self, source: Source) -> None:
        start = find_signature(source)
        if start is None:
            raise ContainerError("not an HDF5 file", file=source.path)
        self.path = source.path
        self.source = source.window(start, source.size - start) if start else source
        self._budget = min((32 << 20) + 2 * source.size, 256 << 20)
        self._texts = 64 << 20
        self.collections: dict[int, dict[int, bytes]] = {}
        self._pages, self._pages_at = b"", 0
        self.root = self._superblock()

    def damaged(
        self, problem: str, expected: object = None, found: object = None
    ) -> ContainerError:
        return ContainerError(
            f"damaged HDF5 structure: {problem}", file=self.path, expected=expected, found=found
        )

    def block(self, address: int, length: int, signature: bytes = b"") -> Cursor:
        """Return ``length`` bytes of structure, after checking and skipping their signature."""
        self.charge(length)
        cursor = Cursor(self._read(address, length), self.path)
        if signature and (found := cursor.take(len(signature))) != signature:
            raise self.damaged(f"block at {address}", signature, found)
        return cursor

    def _read(self, address: int, length: int) -> bytes:
        """Read by pages, since the blocks are small and stand together."""
        start = address - self._pages_at
        if start < 0 or start + length > len(self._pages):
            if address + length > self.source.size:
                return self.source.read(address, length)  # which refuses
            self._pages_at, start = address - address % _PAGE, address % _PAGE
            size = min(start + length + 2 * _PAGE, self.source.size - self._pages_at)
            self._pages = self.source.read(self._pages_at, size)
        return self._pages[start : start + length]

    def charge(self, length: int = 0) -> None:
        self._budget -= length + _CHARGE
        if self._budget < 0:
            raise self.damaged("more structure than a file of this size can hold")

    def charge_text(self, raw: bytes) -> None:
        """Charge what text takes in memory, where one wide character makes all of them wide."""
        self._texts -= len(raw) * (1 if raw.isascii() else 4)
        if self._texts < 0:
            raise self.damaged("more text than a model has")

    def _superblock(self) -> int:
        cursor = self.block(0, min(96 + 8, self.source.size), SIGNATURE)
        version = cursor.uint(1)
        if version > 3:
            raise ContainerError(
                "HDF5 superblock", file=self.path, expected="version 0-3", found=version
            )
        cursor.take(4 if version < 2 else 0)
        sizes = cursor.take(2)
        if sizes != b"\x08\x08":
            raise self.damaged("sizes of offsets and lengths", "8 and 8", tuple(sizes))
        cursor.take({0: 9, 1: 13}.get(version, 1))
        base, _, end = (cursor.uint(8) for _ in range(3))
        if end - base > self.source.size:
            raise ContainerError(
                "truncated", file=self.path, expected=f"{end - base} bytes", found=self.source.size
            )
        cursor.take(16 if version < 2 else 0)  # driver information; name of the root's link
        return cursor.uint(8)

    def messages(self, address: int) -> Object:
        """Return the messages of an object header, continuations included."""
        versioned = self._read(address, 4) == b"OHDR"
        first = self._header_v2(address) if versioned else self._header_v1(address)
        found: Object = []
        blocks, seen = [first], {address}
        while blocks:
            cursor, ordered = blocks.pop(0)
            for message in self._split(cursor, versioned, ordered):
                found.append(message)
                if len(found) > _MAX_MESSAGES:
                    raise self.damaged("too many messages in an object header")
                if message.kind == _CONTINUATION:
                    where = Cursor(message.body, self.path)
                    start, length = where.uint(8), where.uint(8)
                    if start in seen:
                        raise self.damaged("an object header continues into itself")
                    seen.add(start)
                    blocks.append((self._continuation(start, length, versioned), ordered))
        return found

    def _header_v1(self, address: int) -> tuple[Cursor, bool]:
        prefix = self.block(address, 16)
        version, size = prefix.fields(_HEADER_V1)
        if version != 1:
            raise self.damaged(f"object header at {address}", "version 1 or 2", version)
        return self.block(address + 16, size), False

    def _header_v2(self, address: int) -> tuple[Cursor, bool]:
        prefix = self.block(address, 6, b"OHDR")
        version, flags = prefix.uint(1), prefix.uint(1)
        if version != 2:
            raise self.damaged(f"object header at {address}", "version 1 or 2", version)
        start = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = self.block(start, width).uint(width)
        return self.block(start + width, size), bool(flags & 4)

    def _continuation(self, start: int, length: int, versioned: bool) -> Cursor:
        if not versioned:
            return self.block(start, length)
        return self.block(start, max(4, length - 4), b"OCHK")

    def _split(self, cursor: Cursor, versioned: bool, ordered: bool) -> Iterator[Message]:
        layout = _PREFIXES[f"version {1 + versioned}" + ", ordered" * ordered]
        while cursor.left() >= layout.size:
            kind, size, flags = cursor.fields(layout)
            self.charge()
            body = cursor.take(size)
            if kind:
                yield Message(kind, flags, body)


def find_signature(source: Source) -> int | None:
    """Return where HDF5 begins: at 0, or after a user block of 512, 1024, 2048, … bytes."""
    start = 0
    while start + len(SIGNATURE) <= min(source.size, 1 << 24):
        if source.read(start, len(SIGNATURE)) == SIGNATURE:
            return start
        start = start * 2 or 512
    return None


def tree_v1(file: H5File, root: int, kind: int, key: int) -> Iterator[tuple[bytes, int]]:
    """Yield (key, child address) of the leaves of a version 1 B-tree, in key order."""
    pending: list[tuple[int, int | None]] = [(root, None)]
    seen = set()
    while pending:
        address, expected = pending.pop()
        head = file.block(address, 24, b"TREE")
        found, level, count = head.fields(_NODE)
        if found != kind or address in seen or (expected is not None and level != expected):
            raise file.damaged(f"B-tree node at {address}")
        seen.add(address)
        body = file.block(address + 24, count * (key + 8))
        children = [(body.take(key), body.uint(8)) for _ in range(count)]
        if level == 0:
            yield from children
        else:
            pending += [(child, level - 1) for _, child in reversed(children)]
