"""MindSpore's ``.ckpt``: protobuf records, one parameter each.

Source of the format: ``mindspore/train/checkpoint_pb2.py`` and ``serialization.py``. The file is a
concatenation of ``Checkpoint`` messages (proto2)::

    Checkpoint  { repeated Value value = 1 }
    Value       { required string tag = 1; TensorProto tensor = 2; MapTensorProto maptensor = 3 }
    TensorProto { repeated int64 dims = 1; required string tensor_type = 2;
                  required bytes tensor_content = 3 }

A parameter over 512 MiB is cut into records that repeat its tag next to each other, each with the
full dims. ``save_checkpoint(crc_check=True)`` ends the file with ``crc_num`` and the CRC-32 of all
before it (10 bytes, big-endian).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from isal.isal_zlib import crc32

from ckptconv.checkpoint import Checkpoint, MindSporeFacts, most_tensors
from ckptconv.codecs.protobuf import LENGTH, Cursor, encode, field_of
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source
from ckptconv.tensors.dtypes import DTypes
from ckptconv.tensors.ops import concat, cut, reshape
from ckptconv.tensors.tensor import FileTensor, Tensor
from ckptconv.tensors.writer import Progress, Sink, open_sink

SLICE = 512 << 20
TYPES = DTypes(
    {
        **{f"Int{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
        **{f"UInt{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
        **{f"Float{bits}": f"float{bits}" for bits in (16, 32, 64)},
        "BFloat16": "bfloat16",
        "Bool": "bool",
    }
)
_ENCRYPTED = {0x7F3A5ED8: "AES-GCM", 0x7F3A5ED9: "AES-CBC", 0x7F3A5EDA: "SM4-CBC"}
_TRAILER = b"crc_num"
_TRAILER_SIZE = len(_TRAILER) + 10
_MAX_NAME = 1024
_MAX_DIMS = 64


@dataclass
class _Record:
    tag: str = ""
    kind: str = ""
    dims: list[int] = field(default_factory=list)
    content: tuple[int, int] = (0, 0)


def sniff(source: Source) -> bool:
    """Tell whether the file begins as a parameter record does, or is an encrypted one."""
    if int.from_bytes(source.head(4), "little") in _ENCRYPTED:
        return True
    cursor, end = Cursor(source), source.size
    try:
        keys = [cursor.varint(end), cursor.varint(end) and cursor.varint(end)]
        name = cursor.text(cursor.varint(end) + cursor.position, 4 * _MAX_NAME)
        return keys == [0x0A, 0x0A] and bool(name) and cursor.varint(end) == 0x12
    except ContainerError:
        return False


def read(source: Source, *, select: str | None = None) -> Checkpoint:  # noqa: ARG001
    """Read names, dims and types of all records; contents stay in the file.

    Raises:
        ContainerError: encrypted, damaged, a wrong CRC, a content that is not as long as its dims
            say (MindSpore itself crashes on those), a slice that is cut inside an element, an
            unknown tensor type, or a repeated name.
    """
    mode = _ENCRYPTED.get(int.from_bytes(source.head(4), "little"))
    if mode:
        raise ContainerError(
            f"an encrypted checkpoint ({mode})",
            file=source.path,
            hint="load it with mindspore.load_checkpoint(dec_key=…) and save it without enc_key",
        )
    end, most = _check_trailer(source), most_tensors(source)
    groups: list[list[_Record]] = []
    for count, record in enumerate(_records(Cursor(source), end)):
        if count == most:
            raise ContainerError("too many records for its size", file=source.path, expected=most)
        if groups and groups[-1][0].tag == record.tag:
            groups[-1].append(record)
        else:
            groups.append([record])
    tensors: dict[str, Tensor] = {}
    omitted: dict[str, str] = {}
    for group in groups:
        name = group[0].tag
        if name in tensors or name in omitted:
            raise ContainerError("two parameters of one name", file=source.path, tensor=name)
        if group[0].kind == "str":
            omitted[name] = "a text entry, not a parameter"
        else:
            tensors[name] = _tensor(source, group)
    facts = MindSporeFacts(crc=end < source.size)
    return Checkpoint("mindspore-ckpt", tensors, facts=facts, omitted=omitted)


def write(checkpoint: Checkpoint, path: str, progress: Progress | None = None) -> None:
    """Write the tensors as ``mindspore.save_checkpoint`` does, byte for byte.

    ``checkpoint.facts.crc`` asks for the CRC trailer, which MindSpore 2.0 cannot parse.

    Raises:
        ContainerError: no name, or one over 1024 characters, an empty tensor, or a dtype that
            MindSpore cannot load.
    """
    heads = {name: _checked_type(name, tensor) for name, tensor in checkpoint.tensors.items()}
    with open_sink(path, progress) as sink:
        facts = checkpoint.facts
        crc = 0 if isinstance(facts, MindSporeFacts) and facts.crc else None
        for name, tensor in checkpoint.tensors.items():
            for part in _slices(tensor):
                crc = _write_record(sink, name, heads[name], tensor.shape, part, crc)
        if crc is not None:
            sink.write(_TRAILER + crc.to_bytes(10, "big"))


def _check_trailer(source: Source) -> int:
    """Return where the records end; verify the CRC where the file has one."""
    end = source.size - _TRAILER_SIZE
    tail = source.read(end, _TRAILER_SIZE) if end >= 0 else b""
    if not tail.startswith(_TRAILER):
        return source.size
    expected, crc = int.from_bytes(tail[len(_TRAILER) :], "big"), source.crc32(0, end)
    if crc != expected:
        raise ContainerError(
            "damaged: its CRC does not match", file=source.path, expected=expected, found=crc
        )
    return end


def _records(cursor: Cursor, end: int) -> Iterator[_Record]:
    for number, wire, stop in cursor.fields(end):
        if (number, wire) != (1, LENGTH):
            raise cursor.damaged("a parameter record", f"field {number}")
        record = _Record()
        for inner, inner_wire, inner_stop in cursor.fields(stop):
            if (inner, inner_wire) == (1, LENGTH):
                record.tag = cursor.text(inner_stop, 4 * _MAX_NAME)
            elif (inner, inner_wire) == (2, LENGTH):
                _read_tensor(cursor, record, inner_stop)
            else:
                raise cursor.damaged("a tag and a tensor", f"field {inner} (a hash map?)")
        if not record.tag or not record.kind:
            raise cursor.damaged("a tag and a tensor type", "a record without")
        yield record


def _read_tensor(cursor: Cursor, record: _Record, end: int) -> None:
    for number, wire, value in cursor.fields(end):
        match number, wire:
            case 1, 0:
                record.dims.append(value)
            case 1, 2:
                while cursor.position < value:
                    record.dims.append(cursor.varint(value))
            case 2, 2:
                record.kind = cursor.text(value, 64)
            case 3, 2:
                record.content = (cursor.position, value - cursor.position)
            case _:
                raise cursor.damaged("dims, tensor_type or tensor_content", f"field {number}")
        if len(record.dims) > _MAX_DIMS:
            raise cursor.damaged(f"at most {_MAX_DIMS} dims", len(record.dims))


def _tensor(source: Source, group: list[_Record]) -> Tensor:
    first = group[0]
    dtype = TYPES.get(first.kind)
    if dtype is None or any((r.kind, r.dims) != (first.kind, first.dims) for r in group):
        found = sorted({f"{r.kind} {r.dims}" for r in group})
        raise ContainerError(
            "a tensor type that cannot be read" if dtype is None else "slices that do not agree",
            file=source.path,
            tensor=first.tag,
            expected=", ".join(TYPES) if dtype is None else "one type and one shape",
            found=", ".join(found),
        )
    # MindSpore up to 2.0 wrote dims [0] for a scalar.
    shape = () if first.dims == [0] else tuple(first.dims)
    sizes, expected = [r.content[1] for r in group], math.prod(shape) * dtype.itemsize
    if sum(sizes) != expected or any(size % dtype.itemsize for size in sizes):
        raise ContainerError(
            "the content is not as long as its dims say",
            file=source.path,
            tensor=first.tag,
            expected=f"{expected} bytes for {first.kind} {shape}",
            found=f"{' + '.join(map(str, sizes))} bytes",
        )
    if len(group) == 1 or not expected:
        return FileTensor(source, first.content[0], shape, dtype)
    # Slices may be cut anywhere, also inside a row: join elements, then view.
    parts = (record.content for record in group)
    pieces = [FileTensor(source, at, (size // dtype.itemsize,), dtype) for at, size in parts]
    return reshape(concat(pieces, 0, label=""), shape, label="")


def _checked_type(name: str, tensor: Tensor) -> str:
    found: object
    if not 0 < len(name) <= _MAX_NAME:
        expected, found = f"a name, of at most {_MAX_NAME} characters", len(name)
    elif tensor.size == 0:
        expected, found = "at least one element (MindSpore drops empty ones)", tensor.shape
    elif (kind := TYPES.name(tensor.dtype)) is None:
        expected, found = "a dtype that MindSpore can load", tensor.dtype.name
    else:
        return kind
    raise ContainerError(
        "cannot stand in a MindSpore checkpoint",
        tensor=name if len(name) <= _MAX_NAME else name[:60] + "…",
        expected=expected,
        found=found,
    )


def _slices(tensor: Tensor) -> list[Tensor]:
    if tensor.nbytes <= SLICE:
        return [tensor]
    flat, step = reshape(tensor, (tensor.size,), label=""), SLICE // tensor.dtype.itemsize
    return [cut(flat, 0, a, min(a + step, flat.size)) for a in range(0, flat.size, step)]


def _write_record(
    sink: Sink, name: str, kind: str, shape: tuple[int, ...], part: Tensor, crc: int | None
) -> int | None:
    inner = field_of(1, name.encode()) + _head(kind, shape, part.nbytes)
    sink.write(record := b"\x0a" + encode(len(inner) + part.nbytes) + inner)
    summed = sink.write_tensor(part, crc=None if crc is None else crc32(record, crc))
    return None if crc is None else summed


@lru_cache(maxsize=256)  # the same in every block of a network
def _head(kind: str, shape: tuple[int, ...], nbytes: int) -> bytes:
    head = b"".join(b"\x08" + encode(n) for n in shape) + field_of(2, kind.encode())
    head += b"\x1a" + encode(nbytes)
    return b"\x12" + encode(len(head) + nbytes) + head
