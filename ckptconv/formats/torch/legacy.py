"""torch.save's files before 1.6, not zip (torch/serialization.py, ``_legacy_save``).

Five pickles in a row (magic number, protocol, system, object, storage keys), then for each key the
storage's number of elements and its bytes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.pickle.machine import unpickle
from ckptconv.codecs.pickle.objects import told
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.checkpoint import build
from ckptconv.formats.torch.dtypes import DTYPES, storage_dtype
from ckptconv.formats.torch.tensors import CALLS, Storage
from ckptconv.io.reader import Source

MAGIC = 0x1950A86A20F9469CFC6C
_MAGICS = (b"\x8a\x0a" + MAGIC.to_bytes(10, "little"), b"L%dL\n" % MAGIC)
_PROTOCOL = 1001


class _Root(NamedTuple):
    """A storage as the pickle names it; its bytes stand after the pickle."""

    dtype: str
    numel: int


def sniff(source: Source) -> bool:
    """Tell whether the first pickle is the magic number, in any protocol."""
    head = source.head(32)
    return any(magic in head for magic in _MAGICS)


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read names, shapes and dtypes.

    Raises:
        ContainerError: damaged, no weights, or weights in several places.
    """
    magic, offset = unpickle(source, 0)
    protocol, offset = unpickle(source, offset)
    if (magic, protocol) != (MAGIC, _PROTOCOL):
        found = protocol if type(protocol) is int else "another object"
        expected = f"torch's protocol {_PROTOCOL}"
        raise ContainerError("not readable", file=source.path, expected=expected, found=found)
    _, offset = unpickle(source, offset)
    reader = _Storages(source)
    root, offset = unpickle(source, offset, calls=CALLS, persistent=reader.persistent)
    keys, offset = unpickle(source, offset)
    reader.locate(keys, offset)
    return build(root, source, "torch-legacy", select)


class _Storages:
    """What persistent ids stand for, and where the storages are once that is known."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._roots: dict[str, _Root] = {}
        self._windows: dict[str, Source] = {}

    def persistent(self, identity: Any) -> object:
        """Return the storage of ('storage', class, key, location, numel, view), or the class of
        ('module', class, file, source)."""
        if identity[0] == "module":
            return identity[1]
        kind, cls, key, _, count, view = identity
        root = _Root(storage_dtype(cls), count)
        start, length = (0, count) if view is None else view[1:]
        numbers = (count, start, length)
        if kind != "storage" or {*map(type, numbers)} != {int} or type(key) is not str:
            raise ValueError(f"a persistent id of {told(kind)}")
        if not 0 <= start <= start + length <= count or self._roots.setdefault(key, root) != root:
            raise ValueError(f"a storage {key!r} of two sizes")
        return Storage(partial(self._view, key, start, length), root.dtype, big_endian=False)

    def locate(self, keys: Any, offset: int) -> None:
        """Find the storages, which stand in the order of ``keys``.

        Raises:
            ContainerError: one that is missing, of another size, or beyond the end.
        """
        named = isinstance(keys, list) and all(type(key) is str for key in keys)
        if not named or {*keys} != self._roots.keys() or len(keys) != len(self._roots):
            raise self._error("the storage keys do not agree with the pickle")
        for key in keys:
            dtype, count = self._roots[key]
            found = int.from_bytes(self._source.read(offset, 8), "little", signed=True)
            if found != count:
                raise self._error(f"storage {key!r} of another size", count, found)
            size = count * DTYPES[dtype].itemsize
            self._windows[key] = self._source.window(offset + 8, size)
            offset += 8 + size

    def _view(self, key: str, start: int, length: int) -> Source:
        window, item = self._windows[key], DTYPES[self._roots[key].dtype].itemsize
        return (
            window if length * item == window.size else window.window(start * item, length * item)
        )

    def _error(self, problem: str, expected: object = None, found: object = None) -> ContainerError:
        return ContainerError(problem, file=self._source.path, expected=expected, found=found)
