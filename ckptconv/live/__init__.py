"""Conversion without files: arrays in memory, and live modules, which alone meet a framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import UsageError
from ckptconv.graph.graph import Graph
from ckptconv.live.arrays import tensors
from ckptconv.live.comparing import check_statistics, remarks
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
from ckptconv.passes.cast import losses, narrow_notes
from ckptconv.passes.check_kinds import given
from ckptconv.report import Report, account
from ckptconv.spelling import public
from ckptconv.tensors.regions import Array


@public()
def from_state_dict(
    arrays: Mapping[str, Array],
    dialect: Framework,
    *,
    modules: Mapping[str, str] | None = None,
) -> Graph:
    """Return the graph of arrays in memory.

    Args:
        arrays: name → array, in the dialect's names, shapes and gate order: numpy's, or a tensor
            or parameter of torch, MindSpore or Keras. Names of one array are tied.
        dialect: ``torch``, ``keras`` or ``mindspore``.
        modules: module path → class name, where known (``{"embed": "Embedding"}``).

    Returns:
        The graph, whose values are these arrays.

    Raises:
        DialectError: names or shapes that the framework's conventions do not explain, or values
            that are hidden (masked, sparse, quantized) or no numbers.
        UsageError: no mapping of names.

    Examples:
        >>> graph = from_state_dict({"fc.weight": np.ones((2, 3), np.float32)}, "torch")
    """
    held = tensors(_named("arrays", arrays, "arrays"))
    named = _named("modules", modules or {}, "names of classes", str)
    known = {path: Module(name) for path, name in named.items()}
    return pipeline.lift(Checkpoint(FORMAT, held, known), ReadOptions(source=dialect))


def _named(argument: str, given: Any, of: str, kind: type = object) -> Mapping[str, Any]:
    """Return a mapping of texts; UsageError for anything else."""
    entries = given.items() if isinstance(given, Mapping) else [(None, given)]
    for name, value in entries:
        if not isinstance(name, str) or not isinstance(value, kind):
            expected = f"a mapping of names to {of}"
            found = type(value).__name__ if name is None else f"{name!r}: {type(value).__name__}"
            raise UsageError(argument, expected=expected, found=found)
    return cast("Mapping[str, Any]", given)


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
    lowered = pipeline.lower(given(graph), dialect, WriteOptions())
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
    framework = _dialect(target)
    lowered = pipeline.lower(graph, framework, options)
    check_statistics(lowered, wanted.modules)
    told = {"path": wanted.path, "container": FORMAT, "framework": framework}
    report = account(graph, lowered, told, network=wanted.tensors)
    fill(target, {name: tensor.numpy().copy() for name, tensor in lowered.tensors.items()})
    report.notes += remarks(graph, lowered, wanted)
    report.notes += losses(lowered.tensors)
    report.notes += narrow_notes(lowered, graph.origin.provenance, dtype)
    report.written = True
    return report


def _dialect(network: Any) -> Target:
    """Return whose names a network has; it may have those of others beside them."""
    if not hasattr(network, "parameters_dict"):
        return "torch"
    mint = any(".mint." in type(part).__module__ for _, part in network.cells_and_names())
    return "mint" if mint else "mindspore"
