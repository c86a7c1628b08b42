"""The two sides of a comparison, read so that they can meet."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import AmbiguousKindError
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.options import ReadOptions


def lift_target(target: Checkpoint, source: Graph, kinds: Mapping[str, str] | None) -> Graph:
    """Lift the second of two files; what it leaves open is read as the first one's kind.

    The kind decides names and axes only: were it wrong, values would not be equal.

    Raises:
        AmbiguousKindError: the first file has no layer of that path either.
    """
    said = {layer.path: layer.kind for layer in source if not isinstance(layer, RecurrentLayer)}
    known = dict(kinds or {})
    while True:
        try:
            return pipeline.lift(target, ReadOptions(kinds=known))
        except AmbiguousKindError as error:  # noqa: PERF203
            new = {p: said[p] for p in error.paths if p in said and p not in known}
            if not new:
                raise
            known |= new
