"""Live networks as sources: their weights, and the classes and options of their modules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, MindSporeFacts, Module, TorchFacts
from ckptconv.errors import CkptconvError, DialectError, UsageError
from ckptconv.graph.graph import Framework, Graph
from ckptconv.live.cells import settings
from ckptconv.live.filling import cell_array, torch_array, unwrapped
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.spelling import option
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import ArrayTensor

FORMAT = "memory"
_EXTRA = "_extra_state"
_PLAIN = (bool, int, float, str, type(None))
_PARAMETRIZE = "torch.nn.utils.parametrize"


def parameters(network: Any) -> Checkpoint:
    """Return what a live network holds, with its values and the classes of its modules.

    Names of one parameter have one tensor.

    Args:
        network: a ``mindspore.nn.Cell`` or a ``torch.nn.Module``.

    Raises:
        CkptconvError: neither of them.
    """
    network = unwrapped(network)
    if hasattr(network, "parameters_dict"):
        named = _cell_parameters(network)
        once = {id(value): ArrayTensor(cell_array(value)) for value in named.values()}
        tensors = {name: once[id(value)] for name, value in named.items()}
        modules = {path: _describe(part) for path, part in network.cells_and_names()}
        return Checkpoint(FORMAT, tensors, modules, MindSporeFacts(), path=type(network).__name__)
    if not hasattr(network, "load_state_dict"):
        raise CkptconvError(
            "not a network",
            expected="a mindspore.nn.Cell or a torch.nn.Module",
            found=type(network).__name__,
        )
    held = _torch_parameters(network)
    graph = pipeline.lift(held, ReadOptions(source="torch")) if _is_parametrized(network) else None
    if graph is None:
        return held
    plain = pipeline.lower(graph, "torch", WriteOptions()).tensors
    return replace(held, tensors=plain, modules=graph.origin.modules)


def _cell_parameters(cell: Any) -> Mapping[str, Any]:
    named: Mapping[str, Any] = cell.parameters_dict()
    for value in cell.get_parameters():
        if named[value.name] is not value:
            raise CkptconvError(
                "two parameters of the network have this name",
                tensor=value.name,
                hint="update_parameters_name(), or auto_prefix=True where its cells are joined",
            )
    return named


def _torch_parameters(network: Any) -> Checkpoint:
    state = network.state_dict(keep_vars=True)
    omitted = {
        name: "extra state, which only the module's own code reads"
        for name in state
        if name.rpartition(".")[2] == _EXTRA
    }
    held = {name: value for name, value in state.items() if name not in omitted}
    once = {id(value): ArrayTensor(_array(name, value)) for name, value in held.items()}
    tensors = {name: once[id(value)] for name, value in held.items()}
    parts = network.named_modules(remove_duplicate=False)
    modules = {path: _describe(part) for path, part in parts}
    path = type(network).__name__
    return Checkpoint(FORMAT, tensors, modules, TorchFacts(), omitted=omitted, path=path)


def _is_parametrized(network: Any) -> bool:
    return any(
        hasattr(part, "parametrizations") or part._forward_pre_hooks for part in network.modules()
    )


def graph_of(source: Any, options: ReadOptions) -> Graph:
    """Return the graph of a file or of a live network of either framework, or a graph itself.

    Raises:
        UsageError: options of reading for a graph, which was read already.
    """
    if isinstance(source, Graph):
        if options != ReadOptions():
            problem = "options of reading, and a graph that was read already"
            raise UsageError(problem, expected="them where it is loaded")
        return source
    if isinstance(source, str | os.PathLike):
        graph = pipeline.read(source, options)
    else:
        network = unwrapped(source)
        is_torch = hasattr(network, "load_state_dict") and not hasattr(network, "parameters_dict")
        held = _torch_parameters(network) if is_torch else parameters(network)
        framework: Framework = "torch" if is_torch else "mindspore"
        graph = pipeline.lift(held, replace(options, source=framework))
    options.allow.check()
    return graph


def _array(name: str, value: Any) -> Array:
    """Return a torch tensor as an array.

    Raises:
        DialectError: it has no values yet, or none that an array could hold.
    """
    problem, hint = _unreadable(value)
    if problem:
        raise DialectError(problem, tensor=name, hint=hint)
    return torch_array(value)


def _unreadable(value: Any) -> tuple[str, str | None]:
    if not hasattr(value, "detach") or getattr(value, "is_quantized", False):
        hint = (
            f"saving the state_dict and converting that file with {option('allow', ['dequantize'])}"
        )
        return "is quantized or no tensor", hint
    if "Uninitialized" in type(value).__name__:
        return "of a lazy module, which has no shape yet", "running the module once"
    if value.is_meta:
        return "on the meta device, which holds no values", None
    return ("is sparse", "to_dense()") if str(value.layout) != "torch.strided" else ("", None)


def _describe(module: Any) -> Module:
    kind = type(module)
    if kind.__module__ == _PARAMETRIZE and kind.__name__.startswith("Parametrized"):
        kind = kind.__mro__[1]  # torch makes such a class around the module's own
    own = kind.__module__.startswith(("torch.nn.", "mindspore.nn.", "mindspore.mint.nn."))
    name = kind.__name__ if own else f"{kind.__module__}.{kind.__qualname__}"
    attributes = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_") and key != "training" and _is_plain(value)
    }
    if kind.__module__.startswith("mindspore.nn."):
        attributes = settings(module, attributes)
    return Module(name, getattr(module, "_version", None), attributes)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
