"""``--restore``: the conversion that made a file is undone, by the report of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckptconv.graph.graph import Graph
from ckptconv.passes.restore import told
from ckptconv.passes.restore.biases import parse, record, split_sums
from ckptconv.passes.restore.fit import doubting
from ckptconv.passes.restore.homeward import go_home
from ckptconv.passes.restore.places import in_place
from ckptconv.passes.restore.renamed import as_in
from ckptconv.passes.restore.told import differences, kinds

__all__ = ["differences", "doubting", "in_place", "kinds", "record", "undo"]


def undo(graph: Graph, report: Mapping[str, Any]) -> Graph:
    """Return a graph with the names, the stacking and the biases of the source of the conversion.

    Args:
        report: what ``--report`` wrote, as parsed JSON.

    Raises:
        CkptconvError: not a report, or one by which the graph cannot be taken back.
    """
    parse(report)  # both say what is no report, before anything else is read of it
    told.parse(report)
    report = as_in(report, graph)
    entries = told.parse(report)
    graph, split = split_sums(graph, parse(report))
    home = told.home(report, entries, split)
    graph = replace(graph, notes=(*graph.notes, *told.resized(report, graph.origin.tensors)))
    return replace(go_home(graph, entries, home.framework), home=home)
