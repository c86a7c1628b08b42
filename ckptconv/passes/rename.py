"""``--rename``: new paths for modules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from ckptconv.errors import CkptconvError, DialectError, UsageError
from ckptconv.graph.graph import Graph

_SHOWN = 20


def rename(graph: Graph, rules: Iterable[tuple[str, str]]) -> Graph:
    """Apply (regular expression, replacement) rules in order to the paths of modules.

    Raises:
        UsageError: not a regular expression.
        CkptconvError: one that matches no path.
    """
    rules = tuple(rules)
    if not rules:
        return graph
    paths = [layer.path for layer in graph]
    try:
        for pattern, text in rules:
            compiled = re.compile(pattern)
            if not any(map(compiled.search, paths)):
                raise _matches_nothing(pattern, graph)
            paths = [compiled.sub(text, path) for path in paths]
    except (re.error, IndexError) as error:
        raise UsageError(f"--rename: not a regular expression: {error}") from None
    return _with_paths(graph, paths)


def _with_paths(graph: Graph, paths: Iterable[str]) -> Graph:
    moved = zip(graph, paths, strict=True)
    layers = tuple(layer if layer.path == p else replace(layer, path=p) for layer, p in moved)
    for layer in layers:
        if not layer.path and "" in layer.params:
            raise DialectError("--rename leaves a parameter without a name")
    return replace(graph, layers=layers)


def _matches_nothing(entry: str, graph: Graph) -> CkptconvError:
    there = [layer.path for layer in graph]
    listed = ", ".join(map(repr, there[:_SHOWN])) + (", …" if len(there) > _SHOWN else "")
    return CkptconvError(f"--rename: {entry!r} matches no module", expected=f"a path of {listed}")
