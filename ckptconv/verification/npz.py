"""A cautious reader and writer of ``.npz``: a zip of plain arrays, never a pickle."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ckptconv.codecs.zip.reader import Archive, is_zip
from ckptconv.errors import CkptconvError, StrPath, VerificationError
from ckptconv.io.reader import File
from ckptconv.spelling import option
from ckptconv.tensors.dtypes import DType
from ckptconv.tensors.regions import Array
from ckptconv.verification.fingerprint import Fingerprint, similar, well_formed

_MAX_FILE = 256 << 20
_MAX_MEMBERS = 100_000
LAYERS, NETWORK = "ckptconv-golden-1", "ckptconv-golden-network-1"
_HINTS = {
    LAYERS: "replay without {}: these are vectors of layers",
    NETWORK: "{}; these are vectors of a whole network",
}
_SOURCE = ("path", "container", "framework")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(path: StrPath, arrays: Mapping[str, Array]) -> None:
    """Write arrays, uncompressed and reproducibly."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), stream.getvalue())


def read(path: StrPath) -> dict[str, Array]:
    """Return all arrays of a file.

    Raises:
        CkptconvError: not such a file, damaged, too large, or it holds Python objects.
    """
    source = File(path)
    if not is_zip(source):
        raise malformed(path, None, "an .npz file of plain arrays", source.head(4))
    archive = Archive(source)
    size = sum(record.size for record in archive.records.values())
    if size > _MAX_FILE or len(archive.records) > _MAX_MEMBERS:
        raise malformed(path, None, f"at most {_MAX_FILE} bytes of arrays", f"{size} bytes")
    return {
        name.removesuffix(".npy"): _array(archive.read(name, _MAX_FILE), path)
        for name in archive.records
    }


def read_document(
    path: StrPath, schema: str, shape: Mapping[str, type]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the ``meta`` document of a vectors file, and its arrays.

    Args:
        shape: what it holds beside the seed, the source and the fingerprint of the model.

    Raises:
        CkptconvError: the document is of another schema, or lacks something.
    """
    arrays = read(path)
    meta = decode(arrays.pop("meta", np.zeros(0)))
    found = meta.get("schema") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or found != schema:
        advised = option("network", "FILE.py" if found == NETWORK else None)
        hint = _HINTS[found].format(advised) if found in _HINTS else None
        raise malformed(path, "meta", schema, found, hint=hint)
    for key, kind in {"seed": int, "source": dict, **shape}.items():
        if type(meta.get(key)) is not kind:
            raise malformed(path, f"meta: {key}", kind.__name__, type(meta.get(key)).__name__)
    if not all(isinstance(meta["source"].get(key), str) for key in _SOURCE):
        raise malformed(path, "meta: source", f"texts: {', '.join(_SOURCE)}", "something else")
    if not well_formed(meta.get("fingerprint")):
        raise malformed(path, "meta: fingerprint", "lists of integers", "something else")
    return meta, arrays


def need(limits: Mapping[str, list[float]], target: str, path: StrPath) -> list[float]:
    """Return what a framework and device may be off by.

    Raises:
        CkptconvError: these vectors do not tell.
    """
    if target not in limits:
        problem = f"no tolerance for {target}, where these numbers overflow"
        raise CkptconvError(problem, file=path, expected=target, found=list(limits))
    return limits[target]


def are_limits(found: object, count: int) -> bool:
    """Tell whether a document has so many tolerances, each a number."""
    numbers = found if isinstance(found, list) and len(found) == count else [None]
    return all(type(n) is float and 0 <= n < math.inf for n in numbers)


def check_model(
    path: StrPath, meta: Mapping[str, Any], own: Fingerprint, dtype: DType, model: StrPath
) -> None:
    """Hold vectors against a model by its fingerprint.

    Args:
        dtype: of the model's weights.

    Raises:
        VerificationError: they were made for another one.
    """
    if not similar(meta["fingerprint"], own, dtype):
        raise VerificationError(
            "made for another model",
            file=path,
            expected=f"vectors made from the weights of {model}",
            found=f"other weights ({meta['source'].get('path')})",
        )


def malformed(
    path: StrPath, where: str | None, expected: object, found: object, hint: str | None = None
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


def _array(data: bytes, path: StrPath) -> Array:
    """Parse one ``.npy``; its header must declare exactly the bytes that follow."""
    try:
        return _parsed(io.BytesIO(data), path)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise malformed(path, None, "arrays as .npy of version 1.0 or 2.0", str(error)) from None


def _parsed(stream: io.BytesIO, path: StrPath) -> Array:
    layout: Any = np.lib.format
    parsers = {(1, 0): layout.read_array_header_1_0, (2, 0): layout.read_array_header_2_0}
    shape, fortran, dtype = parsers[layout.read_magic(stream)](stream)
    left = stream.read()
    if dtype.kind not in "fiu" or fortran or math.prod(shape) * dtype.itemsize != len(left):
        raise malformed(
            path, None, "plain numbers in C order", f"{dtype} of {shape} in {len(left)} bytes"
        )
    return np.frombuffer(left, dtype).reshape(shape).copy()
