"""What a layer of the graph can become on a target, whatever leaves that open."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ckptconv.dialects import DIALECTS
from ckptconv.dialects.narrowing import LIKELY
from ckptconv.dialects.state_dict import signature
from ckptconv.errors import AmbiguousKindError, CkptconvError
from ckptconv.graph.axes import fits
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import KINDS, PARAMETER, Family
from ckptconv.graph.lowered import Dropped, Lowered, Part
from ckptconv.passes.match.structure import Param, Structure
from ckptconv.tensors.tensor import Tensor

Lower = Callable[[Graph], Lowered]
NEUTRAL = "ones and zeros that change nothing: the target's layer has none"


def written(layer: Layer, graph: Graph, lowerings: Sequence[Lower]) -> list[tuple[Layer, Part]]:
    """Return a layer as each of its kinds, in each way of writing it; equal ones once.

    A layer keeps those candidates that would have other values under equal names: the target's
    names and shapes do not tell which it is.
    """
    found: dict[Structure, tuple[Layer, Part]] = {}
    problem: CkptconvError | None = None
    kinds = _kinds(layer, graph)
    for kind in kinds:
        settled = replace(layer, kind=kind, candidates=(kind,)) if len(kinds) > 1 else layer
        for (one, spared), lower in itertools.product(_spared(settled), lowerings):
            try:
                lowered = lower(replace(graph, layers=(one,)))
            except AmbiguousKindError:
                raise
            except CkptconvError as error:
                problem = error
                continue
            part = _below(layer, lowered)
            part = part._replace(dropped=(*part.dropped, *spared))
            structure = structure_of(part.tensors, dtypes=True)
            first, same = found.setdefault(structure, (one, part))
            if kind in set(layer.candidates) - set(first.candidates) and _differ(same, part):
                found[structure] = replace(first, candidates=(*first.candidates, kind)), same
    if not found and problem is not None:
        raise problem
    return list(found.values())


def _differ(one: Part, other: Part) -> bool:
    return sorted(signature(one), key=str) != sorted(signature(other), key=str)


def _spared(layer: Layer) -> Iterator[tuple[Layer, tuple[Dropped, ...]]]:
    """Yield a layer, and a norm without the ones and zeros that change nothing, which MindSpore
    and Keras have where torch's ``affine=False`` or ``bias=False`` has not."""
    yield layer, ()
    kind = KINDS.get(layer.kind)
    if kind is None or kind.family not in (Family.NORM, Family.BATCH_NORM):
        return
    affine = {p.name: p.fill for p in kind.params if p.optional and p.name in ("weight", "bias")}
    neutral = {
        name: tensor
        for name, tensor in layer.params.items()
        if name in affine and bool((tensor.numpy() == affine[name]).all())
    }
    rest = {name: tensor for name, tensor in layer.params.items() if name not in neutral}
    if neutral and rest and not any(p.needs in neutral for p in kind.params if p.name in rest):
        yield replace(layer, params=rest), tuple(Dropped(t, NEUTRAL) for t in neutral.values())


def _kinds(layer: Layer, graph: Graph) -> tuple[str, ...]:
    """Return what a layer can be, what was only likely for its name or its neighbours left open."""
    kinds = layer.candidates or (layer.kind,)
    if layer.evidence not in LIKELY:  # which the target's own parameters outweigh
        return kinds
    shapes = {name: tensor.shape for name, tensor in layer.params.items()}
    forms = DIALECTS[graph.dialect].forms
    return tuple(dict.fromkeys((*kinds, *(kind for kind in forms if fits(kind, shapes, forms)))))


def _below(layer: Layer, lowered: Lowered) -> Part:
    """Return what a layer became by the names below its module."""
    path = layer.path.rpartition(".")[0] if layer.kind == PARAMETER else layer.path
    names = [name.removeprefix(f"{path}.") if path else name for name in lowered.tensors]
    inner = {name.rpartition(".")[0] for name in names}
    if len(inner) == 1 and inner != {""}:  # all of it in one module below (bn2d of a BatchNorm3d)
        names = [name.removeprefix(f"{min(inner)}.") for name in names]
    tensors = dict(zip(names, lowered.tensors.values(), strict=True))
    return Part(tensors, lowered.dropped, lowered.notes)


def structure_of(tensors: Mapping[str, Tensor], *, dtypes: bool) -> Structure:
    """Return parameters as names and shapes alone."""
    return frozenset(
        Param(name, t.shape, t.dtype.name if dtypes and t.shape else "")
        for name, t in tensors.items()
    )
