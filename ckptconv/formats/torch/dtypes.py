"""torch's element types and storage classes (torch/storage.py, c10/core/ScalarType.h)."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from ckptconv.codecs.pickle.objects import Name, told
from ckptconv.tensors.regions import DType

_NARROW = "bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
DTYPES: dict[str, DType] = {
    **{f"int{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"uint{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    **{f"float{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    **{f"complex{16 * n}": np.dtype(f"<c{2 * n}") for n in (4, 8)},
    **{n: np.dtype(getattr(ml_dtypes, n)) for n in _NARROW.split() if hasattr(ml_dtypes, n)},
    "bool": np.dtype(np.bool_),
    "qint8": np.dtype(np.int8),
    "quint8": np.dtype(np.uint8),
    "qint32": np.dtype("<i4"),
}
"""torch's dtype name → what its elements are in a file."""
_ALIASES = {"float": "float32", "double": "float64", "half": "float16", "long": "int64"}
STORAGES = {
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "UntypedStorage": "uint8",
}


def storage_dtype(cls: object) -> str:
    """Return torch's name for the element type of a storage class.

    Raises:
        TypeError: not a storage class with elements of whole bytes.
    """
    name = cls.name if isinstance(cls, Name) else told(cls)
    if name not in STORAGES:
        raise TypeError(f"a storage of unknown type {name}")
    return STORAGES[name]


def dtype_name(name: object) -> str:
    """Return torch's name for the element type that a pickled ``torch.dtype`` names."""
    text = name.name if isinstance(name, Name) else told(name)
    return _ALIASES.get(text, text)
