"""A graph taken back to what the conversion that made its file was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckptconv.graph.graph import Graph
from ckptconv.passes.restore import told
from ckptconv.passes.restore.biases import parse, split_sums
from ckptconv.passes.restore.homeward import go_home
from ckptconv.passes.restore.renamed import as_in


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
