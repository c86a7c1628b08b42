"""Live networks as targets: what they call their parameters, and filling them all or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.live.arrays import cell_array, torch_array
from ckptconv.tensors.dtypes import NARROW, DType, is_bfloat16, named
from ckptconv.tensors.regions import Array

_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module"}
_WRAPPERS |= {"AveragedModel": "module", "OptimizedModule": "_orig_mod"}
_ROUNDINGS = 8
"""Of a weight that weight_norm computes of its parts, at most."""
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
            hint=f"dtype={dtype.name!r}; it casts and says what is lost",
        )


def _numpy_dtype(name: str) -> DType:
    return named(name.rpartition(".")[2].lower())


def _check_held(name: str, held: Array, expected: Array, limit: float = 0) -> None:
    """Refuse a network that does not hold what was written, up to a relative error."""
    expected = expected.astype(held.dtype)
    same = held.tobytes() == expected.tobytes()
    if limit and not same:
        wide, wanted = held.astype(np.float64), expected.astype(np.float64)
        same = np.allclose(wide, wanted, rtol=limit, atol=0, equal_nan=True)
    if not same:
        raise CkptconvError(
            "the network does not hold what was written into it",
            tensor=name,
            expected="a parameter with memory of its own, which state_dict() gives as it is",
            found="other values",
        )


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
        for name, array in arrays.items():
            _check_held(name, cell_array(parameters[name]), array)
    except BaseException:
        for name, value in before.items():
            parameters[name].set_data(value)
        raise


def _ms_tensor(array: Array) -> Any:
    import mindspore

    if is_bfloat16(array.dtype):
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
            held = module.state_dict()
            for name, array in arrays.items():
                value = held[name] if name in held else _weight(module, name)
                limit = 0 if name in held else _ROUNDINGS * torch.finfo(value.dtype).eps
                _check_held(name, torch_array(value), array, limit)
    except BaseException:
        with torch.no_grad():
            for name, value in before.items():
                tensors[name].copy_(value)
        raise


def _torch_tensor(array: Array) -> Any:
    import torch

    if array.dtype.name not in NARROW:
        return torch.from_numpy(array)
    bits = array.view(np.int16 if array.itemsize == 2 else np.uint8)
    return torch.from_numpy(bits).view(getattr(torch, array.dtype.name))


def _weight(module: Any, name: str) -> Any:
    """Return a weight that its module computes."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if f"{leaf}_g" not in owner._parameters:
        return getattr(owner, leaf)
    return _old_norm(owner, leaf).compute_weight(owner)


def _old_norm(owner: Any, leaf: str) -> Any:
    return next(h for h in owner._forward_pre_hooks.values() if getattr(h, "name", "") == leaf)


def _setter(module: Any, name: str, state: Mapping[str, Any]) -> Callable[[Any], None]:
    """Return what writes a weight: into itself, or into the parts that weight_norm makes it of.

    Raises:
        CkptconvError: a parametrization through which no value can be given.
    """
    path, _, leaf = name.rpartition(".")
    if name in state:
        _check_own(name, state[name])
        return lambda value: state[name].copy_(value)
    owner = module.get_submodule(path)
    if f"{leaf}_g" in owner._parameters:
        hook = _old_norm(owner, leaf)
        size, direction = (owner._parameters[f"{leaf}_{part}"] for part in "gv")

        def set_old(value: Any) -> None:
            _set_norm(size, direction, hook.dim, value)
            setattr(owner, leaf, hook.compute_weight(owner))  # until the next forward does it

        return set_old
    parts: Any = getattr(getattr(owner, "parametrizations", None), leaf, ())
    kinds = [type(part).__name__ for part in parts]
    if kinds != ["_WeightNorm"]:
        raise CkptconvError(
            "cannot be filled through its parametrization",
            tensor=name,
            expected="weight_norm, or a plain weight",
            found=" and ".join(kinds) or "another kind",
            hint="remove_parametrizations before, and parametrize again after",
        )
    return lambda value: _set_norm(parts.original0, parts.original1, parts[0].dim, value)


def _check_own(name: str, value: Any) -> None:
    """Refuse a tensor of which several elements stand in one place."""
    if any(size > 1 and not step for size, step in zip(value.shape, value.stride(), strict=True)):
        raise CkptconvError(
            "cannot be filled: several of its elements are one",
            tensor=name,
            expected="memory for each",
            found="an expanded tensor",
            hint="clone()",
        )


def _set_norm(size: Any, direction: Any, dim: int, value: Any) -> None:
    import torch

    value = value.to(direction)  # a norm in half precision would be rounded twice
    norm = torch.norm_except_dim(value, 2, dim)
    size.copy_(norm)
    direction.copy_(torch.where(norm == 0, 1, value))  # zeros have no direction: 0 / 0
