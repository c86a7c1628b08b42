"""A cautious reader and writer of ``.npz``: a zip of plain arrays, never a pickle."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.io.reader import Source
from ckptconv.tensors.regions import Array

_MAX_FILE = 256 << 20
_MAX_MEMBERS = 100_000
LAYERS, NETWORK = "ckptconv-golden-1", "ckptconv-golden-network-1"
_HINTS = {
    LAYERS: "replay without --network: these are vectors of layers",
    NETWORK: "--network FILE.py: these are vectors of a whole network",
}
_EPOCH = (1980, 1, 1, 0, 0, 0)
Path = str | os.PathLike[str]


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays, uncompressed and reproducibly."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), stream.getvalue())


def read(path: Path) -> dict[str, Array]:
    """Return all arrays of a file.

    Raises:
        CkptconvError: not such a file, damaged, too large, or it holds Python objects.
    """
    source = Source(path)
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(source.open()) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > _MAX_FILE or len(members) > _MAX_MEMBERS:
                raise _damaged(path, f"at most {_MAX_FILE} bytes of arrays", f"{size} bytes")
            for member in members:
                arrays[member.filename.removesuffix(".npy")] = _array(archive.read(member), path)
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise _damaged(path, "an .npz file of plain arrays", str(error)) from None
    return arrays


def read_document(path: Path, schema: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the ``meta`` document of a vectors file, and its arrays.

    Raises:
        CkptconvError: the document is of another schema.
    """
    arrays = read(path)
    meta = decode(arrays.pop("meta", np.zeros(0)))
    found = meta.get("schema") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or found != schema:
        hint = _HINTS.get(str(found))
        raise malformed(path, "meta", schema, found, hint=hint)
    return meta, arrays


def malformed(
    path: Path, where: str, expected: object, found: object, hint: str | None = None
) -> CkptconvError:
    """Return the error of a document or array that is not what it should be."""
    return CkptconvError(
        "not a vectors file",
        file=path,
        tensor=where,
        expected=expected,
        found=found,
        hint=hint,
    )


def encode(document: Any) -> Array:
    """Return a JSON document as an array of bytes."""
    return np.frombuffer(json.dumps(document, allow_nan=False).encode(), np.uint8)


def decode(array: Array) -> Any:
    """Return the JSON document in an array of bytes, or None."""
    try:
        return json.loads(array.astype(np.uint8).tobytes())
    except (ValueError, TypeError, RecursionError):
        return None


def _array(data: bytes, path: Path) -> Array:
    """Parse one ``.npy``; its header must declare exactly the bytes that follow."""
    stream = io.BytesIO(data)
    layout: Any = np.lib.format
    parsers = {(1, 0): layout.read_array_header_1_0, (2, 0): layout.read_array_header_2_0}
    version = layout.read_magic(stream)
    if version not in parsers:
        raise _damaged(path, "version 1.0 or 2.0 of the .npy format", version)
    shape, fortran, dtype = parsers[version](stream)
    count, left = math.prod(shape), len(data) - stream.tell()
    if dtype.kind not in "fiu" or fortran or count < 0 or count * dtype.itemsize != left:
        raise _damaged(path, "plain numbers in C order", f"{dtype} of {shape} in {left} bytes")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape).copy()


def _damaged(path: Path, expected: str, found: object) -> CkptconvError:
    return CkptconvError("not a vectors file", file=path, expected=expected, found=found)
