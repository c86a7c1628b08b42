"""safetensors: a JSON header, then the tensors' bytes.

Source of the format: the safetensors project's format description. 8 bytes (little-endian) give
the length of the header; offsets in it count from its end; tensors are C-order, little-endian, and
leave neither holes nor overlaps. The ``safetensors`` package reads and writes whole files in
memory, so bytes are streamed here and the package is the tests' oracle.
"""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any

from ckptconv.checkpoint import Checkpoint, SafetensorsFacts, most_tensors
from ckptconv.codecs.json import MAX_MEMORY, memory
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source
from ckptconv.tensors.dtypes import DType, DTypes
from ckptconv.tensors.tensor import FileTensor, Tensor
from ckptconv.tensors.writer import Progress, open_sink

TYPES = DTypes(
    {
        **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
        **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
        **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
        "C64": "complex64",
        "BOOL": "bool",
        "BF16": "bfloat16",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E8M0": "float8_e8m0fnu",
    }
)
_METADATA = "__metadata__"
_MAX_HEADER, _MAX_AXES = 32 << 20, 64
_ALIGNMENT = 8
_WORDS, _SHOWN = ("", "pt", "ms", "tf", "np"), 40


def sniff(source: Source) -> bool:
    """Tell whether a plausible header length is followed by a JSON object."""
    head = source.head(9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= _length(head) <= source.size - 8


def read(source: Source, *, select: str | None = None) -> Checkpoint:  # noqa: ARG001
    """Read the header.

    Raises:
        ContainerError: a header that is not JSON, repeats a name, declares an unknown dtype, or
            whose offsets do not tile the file exactly.
    """
    length = _length(source.head(8))
    if length > _MAX_HEADER or memory(text := source.read(8, length)) > MAX_MEMORY:
        raise _damaged(source, f"a header that takes at most {_MAX_HEADER} bytes", length)
    header = _parse(source, text)
    if len(header) > most_tensors(source):
        raise _damaged(source, f"at most {most_tensors(source)} tensors in it", len(header))
    metadata = header.pop(_METADATA, {})
    payload = source.window(8 + length, source.size - 8 - length)
    facts = SafetensorsFacts(_strings(source, metadata))
    tensors: dict[str, Tensor] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: _start(source, item)):
        shape, dtype, (first, last) = _entry(source, name, entry)
        if first != end or last - first != math.prod(shape) * dtype.itemsize:
            raise _damaged(
                source,
                f"{math.prod(shape) * dtype.itemsize} bytes at {end}",
                f"bytes {first} to {last}",
                name,
            )
        tensors[name] = FileTensor(payload, first, shape, dtype)
        end = last
    if end != payload.size:
        raise _damaged(source, f"{end} bytes of tensors", payload.size)
    return Checkpoint("safetensors", tensors, facts=facts, notes=_foreign(facts))


def _foreign(facts: SafetensorsFacts) -> tuple[str, ...]:
    """Say that a file calls itself another library's, whose layers may have other axes."""
    word = facts.texts.get("format", "")
    told = (
        f"the file says that its format is {word[:_SHOWN]!r}, which nothing here knows: its names"
    )
    return () if word in _WORDS else (f"{told} and axes are read as if it did not",)


def write(checkpoint: Checkpoint, path: str, progress: Progress | None = None) -> None:
    """Write the tensors with the texts of ``checkpoint.facts``.

    Tensors stand by falling size of their elements, so that each is aligned, then by name.

    Raises:
        ContainerError: a dtype that the format does not know, or a name that it has for itself.
    """
    order = sorted(checkpoint.tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    texts = checkpoint.facts.texts if isinstance(checkpoint.facts, SafetensorsFacts) else {}
    header: dict[str, Any] = {_METADATA: dict(texts)} if texts else {}
    if _METADATA in checkpoint.tensors:
        raise ContainerError("a name that safetensors has for itself", tensor=_METADATA)
    end = 0
    for name, tensor in order:
        kind = TYPES.name(tensor.dtype)
        if kind is None:
            raise ContainerError(
                "cannot stand in a safetensors file",
                tensor=name,
                expected=", ".join(TYPES),
                found=tensor.dtype.name,
            )
        span = [end, end + tensor.nbytes]
        entry = {"dtype": kind, "shape": tensor.shape, "data_offsets": span}
        header[name], end = entry, span[1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with open_sink(path, progress) as sink:
        sink.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in order:
            sink.write_tensor(tensor)


def _length(head: bytes) -> int:
    return int.from_bytes(head[:8], "little")


def _parse(source: Source, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise _damaged(source, "each name once", "a repeated name in the header")
        return names

    try:
        header = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise _damaged(source, "a header of JSON", "something else") from None
    if not isinstance(header, dict):
        raise _damaged(source, "a header that is a JSON object", type(header).__name__)
    return header


def _start(source: Source, item: tuple[str, Any]) -> tuple[int, int]:
    name, entry = item
    first, last = _entry(source, name, entry)[2]
    return first, last


def _entry(source: Source, name: str, entry: Any) -> tuple[tuple[int, ...], DType, tuple[int, int]]:
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        sizes = (*shape, first, last)
        plain = len(sizes) <= _MAX_AXES and all(type(n) is int and 0 <= n < 1 << 63 for n in sizes)
        if plain and kind in TYPES:
            return tuple(shape), TYPES[kind], (first, last)
    except (KeyError, TypeError, ValueError):
        plain = False
    if plain and type(kind) is str:
        problem, expected = "a dtype that cannot be read", ", ".join(TYPES)
        raise ContainerError(problem, file=source.path, tensor=name, expected=expected, found=kind)
    raise _damaged(source, "dtype, shape and data_offsets", reprlib.repr(entry), name)


def _strings(source: Source, metadata: Any) -> dict[str, str]:
    if isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values()):
        return metadata
    raise _damaged(source, "__metadata__ of texts", "something else")


def _damaged(
    source: Source, expected: object, found: object, tensor: str | None = None
) -> ContainerError:
    return ContainerError(
        "truncated or damaged", file=source.path, tensor=tensor, expected=expected, found=found
    )
