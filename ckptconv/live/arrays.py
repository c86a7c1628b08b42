"""Values of any framework as numpy's arrays, or what keeps them from being that."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ckptconv.errors import DialectError
from ckptconv.spelling import option
from ckptconv.tensors.dtypes import NARROW, named
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import ArrayTensor

_FLOAT8 = ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")
_NUMBERS = {
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
    *(f"float8_{form}" for form in _FLOAT8),
}
_MAX_FOUND = 200


def tensors(held: Mapping[str, Any]) -> dict[str, ArrayTensor]:
    """Return values as tensors: one for what is one value, or one place in memory.

    Args:
        held: name → an array or tensor of numpy, torch, MindSpore or Keras.

    Raises:
        DialectError: see ``as_array``.
    """
    values: dict[int, ArrayTensor] = {}
    places: dict[Hashable, ArrayTensor] = {}
    for name, value in held.items():
        if id(value) not in values:
            array = as_array(name, value)
            values[id(value)] = places.setdefault(_place(array), ArrayTensor(array))
    return {name: values[id(value)] for name, value in held.items()}


def _place(array: Array) -> Hashable:
    at = array.__array_interface__["data"][0] if array.nbytes else id(array)
    return at, array.shape, array.strides, array.dtype


def as_array(name: str, value: Any) -> Array:
    """Return a value as an array, of its own memory where that can be.

    Raises:
        DialectError: it has no values, hides some, or has none that a checkpoint holds.
    """
    problem, hint = _unreadable(value)
    if problem:
        raise DialectError(problem, tensor=name, hint=hint)
    try:
        array = _converted(value)
    except Exception as error:  # whatever another framework raises
        found = f"{type(error).__name__}: {error}"[:_MAX_FOUND]
        raise DialectError("cannot be read as an array", tensor=name, found=found) from error
    if array.dtype.name not in _NUMBERS:
        raise DialectError(
            "not an array of numbers that a checkpoint holds",
            tensor=name,
            expected="bool, integers, or floating-point numbers of 8 to 64 bits",
            found=f"{type(value).__name__} of {array.dtype.name}",
        )
    return array


def _unreadable(value: Any) -> tuple[str, str | None]:
    """Return what keeps a value from being read, and what to do about it."""
    if isinstance(value, np.ma.MaskedArray) and bool(np.any(value.mask)):
        return "is masked: nothing says what stands under the mask", "filled(…), which says it"
    is_tensor = _is_torch(value)
    of_torch = type(value).__module__ == "torch"
    if getattr(value, "is_quantized", False) or (of_torch and not is_tensor):
        allow = option("allow", ["dequantize"])
        hint = f"{allow}; on a file of its state_dict"
        return "is quantized or no tensor", hint
    if not is_tensor:
        return "", None
    if "Uninitialized" in type(value).__name__:
        return "of a lazy module, which has no shape yet", "running the module once"
    if value.is_meta:
        return "on the meta device, which holds no values", None
    if getattr(value, "is_nested", False):
        return "is nested: its parts have shapes of their own", None
    return ("is sparse", "to_dense()") if str(value.layout) != "torch.strided" else ("", None)


def _is_torch(value: Any) -> bool:
    return hasattr(value, "detach") and not hasattr(value, "asnumpy")


def _converted(value: Any) -> Array:
    if hasattr(value, "asnumpy"):
        return cell_array(value)
    return torch_array(value) if _is_torch(value) else np.asarray(value)


def cell_array(value: Any) -> Array:
    """Return a parameter of MindSpore's as an array."""
    if str(value.dtype) == "BFloat16":
        import mindspore

        return np.asarray(value.astype(mindspore.float32).asnumpy()).astype(named("bfloat16"))
    return np.asarray(value.asnumpy())


def torch_array(value: Any) -> Array:
    """Return a tensor of torch's as an array, of its own memory where that is the CPU's."""
    value = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    name = str(value.dtype).removeprefix("torch.")
    if name not in NARROW:
        return np.asarray(value.numpy())
    import torch  # numpy has no such dtype: take the bits

    bits = torch.int16 if value.element_size() == 2 else torch.uint8
    return np.asarray(value.view(bits).numpy()).view(named(name))
