"""Dense storage: links or attributes of one object in a fractal heap, listed by a v2 B-tree.

Source: HDF5 File Format Specification 3.0, III.A.2 (version 2 B-trees) and III.G (fractal heaps).
h5py writes it for groups with more than eight members of which one's name is not ASCII.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ckptconv.codecs.hdf5.file import UNDEFINED, H5File
from ckptconv.errors import ContainerError

_HEAP = struct.Struct("<BHHBI6Q6QHQQHHQH")
_TREE = struct.Struct("<BBIHHBBQHQ")
_IDS = {5: 4, 8: 0}
"""B-tree of link names or attribute names → where the heap's id stands in a record."""
_MAX_DEPTH = 4


@dataclass(frozen=True)
class _Heap:
    width: int
    start: int
    largest: int
    bits: int
    root: int
    rows: int
    length_size: int
    id_size: int


def objects(file: H5File, heap_address: int, tree_address: int) -> Iterator[bytes]:
    """Yield the message of each link or attribute, in the order of the B-tree.

    Raises:
        ContainerError: damage, or objects larger than what stands in the heap itself.
    """
    heap = _heap(file, heap_address)
    for place, length in _ids(file, tree_address, heap):
        yield _object(file, heap, place, length)


def _heap(file: H5File, address: int) -> _Heap:
    fields = file.block(address, 4 + _HEAP.size, b"FRHP").fields(_HEAP)
    version, id_size, filters, _, managed = fields[:5]
    width, start, largest, bits, _, root, rows = fields[17:]
    powers = all(n > 0 and n & (n - 1) == 0 for n in (start, largest)) and start <= largest
    if version or filters or not powers or not 0 < bits <= 64 or not 0 < width <= 1024:
        raise file.damaged("fractal heap", "version 0, no filters, powers of two", fields[:5])
    size = (min(largest, managed).bit_length() + 7) // 8
    return _Heap(width, start, largest, bits, root, rows, size, id_size)


def _ids(file: H5File, address: int, heap: _Heap) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) in the heap of each record of a B-tree."""
    fields = file.block(address, 4 + _TREE.size, b"BTHD").fields(_TREE)
    _, kind, node_size, record_size, depth, _, _, root, count, _ = fields
    skip = _IDS.get(kind, record_size)
    offset_size = (heap.bits + 7) // 8
    whole = record_size >= skip + heap.id_size > skip + offset_size
    if not whole or depth > _MAX_DEPTH or node_size < 64:
        raise file.damaged("B-tree of a fractal heap", "links or attributes", fields[:5])
    for record in _records(file, (root, count), depth, node_size, record_size):
        file.charge()
        identity = record[skip : skip + heap.id_size]
        if identity[0] >> 4:
            raise ContainerError(
                "an attribute or link that is too large for its group's heap is not read",
                file=file.path,
                hint="h5py's default format: rewrite it without libver",
            )
        stop = 1 + offset_size
        place = int.from_bytes(identity[1:stop], "little")
        yield place, int.from_bytes(identity[stop : stop + heap.length_size], "little")


def _records(
    file: H5File, node: tuple[int, int], depth: int, node_size: int, record_size: int
) -> Iterator[bytes]:
    """Yield the records of a node and of all below it."""
    address, count = node
    if address == UNDEFINED or not count:
        return
    cursor = file.block(address, node_size, b"BTIN" if depth else b"BTLF")
    cursor.take(2)
    own = [cursor.take(record_size) for _ in range(count)]
    if not depth:
        yield from own
        return
    sizes, cumulated = _pointer_sizes(depth, node_size, record_size)
    children = []
    for _ in range(count + 1):
        children.append((cursor.uint(8), cursor.uint(sizes)))
        cursor.take(cumulated)
    for i, child in enumerate(children):
        yield from _records(file, child, depth - 1, node_size, record_size)
        yield from own[i : i + 1]


def _pointer_sizes(depth: int, node_size: int, record_size: int) -> tuple[int, int]:
    """Return the bytes of a child's number of records, and of all records below it."""
    most = (node_size - 10) // record_size
    own, below, total = _bytes(most), 0, most
    for level in range(1, depth):
        below = _bytes(total) if level > 1 else 0
        here = (node_size - 10 - 8 - own - below) // (record_size + 8 + own + below)
        total = (here + 1) * total + here
    return own, _bytes(total) if depth > 1 else 0


def _bytes(number: int) -> int:
    return (number.bit_length() + 7) // 8


def _object(file: H5File, heap: _Heap, place: int, length: int) -> bytes:
    block, begin, size = heap.root, 0, heap.start
    if heap.rows:
        index, begin, size = _direct(heap, place)
        if index < 0 or index >= heap.rows * heap.width:
            raise file.damaged("fractal heap", "an object in a block of the root", place)
        header = 13 + (heap.bits + 7) // 8
        cursor = file.block(heap.root, header + 8 * (index + 1), b"FHIB")
        cursor.position = header + 8 * index
        block = cursor.uint(8)
    if place < begin or place + length > begin + size or block == UNDEFINED:
        raise file.damaged("fractal heap", "an object within its block", (place, length))
    return file.block(block + place - begin, length).data


def _direct(heap: _Heap, place: int) -> tuple[int, int, int]:
    """Return (index among the root's children, offset, size) of the block that holds a place."""
    begin, size, row = 0, heap.start, 0
    while size <= heap.largest:
        if place < begin + heap.width * size:
            column = (place - begin) // size
            return row * heap.width + column, begin + column * size, size
        begin += heap.width * size
        row += 1
        size = heap.start << max(row - 1, 0)
    return -1, 0, 0
