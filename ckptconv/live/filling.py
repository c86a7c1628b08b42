"""Live networks as targets: what they call their parameters, and filling them all or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.tensors.regions import Array, DType
from ckptconv.tensors.tensor import BFLOAT16

_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module"}
_WRAPPERS |= {"AveragedModel": "module", "OptimizedModule": "_orig_mod"}
Arrays = Mapping[str, Array]


def unwrapped(network: Any) -> Any:
    """Return the network inside DataParallel, torch.compile and the like."""
    while type(network).__name__ in _WRAPPERS:
        network = getattr(network, _WRAPPERS[type(network).__name__])
    return network


def fill(network: Any, arrays: Arrays) -> None:
    """Write every array into the parameter of its name, or change nothing.

    Raises:
        CkptconvError: a parameter that does not hold its values exactly, or takes none.
    """
    network = unwrapped(network)
    if hasattr(network, "parameters_dict"):
        _fill_cell(network, arrays)
    else:
        _fill_module(network, arrays)


def _check(name: str, array: Array, shape: tuple[int, ...], dtype: DType) -> None:
    """Refuse an array that a parameter would not hold as it is."""
    if array.shape != shape:
        raise CkptconvError("another shape", tensor=name, expected=shape, found=array.shape)
    halves = {"float16": ("float32", "float64"), "bfloat16": ("float32", "float64")}
    exact = array.dtype == dtype or dtype.name in halves.get(array.dtype.name, ())
    if not exact and not np.can_cast(array.dtype, dtype, "safe"):
        raise CkptconvError(
            "the network's dtype does not hold these values exactly",
            tensor=name,
            expected=array.dtype.name,
            found=dtype.name,
            hint=f"dtype={dtype.name!r}, which casts and says what is lost",
        )


def _numpy_dtype(name: str) -> DType:
    name = name.rpartition(".")[2].lower()
    return np.dtype(getattr(ml_dtypes, name, name))


def _fill_cell(cell: Any, arrays: Arrays) -> None:
    parameters = cell.parameters_dict()
    for name, array in arrays.items():
        kind = _numpy_dtype(str(parameters[name].dtype))
        _check(name, array, tuple(parameters[name].shape), kind)
    values, before = (
        {name: _ms_tensor(array).astype(parameters[name].dtype) for name, array in given.items()}
        for given in (arrays, {name: cell_array(parameters[name]).copy() for name in arrays})
    )
    try:
        for name, value in values.items():
            parameters[name].set_data(value)
    except BaseException:
        for name, value in before.items():
            parameters[name].set_data(value)
        raise


def cell_array(value: Any) -> Array:
    """Return a parameter of MindSpore's as an array."""
    if str(value.dtype) == "BFloat16":
        import mindspore

        return np.asarray(value.astype(mindspore.float32).asnumpy()).astype(BFLOAT16)
    return np.asarray(value.asnumpy())


def _ms_tensor(array: Array) -> Any:
    import mindspore

    if array.dtype == BFLOAT16:
        return mindspore.Tensor(array.astype(np.float32), mindspore.bfloat16)
    return mindspore.Tensor(array)


def _fill_module(module: Any, arrays: Arrays) -> None:
    import torch

    state = module.state_dict()
    values = {name: _torch_tensor(array) for name, array in arrays.items()}
    setters = {name: _setter(module, name, state) for name in arrays}
    for name, array in arrays.items():
        like = state[name] if name in state else _weight(module, name)
        _check(name, array, tuple(like.shape), _numpy_dtype(str(like.dtype)))
    tensors = {n: v for n, v in state.items() if torch.is_tensor(v)}
    before = {name: value.clone() for name, value in tensors.items()}
    try:
        with torch.no_grad():
            for name, value in values.items():
                setters[name](value)
    except BaseException:
        with torch.no_grad():
            for name, value in before.items():
                tensors[name].copy_(value)
        raise


def _torch_tensor(array: Array) -> Any:
    import torch

    if not hasattr(ml_dtypes, array.dtype.name):
        return torch.from_numpy(np.array(array))
    bits = array.view(np.int16 if array.itemsize == 2 else np.uint8).copy()
    return torch.from_numpy(bits).view(getattr(torch, array.dtype.name))


def _weight(module: Any, name: str) -> Any:
    path, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(path), leaf)


def _setter(module: Any, name: str, state: Mapping[str, Any]) -> Callable[[Any], None]:
    """Return what writes a weight: into itself, or into the parts that weight_norm makes it of.

    Raises:
        CkptconvError: a parametrization through which no value can be given.
    """
    path, _, leaf = name.rpartition(".")
    if name in state:
        return lambda value: state[name].copy_(value)
    owner = module.get_submodule(path)
    if f"{leaf}_g" in owner._parameters:
        hook = next(h for h in owner._forward_pre_hooks.values() if getattr(h, "name", "") == leaf)
        return lambda value: _set_old_norm(owner, leaf, hook.dim, value)
    parts = getattr(getattr(owner, "parametrizations", None), leaf, ())
    kinds = [type(part).__name__ for part in parts]
    if kinds != ["_WeightNorm"]:
        raise CkptconvError(
            "cannot be filled through its parametrization",
            tensor=name,
            expected="weight_norm, or a plain weight",
            found=" and ".join(kinds) or "another kind",
            hint="remove_parametrizations before, and parametrize again after",
        )
    return lambda value: setattr(owner, leaf, value)


def _set_old_norm(owner: Any, leaf: str, dim: int, value: Any) -> None:
    import torch

    owner._parameters[f"{leaf}_v"].copy_(value)
    owner._parameters[f"{leaf}_g"].copy_(torch.norm_except_dim(value, 2, dim))
    setattr(owner, leaf, value)  # until the next forward computes it
