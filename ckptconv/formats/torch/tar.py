"""The tar files of torch before 0.1.10 (torch/serialization.py, ``legacy_load``).

``storages`` holds their number and, for each, a pickled (key, location, class), the number of
elements and the bytes; then a pickled list of views. ``tensors`` holds their number and, for each,
a pickled (key, storage key, class), the number of axes, sizes, strides and the offset. ``pickle``
is the object; its persistent ids are the keys of tensors or storages.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.pickle.machine import unpickle
from ckptconv.codecs.pickle.objects import told
from ckptconv.codecs.tar import is_tar, members
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.checkpoint import build
from ckptconv.formats.torch.dtypes import DTYPES, storage_dtype
from ckptconv.formats.torch.tensors import CALLS, Storage, Stored
from ckptconv.io.reader import Source

_PARTS = ("storages", "tensors", "pickle")
_MAX_AXES, _MAX_OBJECTS = 64, 1 << 18


def sniff(source: Source) -> bool:
    """Tell whether a tar file has torch's three members."""
    try:
        return is_tar(source) and set(_PARTS) <= members(source).keys()
    except ContainerError:
        return False


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read names, shapes and dtypes.

    Raises:
        ContainerError: damaged, no weights, or weights in several places.
    """
    parts = members(source)
    objects: dict[int, Any] = {}
    try:
        _read_storages(parts["storages"], objects)
        _read_tensors(parts["tensors"], objects)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ContainerError(f"damaged: {error}", file=source.path) from None
    persistent = partial(_persistent, objects)
    root, _ = unpickle(parts["pickle"], 0, calls=CALLS, persistent=persistent)
    return build(root, source, "torch-tar", select)


def _read_storages(part: Source, objects: dict[int, Any]) -> None:
    count, offset = unpickle(part, 0)
    for _ in range(_bounded(count)):
        (key, _, cls), offset = unpickle(part, offset)
        dtype = storage_dtype(cls)
        size = int.from_bytes(part.read(offset, 8), "little") * DTYPES[dtype].itemsize
        objects[int(key)] = _storage(part.window(offset + 8, size), dtype)
        offset += 8 + size
    views, _ = unpickle(part, offset)
    for target, root, start, length in views:
        whole = objects[int(root)]
        item = DTYPES[whole.dtype].itemsize
        window = whole.source().window(int(start) * item, int(length) * item)
        objects[int(target)] = _storage(window, whole.dtype)


def _read_tensors(part: Source, objects: dict[int, Any]) -> None:
    count, offset = unpickle(part, 0)
    for _ in range(_bounded(count)):
        (key, storage, _), offset = unpickle(part, offset)
        axes = int.from_bytes(part.read(offset, 4), "little")  # in a field of 8 bytes
        if axes > _MAX_AXES:
            raise ValueError(f"a tensor of {axes} axes")
        raw = part.read(offset + 8, 16 * axes + 8)
        numbers = struct.unpack(f"<{2 * axes + 1}q", raw)
        objects[int(key)] = Stored(
            objects[int(storage)], numbers[-1], numbers[:axes], numbers[axes:-1]
        )
        offset += 8 + len(raw)


def _storage(window: Source, dtype: str) -> Storage:
    return Storage(lambda: window, dtype, big_endian=False)


def _persistent(objects: dict[int, Any], identity: Any) -> Any:
    """Return a tensor or storage, or the class of (class, file, source)."""
    return identity[0] if isinstance(identity, tuple) else objects[int(identity)]


def _bounded(count: Any) -> int:
    if type(count) is not int or not 0 <= count <= _MAX_OBJECTS:
        raise ValueError(f"a count of {told(count):.40}")
    return count
