"""Conversion without files: arrays in memory, and live modules, which alone meet a framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Module, TorchFacts
from ckptconv.errors import AmbiguousKindError, CkptconvError, DialectError
from ckptconv.graph.graph import Graph
from ckptconv.graph.lowered import Lowered
from ckptconv.graph.settings import apart
from ckptconv.live.filling import fill
from ckptconv.live.reading import FORMAT, graph_of, parameters
from ckptconv.options import (
    DTypeName,
    Framework,
    Pairs,
    ReadOptions,
    StrPath,
    Target,
    WriteOptions,
)
from ckptconv.passes import cast
from ckptconv.report import Report, account
from ckptconv.spelling import public
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import ArrayTensor

_RANKS = "123d"
"""How kinds end that are one: a BatchNorm3d of MindSpore's holds a BatchNorm2d."""
_BY_BATCH = "use_batch_statistics"


@public()
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

    Examples:
        >>> graph = from_state_dict({"fc.weight": np.ones((2, 3), np.float32)}, "torch")
    """
    tensors = {name: ArrayTensor(np.asarray(array)) for name, array in arrays.items()}
    known = {path: Module(name) for path, name in (modules or {}).items()}
    return pipeline.lift(Checkpoint("memory", tensors, known), ReadOptions(source=dialect))


@public()
def to_state_dict(graph: Graph, dialect: Target) -> dict[str, Array]:
    """Return the graph's values as numpy arrays in a dialect's names, shapes and gate order.

    Args:
        graph: from ``load``, ``from_state_dict`` or ``from_torch``.
        dialect: ``torch``, ``keras``, ``mindspore`` or ``mint``.

    Returns:
        name → an array of its own, which may be changed.

    Raises:
        CkptconvError: the target cannot hold the graph exactly.

    Examples:
        >>> arrays = to_state_dict(load("model.h5"), "mindspore")  # doctest: +SKIP
    """
    lowered = pipeline.lower(graph, dialect, WriteOptions())
    return {name: tensor.numpy().copy() for name, tensor in lowered.tensors.items()}


@public()
def from_torch(module: Any) -> Graph:
    """Return the graph of a live ``torch.nn.Module``; its classes and options are known.

    Values are copied to the CPU when they are there not already. torch itself is not imported.

    Args:
        module: anything with ``state_dict()`` and ``named_modules()``.

    Returns:
        The graph; it reads the module's own weights as they are when it is used.

    Raises:
        DialectError: names or shapes that torch's conventions do not explain.

    Examples:
        >>> graph = from_torch(torch.nn.LSTM(3, 5))  # doctest: +SKIP
    """
    return graph_of(module, ReadOptions())


@public()
def load_into(
    target: Any, source: StrPath | Graph, *, kinds: Pairs = (), dtype: DTypeName | None = None
) -> Report:
    """Fill a live MindSpore Cell or torch Module with a checkpoint's values.

    Names are matched as ``--like`` does; every parameter of the target is filled and every
    parameter of the source used, or nothing is changed. Settings that both sides record and that
    differ (``nonlinearity``, ``eps``) stay the network's own: the notes name them.

    Args:
        target: a ``mindspore.nn.Cell`` or a ``torch.nn.Module``; a DataParallel or compiled one
            is filled inside, weight_norm through its parts.
        source: a checkpoint file of any framework, or a graph, which is not changed.
        kinds: see ``load``.
        dtype: cast floating-point values to this first; without it, values that the target's dtype
            does not hold exactly are refused.

    Returns:
        The account of every source and every target tensor.

    Raises:
        CkptconvError: a parameter on either side has no counterpart, or another dtype.

    Examples:
        >>> load_into(cell, "model.pt").written  # doctest: +SKIP
        True
    """
    graph = graph_of(source, ReadOptions(kinds=kinds))
    wanted = parameters(target)
    shapes = {name: tensor.shape for name, tensor in wanted.tensors.items()}
    options = WriteOptions(like=shapes if dtype else wanted, dtype=dtype)
    framework, lowered = _lowered(graph, _dialects(target), options)
    _check_statistics(lowered, wanted.modules)
    told = {"path": wanted.path, "container": FORMAT, "framework": framework}
    report = account(graph, lowered, told)
    fill(target, {name: tensor.numpy() for name, tensor in lowered.tensors.items()})
    report.notes += _other_settings(lowered, wanted)
    report.notes += cast.losses(lowered.tensors)
    report.written = True
    return report


def _other_settings(lowered: Lowered, network: Checkpoint) -> Iterator[str]:
    """Yield what no parameter shows and the network's layers do otherwise than the source's."""
    try:
        there = _lifted(lowered, network)
    except CkptconvError as error:
        yield f"the settings of the network's layers were not compared: {error}"
        return
    origin = there.origin.provenance
    owners = {
        name: layer
        for layer in there
        for tensor in layer.params.values()
        for leaf in origin.trace(tensor).origins
        for name in origin.own(leaf)
    }
    for layer, names in lowered.made:
        others = {id(owners[name]): owners[name] for name in names if name in owners}
        for other in others.values():
            alike = other.kind.rstrip(_RANKS) == layer.kind.rstrip(_RANKS)
            for key, said, own in apart(layer, other, abroad=True) if alike else ():
                yield f"{layer.path}: {key} is {said!r} in the source; the network's is {own!r}"
            if applied := other.attributes.get("activation"):
                yield f"{layer.path}: the network's own layer applies {applied} to its output"


def _lifted(lowered: Lowered, network: Checkpoint) -> Graph:
    """Return the graph of a network; a class of the user's own is taken for the source's kind."""
    framework: Framework = "torch" if isinstance(network.facts, TorchFacts) else "mindspore"
    try:
        return pipeline.lift(network, ReadOptions(source=framework))
    except AmbiguousKindError as error:
        made = {name.rpartition(".")[0]: layer for layer, names in lowered.made for name in names}
        known = {path: made[path].kind for path in error.choices if path in made}
        return pipeline.lift(network, ReadOptions(source=framework, kinds=known))


def _dialects(network: Any) -> tuple[Target, ...]:
    """Return whose names a network may have, the likeliest first."""
    if not hasattr(network, "parameters_dict"):
        return ("torch",)
    mint = any(".mint." in type(part).__module__ for _, part in network.cells_and_names())
    return ("mint", "mindspore") if mint else ("mindspore", "mint")


def _lowered(
    graph: Graph, dialects: Sequence[Target], options: WriteOptions
) -> tuple[Target, Lowered]:
    first, *others = dialects
    try:
        return first, pipeline.lower(graph, first, options)
    except CkptconvError:
        for other in others:
            with suppress(CkptconvError):
                return other, pipeline.lower(graph, other, options)
        raise


def _check_statistics(lowered: Lowered, modules: Mapping[str, Module]) -> None:
    """Refuse a norm by every batch's own statistics for a module that computes with stored ones."""
    for layer, names in lowered.made:
        path = names[0].rpartition(".")[0] if names else ""
        there = modules[path].attributes if path in modules else {}
        is_norm = layer.kind.startswith("BatchNorm") and "running_mean" not in layer.params
        if is_norm and there.get(_BY_BATCH, True) is not True:
            raise DialectError(
                "the source's layer takes its statistics from every batch",
                tensor=path,
                expected=f"{_BY_BATCH}=True in the network",
                found=f"{_BY_BATCH}={there[_BY_BATCH]}",
            )
