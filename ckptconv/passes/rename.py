"""``--rename``: new paths for modules."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ckptconv.errors import CkptconvError, DialectError, UsageError, listed
from ckptconv.graph.graph import Graph
from ckptconv.spelling import option

_SHOWN = 20
_SECONDS = 2.0
"""For all paths of a file: whoever wrote the file chose its names, which can make a pattern try
more ways than anyone has time for."""


def rename(graph: Graph, rules: Iterable[tuple[str, str]]) -> Graph:
    """Apply (regular expression, replacement) rules in order to the paths of modules.

    Raises:
        UsageError: not a regular expression.
        CkptconvError: one that matches no path, or takes too long.
    """
    import regex  # like re, but a match can be stopped

    paths = [layer.path for layer in graph]
    for pattern, text in rules:
        try:
            paths, count = _replaced(regex.compile(pattern), text, paths)
        except (regex.error, IndexError) as error:
            raise UsageError(f"{option('rename')}: not a regular expression: {error}") from None
        except TimeoutError:
            raise CkptconvError(
                f"{option('rename')}: {pattern!r} takes more than {_SECONDS:g} s",
                hint="a pattern without repetitions in repetitions, such as '^encoder[.]'",
            ) from None
        if not count:
            raise _matches_nothing(pattern, graph)
    return _with_paths(graph, paths)


def _replaced(pattern: Any, text: str, paths: list[str]) -> tuple[list[str], int]:
    """Return the paths with all matches replaced, and the number of matches.

    Raises:
        TimeoutError: the pattern takes too long.
    """
    end = time.monotonic() + _SECONDS
    found = [pattern.subn(text, p, timeout=max(end - time.monotonic(), 1e-3)) for p in paths]
    return [path for path, _ in found], sum(count for _, count in found)


def _with_paths(graph: Graph, paths: Iterable[str]) -> Graph:
    named = (
        p if layer.path else p.removesuffix(".") for layer, p in zip(graph, paths, strict=True)
    )
    moved = zip(graph, named, strict=True)
    layers = tuple(layer if layer.path == p else layer.moved(p) for layer, p in moved)
    for layer in layers:
        if not layer.path and "" in layer.params:
            raise DialectError(f"{option('rename')} leaves a parameter without a name")
    return replace(graph, layers=layers)


def _matches_nothing(entry: str, graph: Graph) -> CkptconvError:
    there = listed((repr(layer.path) for layer in graph), _SHOWN)
    problem = f"{option('rename')}: '{entry}' matches no module"
    return CkptconvError(problem, expected=f"a path of {there}")
