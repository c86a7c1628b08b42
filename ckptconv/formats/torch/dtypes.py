"""torch's element types and storage classes (torch/storage.py, c10/core/ScalarType.h)."""

from __future__ import annotations

from ckptconv.codecs.pickle.objects import Name, told
from ckptconv.tensors.dtypes import NARROW, DTypes

_PLAIN = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *NARROW,
)
_QUANTIZED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}
DTYPES = DTypes({name: name for name in _PLAIN} | _QUANTIZED)
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
