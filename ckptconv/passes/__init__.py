"""Graph to graph: what a user or a target asks of the layers between reading and writing.

A pass is pure: it returns a graph and changes none. It opens no file, and is called in the order
of the two functions here; ``match`` and ``restore`` stand beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ckptconv.dialects import Dialect
from ckptconv.errors import DialectError, locating
from ckptconv.graph.graph import Graph
from ckptconv.graph.kinds import PARAMETER
from ckptconv.options import ReadOptions, WriteOptions
from ckptconv.passes.cast import widened
from ckptconv.passes.check_ascend import check_ascend
from ckptconv.passes.check_moved import check_moved
from ckptconv.passes.fold_projection import without_projections
from ckptconv.passes.gate_convention import to_canonical
from ckptconv.spelling import option


def after_lift(
    graph: Graph,
    options: ReadOptions,
    table: Mapping[str, str],
    report: Mapping[str, Any] | None = None,
) -> Graph:
    """Do to a graph what the options of reading ask for; those of layers and names speak of what
    ``--restore`` has given back.

    Args:
        table: the entries of ``options.map``.
        report: what ``options.restore`` names.

    Raises:
        CkptconvError: an option that fits nothing in the graph, or gives two modules one path.
    """
    graph = to_canonical(graph, options)
    if options.restore is not None and report is not None:
        from ckptconv.passes.restore.undo import undo

        with locating(options.restore):
            graph = undo(graph, report)
    if options.split or options.fuse:
        from ckptconv.passes.stack import fuse, split

        for path in options.split:
            graph = split(graph, path)
        for path, parts in options.fuse:
            graph = fuse(graph, path, parts)
    if options.rename:
        from ckptconv.passes.rename import rename

        graph = rename(graph, options.rename)
    if table:
        from ckptconv.passes.name_map import apply_map

        graph = apply_map(graph, table)
    moved = table or options.rename or options.split or options.fuse or options.restore
    return _checked(graph) if moved else graph


def before_lower(graph: Graph, target: Dialect, options: WriteOptions) -> Graph:
    """Make a graph one that the target can hold.

    Raises:
        LossyError: it cannot, or only in another form that the user did not ask for.
        DialectError: parameters that were given the names of a layer's.
    """
    graph = widened(check_moved(graph, target), options.dtype)
    if not target.projections:
        graph = without_projections(graph, target.title, fold=options.fold_proj)
        graph = _checked(graph) if options.fold_proj else graph
    return check_ascend(graph, options.hardware) if target.ascend else graph


def _checked(graph: Graph) -> Graph:
    """Refuse modules of one path, of which no network holds both, be their parameters distinct, and
    paths that no network has."""
    seen: dict[str, bool] = {}
    for layer in graph:
        bare = layer.kind == PARAMETER
        if layer.path in seen and not (bare and seen[layer.path]):
            raise DialectError("two modules would get this path", tensor=layer.path or "(root)")
        seen[layer.path] = bare
        if _is_broken(layer.path) and not _is_broken(layer.hint_path):
            first = layer.hint_path.partition(".")[0]
            raise DialectError(
                "would get a path with nothing between dots, or before them",
                tensor=layer.path,
                hint=f"{option('rename', {rf'^{re.escape(first)}[.]': ''})}"
                if layer.path[0] == "."
                else None,
            )
    return graph


def _is_broken(path: str) -> bool:
    return bool(path) and "" in path.split(".")
