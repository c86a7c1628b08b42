"""The modules of both sides: what a graph's layers can become, and what a target holds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptconv.checkpoint import join
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.lowered import Part
from ckptconv.passes.match.structure import Module, Structure
from ckptconv.passes.match.written import Lower, structure_of, written
from ckptconv.tensors.declared import Declared
from ckptconv.tensors.tensor import FilledTensor, Tensor, same_bytes, trace

_MAX_FORMS = 64
"""Forms of one module; more come only of files made for it."""


class Form(NamedTuple):
    """One way in which a module's layers can be written.

    Attributes:
        layers: each layer with what it becomes; ``Part.tensors`` by names below the module.
        left_out: names of tied parameters that are not written here.
    """

    layers: tuple[tuple[Layer, Part], ...]
    left_out: frozenset[str] = frozenset()

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {
            name: tensor
            for _, part in self.layers
            for name, tensor in part.tensors.items()
            if name not in self.left_out
        }


@dataclass(frozen=True)
class Source:
    """A module of the graph.

    Attributes:
        forms: by structure, the fullest first.
    """

    module: Module
    forms: Mapping[Structure, Form]


@dataclass(frozen=True)
class Target:
    """A module of the target: own name → full name and tensor."""

    module: Module
    names: Mapping[str, str]
    tensors: Mapping[str, Tensor]


def sources(graph: Graph, lowerings: Sequence[Lower], *, dtypes: bool) -> list[Source]:
    """Return the graph's modules in every form that a lowering gives them.

    Args:
        lowerings: ways to write a layer of known kind, such as nn's names and mint's.
        dtypes: whether dtypes take part.
    """
    gathered: dict[str, list[list[tuple[Layer, Part]]]] = {}
    for layer in graph:
        forms = written(layer, graph, lowerings)
        below = layer.path.rpartition(".")[0] if layer.kind == PARAMETER else layer.path
        gathered.setdefault(below, []).append(forms)
    places = _places(
        tensor
        for forms in gathered.values()
        for each in forms
        for tensor in each[0][1].tensors.values()
    )
    return [_source(path, layers, places, dtypes=dtypes) for path, layers in gathered.items()]


def targets(tensors: Mapping[str, Tensor], like: Iterable[Source], *, dtypes: bool) -> list[Target]:
    """Return the modules of a target by its parameters' names.

    A module below another joins it where the source has such a module (the ``out_proj`` of an
    attention).
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        groups.setdefault(path, {})[leaf] = tensor
    for own, child, below in _nested(like):
        for path, params in list(groups.items()):
            inner = join(path, child)
            if params.keys() == own and groups.get(inner, {}).keys() == below:
                nested = groups.pop(inner)
                params |= {f"{child}.{leaf}": tensor for leaf, tensor in nested.items()}
    places = _places(tensors.values())
    return [_target(path, params, places, dtypes=dtypes) for path, params in groups.items()]


def knows_dtypes(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether a target says the dtype of every parameter."""
    return not any(isinstance(t, Declared) and not t.dtype_known for t in tensors.values())


def key(tensor: Tensor) -> Hashable:
    """Return what is equal for tensors that are one: the bytes they are made of, and how."""
    origins, operations = trace(tensor)
    return tuple(map(_place, origins)), tuple(operations), tensor.shape


def are_equal(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors of one shape are one, or have the same bytes."""
    return key(one) == key(other) or same_bytes(one, other)


def _place(leaf: Tensor) -> Hashable:
    if isinstance(leaf, FilledTensor):
        return None
    spans = leaf.extents() if leaf.nbytes else None
    if not spans:
        return id(leaf)
    return tuple((id(span.file), span.offset, span.length) for span in spans)


def _places(tensors: Iterable[Tensor]) -> Counter[Hashable]:
    """Count how often each tensor stands on a side; constants never count."""
    return Counter(key(t) for t in tensors if not isinstance(t, FilledTensor))


def _source(
    path: str,
    layers: list[list[tuple[Layer, Part]]],
    places: Counter[Hashable],
    *,
    dtypes: bool,
) -> Source:
    forms: dict[Structure, Form] = {}
    for combination in itertools.islice(itertools.product(*layers), _MAX_FORMS):
        full = Form(combination)
        tied = _tied(full.tensors, places)
        for form in (full, full._replace(left_out=tied)):
            if structure := structure_of(form.tensors, dtypes=dtypes):
                forms.setdefault(structure, form)
    whole = next(iter(forms.values())).tensors
    structures = tuple(sorted(forms, key=len, reverse=True))
    return Source(Module(path, structures, _held(whole)), forms)


def _target(
    path: str, params: Mapping[str, Tensor], places: Counter[Hashable], *, dtypes: bool
) -> Target:
    kept = {leaf: t for leaf, t in params.items() if leaf not in _tied(params, places)}
    structures = dict.fromkeys(structure_of(p, dtypes=dtypes) for p in (params, kept) if p)
    names = {leaf: join(path, leaf) for leaf in params}
    return Target(Module(path, tuple(structures), _held(params)), names, params)


def _tied(params: Mapping[str, Tensor], places: Counter[Hashable]) -> frozenset[str]:
    return frozenset(
        name
        for name, tensor in params.items()
        if not isinstance(tensor, FilledTensor) and places[key(tensor)] > 1
    )


def _held(params: Mapping[str, Tensor]) -> frozenset[Hashable]:
    """Return what tells the tensors of a module; a constant is no other module's."""
    return frozenset(id(t) if isinstance(t, FilledTensor) else key(t) for t in params.values())


def _nested(
    like: Iterable[Source],
) -> set[tuple[frozenset[str], str, frozenset[str]]]:
    """Return the modules that hold another's parameters: own names, inner module, its names."""
    found = set()
    for source in like:
        for form in source.forms.values():
            names = frozenset(form.tensors)
            for child in {n.rpartition(".")[0] for n in names} - {""}:
                below = {n for n in names if n.startswith(f"{child}.")}
                inner = frozenset(name.removeprefix(f"{child}.") for name in below)
                found.add((names - below, child, inner))
    return found
