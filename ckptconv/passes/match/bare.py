"""Modules of bare parameters: what their author called a parameter, another may call otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ckptconv.checkpoint import join
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.lowered import Part
from ckptconv.passes.match.sides import Form, Source, Target
from ckptconv.passes.match.structure import Structure
from ckptconv.spelling import option

Shapes = tuple[tuple[tuple[int, ...], str], ...]


def with_other_names(mine: Iterable[Source], theirs: Iterable[Target]) -> list[Source]:
    """Let modules of bare parameters take a target's own names, where shapes tell which is which.

    A parameter that no known layer has is called what its author called it.
    """
    wanted: dict[Shapes, set[Structure]] = {}
    for target in theirs:
        for structure in target.module.structures:
            wanted.setdefault(_shapes(structure), set()).add(structure)
    return [_renamed(source, wanted) if _is_bare(source) else source for source in mine]


def _is_bare(source: Source) -> bool:
    form = next(iter(source.forms.values()))
    return all(layer.kind == PARAMETER for layer, _ in form.layers)


def _renamed(source: Source, wanted: Mapping[Shapes, set[Structure]]) -> Source:
    forms = dict(source.forms)
    for structure, form in source.forms.items():
        own = {(param.shape, param.dtype): param.name for param in structure}
        others = wanted.get(_shapes(structure), set())
        if structure in others or len(own) < len(structure):
            continue
        for other in others:
            names = {own[param.shape, param.dtype]: param.name for param in other}
            layers = tuple(
                (layer, _called(part, names, source.module.path))
                for layer, part in form.layers
                if part.tensors.keys() <= names.keys()
            )
            forms.setdefault(other, Form(layers))
    structures = (*source.module.structures, *(s for s in forms if s not in source.forms))
    return Source(replace(source.module, structures=structures), forms)


def _called(part: Part, names: Mapping[str, str], path: str) -> Part:
    notes = (
        f"{option('like')}: {join(path, name)} → {names[name]}: the only one of its shape there"
        for name in part.tensors
        if names[name] != name
    )
    tensors = {names[name]: tensor for name, tensor in part.tensors.items()}
    return part._replace(tensors=tensors, notes=(*part.notes, *notes))


def _shapes(structure: Structure) -> Shapes:
    return tuple(sorted((param.shape, param.dtype) for param in structure))
