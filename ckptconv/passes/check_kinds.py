"""``--kind PATH=KIND(name=value)``: what the user says of a layer, held against the layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ckptconv.codegen.arguments import facts_of, is_possible
from ckptconv.dialects.evidence import hint_of
from ckptconv.errors import CkptconvError, UsageError, listed
from ckptconv.graph.forms import Forms, Has
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.hints import KindHint
from ckptconv.graph.kinds import KINDS, PARAMETER, Family, Kind, Param
from ckptconv.spelling import option

_BARE = Kind(PARAMETER, (Param("", "*"),))
_SHOWN = 4
_LEVEL = re.compile(r"_l\d+(_reverse)?$")


def check_kinds(graph: Graph, kinds: Mapping[str, KindHint], columns: Iterable[Forms]) -> Graph:
    """Return the graph, whose layers are what the user says they are.

    Args:
        kinds: module path, or a pattern of them → what the user says.
        columns: those of every framework, whose constructors tell what can be said of a kind.

    Raises:
        CkptconvError: an argument that the kind does not have, that cannot have this value, or
            that contradicts the file.
    """
    columns = tuple(columns)
    for layer in graph:
        hint = hint_of(kinds, layer.path)
        if hint is not None and layer.kind in KINDS and hint.arguments:
            _check(layer, hint.arguments, columns)
    return graph


def given(graph: object) -> Graph:
    """Return a graph that a caller may have edited, held against the table of kinds.

    Raises:
        UsageError: anything else, such as the name of a file.
        CkptconvError: a layer of no kind, or with the parameters of another.
    """
    if not isinstance(graph, Graph):
        expected = "what load, from_state_dict or from_torch gives"
        raise UsageError("graph", expected=expected, found=type(graph).__name__)
    for layer in graph:
        row = _BARE if layer.kind == PARAMETER else KINDS.get(layer.kind)
        if row is None:
            expected = ", ".join((*KINDS, PARAMETER))
            problem = f"{layer.kind!r} is no kind of layer"
            raise CkptconvError(problem, tensor=layer.path, expected=expected)
        if not _fits(layer, row):
            needed = (p.name or "one tensor" for p in row.params if not p.optional)
            found = (f"{name or layer.path} {t.shape}" for name, t in layer.params.items())
            raise CkptconvError(
                f"not the parameters of a {layer.kind}",
                tensor=layer.path,
                expected=", ".join(needed) or None,
                found=listed(found, _SHOWN) or "none",
            )
    return graph


def _fits(layer: Layer, row: Kind) -> bool:
    """Tell whether a layer has what its kind needs, and nothing else, of as many axes."""
    recurrent = row.family is Family.RECURRENT
    ranks = {p.name: len(p.axes) for p in row.params if p.axes != "*"}
    held = {_LEVEL.sub("", n) if recurrent else n: t.ndim for n, t in layer.params.items()}
    return (
        recurrent == isinstance(layer, RecurrentLayer)
        and {p.name for p in row.params if not p.optional} <= held.keys()
        and held.keys() <= {p.name for p in row.params}
        and all(ranks.get(name, rank) == rank for name, rank in held.items())
    )


def _check(layer: Layer, arguments: Mapping[str, Any], columns: tuple[Forms, ...]) -> None:
    facts, known = facts_of(layer, columns[0]), _names(layer.kind, columns)
    hyper, rank = KINDS[layer.kind].hyper, KINDS[layer.kind].rank
    for name, value in arguments.items():
        if name not in known:
            found, expected = f"{name}={value!r}", ", ".join(known)
            raise _error(layer, f"{layer.kind} has no argument {name}", expected, found)
        if name in hyper and not is_possible(value, hyper[name], rank):
            expected = f"such as {hyper[name]!r}"
            raise _error(layer, f"{name} cannot be this", expected, f"{name}={value!r}")
        fact = known[name]
        if name not in hyper and fact in facts and facts[fact] != value:
            raise _error(layer, "the file says otherwise", f"{name}={facts[fact]!r}", value)


def _names(kind: str, columns: tuple[Forms, ...]) -> dict[str, str]:
    """Return the arguments that can be said of a kind, by torch's names first → fact."""
    known = {name: name for name in KINDS[kind].hyper}
    for form in (column.get(kind) for column in columns):
        if form is None:
            continue
        known |= {place: place for place in form.call.places if len(place) > 1}
        for keyword, arg in form.call.keywords.items():
            fact = getattr(arg, "fact", "") or keyword
            known.setdefault(keyword if isinstance(arg, Has) else fact, fact)
    return known


def _error(layer: Layer, problem: str, expected: object, found: object) -> CkptconvError:
    where = f"{option('kinds')} of {layer.path}"
    return CkptconvError(f"{where}: {problem}", expected=expected, found=found)
