"""Shapes, dtypes and text attributes of HDF5 objects (see ``file``)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from ckptconv.codecs.hdf5.dense import objects
from ckptconv.codecs.hdf5.file import ATTRIBUTE, ATTRIBUTE_INFO, UNDEFINED, Cursor, H5File, Object
from ckptconv.tensors.dtypes import DType, named

_INTEGER, _FLOAT, _STRING, _OPAQUE, _VARIABLE = 0, 1, 3, 5, 9
_TEXT = 1  # of what is of variable length
_CLASSES = ("integer", "float", "time", "string", "bit field", "opaque", "compound", "reference",
            "enumeration", "variable-length", "array", "complex")  # fmt: skip
_FLOATS: dict[tuple[int, ...], str] = {
    # bit offset, precision, exponent (at, bits), mantissa (at, bits), exponent bias
    (0, 16, 10, 5, 0, 10, 15): "float16",
    (0, 16, 7, 8, 0, 7, 127): "bfloat16",
    (0, 32, 23, 8, 0, 23, 127): "float32",
    (0, 64, 52, 11, 0, 52, 1023): "float64",
}
_TYPE = struct.Struct("<II")
_INTEGERS, _REALS = struct.Struct("<HH"), struct.Struct("<HHBBBBI")
_SPACE = struct.Struct("<BBxB")
_DIMENSIONS = tuple(struct.Struct(f"<{rank}Q") for rank in range(33))
_MAX_TEXT = 16 << 20
"""Bytes of one attribute; a model_config of a thousand layers has about 1 MB."""


@dataclass(frozen=True)
class Datatype:
    """A parsed datatype message: its class, bytes per element, and the numpy dtype if it has one.

    ``found`` is how an error calls it; what is of variable length may be text, or rows of numbers.
    """

    kind: int
    size: int
    dtype: DType | None
    found: str
    is_text: bool


def datatype(file: H5File, body: bytes) -> Datatype:
    """Parse a datatype message; integers, IEEE floats and 2-byte opaque (bfloat16) have a dtype."""
    cursor = Cursor(body, file.path)
    first, size = cursor.fields(_TYPE)
    kind, bits = first & 15, first >> 8
    name = _CLASSES[kind] if kind < len(_CLASSES) else f"class {kind}"
    dtype: DType | None = None
    if kind == _INTEGER and size in (1, 2, 4, 8) and cursor.fields(_INTEGERS) == (0, 8 * size):
        dtype = named(f"{'int' if bits & 8 else 'uint'}{8 * size}")
    elif kind == _FLOAT and not bits & 0x40:
        found = _FLOATS.get(cursor.fields(_REALS))
        dtype = named(found) if found and named(found).itemsize == size else None
    elif kind == _OPAQUE and size == 2:
        dtype = named("bfloat16")
    if dtype is not None and kind != _OPAQUE:
        dtype = dtype.big if bits & 1 else dtype
    is_text = kind == _STRING or (kind == _VARIABLE and bits & 15 == _TEXT)
    return Datatype(kind, size, dtype, f"{8 * size}-bit {name}", is_text)


def dataspace(file: H5File, body: bytes) -> tuple[int, ...] | None:
    """Parse a dataspace message: the shape, or None for a null dataspace."""
    cursor = Cursor(body, file.path)
    version, rank, kind = cursor.fields(_SPACE)  # kind is reserved in version 1
    if version not in (1, 2) or rank > 32:
        raise file.damaged("dataspace", "version 1 or 2, rank up to 32", (version, rank))
    cursor.take(4 if version == 1 else 0)
    if version == 2 and kind == 2:
        return None
    shape = cursor.fields(_DIMENSIONS[rank])
    if math.prod(n for n in shape if n) >= 1 << 60:
        raise file.damaged("shape", "less than 2^60 elements", shape)
    return shape


def texts(file: H5File, messages: Object) -> dict[str, list[str]]:
    """Return the attributes that hold text, or nothing at all, as lists of str.

    Raises:
        ContainerError: an attribute of more than 16 MiB, or text that is not UTF-8.
    """
    found: dict[str, list[str]] = {}
    for message in messages:
        if message.kind == ATTRIBUTE:
            name, values = _attribute(file, message.body)
            if values is not None:
                found[name] = values
        elif message.kind == ATTRIBUTE_INFO:
            cursor = Cursor(message.body, file.path)
            flags = (cursor.uint(1), cursor.uint(1))[1]
            cursor.take(2 if flags & 1 else 0)
            heap, tree = cursor.uint(8), cursor.uint(8)
            stored = objects(file, heap, tree) if heap != UNDEFINED else ()
            found |= {n: v for n, v in (_attribute(file, body) for body in stored) if v is not None}
    return found


def _attribute(file: H5File, body: bytes) -> tuple[str, list[str] | None]:
    cursor = Cursor(body, file.path)
    version, flags = cursor.uint(1), cursor.uint(1)
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise file.damaged("attribute", "version 1-3, not shared", (version, flags))
    lengths = [cursor.uint(2) for _ in range(3)]
    cursor.take(1 if version == 3 else 0)
    parts = []
    for length in lengths:
        parts.append(cursor.take(length))
        if version == 1:
            cursor.align()
    kind, shape = datatype(file, parts[1]), dataspace(file, parts[2])
    name = _text(file, parts[0])
    if shape is None or 0 in shape:
        return name, []
    if not kind.is_text:
        return name, None
    count = math.prod(shape)
    if count * max(kind.size, 1) > len(body):
        raise file.damaged(f"attribute {name!r}", f"{count} values", f"{len(body)} bytes")
    values = [cursor.take(kind.size) for _ in range(count)]
    if kind.kind == _VARIABLE:
        values = _variable(file, name, values)
    return name, [_text(file, value) for value in values]


def _variable(file: H5File, name: str, references: list[bytes]) -> list[bytes]:
    """Resolve variable-length strings, which stand in global heap collections."""
    values, total = [], 0
    for reference in references:
        cursor = Cursor(reference, file.path)
        length, address, index = cursor.uint(4), cursor.uint(8), cursor.uint(4)
        if length and address not in file.collections:
            file.collections[address] = _collection(file, address)
        value = file.collections[address].get(index, b"") if length else b""
        total += length
        if len(value) < length or total > _MAX_TEXT:
            raise file.damaged(f"attribute {name!r}", f"{length} bytes of text", len(value))
        values.append(value[:length])
    return values


def _collection(file: H5File, address: int) -> dict[int, bytes]:
    head = file.block(address, 16, b"GCOL")
    head.take(4)
    size = head.uint(8)
    if not 16 <= size <= _MAX_TEXT:
        raise file.damaged("global heap", f"up to {_MAX_TEXT} bytes", size)
    cursor = file.block(address + 16, size - 16)
    objects: dict[int, bytes] = {}
    while cursor.left() >= 16:
        file.charge()
        index = cursor.uint(2)
        cursor.take(6)
        length = cursor.uint(8)
        if index == 0:  # the free space at the end
            break
        objects[index] = cursor.take(length)
        cursor.align()
    return objects


def _text(file: H5File, raw: bytes) -> str:
    file.charge_text(raw)
    try:
        return raw.split(b"\0", 1)[0].decode()
    except UnicodeDecodeError:
        raise file.damaged("text", "UTF-8", raw[:64]) from None
