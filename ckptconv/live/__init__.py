"""Conversion without files: arrays in memory, and live modules, which alone meet a framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Facts, MindSporeFacts, Module, TorchFacts
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.options import Framework, Pairs, ReadOptions, StrPath, Target, WriteOptions
from ckptconv.report import Report, account
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import BFLOAT16, ArrayTensor

FORMAT = "memory"
_PLAIN = (bool, int, float, str, type(None))


def from_state_dict(
    arrays: Mapping[str, Array],
    dialect: Framework,
    *,
    modules: Mapping[str, str] | None = None,
) -> Graph:
    """Return the graph of arrays in memory.

    Args:
        arrays: name → numpy array, in the dialect's names, shapes and gate order.
        dialect: ``torch``, ``keras`` or ``mindspore``.
        modules: module path → class name, where known (``{"embed": "Embedding"}``).

    Returns:
        The graph, whose values are these arrays.

    Raises:
        DialectError: names or shapes that the framework's conventions do not explain.

    Example:
        >>> graph = from_state_dict({"fc.weight": np.ones((2, 3), np.float32)}, "torch")
    """
    tensors = {name: ArrayTensor(np.asarray(array)) for name, array in arrays.items()}
    known = {path: Module(name) for path, name in (modules or {}).items()}
    return pipeline.lift(Checkpoint("memory", tensors, known), ReadOptions(source=dialect))


def to_state_dict(graph: Graph, dialect: Target) -> dict[str, Array]:
    """Return the graph's values as numpy arrays in a dialect's names, shapes and gate order.

    Args:
        graph: from ``load``, ``from_state_dict`` or ``from_torch``.
        dialect: ``torch``, ``keras``, ``mindspore`` or ``mint``.

    Returns:
        name → an array of its own, which may be changed.

    Raises:
        CkptconvError: the target cannot hold the graph exactly.

    Example:
        >>> arrays = to_state_dict(load("model.h5"), "mindspore")  # doctest: +SKIP
    """
    lowered = pipeline.lower(graph, dialect, WriteOptions())
    return {name: tensor.numpy().copy() for name, tensor in lowered.tensors.items()}


def from_torch(module: Any) -> Graph:
    """Return the graph of a live ``torch.nn.Module``; its classes and options are known.

    Values are copied to the CPU when they are there not already. torch itself is not imported.

    Args:
        module: anything with ``state_dict()`` and ``named_modules()``.

    Returns:
        The graph; it reads the module's own weights as they are when it is used.

    Raises:
        DialectError: names or shapes that torch's conventions do not explain.

    Example:
        >>> graph = from_torch(torch.nn.LSTM(3, 5))  # doctest: +SKIP
    """
    return graph_of(module, ReadOptions())


def load_into(target: Any, source: StrPath | Graph, *, kinds: Pairs = ()) -> Report:
    """Fill a live MindSpore Cell or torch Module with a checkpoint's values.

    Names are matched as ``--like`` does; every parameter of the target is filled and every
    parameter of the source used, or nothing is changed.

    Args:
        target: a ``mindspore.nn.Cell`` or a ``torch.nn.Module``.
        source: a checkpoint file of any framework, or a graph, which is not changed.
        kinds: see ``load``.

    Returns:
        The account of every source and every target tensor.

    Raises:
        CkptconvError: a parameter on either side has no counterpart.

    Example:
        >>> load_into(cell, "model.pt").written  # doctest: +SKIP
        True
    """
    graph = source if isinstance(source, Graph) else pipeline.read(source, ReadOptions(kinds=kinds))
    wanted = parameters(target)
    framework, fill = _ADAPTERS[type(wanted.facts)]
    lowered = pipeline.lower(graph, framework, WriteOptions(like=wanted))
    told = {"path": wanted.path, "container": FORMAT, "framework": framework}
    report = account(graph, lowered, told)
    fill(target, {name: tensor.numpy() for name, tensor in lowered.tensors.items()})
    report.written = True
    return report


def parameters(network: Any) -> Checkpoint:
    """Return what a live network holds, with its values and the classes of its modules.

    Names of one parameter have one tensor.

    Args:
        network: a ``mindspore.nn.Cell`` or a ``torch.nn.Module``.

    Raises:
        CkptconvError: neither of them.
    """
    facts: Facts
    if hasattr(network, "parameters_dict"):
        held, parts, facts = network.parameters_dict(), network.cells_and_names(), MindSporeFacts()
    elif hasattr(network, "load_state_dict"):
        held = network.state_dict(keep_vars=True)
        parts, facts = network.named_modules(), TorchFacts()
    else:
        raise CkptconvError(
            "not a network",
            expected="a mindspore.nn.Cell or a torch.nn.Module",
            found=type(network).__name__,
        )
    array = _array if isinstance(facts, TorchFacts) else _cell_array
    once = {id(value): ArrayTensor(array(value)) for value in held.values()}
    tensors = {name: once[id(value)] for name, value in held.items()}
    modules = {path: _describe(part) for path, part in parts}
    return Checkpoint(FORMAT, tensors, modules, facts, path=type(network).__name__)


def graph_of(network: Any, options: ReadOptions) -> Graph:
    """Return the graph of a live network of either framework."""
    checkpoint = parameters(network)
    framework, _ = _ADAPTERS[type(checkpoint.facts)]
    return pipeline.lift(checkpoint, replace(options, source=framework))


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


def _cell_array(value: Any) -> Array:
    if str(value.dtype) == "BFloat16":
        import mindspore

        return np.asarray(value.astype(mindspore.float32).asnumpy()).astype(BFLOAT16)
    return np.asarray(value.asnumpy())


def _array(value: Any) -> Array:
    value = value.detach().cpu().contiguous()
    if str(value.dtype) == "torch.bfloat16":
        # numpy has no bfloat16: take the bits.
        import torch

        return np.asarray(value.view(torch.int16).numpy()).view(BFLOAT16)
    return np.asarray(value.numpy())


_ADAPTERS: Mapping[type, tuple[Framework, Callable[[Any, Mapping[str, Array]], None]]] = {
    TorchFacts: ("torch", _fill_module),
    MindSporeFacts: ("mindspore", _fill_cell),
}


def _describe(module: Any) -> Module:
    kind = type(module)
    own = kind.__module__.startswith(("torch.nn.", "mindspore.nn.", "mindspore.mint.nn."))
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
