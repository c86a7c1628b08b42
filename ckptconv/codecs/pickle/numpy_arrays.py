"""numpy arrays and scalars as a pickle describes them (numpy/core/src/multiarray/methods.c)."""

from __future__ import annotations

import math
from typing import Any

from ckptconv.codecs.pickle.objects import Instance, told
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array

_ARRAY = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_BUFFER = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")
_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_NO_NUMBERS = ("O", "S", "U", "M", "m")
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
    """Tell whether a pickled value is a numpy array, of anything but texts, dates and objects."""
    return (
        isinstance(value, Instance)
        and value.class_name in (*_ARRAY, *_BUFFER)
        and not _letter(value).startswith(_NO_NUMBERS)
    )


def _letter(value: Instance) -> str:
    """Return the code of an array's elements, or nothing where it is damaged."""
    at, parts = (1, value.args) if value.class_name in _BUFFER else (2, value.state)
    element = parts[at] if isinstance(parts, tuple) and len(parts) > at else None
    code = element.args[0] if isinstance(element, Instance) and element.args else ""
    return code if isinstance(code, str) else ""


def may_be_floats(value: object) -> bool:
    """Tell whether a value is an array of fractions that has axes, or a damaged array."""
    if not is_array(value):
        return False
    try:
        array = as_array(value)
    except (TypeError, ValueError, LookupError):
        return True
    return array.ndim > 0 and array.dtype.kind == "f"


def is_scalar(value: object) -> bool:
    return isinstance(value, Instance) and value.class_name in _SCALAR


def as_array(value: object) -> Array:
    """Return the array or scalar that a pickled value describes.

    Raises:
        TypeError, ValueError, LookupError: damaged, or of elements that are no numbers.
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
    if len(sizes) > 32 or len(raw) != math.prod(sizes) * element.itemsize:
        raise ValueError(f"an array of {len(raw)} bytes for {sizes[:32]}")
    return np.frombuffer(raw, element).reshape(sizes, order="F" if fortran else "C")


def _dtype(value: object) -> np.dtype[Any]:
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
