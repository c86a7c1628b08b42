"""The story of a conversion, from file to file; the only room where formats meet dialects.

file ─formats→ Checkpoint ─dialect→ Graph ─passes→ Graph ─dialect→ Lowered ─formats→ file
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ckptconv import dialects, formats, passes
from ckptconv.checkpoint import Checkpoint, KerasFacts, SafetensorsFacts
from ckptconv.errors import CkptconvError, ContainerError, locating
from ckptconv.formats import documents
from ckptconv.graph.graph import Graph
from ckptconv.graph.lowered import Lowered
from ckptconv.options import Like, ReadOptions, StrPath, WriteOptions
from ckptconv.options.values import shapes_of
from ckptconv.passes import cast
from ckptconv.passes.check_ascend import checked
from ckptconv.passes.check_kinds import check_kinds
from ckptconv.passes.edit import drop, fold_bias
from ckptconv.passes.fold_projection import unneeded
from ckptconv.passes.unheld import unheld
from ckptconv.report import Report, account

if TYPE_CHECKING:
    from ckptconv.passes import match

IN_MEMORY = formats.Output(formats.Format("memory", "", "arrays in memory"))


def read(path: StrPath, options: ReadOptions) -> Graph:
    """Return the graph of a file; see ``api.load``."""
    return lift(formats.read(path, select=options.select), options)


def lift(checkpoint: Checkpoint, options: ReadOptions) -> Graph:
    """Bring an opened checkpoint into the canonical graph, and do what was asked of its layers."""
    checkpoint, report = configured(checkpoint, options), report_of(options)
    with locating(checkpoint.path), _doubting(report, options, checkpoint):
        source = dialects.dialect(dialects.detect(checkpoint, options.source))
        hinted = _hinted(options.resolved(dialects.kind_of), report)
        graph = source.load().lift(checkpoint, hinted)
        if not graph.layers:
            raise ContainerError("holds no parameters")
    return finished(graph, options, report)


def report_of(options: ReadOptions) -> Mapping[str, Any] | None:
    """Return the report of the conversion that ``--restore`` undoes; raise as ``read_object``."""
    return None if options.restore is None else documents.read_object(options.restore)


def _hinted(options: ReadOptions, report: Mapping[str, Any] | None) -> ReadOptions:
    """Return options with the kinds of layers that the report of a conversion tells."""
    if options.restore is None or report is None:
        return options
    from ckptconv.passes.restore.told import kinds

    with locating(options.restore):
        return options.with_kinds(kinds(report, options.kinds))


def _doubting(
    report: Mapping[str, Any] | None, options: ReadOptions, held: Checkpoint
) -> AbstractContextManager[None]:
    if options.restore is None or report is None:
        return nullcontext()
    from ckptconv.passes.restore.fit import doubting

    return doubting(options.restore, report, held)


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
    return replace(checkpoint, facts=facts._replace(config=document, keras_version=version))


def finished(graph: Graph, options: ReadOptions, report: Mapping[str, Any] | None) -> Graph:
    """Do what was asked of the layers of a graph that was read; see ``report_of``."""
    options = options.resolved(dialects.kind_of)
    with locating(graph.origin.path), _doubting(report, options, graph.origin):
        if options.kinds:
            columns = (row.forms for row in dialects.DIALECTS.values())
            graph = check_kinds(graph, options.kinds, columns)
        return passes.after_lift(graph, options, _table(options.map), report)


def edited(graph: Graph, options: WriteOptions) -> Graph:
    """Leave out and fold what the user named; before ``lower`` and ``plan``, for the account."""
    with locating(graph.origin.path):
        left = cast.widened(drop(graph, options.drop), options.dtype)
        return fold_bias(left, options.fold_bias)


def lower(
    graph: Graph, to: str, options: WriteOptions, output: formats.Output = IN_MEMORY
) -> Lowered:
    """Bring a graph into the names, axes and gate order of framework ``to``."""
    if options.like is not None:
        from ckptconv.passes import match

        wanted = target_network(options.like)
        found = plan(graph, wanted, to, options, output)
        with locating(graph.origin.path):
            lowered = match.lowered(found, order=options.like_order)
            return found.original.named(lowered) if found.original else lowered
    target = dialects.dialect(to)
    with locating(graph.origin.path):
        graph = passes.before_lower(graph, target, options)
        lowered = unheld(target.load().lower(graph, output.variant), target)
        lowered = cast.to_dtype(lowered, options.dtype)
        if to != "keras" or graph.home is None:
            return lowered
        from ckptconv.passes.restore.places import in_place

        return in_place(lowered, graph, output.variant)


def plan(
    graph: Graph,
    like: Like,
    to: str,
    options: WriteOptions,
    output: formats.Output = IN_MEMORY,
    *,
    called: match.Order | None = None,
) -> match.Matching:
    """Pair the layers of a graph with the modules of a target network.

    Args:
        called: see ``passes.match.engine.match``.
    """
    from ckptconv.passes import match

    wanted, target = target_network(like), dialects.dialect(to)
    lowerings = [_lowering(name, options, output) for name in (to, *target.others)]
    tensors, original = wanted.tensors, None
    with locating(graph.origin.path):
        graph = passes.before_lower(graph, target, options)
        if to == "keras":  # whose names say more than module and parameter
            from ckptconv.passes.match.original import Original

            graph, lowerings = match.by_levels(graph), list(map(match.plainly, lowerings))
            original, graph = Original.of(wanted, output.variant, graph).telling(graph)
            tensors = original.tensors
        fill = dict(options.fill)
        found = match.matching(graph, tensors, lowerings, fill=fill, called=called)
        return replace(found, original=original)


def _lowering(name: str, options: WriteOptions, output: formats.Output) -> match.Lower:
    lower = dialects.dialect(name).load().lower
    return lambda graph: cast.to_dtype(lower(graph, output.variant), options.dtype)


def write(graph: Graph, path: StrPath, to: str, options: WriteOptions) -> Report:
    """Account for every tensor, then write the graph; see ``api.save``."""
    output = formats.output(path, dialects.dialect(to).suffixes)
    options.check_together()
    graph = edited(graph, options)
    row, lowered = dialects.dialect(to), lower(graph, to, options, output)
    with locating(path):
        cast.require_loaded(lowered, row.title, row.unloaded)
    target = {"path": os.fsdecode(path), "container": output.format.name, "framework": to}
    like = options.like is not None
    report = account(graph, lowered, target, shares=output.format.shares, like=like)
    if graph.recurrent:
        from ckptconv.passes.restore.sums import record

        report.restore = [split._asdict() for split in record(graph, lowered)]
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
    if graph.home is not None:
        from ckptconv.passes.restore.told import differences

        report.notes += differences(graph.home, to, lowered.tensors)
    report.notes += cast.losses(lowered.tensors)
    report.notes += cast.notes(lowered, row.typed, graph.origin.provenance, options.dtype)
    report.notes += unneeded(graph, row.title, fold=options.fold_proj, has=row.projections)
    report.notes += checked(graph, options.hardware, row.title, runs=row.ascend)
    return report


def _checkpoint(graph: Graph, lowered: Lowered, output: formats.Output) -> Checkpoint:
    labelled = output.format.name == "safetensors"
    facts = SafetensorsFacts({"format": output.variant}) if labelled else lowered.facts
    return replace(
        graph.origin, format=output.format.name, tensors=lowered.tensors, facts=facts, omitted={}
    )


def _table(given: StrPath | Mapping[str, str] | None) -> Mapping[str, str]:
    if isinstance(given, str | os.PathLike):
        return documents.read_table(given)
    return given or {}


def _without_training_state(target: Checkpoint) -> Checkpoint:
    from ckptconv.dialects.mindspore.training_state import training_state
    from ckptconv.formats import shapes

    if target.format == shapes.FORMAT or dialects.detect(target) != "mindspore":
        return target
    return replace(target, tensors=training_state(target.tensors).network(target.tensors))


def target_network(like: Like) -> Checkpoint:
    """Return the parameters of a target network; those of its training are left out.

    Raises:
        CkptconvError: not a file, a checkpoint or a mapping that holds them.
    """
    from ckptconv.formats import shapes
    from ckptconv.tensors.declared import Declared

    if isinstance(like, Checkpoint):
        return like
    if isinstance(like, str | os.PathLike):
        return _without_training_state(shapes.read(like))
    tensors = {name: Declared(dims) for name, dims in shapes_of(like).items()}
    return Checkpoint(shapes.FORMAT, tensors)
