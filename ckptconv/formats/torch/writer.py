"""The pickle of a state_dict (protocol 2), as torch.save writes it and weights_only accepts it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.codecs.zip.writer import ZipWriter
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.dtypes import DTYPES, STORAGES
from ckptconv.tensors.tensor import Tensor
from ckptconv.tensors.writer import Progress, open_sink

_ROOT = "archive"
_CLASSES = {dtype: cls for cls, dtype in STORAGES.items() if cls != "UntypedStorage"}


def write(checkpoint: Checkpoint, path: str, progress: Progress | None = None) -> None:
    """Write a state_dict: reproducible, tied tensors once, module versions kept.

    Raises:
        ContainerError: a dtype that torch does not have.
    """
    keys, storages = _share(checkpoint.tensors.values())
    pickle = _Pickle()
    pieces = [b"\x80\x02", pickle.ordered_dict(), b"("]
    for (name, tensor), key in zip(checkpoint.tensors.items(), keys, strict=True):
        dtype = DTYPES.name(tensor.dtype)
        if dtype is None:
            found = f"dtype {tensor.dtype.name}"
            raise ContainerError("cannot be written", tensor=name, found=found)
        pieces.append(pickle.entry(name, tensor, dtype, key))
    pieces += b"u", pickle.versions(checkpoint.modules), b"."
    with open_sink(path, progress) as sink:
        archive = ZipWriter(sink)
        archive.add(f"{_ROOT}/data.pkl", b"".join(pieces))
        archive.add(f"{_ROOT}/byteorder", b"little")
        for key, tensor in enumerate(storages):
            archive.add_tensor(f"{_ROOT}/data/{key}", tensor)
        archive.add(f"{_ROOT}/version", b"3\n")
        archive.close()


def _share(tensors: Iterable[Tensor]) -> tuple[list[int], list[Tensor]]:
    """Return each tensor's storage number, and one tensor for each storage."""
    numbers: dict[object, int] = {}
    keys: list[int] = []
    storages: list[Tensor] = []
    for tensor in tensors:
        spans = tensor.extents()
        identity = (tensor.dtype, *spans) if spans and tensor.size else id(tensor)
        number = numbers.setdefault(identity, len(storages))
        if number == len(storages):
            storages.append(tensor)
        keys.append(number)
    return keys, storages


class _Pickle:
    """Pieces of the pickle; what recurs is memoized where it first stands."""

    def __init__(self) -> None:
        self._memo: dict[bytes, int] = {}

    def entry(self, name: str, tensor: Tensor, dtype: str, key: int) -> bytes:
        """``name: _rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict())``."""
        typed = dtype in _CLASSES
        pieces = (
            _text(name),
            self.once(_REBUILD if typed else _REBUILD3),
            b"((",
            self.once(_STORAGE),
            self.once(_global("torch", _CLASSES[dtype]) if typed else _UNTYPED),
            _text(str(key)),
            self.once(_CPU),
            _integer(tensor.size if typed else tensor.nbytes),
            b"tQK\0",
            _tuple(tensor.shape),
            _tuple(_strides(tensor.shape)),
            b"\x89",
            self.ordered_dict(),
            b"" if typed else self.once(_global("torch", dtype)),
            b"tR",
        )
        return b"".join(pieces)

    def versions(self, modules: Mapping[str, Module]) -> bytes:
        """The attribute ``_metadata`` of the OrderedDict, where anything is known."""
        known = {path: m.version for path, m in modules.items() if m.version is not None}
        if not known:
            return b""
        pieces = [b"}", _text("_metadata"), self.ordered_dict(), b"("]
        for path, version in known.items():
            pieces += _text(path), b"}", self.once(_text("version")), _integer(version), b"s"
        return b"".join((*pieces, b"usb"))

    def ordered_dict(self) -> bytes:
        return self.once(_global("collections", "OrderedDict")) + b")R"

    def once(self, item: bytes) -> bytes:
        if item in self._memo:
            return b"h" + bytes([self._memo[item]])
        number = self._memo[item] = len(self._memo)
        return item + b"q" + bytes([number])


def _strides(shape: tuple[int, ...]) -> list[int]:
    """torch counts an empty axis as one."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(shape[axis], 1)
    return strides


def _tuple(numbers: Iterable[int]) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


def _integer(number: int) -> bytes:
    if 0 <= number < 1 << 8:
        return b"K" + number.to_bytes(1, "little")
    if -(1 << 31) <= number < 1 << 31:
        return b"J" + number.to_bytes(4, "little", signed=True)
    return b"\x8a\x09" + number.to_bytes(9, "little", signed=True)


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode("ascii")


_STORAGE, _CPU = _text("storage"), _text("cpu")
_REBUILD = _global("torch._utils", "_rebuild_tensor_v2")
_REBUILD3 = _global("torch._utils", "_rebuild_tensor_v3")
_UNTYPED = _global("torch.storage", "UntypedStorage")
