"""The two sides of a comparison, read so that they can meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
            choices = {path: kinds for path, kinds in error.choices.items() if path not in known}
            new = {p: _closest(said[p], kinds) for p, kinds in choices.items() if p in said}
            if not new:
                raise
            known |= new


def _closest(kind: str, fitting: Sequence[str]) -> str:
    """Return a kind, or the one of its rank where the other file cannot tell it from that."""
    of_rank = [other for other in fitting if other[-2:] == kind[-2:]]
    return of_rank[0] if of_rank and kind not in fitting else kind
