"""``match``: which module of a source is which of a target network, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from ckptconv import dialects, pipeline
from ckptconv.checkpoint import Checkpoint, KerasFacts, MindSporeFacts, TorchFacts
from ckptconv.errors import CkptconvError, UsageError
from ckptconv.formats import shapes
from ckptconv.graph.graph import Framework, Graph
from ckptconv.live.arrays import as_array
from ckptconv.live.filling import unwrapped
from ckptconv.live.reading import FORMAT, graph_of, parameters
from ckptconv.options import DTypeName, Pairs, ReadOptions, StrPath, Target, WriteOptions
from ckptconv.passes.match import Plan
from ckptconv.spelling import public
from ckptconv.tensors.regions import Array

_MAX_FOUND = 200


@public()
def match(
    source: StrPath | Graph | Any,
    target: StrPath | Mapping[str, Sequence[int]] | Any,
    *,
    inputs: tuple[Array, ...] | None = None,
    to: Target | None = None,
    select: str | None = None,
    kinds: Pairs = (),
    rename: Pairs = (),
    map: StrPath | Mapping[str, str] | None = None,
    fuse: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]] = (),
    split: Iterable[str] = (),
    allow: Iterable[str] = (),
    fill: Pairs = (),
    drop: Iterable[str] = (),
    fold_bias: Pairs = (),
    fold_proj: bool = False,
    dtype: DTypeName | None = None,
) -> Plan:
    """Pair the modules of a source with those of a target network, as ``like=`` does.

    Args:
        source: a checkpoint file of any framework, a graph, or a live ``torch.nn.Module`` or
            ``mindspore.nn.Cell``.
        target: a checkpoint of the target network, a list of its parameters, name → shape, or a
            live network.
        inputs: arrays to run both networks on, where both are live: modules that shapes and names
            do not tell apart are then paired in the order in which they are called. Nothing that
            is computed is looked at; the networks are left as they were.
        to: the target's framework, where its parameters do not tell.
        select: see ``load``, as for ``kinds`` to ``allow``.
        fill: see ``save``, as for ``drop`` to ``dtype``.

    Returns:
        The plan: every module of both sides, ``forced``, ``proposed``, ``ambiguous`` or
        ``impossible``.

    Raises:
        CkptconvError: either side cannot be read, or an option fits nothing in it.

    Examples:
        >>> print(match("model.pt", "network.txt").to_map())  # doctest: +SKIP
    """
    reading = ReadOptions(
        select=select, kinds=kinds, rename=rename, map=map, fuse=fuse, split=split, allow=allow
    )
    writing = WriteOptions(
        fill=fill, drop=drop, fold_bias=fold_bias, fold_proj=fold_proj, dtype=dtype
    )
    called = None
    if inputs is not None:
        given = _arrays(inputs)
        called = _calls(source, given), _calls(target, given)
    graph = pipeline.edited(graph_of(source, reading), writing)
    wanted = _wanted(target)
    framework = to or target_framework(wanted, graph.dialect)
    layout = wanted.facts.layout if isinstance(wanted.facts, KerasFacts) else ""
    output = pipeline.IN_MEMORY._replace(variant=layout)
    found = pipeline.plan(graph, wanted, framework, writing, output, called=called).plan
    return replace(
        found,
        source={"path": graph.origin.path, "framework": graph.dialect},
        target={"path": wanted.path, "framework": framework},
    )


def target_framework(target: Checkpoint, source: Framework) -> Target:
    """Tell whose network a list of parameters is: by its file, its printing, or its names."""
    if target.format not in (shapes.FORMAT, FORMAT):
        return cast(Target, dialects.detect(target))
    if isinstance(target.facts, TorchFacts | MindSporeFacts):
        return "torch" if isinstance(target.facts, TorchFacts) else "mindspore"
    leaves = {name.rpartition(".")[2] for name in target.tensors}
    own = leaves & set().union(*dialects.MINDSPORES)
    return "mindspore" if own or source != "mindspore" else "torch"


def _wanted(target: Any) -> Checkpoint:
    if isinstance(target, str | os.PathLike | Mapping):
        return pipeline.target_network(target)
    return parameters(target)


def _arrays(inputs: Any) -> tuple[Array, ...]:
    """Return what both networks are run on; UsageError for one array instead of several."""
    if not isinstance(inputs, tuple | list):
        expected = "a tuple of arrays, one for each argument"
        raise UsageError("inputs", expected=expected, found=type(inputs).__name__)
    return tuple(as_array(f"inputs[{place}]", value) for place, value in enumerate(inputs))


def _calls(network: Any, inputs: tuple[Array, ...]) -> list[str]:
    """Run a live network and return the paths of its modules in the order of their calls.

    Raises:
        CkptconvError: not a live network, or one that does not take these inputs.
    """
    order: list[str] = []
    network = unwrapped(network)
    is_cell = hasattr(network, "cells_and_names")
    if not (is_cell or hasattr(network, "named_modules")):
        expected = "two live networks: a torch.nn.Module or a mindspore.nn.Cell each"
        raise CkptconvError("inputs", expected=expected, found=type(network).__name__)
    parts = network.cells_and_names() if is_cell else network.named_modules()
    run = _run_cell if is_cell else _run_module
    with _hooked(parts, order):
        try:
            run(network, inputs)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"[:_MAX_FOUND]
            raise CkptconvError(f"{type(network).__name__} does not run", found=found) from error
    return order


@contextmanager
def _hooked(parts: Iterable[tuple[str, Any]], order: list[str]) -> Iterator[None]:
    """Write down the path of every module that is called."""

    def hook(path: str) -> Any:
        return lambda *_: order.append(path)

    handles = [part.register_forward_pre_hook(hook(path)) for path, part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run_module(module: Any, inputs: tuple[Array, ...]) -> None:
    """Call a torch module as in inference, and leave it in the mode it was in."""
    import torch

    training = {part: part.training for part in module.modules()}
    with torch.no_grad():
        try:
            module.eval()(*map(torch.from_numpy, inputs))
        finally:
            for part, mode in training.items():
                part.training = mode


def _run_cell(cell: Any, inputs: tuple[Array, ...]) -> None:
    """Call a MindSpore cell as in inference, and leave it in the mode it was in."""
    import mindspore

    training = [(part, part.training) for _, part in cell.cells_and_names()]
    try:
        cell.set_train(False)(*map(mindspore.Tensor, inputs))
    finally:
        for part, mode in training:
            part.training = mode
