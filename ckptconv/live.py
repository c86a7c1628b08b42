"""Conversion without files, between live modules: the only product code that meets a framework."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ckptconv import api, stages
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.options import Options
from ckptconv.report import Report, account
from ckptconv.tensors.tensor import BFLOAT16, Array, ArrayTensor, Tensor

_PLAIN = (bool, int, float, str, type(None))


def from_torch(module: Any) -> Graph:
    """Return the graph of a live ``torch.nn.Module``; its classes and options are known.

    Values are copied to the CPU when they are there not already. torch itself is not imported.

    Args:
        module: anything with ``state_dict()`` and ``named_modules()``.
    """
    tensors: dict[str, Tensor] = {
        name: ArrayTensor(_array(value)) for name, value in module.state_dict().items()
    }
    modules = {path: _describe(part) for path, part in module.named_modules()}
    checkpoint = Checkpoint("memory", tensors, modules, path=type(module).__name__)
    return stages.lift(checkpoint, "torch", Options())


def load_into(
    target: Any,
    source: str | os.PathLike[str] | Graph,
    *,
    kinds: Mapping[str, str] | None = None,
) -> Report:
    """Fill a live MindSpore Cell or torch Module with a checkpoint's values.

    Names are matched as ``--like`` does; every parameter of the target is filled and every
    parameter of the source used, or nothing is changed.

    Args:
        target: a ``mindspore.nn.Cell`` or a ``torch.nn.Module``.
        source: a checkpoint file of any framework, or a graph.

    Raises:
        CkptconvError: a parameter on either side has no counterpart.
    """
    graph = source if isinstance(source, Graph) else api.load(source, kinds=kinds)
    framework, shapes, fill = _adapter(target)
    lowered = stages.lower(graph, framework, Options(), like=shapes)
    report = account(
        graph,
        lowered,
        {"path": type(target).__name__, "container": "memory", "framework": framework},
    )
    fill({name: tensor.numpy() for name, tensor in lowered.tensors.items()})
    report.written = True
    return report


def _adapter(target: Any) -> Any:
    """Return (framework, name → shape, function that fills) of a live network."""
    if hasattr(target, "parameters_dict"):
        cell = {name: tuple(p.shape) for name, p in target.parameters_dict().items()}
        return "mindspore", cell, lambda arrays: _fill_cell(target, arrays)
    if hasattr(target, "load_state_dict"):
        state = {name: tuple(value.shape) for name, value in target.state_dict().items()}
        return "torch", state, lambda arrays: _fill_module(target, arrays)
    raise CkptconvError(
        "cannot be filled",
        expected="a mindspore.nn.Cell or a torch.nn.Module",
        found=type(target).__name__,
    )


def _fill_cell(cell: Any, arrays: Mapping[str, Array]) -> None:
    import mindspore

    parameters = {
        name: mindspore.Parameter(_tensor(mindspore, a), name=name) for name, a in arrays.items()
    }
    left = mindspore.load_param_into_net(cell, parameters, strict_load=True)
    if left != ([], []):
        raise CkptconvError("MindSpore did not take all parameters", found=left)


def _tensor(mindspore: Any, array: Array) -> Any:
    if array.dtype == BFLOAT16:
        return mindspore.Tensor(array.astype(np.float32), mindspore.bfloat16)
    return mindspore.Tensor(array)


def _fill_module(module: Any, arrays: Mapping[str, Array]) -> None:
    import torch

    state = {
        name: torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype == BFLOAT16
        else torch.from_numpy(array)
        for name, array in arrays.items()
    }
    module.load_state_dict(state, strict=True)


def _array(value: Any) -> Array:
    value = value.detach().cpu().contiguous()
    if str(value.dtype) == "torch.bfloat16":
        # numpy has no bfloat16: take the bits.
        import torch

        return np.asarray(value.view(torch.int16).numpy()).view(BFLOAT16)
    return np.asarray(value.numpy())


def _describe(module: Any) -> Module:
    kind = type(module)
    own = kind.__module__.startswith("torch.nn.")
    name = kind.__name__ if own else f"{kind.__module__}.{kind.__qualname__}"
    attributes = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_") and key != "training" and _is_plain(value)
    }
    return Module(name, getattr(module, "_version", None), attributes)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
