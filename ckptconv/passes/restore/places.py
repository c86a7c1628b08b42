"""Home into the very Keras model that a conversion began with: under the names of its own file.

Keras loads by them: what stands in a wrapper, in a model inside another or in one of several cells
has names that no layer alone is written under.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod
from operator import mul
from typing import Any

from ckptconv.checkpoint import KerasFacts
from ckptconv.graph.graph import Graph
from ckptconv.graph.lowered import Lowered
from ckptconv.passes.restore.renamed import is_numbered
from ckptconv.spelling import option
from ckptconv.tensors.ops import reshape

_LAYOUTS = {"legacy": ".h5", "weights.h5": ".weights.h5"}


def layout_of(report: Mapping[str, Any]) -> KerasFacts:
    """Return how the Keras file was laid out that a conversion read; raise as a report's parser."""
    said = {str(name): tuple(map(str, own)) for name, own in report.get("layout", {}).items()}
    names = [n for each in report["layers"] for t in each["tensors"] for n in t["sources"]]
    if any(is_numbered(str(name)) for name in names):
        return KerasFacts("weights.h5", names={name: own[0] for name, own in said.items() if own})
    return KerasFacts("legacy", weights=said)


def in_place(lowered: Lowered, graph: Graph, variant: str) -> Lowered:
    """Return what was written for Keras under the names that the source of the conversion had.

    What has no place there, or not all of them, stays as layers one after another, and a note says
    so.

    Args:
        variant: the layout that is to be written.
    """
    from ckptconv.passes.match.original import facts_in
    from ckptconv.passes.match.slashed import renamed

    home = graph.home
    if home is None or home.layout is None:
        return lowered
    layout, origin = variant or "legacy", graph.origin.provenance
    places = {
        name: _place(name, (p for n in origin.names(tensor) for p in home.places.get(n, ())))
        for name, tensor in lowered.tensors.items()
    }
    wanted = dict.fromkeys(place for own in home.places.values() for place in own)
    if home.layout.layout != layout:
        there = _LAYOUTS[home.layout.layout]
        way = f"a target that ends in {there}, or "
        return _noted(lowered, f"its weights stood in {there}", way)
    ordered = layout == "weights.h5" or home.layout.weights
    if not ordered or not wanted.keys() <= home.shapes.keys():
        return _noted(lowered, "the report, of an older version, does not tell their shapes")
    held = {place: lowered.tensors[name].shape for name, place in places.items()}
    fit = all(_are_regrouped(shape, home.shapes.get(p, ())) for p, shape in held.items())
    if held.keys() != wanted.keys() or len(wanted) < len(places) or not fit:
        return _noted(lowered, "some of its weights are not here as they were")
    shaped = {n: reshape(t, home.shapes[places[n]]) for n, t in lowered.tensors.items()}
    made = renamed(replace(lowered, tensors=shaped), places)
    return replace(made, facts=facts_in(wanted, home.layout, layout))


def _place(name: str, places: Iterable[str]) -> str:
    """Return the one name of the source that a weight comes from, ``""`` where that is several.

    Of several that a layer holds as one, as an attention its projections, it has the end of one.
    """
    found = dict.fromkeys(places)
    if len(found) > 1:
        own = _end(name)
        found = dict.fromkeys(place for place in found if _end(place) == own)
    return next(iter(found)) if len(found) == 1 else ""


def _are_regrouped(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether a shape is another with axes beside each other joined, or cut."""
    first, second = ({1, *itertools.accumulate(shape, mul)} for shape in (one, other))
    return prod(one) == prod(other) and (first <= second or second <= first)


def _end(name: str) -> list[str]:
    return name.removesuffix(":0").split("/")[-3 if is_numbered(name) else -2 :]


def _noted(lowered: Lowered, why: str, way: str = "") -> Lowered:
    note = (
        f"not under the names of the original's own file, since {why}, but as layers one after "
        "another: an original with TimeDistributed, models or several cells in it does not load "
        f"that; {way}{option('like', 'ORIGINAL')}, a file that it saved itself, has these names"
    )
    return replace(lowered, notes=(*lowered.notes, note))
