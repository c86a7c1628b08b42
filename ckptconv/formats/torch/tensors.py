"""Torch's storages and tensors as a pickle describes them (torch/_utils.py, torch/storage.py).

Nothing here touches bytes: a rebuild function of the pickle returns a ``Stored``, and
``as_tensor`` makes a lazy tensor of it once it is known to be wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptconv.codecs.pickle.numpy_arrays import as_array, is_array
from ckptconv.codecs.pickle.objects import Call, Name, told
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.dtypes import DTYPES, dtype_name
from ckptconv.io.reader import Source
from ckptconv.tensors import computed
from ckptconv.tensors import ops as relayout
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array
from ckptconv.tensors.strided import strided
from ckptconv.tensors.tensor import ArrayTensor, Tensor

_MAX_AXES = 64
_LISTS = ("int", "double", "bool", "tensor")
_PER_CHANNEL = ("per_channel_affine", "per_channel_affine_float_qparams")


class Storage:
    """The bytes that tensors are views of, and the type its elements are said to have."""

    __slots__ = ("big_endian", "dtype", "source")

    def __init__(self, source: Callable[[], Source], dtype: str, *, big_endian: bool) -> None:
        self.source, self.dtype, self.big_endian = source, dtype, big_endian


class Stored:
    """A tensor as the file describes it: a view of a storage, sizes and strides in elements.

    Attributes:
        quantizer: of a quantized tensor, as the pickle gives it.
    """

    __slots__ = ("dtype", "offset", "quantizer", "shape", "storage", "strides")

    def __init__(self, storage: object, offset: int, shape: Any, strides: Any) -> None:
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        self.storage, self.offset = storage, offset
        self.shape, self.strides = _row(shape), _row(strides)
        self.dtype = storage.dtype
        self.quantizer: tuple[Any, ...] | None = None


def _row(sizes: Any) -> tuple[Any, ...]:
    if type(sizes) is not tuple and len(sizes) > _MAX_AXES:
        raise ValueError("sizes that would be copied for each tensor")
    return tuple(sizes)


class Refused:
    """A tensor of a kind that cannot be converted; naming it is an error, passing it by is not.

    Attributes:
        way: what to do instead.
    """

    __slots__ = ("kind", "way")

    def __init__(self, kind: str, way: str = "saving it as a dense one") -> None:
        self.kind, self.way = kind, way


class Cast:
    """Another tensor or array, whose values are to be converted to a torch dtype."""

    __slots__ = ("dtype", "value")

    def __init__(self, value: object, dtype: str) -> None:
        self.value, self.dtype = value, dtype


def is_tensor(value: object) -> bool:
    """Tell whether a pickled value is a tensor, readable or not, or a numpy array."""
    return isinstance(value, (Stored, Refused, Cast)) or is_array(value)


def as_tensor(value: object, name: str, path: str) -> Tensor:
    """Return the lazy tensor that a pickled value describes.

    Raises:
        ContainerError: a kind of tensor that cannot be read, or one outside its storage.
    """
    try:
        return _as_tensor(value)
    except ContainerError as error:
        error.tensor, error.file = error.tensor or name, error.file or path
        raise
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise ContainerError(f"a damaged tensor: {error}", file=path, tensor=name) from None


def _as_tensor(value: object) -> Tensor:
    if isinstance(value, Stored):
        return _dequantized(value) if value.quantizer is not None else _view(value)
    if isinstance(value, Cast):
        return computed.cast(_as_tensor(value.value), DTYPES[value.dtype])
    if isinstance(value, Refused):
        raise ContainerError(f"{value.kind} cannot be converted", hint=value.way)
    return ArrayTensor(as_array(value))


def _view(stored: Stored) -> Tensor:
    dtype = DTYPES.get(stored.dtype)
    if dtype is None:
        raise ContainerError(f"elements of type {stored.dtype} cannot be converted")
    storage = stored.storage
    return strided(
        storage.source(),
        stored.offset,
        stored.shape,
        stored.strides,
        dtype,
        big_endian=storage.big_endian,
    )


def _dequantized(stored: Stored) -> Tensor:
    """Return float32 values: (q - zero point) · scale, as torch's ``dequantize``."""
    scheme, scale, zero, *axis = stored.quantizer or ()
    values = _view(stored)
    if isinstance(scheme, Name) and scheme.name == "per_tensor_affine":
        with np.errstate(over="ignore"):
            factor, origin = np.float32(float(scale)), int(zero)
        return _affine(lambda q: (q.astype(np.int64) - origin).astype(np.float32) * factor, values)
    if not (isinstance(scheme, Name) and scheme.name in _PER_CHANNEL and values.ndim):
        raise ContainerError(f"the quantization {told(scheme)} cannot be converted")
    along = [1] * values.ndim
    along[axis[0]] = values.shape[axis[0]]
    scales, zeros = (relayout.reshape(_as_tensor(t), tuple(along)) for t in (scale, zero))
    return _affine(_per_channel, values, scales, zeros)


def _affine(function: Callable[..., Array], *inputs: Tensor) -> Tensor:
    return computed.Elementwise(function, inputs, DTYPES["float32"], "dequantize")


def _per_channel(values: Array, scales: Array, zeros: Array) -> Array:
    """torch multiplies in float64 here, and in float32 where the zero points are no integers."""
    if zeros.dtype.kind == "i":
        return ((values.astype(np.int64) - zeros) * scales.astype(np.float64)).astype(np.float32)
    return (values.astype(np.float32) - zeros) * scales


def _tensor(
    storage: object,
    offset: int,
    shape: Any,
    strides: Any,
    _: object = 0,
    __: object = 0,
    bits: object = None,
) -> Stored | Refused:
    if bits:
        return Refused("a view with conjugated or negated values (see resolve_conj, resolve_neg)")
    return Stored(storage, offset, shape, strides)


def _typed_tensor(
    storage: object,
    offset: int,
    shape: Any,
    strides: Any,
    _: object,
    __: object,
    dtype: object,
    bits: object = None,
) -> Stored | Refused:
    result = _tensor(storage, offset, shape, strides, bits=bits)
    if isinstance(result, Stored):
        result.dtype = dtype_name(dtype)
    return result


def _quantized(
    storage: object, offset: int, shape: Any, strides: Any, quantizer: Any, *_: object
) -> Stored:
    result = Stored(storage, offset, shape, strides)
    result.quantizer = tuple(quantizer)
    return result


def _from_type(function: object, _cls: object, args: Any, _state: object) -> Any:
    if not isinstance(function, Name) or function.full not in _REBUILD:
        return Refused(f"a tensor made by {told(function)}")
    return _REBUILD[function.full](*args)


def _first(value: object = None, *_: object) -> object:
    return value


def _refuse(kind: str, *way: str) -> Call:
    return lambda *_: Refused(kind, *way)


_FILLED = "saving the model once its weights are loaded"


_REBUILD: dict[str, Call] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _refuse("a sparse tensor"),
    "torch._utils._rebuild_sparse_csr_tensor": _refuse("a sparse tensor"),
    "torch._utils._rebuild_nested_tensor": _refuse("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refuse("a meta tensor", _FILLED),
    "torch._utils._rebuild_wrapper_subclass": _refuse("a tensor subclass without values", _FILLED),
    "torch._utils._rebuild_device_tensor_from_numpy": lambda a, t, *_: Cast(a, dtype_name(t)),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda a, t, *_: Cast(a, dtype_name(t)),
    "torch._utils._rebuild_xla_tensor": lambda a, t, *_: Cast(a, dtype_name(t)),
}
CALLS: dict[str, Call] = {
    **_REBUILD,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _first,
    "torch.autograd.variable.Variable": _first,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.jit._pickle.restore_type_tag": _first,
    **{f"torch.jit._pickle.build_{kind}list": _first for kind in _LISTS},
}
"""What torch's pickles call: ``module.name`` → what it yields here."""
