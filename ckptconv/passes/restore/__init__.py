"""``--restore``: the conversion that made a file is undone, by the report of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckptconv.graph.graph import Graph
from ckptconv.passes.restore import told
from ckptconv.passes.restore.biases import parse, record, split_sums
from ckptconv.passes.restore.homeward import go_home
from ckptconv.passes.restore.told import differences, kinds

__all__ = ["differences", "kinds", "record", "undo"]


def undo(graph: Graph, report: Mapping[str, Any], *, path: str = "") -> Graph:
    """Return a graph with the names, the stacking and the biases of the source of the conversion.

    Args:
        report: what ``--report`` wrote, as parsed JSON, from the file ``path``.

    Raises:
        CkptconvError: not a report, or of another conversion.
    """
    graph, split = split_sums(graph, parse(report), report=path)
    entries = told.parse(report)
    home = told.home(report, entries, split)
    return replace(go_home(graph, entries, home.framework), home=home)
