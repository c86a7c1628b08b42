"""The story of a conversion, from file to file; the only room where formats meet dialects.

file ─formats→ Checkpoint ─dialect→ Graph ─passes→ Graph ─dialect→ Lowered ─formats→ file
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace

from ckptconv import dialects, formats, passes
from ckptconv.checkpoint import Checkpoint, KerasFacts, SafetensorsFacts
from ckptconv.errors import CkptconvError, ContainerError, locating
from ckptconv.formats import documents, shapes
from ckptconv.graph.graph import Graph
from ckptconv.graph.lowered import Lowered
from ckptconv.options import Like, ReadOptions, StrPath, WriteOptions
from ckptconv.passes import cast, match_target, restore
from ckptconv.passes.check_kinds import check_kinds
from ckptconv.report import Report, account

IN_MEMORY = formats.Output(formats.Format("memory", "", "arrays in memory"))


def read(path: StrPath, options: ReadOptions) -> Graph:
    """Return the graph of a file; see ``api.load``."""
    return lift(formats.read(path, select=options.select), options)


def lift(checkpoint: Checkpoint, options: ReadOptions) -> Graph:
    """Bring an opened checkpoint into the canonical graph, and do what was asked of its layers."""
    checkpoint = configured(checkpoint, options)
    source = dialects.dialect(options.source or dialects.detect(checkpoint))
    with locating(checkpoint.path):
        graph = source.load().lift(checkpoint, options.resolved(dialects.kind_of))
        if not graph.layers:
            raise ContainerError("holds no parameters")
    return finished(graph, options)


def configured(checkpoint: Checkpoint, options: ReadOptions) -> Checkpoint:
    """Add the configuration that stands beside a Keras file of weights alone.

    Raises:
        CkptconvError: no Keras file, or no configuration.
    """
    if options.config is None:
        return checkpoint
    document = documents.read_object(options.config)
    facts = checkpoint.facts
    if not isinstance(facts, KerasFacts) or "class_name" not in document:
        raise CkptconvError(
            "not the configuration of a Keras model",
            file=options.config,
            expected="the JSON of model.to_json(), beside a file of Keras weights",
        )
    version = facts.keras_version or str(document.get("keras_version") or "")
    return replace(checkpoint, facts=replace(facts, config=document, keras_version=version))


def finished(graph: Graph, options: ReadOptions) -> Graph:
    """Do what was asked of the layers of a graph that was read."""
    options = options.resolved(dialects.kind_of)
    with locating(graph.origin.path):
        columns = (row.forms for row in dialects.DIALECTS.values())
        graph = check_kinds(graph, options.kinds, columns) if options.kinds else graph
        graph = passes.after_lift(graph, options, _table(options.map))
    if options.restore is not None:
        with locating(options.restore):
            splits = restore.parse(documents.read_object(options.restore))
        graph = restore.apply(graph, splits, report=os.fspath(options.restore))
    return graph


def lower(
    graph: Graph, to: str, options: WriteOptions, output: formats.Output = IN_MEMORY
) -> Lowered:
    """Bring a graph into the names, axes and gate order of framework ``to``."""
    target, wanted = dialects.dialect(to), _shapes(options.like)
    with locating(graph.origin.path):
        graph = passes.before_lower(graph, target, options)
        if wanted is not None:
            graph = match_target.settle_kinds(graph, wanted, target.forms)
        lowered = target.load().lower(graph, output.variant)
        if wanted is not None:
            lowered = match_target.match(lowered, wanted)
        return cast.to_dtype(lowered, options.dtype)


def write(graph: Graph, path: StrPath, to: str, options: WriteOptions) -> Report:
    """Account for every tensor, then write the graph; see ``api.save``."""
    output = formats.output(path, dialects.dialect(to).suffixes)
    lowered = lower(graph, to, options, output)
    target = {"path": os.fspath(path), "container": output.format.name, "framework": to}
    report = account(graph, lowered, target, shares=output.format.shares)
    report.restore = [asdict(split) for split in restore.record(graph, lowered)]
    if options.dry_run:
        cast.count_losses(lowered)
    else:
        formats.write(
            _checkpoint(graph, lowered, output),
            path,
            force=options.force,
            progress=options.progress,
            check=options.check,
        )
        report.written = True
    report.notes += cast.losses(lowered.tensors)
    return report


def _checkpoint(graph: Graph, lowered: Lowered, output: formats.Output) -> Checkpoint:
    facts = lowered.facts
    if output.format.name == "safetensors":
        facts = SafetensorsFacts({"format": output.variant})
    return replace(
        graph.origin, format=output.format.name, tensors=lowered.tensors, facts=facts, omitted={}
    )


def _table(given: StrPath | Mapping[str, str] | None) -> Mapping[str, str]:
    if isinstance(given, str | os.PathLike):
        return documents.read_table(given)
    return given or {}


def _shapes(like: Like | None) -> shapes.Shapes | None:
    """Return name → shape of the target network, where it is given.

    Raises:
        CkptconvError: not a file or a mapping that holds them.
    """
    if like is None or isinstance(like, str | os.PathLike):
        return None if like is None else shapes.read(like)
    try:
        return {name: tuple(map(int, shape)) for name, shape in like.items()}
    except (AttributeError, TypeError, ValueError):
        expected = "a file, or a mapping of names to shapes"
        raise CkptconvError("like", expected=expected, found=repr(like)[:100]) from None
