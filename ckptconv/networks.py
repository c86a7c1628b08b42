"""The network beside the weights: read from a file that records it, written as a Python module."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ckptconv import dialects, formats, pipeline
from ckptconv._version import __version__
from ckptconv.checkpoint import Checkpoint, KerasFacts, TorchFacts
from ckptconv.codegen.emit import alive, emit
from ckptconv.codegen.emit.modules import Columns
from ckptconv.codegen.emit.names import paths
from ckptconv.errors import (
    CkptconvError,
    ContainerError,
    DialectError,
    LossyError,
    UsageError,
    locating,
)
from ckptconv.graph.graph import Graph, is_projected
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.network import Network
from ckptconv.io.atomic import atomic_path, check_target
from ckptconv.options import ReadOptions, StrPath, WriteOptions
from ckptconv.passes.twins import without_twins
from ckptconv.report import Report
from ckptconv.spelling import by_hand, option, public
from ckptconv.tensors.dtypes import is_float

_TARGETS = ("torch", "mindspore")
_APART = ("like", "fold_bias", "fold_proj", "dtype")
"""Options of writing by which the weights would be others than the network's."""


@public()
def network(path: StrPath, *, config: StrPath | None = None, stubs: Iterable[str] = ()) -> Network:
    """Return the network that a file records: which layer's output goes into which layer.

    Args:
        path: a Keras model, or a torch.export archive.
        config: a Keras model's configuration as JSON, for a file of weights alone.
        stubs: names of layers that need not be known.

    Returns:
        Nodes in the order in which they are computed, inputs and outputs with shapes and dtypes.

    Raises:
        CkptconvError: the file records no network, or a layer that cannot be written.

    Examples:
        >>> [node.op for node in network("model.h5")]  # doctest: +SKIP
    """
    return read(path, ReadOptions(config=config), stubs)[1]


def read(path: StrPath, options: ReadOptions, stubs: Iterable[str] = ()) -> tuple[Graph, Network]:
    """Return the graph of a file and its network, under paths whose parts are identifiers.

    Raises:
        CkptconvError: the file records no network, or a layer that cannot be written.
    """
    checkpoint = pipeline.configured(formats.read(path, select=options.select), options)
    row, stubs = dialects.dialect(options.source or dialects.detect(checkpoint)), tuple(stubs)
    with locating(checkpoint.path):
        before, network = row.load().lift_with_network(
            checkpoint, options.resolved(dialects.kind_of), stubs
        )
        if not before.layers:
            raise ContainerError("holds no parameters")
        _check_stubs(network, stubs)
    graph = pipeline.finished(before, options, pipeline.report_of(options))
    if len(graph.layers) != len(before.layers):
        raise CkptconvError(
            f"{option('network')} takes layers as the source has them: no {option('fuse')}, no "
            f"{option('split')}"
        )
    known = paths(layer.path for layer in graph)
    new = {old.path: known[layer.path] for old, layer in zip(before, graph, strict=True)}
    layers = tuple(replace(layer, path=known[layer.path]) for layer in graph)
    nodes = tuple(
        node if node.layer is None else replace(node, layer=new[node.layer]) for node in network
    )
    used = {str(node.layer) for node in alive(replace(network, nodes=nodes))}
    graph = without_twins(replace(graph, layers=layers), used)
    title = f"The network of {os.path.basename(os.fsdecode(path))}"
    return graph, replace(network, nodes=nodes, title=title, origin=_versions(checkpoint))


def _check_stubs(network: Network, stubs: tuple[str, ...]) -> None:
    left = {str(node.arguments["about"]) for node in network if node.op == "stub"}
    if stray := sorted({*stubs} - left):
        raise CkptconvError(
            f"{option('stubs', stray)}: no layer of the network is called so",
            expected="a layer's name, as the configuration has it",
        )


@contextmanager
def _advising(dialect: str) -> Iterator[None]:
    """Say of a layer that no call builds how it is written nevertheless."""
    try:
        yield
    except LossyError as error:
        if error.hint is None and error.tensor and dialect == "keras":
            error.hint = by_hand(error.tensor.rpartition(".")[2])
        raise


def _check_dtypes(graph: Graph) -> None:
    """Refuse other floats, but for those that an exported program computes with as it says."""
    free = PARAMETER if graph.dialect == "torch" else ""
    for layer in (layer for layer in graph if layer.kind != free):
        for tensor in layer.params.values():
            if is_float(tensor.dtype) and tensor.dtype.name != "float32":
                raise LossyError(
                    "a network is written of layers and inputs of float32",
                    file=graph.origin.path,
                    tensor=layer.path,
                    expected="weights of float32",
                    found=tensor.dtype.name,
                    hint="the model saved in float32, or the weights alone, without "
                    f"{option('network')}",
                )


def _check_projections(graph: Graph, to: str) -> None:
    target = dialects.dialect(to)
    for layer in graph if not target.projections else ():
        if is_projected(layer):
            raise LossyError(
                f"proj_size has no equal in {target.title}, and a network takes layers as they are",
                file=graph.origin.path,
                tensor=layer.path,
                hint=f"{option('fold_proj', True)}; without {option('network')}; or a Linear after "
                "a plain LSTM in the source",
            )


def _check_dropped(network: Network, graph: Graph, left: Graph) -> None:
    """Refuse to leave out what the network computes with."""
    used, there = {node.layer for node in network}, {layer.path: layer.params for layer in left}
    for layer in graph:
        if layer.path in used and there.get(layer.path, {}).keys() != layer.params.keys():
            raise DialectError(
                f"{option('network')} with {option('drop')} leaves out layers that the network "
                "does not use, and it uses this one",
                tensor=layer.path,
            )


def _versions(checkpoint: Checkpoint) -> str:
    """Return what wrote the source and what reads it, for the reader of the text."""
    facts = checkpoint.facts
    writer = "a file that names no version"
    if isinstance(facts, KerasFacts) and facts.keras_version:
        writer = f"a file of Keras {facts.keras_version}"
    elif isinstance(facts, TorchFacts) and facts.torch_version:
        writer = f"an archive of torch {facts.torch_version}"
    return f"Written by ckptconv {__version__} from {writer}."


def convert(
    src: StrPath,
    dst: StrPath,
    to: str,
    reading: ReadOptions,
    writing: WriteOptions,
) -> Report:
    """Convert a checkpoint, and write its network to ``writing.network``; see ``api.convert``.

    Raises:
        CkptconvError: as said there. Neither file is left behind then.
    """
    target = _checked(to, writing)
    graph, network = read(src, reading, writing.stubs)
    reading.allow.check()
    _check_dtypes(graph)
    _check_projections(graph, to)
    columns = Columns(dialects.dialect(to).forms, dialects.dialect(graph.dialect).forms)
    network, left = alive(network), pipeline.edited(graph, writing)
    with locating(graph.origin.path), _advising(graph.dialect):
        _check_dropped(network, graph, left)
        text = emit(network, left, to, columns, weights=os.fsdecode(dst))
    if writing.dry_run:
        return _without_calls(pipeline.write(graph, dst, to, writing))
    check_target(target, graph.origin.files, force=writing.force)
    if os.path.realpath(target) == os.path.realpath(dst):
        raise ContainerError("the network and the weights are one file", file=target)
    with atomic_path(target, force=writing.force) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        report = _without_calls(pipeline.write(graph, dst, to, writing))
    report.network = target
    report.notes += network.notes
    report.notes.append(f"the network is in {report.network}: load(weights) builds and fills it")
    return report


def _without_calls(report: Report) -> Report:
    """Leave out what a user would have to write and do, which the network does."""
    layers = [replace(layer, constructor="", notes=[], unknown=[]) for layer in report.layers]
    return replace(report, layers=layers)


def _checked(to: str, writing: WriteOptions) -> str:
    """Return where the network goes, once nothing else is asked that changes what it describes."""
    if to not in _TARGETS:
        raise CkptconvError(
            "a network cannot be written for this target", expected=" or ".join(_TARGETS), found=to
        )
    target = os.fsdecode(writing.network or "")
    if not target.endswith(".py"):
        raise UsageError(option("network"), expected="a name that ends in .py", found=target)
    if extra := [name for name in _APART if getattr(writing, name)]:
        raise CkptconvError(f"{option('network')} does not go with {', '.join(map(option, extra))}")
    return target
