"""numpy arrays and scalars as a pickle describes them (numpy/core/src/multiarray/methods.c)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ckptconv.codecs.pickle.objects import Instance, told
from ckptconv.tensors.regions import Array, DType

_ARRAY = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_BUFFER = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_CODES = {
    "b1",
    *(f"{kind}{n}" for kind in "iu" for n in (1, 2, 4, 8)),
    "f2",
    "f4",
    "f8",
    "c8",
    "c16",
}


def is_array(value: object) -> bool:
    """Tell whether a pickled value is a numpy array."""
    return isinstance(value, Instance) and value.class_name in (*_ARRAY, *_BUFFER)


def is_scalar(value: object) -> bool:
    return isinstance(value, Instance) and value.class_name in _SCALAR


def as_array(value: object) -> Array:
    """Return the array or scalar that a pickled value describes.

    Raises:
        TypeError, ValueError: damaged, or of elements that are no numbers.
    """
    if not isinstance(value, Instance):
        raise TypeError(f"a {type(value).__name__} for an array")
    if value.class_name in _SCALAR:
        return _shaped(value.args[1], value.args[0], (), fortran=False)
    if value.class_name in _BUFFER:
        data, dtype, shape, order = value.args
        return _shaped(data, dtype, shape, fortran=order == "F")
    _, shape, dtype, fortran, data = value.state
    return _shaped(data, dtype, shape, fortran=bool(fortran))


def _shaped(data: object, dtype: object, shape: Any, *, fortran: bool) -> Array:
    element = _dtype(dtype)
    raw = data.encode("latin1") if isinstance(data, str) else data
    sizes = tuple(shape)
    if not isinstance(raw, bytes) or not all(type(n) is int and n >= 0 for n in sizes):
        raise TypeError("an array that is no bytes")
    if len(raw) != math.prod(sizes) * element.itemsize or len(sizes) > 32:
        raise ValueError(f"an array of {len(raw)} bytes for {sizes}")
    return np.frombuffer(raw, element).reshape(sizes, order="F" if fortran else "C")


def _dtype(value: object) -> DType:
    """Return the dtype of ``numpy.dtype(code, align, copy)`` with its state (3, order, …)."""
    if not isinstance(value, Instance) or value.class_name != "numpy.dtype":
        raise TypeError("an array without a dtype")
    code, order = (_ascii(part) for part in (value.args[0], (value.state or "||")[1]))
    if code not in _CODES or order not in ("<", ">", "|", "="):
        raise TypeError(f"an array of {code!r}")
    return np.dtype(order + code)


def _ascii(text: object) -> str:
    if not isinstance(text, str | bytes):
        raise TypeError(f"{told(text)} for a text")
    return text.decode("ascii") if isinstance(text, bytes) else text
