"""Groups of an HDF5 file and their members, by hard links only (see ``file``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ckptconv.codecs.hdf5.dense import objects
from ckptconv.codecs.hdf5.file import (
    GROUP_INFO,
    LAYOUT,
    LINK,
    LINK_INFO,
    SYMBOL_TABLE,
    UNDEFINED,
    Cursor,
    H5File,
    Object,
    tree_v1,
)
from ckptconv.errors import ContainerError

_MAX_DEPTH = 64
_SYMBOL = struct.Struct("<QQI20x")
"""An entry of a symbol table: where its name is, its object header, what is cached of it."""
_HEAP = struct.Struct("<4xQQQ")


def is_group(messages: Object) -> bool:
    return any(m.kind in (LINK_INFO, LINK, GROUP_INFO, SYMBOL_TABLE) for m in messages)


def is_dataset(messages: Object) -> bool:
    return any(m.kind == LAYOUT for m in messages)


def links(file: H5File, messages: Object, path: str) -> dict[str, int]:
    """Return name → object header address of a group's members.

    Raises:
        ContainerError: a soft, external or user-defined link, a repeated or undecodable name.
    """
    found: dict[str, int] = {}
    for name, address in _entries(file, messages, path):
        if name in found or not name or "/" in name:
            raise file.damaged("name of a link", "unique, without '/'", repr(name))
        found[name] = address
    return found


def _entries(file: H5File, messages: Object, path: str) -> Iterator[tuple[str, int]]:
    for message in messages:
        cursor = Cursor(message.body, file.path)
        if message.kind == SYMBOL_TABLE:
            tree, heap = cursor.uint(8), cursor.uint(8)
            yield from _symbols(file, tree, _local_heap(file, heap), path)
        elif message.kind == LINK:
            yield _link(file, cursor, path)
        elif message.kind == LINK_INFO:
            flags = (cursor.uint(1), cursor.uint(1))[1]
            cursor.take(8 if flags & 1 else 0)
            heap, tree = cursor.uint(8), cursor.uint(8)
            if heap != UNDEFINED:
                for body in objects(file, heap, tree):
                    yield _link(file, Cursor(body, file.path), path)


def _link(file: H5File, cursor: Cursor, path: str) -> tuple[str, int]:
    version, flags = cursor.uint(1), cursor.uint(1)
    if version != 1:
        raise file.damaged("link message", "version 1", version)
    kind = cursor.uint(1) if flags & 8 else 0
    cursor.take((8 if flags & 4 else 0) + (1 if flags & 16 else 0))
    name = _name(file, cursor.take(cursor.uint(1 << (flags & 3))))
    if kind:
        raise _not_hard(file, path, name, {1: "soft", 64: "external"}.get(kind, "user-defined"))
    return name, cursor.uint(8)


def _symbols(file: H5File, tree: int, heap: bytes, path: str) -> Iterator[tuple[str, int]]:
    for _, leaf in tree_v1(file, tree, 0, 8):
        node = file.block(leaf, 8, b"SNOD")
        node.take(2)
        count = node.uint(2)
        entries = file.block(leaf + 8, 40 * count)
        for _ in range(count):
            file.charge()
            start, address, cache = entries.fields(_SYMBOL)
            stop = heap.find(b"\0", start)
            if stop < 0:
                raise file.damaged("name of a link", "an end", "none")
            name = _name(file, heap[start:stop])
            if cache == 2 or address == UNDEFINED:
                raise _not_hard(file, path, name, "soft")
            yield name, address


def _local_heap(file: H5File, address: int) -> bytes:
    cursor = file.block(address, 32, b"HEAP")
    size, _, start = cursor.fields(_HEAP)
    return file.block(start, size).data


def _name(file: H5File, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise file.damaged("name of a link", "UTF-8", raw[:64]) from None


def _not_hard(file: H5File, path: str, name: str, kind: str) -> ContainerError:
    return ContainerError(
        "links are not followed",
        file=file.path,
        tensor=f"{path}/{name}".lstrip("/"),
        expected="a group or dataset of this file",
        found=f"a {kind} link",
    )


def walk(file: H5File) -> Iterator[tuple[str, Object]]:
    """Yield (path, messages) of every group and dataset, parents first; the root is ``""``.

    Raises:
        ContainerError: a group is reached twice, groups nest too deeply, an object is neither.
    """
    seen: set[int] = set()
    pending = [("", file.root, 0)]
    while pending:
        path, address, depth = pending.pop()
        messages = file.messages(address)
        yield path, messages
        if is_dataset(messages):
            continue
        if not is_group(messages):
            raise file.damaged(f"object {path!r}", "a group or a dataset", "neither")
        if address in seen or depth > _MAX_DEPTH:
            raise file.damaged(f"group {path!r} contains itself, is linked twice or nests too deep")
        seen.add(address)
        members = links(file, messages, path)
        prefix = f"{path}/" if path else ""
        pending += [(prefix + n, a, depth + 1) for n, a in reversed(members.items())]
