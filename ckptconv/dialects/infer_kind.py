"""Deciding the kind of a layer from its parameters and from what else is known of it.

Evidence is asked in this order, and the first that leaves one kind decides:

1. ``--kind PATH=KIND``;
2. what the file says: the module's class, or torch's ``_metadata`` version;
3. names and shapes of the parameters, and of the layers before and after.

A module's name alone decides nothing: it agrees with the sizes around it, or it only says which of
the candidates is named first. What remains ambiguous is kept as such: it matters only if the target
treats the candidates differently (``ckptconv.dialects.state_dict``), and then the conversion is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.flow import likeliest
from ckptconv.dialects.narrowing import SOURCES
from ckptconv.errors import AmbiguousKindError, DialectError
from ckptconv.graph.axes import fits
from ckptconv.graph.forms import Forms, slots
from ckptconv.graph.kinds import PARAMETER
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor, names_and_shapes


class Recognised(NamedTuple):
    """What the evidence leaves.

    Attributes:
        kinds: the candidates, the likeliest first.
        columns: kind → the column of the table whose names these are.
        evidence: what narrowed them last.
    """

    kinds: tuple[str, ...]
    columns: Mapping[str, Forms]
    evidence: str


def recognise(evidence: Evidence) -> Recognised | None:
    """Return the kinds that a module can be, or None if no kind fits.

    Raises:
        DialectError: what the user says contradicts the parameters.
        AmbiguousKindError: the candidates would read the axes differently.
    """
    path, params, said = evidence.path, evidence.params, evidence.said
    shapes = {name: tensor.shape for name, tensor in params.items()}
    key = tuple(shapes.items()), repr(said) if said else ""
    fitting = evidence.fitting.get(key)
    if fitting is None:
        fitting = [(kind, c) for c in evidence.columns for kind in c if fits(kind, shapes, c, said)]
        evidence.fitting[key] = fitting
    found = dict(reversed(fitting))
    candidates = tuple(dict.fromkeys(kind for kind, _ in fitting))
    hint = evidence.hint
    if hint is not None:
        if hint.kind != PARAMETER and hint.kind not in found:
            raise DialectError(
                hint.denied,
                tensor=path,
                expected=" or ".join(found) or "no known layer",
                found=names_and_shapes(params),
            )
        return Recognised((hint.kind,), found, hint.evidence)
    reason = "parameter names and shapes"
    for source, narrow in SOURCES:
        narrowed = narrow(evidence, candidates) if len(candidates) > 1 else None
        if narrowed and narrowed != candidates:
            candidates, reason = narrowed, source
    if len(candidates) > 1:
        candidates = likeliest(evidence, candidates)
    relaid = {tuple(_relaid(kind, found[kind])) for kind in candidates}
    if len(relaid) > 1:
        raise ambiguous(path, candidates, params)
    return Recognised(candidates, found, reason) if candidates else None


def _relaid(kind: str, column: Forms) -> list[str]:
    """Return the parameters that this column stores in other axes than the canonical graph."""
    return [param.name for param, slot in slots(kind, column) if slot and slot.axes != param.axes]


def ambiguous(path: str, kinds: Sequence[str], params: Mapping[str, Tensor]) -> AmbiguousKindError:
    """Return the error that names the candidates and the options that decide.

    A tensor that is alone may as well be of a class of the user's own.
    """
    alone = len(params) == 1
    offered = dict.fromkeys((*kinds, *([PARAMETER] if alone else [])))
    advised = " or ".join(option("kinds", {path: kind}) for kind in offered)
    return AmbiguousKindError(
        "the file does not tell which layer this is",
        kinds=kinds,
        tensor=path or None,
        expected=" or ".join(kinds),
        found=names_and_shapes(params),
        hint=f"{advised}; {PARAMETER} keeps it as it is" if alone else advised,
    )
