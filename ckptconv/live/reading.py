"""Live networks as sources: their weights, and the classes and options of their modules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, MindSporeFacts, Module, TorchFacts
from ckptconv.errors import CkptconvError, UsageError
from ckptconv.graph.graph import Framework, Graph
from ckptconv.live.arrays import tensors
from ckptconv.live.cells import settings
from ckptconv.live.filling import unwrapped
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.passes.check_kinds import given
from ckptconv.spelling import option

FORMAT = "memory"
_EXTRA = "_extra_state"
_EXTRA_RULE = "extra state, which only the module's own code reads"
_PLAIN = (bool, int, float, str, type(None))
_KERAS = ("keras", "tf_keras")
_PARAMETRIZE = "torch.nn.utils.parametrize"


def parameters(network: Any) -> Checkpoint:
    """Return what a live network holds, with its values and the classes of its modules.

    Names of one parameter have one tensor.

    Args:
        network: a ``mindspore.nn.Cell`` or a ``torch.nn.Module``.

    Raises:
        CkptconvError: neither of them.
    """
    network = checked(network)
    if hasattr(network, "parameters_dict"):
        values = tensors(_cell_parameters(network))
        modules = {path: _describe(part) for path, part in network.cells_and_names()}
        return Checkpoint(FORMAT, values, modules, MindSporeFacts(), path=type(network).__name__)
    held = _torch_parameters(network)
    graph = pipeline.lift(held, ReadOptions(source="torch")) if _is_parametrized(network) else None
    if graph is None:
        return held
    plain = pipeline.lower(graph, "torch", WriteOptions()).tensors
    return replace(held, tensors=plain, modules=graph.origin.modules)


def checked(network: Any) -> Any:
    """Return a live network without what is wrapped around it.

    Raises:
        CkptconvError: no network of torch or MindSpore, or one with parts of Keras, whose layers
            are torch modules there but have names and axes of their own.
    """
    network = unwrapped(network)
    live = ("parameters_dict", "named_modules")
    if not any(hasattr(network, name) for name in live) or isinstance(network, type):
        name = getattr(network, "__name__", "") and f"the class {network.__name__}"
        raise CkptconvError(
            "not a network",
            expected="a mindspore.nn.Cell or a torch.nn.Module",
            found=name or type(network).__name__,
        )
    parts = network.modules() if hasattr(network, "modules") else ()
    for part in parts:
        if any(base.__module__.partition(".")[0] in _KERAS for base in type(part).__mro__):
            raise CkptconvError(
                "a live network of Keras is neither read nor filled",
                expected="a file of it",
                found=type(part).__name__,
                hint=f"{option('like', 'w.weights.h5')}; that is of its save_weights, and its "
                "load_weights takes what is written",
            )
    return network


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
    omitted = {name: _EXTRA_RULE for name in state if name.rpartition(".")[2] == _EXTRA}
    held = {name: value for name, value in state.items() if name not in omitted}
    parts = network.named_modules(remove_duplicate=False)
    modules = {path: _describe(part) for path, part in parts}
    omitted |= dict.fromkeys(_left_out(network), "a buffer that state_dict() leaves out")
    path = type(network).__name__
    return Checkpoint(FORMAT, tensors(held), modules, TorchFacts(), omitted=omitted, path=path)


def _left_out(network: Any) -> Iterator[str]:
    """Yield the buffers that were registered with ``persistent=False``."""
    for path, part in network.named_modules():
        for name in sorted(getattr(part, "_non_persistent_buffers_set", ())):
            if getattr(part, name, None) is not None:
                yield f"{path}.{name}" if path else name


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
        return given(source)
    if isinstance(source, str | os.PathLike):
        graph = pipeline.read(source, options)
    else:
        network = checked(source)
        is_torch = not hasattr(network, "parameters_dict")
        held = _torch_parameters(network) if is_torch else parameters(network)
        framework: Framework = "torch" if is_torch else "mindspore"
        graph = pipeline.lift(held, replace(options, source=framework))
    options.allow.check()
    return graph


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
