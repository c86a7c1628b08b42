"""The values of HDF5 datasets as lazy tensors (see ``file``)."""

from __future__ import annotations

import itertools
import math
import zlib
from typing import NamedTuple

from ckptconv.codecs.hdf5.file import (
    ATTRIBUTE,
    DATASPACE,
    DATATYPE,
    EXTERNAL_FILES,
    FILTERS,
    LAYOUT,
    UNDEFINED,
    Cursor,
    H5File,
    Object,
    tree_v1,
)
from ckptconv.codecs.hdf5.filters import DECODERS
from ckptconv.codecs.hdf5.types import dataspace, datatype, texts
from ckptconv.errors import ContainerError
from ckptconv.tensors.dtypes import DType
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region, extent
from ckptconv.tensors.tensor import ArrayTensor, FileTensor, Tensor

_COMPACT, _CONTIGUOUS, _CHUNKED = 0, 1, 2
_LAYOUTS = ("compact", "contiguous", "chunked", "virtual")
_MAX_CHUNK = 64 << 20
_MAX_RATIO = 1100
"""deflate makes at most 1032 bytes of one; what declares more does not hold it."""


class _Filter(NamedTuple):
    code: int
    values: tuple[int, ...]


class _Chunk(NamedTuple):
    address: int
    length: int
    skipped: int


def tensor(file: H5File, messages: Object, name: str) -> Tensor:
    """Return a dataset's values as a lazy tensor.

    Args:
        messages: of the dataset's object header.
        name: as errors call it.

    Raises:
        ContainerError: values outside this file (external, virtual), a null or unwritten dataset,
            a dtype other than integers and floats, an unknown filter, sizes beyond the file.
    """
    bodies = {m.kind: m.body for m in messages if m.kind != ATTRIBUTE}
    shared = [m for m in messages if m.flags & 2 and m.kind in (DATASPACE, DATATYPE, FILTERS)]
    if EXTERNAL_FILES in bodies:
        raise _refused(file, name, "values in this file", "external storage")
    if shared or not {DATASPACE, DATATYPE} <= bodies.keys():
        raise _refused(file, name, "a shape and a dtype of its own", "a shared or missing one")
    shape, kind = dataspace(file, bodies[DATASPACE]), datatype(file, bodies[DATATYPE])
    if shape is None:
        raise _refused(file, name, "an array", "a null dataspace")
    if kind.dtype is None or _recorded(file, messages) not in (None, kind.dtype.name):
        raise _refused(file, name, "integers, floats or bfloat16", kind.found)
    filters = _filters(file, bodies.get(FILTERS), name)
    return _laid_out(file, Cursor(bodies[LAYOUT], file.path), shape, kind.dtype, filters, name)


def _recorded(file: H5File, messages: Object) -> str | None:
    """Return the dtype that Keras records for what numpy does not know, bfloat16."""
    return next(iter(texts(file, messages).get("dtype", [])), None)


def _laid_out(
    file: H5File,
    cursor: Cursor,
    shape: tuple[int, ...],
    dtype: DType,
    filters: list[_Filter],
    name: str,
) -> Tensor:
    version, kind = cursor.uint(1), cursor.uint(1)
    if version not in (3, 4) or kind not in (_COMPACT, _CONTIGUOUS, _CHUNKED):
        found = _LAYOUTS[kind] if kind < len(_LAYOUTS) else f"layout {kind}"
        raise _refused(file, name, "values in this file", f"{found}, version {version}")
    if kind == _CHUNKED:
        return _chunked(file, cursor, version, shape, dtype, filters, name)
    nbytes = math.prod(shape) * dtype.itemsize
    if kind == _COMPACT:
        data = cursor.take(cursor.uint(2))
        if len(data) != nbytes:
            raise _refused(file, name, f"{nbytes} bytes", len(data))
        return ArrayTensor(np.frombuffer(data, dtype).reshape(shape))
    address, stored = cursor.uint(8), cursor.uint(8)
    if nbytes == 0:
        return ArrayTensor(np.empty(shape, dtype))
    if address == UNDEFINED or stored != nbytes:
        found = f"{stored} bytes" if address != UNDEFINED else "values never written"
        raise _refused(file, name, f"{nbytes} bytes", found)
    try:
        return FileTensor(file.source, address, shape, dtype)
    except ContainerError as error:
        error.tensor = name
        raise


def _filters(file: H5File, body: bytes | None, name: str) -> list[_Filter]:
    if body is None:
        return []
    cursor = Cursor(body, file.path)
    version, count = cursor.uint(1), cursor.uint(1)
    cursor.take(6 if version == 1 else 0)
    found = []
    for _ in range(count):
        code = cursor.uint(2)
        length = cursor.uint(2) if version == 1 or code >= 256 else 0
        values = (cursor.uint(2), cursor.uint(2))[1]
        cursor.take(length)
        found.append(_Filter(code, tuple(cursor.uint(4) for _ in range(values))))
        cursor.take(4 if version == 1 and values % 2 else 0)
    unknown = [f.code for f in found if f.code not in DECODERS]
    if unknown or version not in (1, 2) or len(found) > len(DECODERS):
        raise _refused(file, name, f"filters among {sorted(DECODERS)}", unknown or found)
    return found


def _chunked(
    file: H5File,
    cursor: Cursor,
    version: int,
    shape: tuple[int, ...],
    dtype: DType,
    filters: list[_Filter],
    name: str,
) -> Tensor:
    if version != 3:
        raise ContainerError(
            "the chunks are indexed in a way that is not read",
            file=file.path,
            tensor=name,
            hint="h5py's default format: rewrite it without libver",
        )
    rank, root = cursor.uint(1), cursor.uint(8)
    *chunk, itemsize = [cursor.uint(4) for _ in range(rank)] or [0]
    size = math.prod(chunk) * itemsize
    if len(chunk) != len(shape) or itemsize != dtype.itemsize or not 0 < size <= _MAX_CHUNK:
        raise _refused(file, name, f"chunks of {shape}, up to {_MAX_CHUNK} bytes", tuple(chunk))
    found: dict[tuple[int, ...], _Chunk] = {}
    for key, address in tree_v1(file, root, 1, 8 + 8 * rank) if root != UNDEFINED else ():
        fields = Cursor(key, file.path)
        length, skipped = fields.uint(4), fields.uint(4)
        at = tuple(fields.uint(8) // n for n in chunk)
        file.source.span(address, length)
        found[at] = _Chunk(address, length, skipped)
        if size > length * _MAX_RATIO:
            raise _refused(file, name, f"chunks of {size} bytes", f"one stored as {length}")
    grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    inside = all(i < n for at in found for i, n in zip(at, grid, strict=True))
    expected, stored = math.prod(grid), sum(c.length for c in found.values())
    if len(found) != expected or not inside or stored > file.source.size:
        raise _refused(file, name, f"{expected} chunks", f"{len(found)} chunks in {stored} bytes")
    return ChunkedTensor(file, shape, dtype, tuple(chunk), found, filters, name)


class ChunkedTensor(Tensor):
    """Values in chunks of equal shape, each filtered for itself; those at the edges hang over."""

    def __init__(
        self,
        file: H5File,
        shape: tuple[int, ...],
        dtype: DType,
        chunk: tuple[int, ...],
        chunks: dict[tuple[int, ...], _Chunk],
        filters: list[_Filter],
        name: str,
    ) -> None:
        self.shape, self.dtype, self._stored = shape, dtype.little, dtype
        self._file, self._chunk, self._chunks = file, chunk, chunks
        self._filters, self._name = filters, name

    def read(self, region: Region) -> Array:
        out = np.empty(extent(region), self.dtype)
        touched = (range(a // n, -(-b // n)) for (a, b), n in zip(region, self._chunk, strict=True))
        for at in itertools.product(*touched):
            into, outof = [], []
            for i, n, (a, b) in zip(at, self._chunk, region, strict=True):
                start, stop = max(a, i * n), min(b, (i + 1) * n)
                into.append(slice(start - a, stop - a))
                outof.append(slice(start - i * n, stop - i * n))
            out[tuple(into)] = self._decoded(self._chunks[at])[tuple(outof)]
        return out

    def _decoded(self, chunk: _Chunk) -> Array:
        data = self._file.source.read(chunk.address, chunk.length)
        size = math.prod(self._chunk) * self._stored.itemsize
        try:
            for i, step in reversed(list(enumerate(self._filters))):
                if not chunk.skipped >> i & 1:
                    data = DECODERS[step.code](data, step.values, size)
        except (ValueError, IndexError, zlib.error) as error:
            raise _refused(self._file, self._name, "intact chunks", str(error)) from None
        if len(data) != size:
            raise _refused(self._file, self._name, f"chunks of {size} bytes", len(data))
        return np.frombuffer(data, self._stored).reshape(self._chunk)


def _refused(file: H5File, name: str, expected: object, found: object) -> ContainerError:
    return ContainerError(
        "the dataset cannot be read", file=file.path, tensor=name, expected=expected, found=found
    )
