"""``--like``: give parameters the names that the target network has.

The target network tells its parameters' names and shapes, by a checkpoint of its own or a list.
A layer goes where (1) name and shape are equal, (2) names are equal but for upper and lower case,
(3) exactly one module of the target, and exactly one layer of the source, has that structure: the
same parameters with the same shapes. Never two ways; and every parameter of the target is filled.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ckptconv.dialects.state_dict import lower_layer
from ckptconv.errors import DialectError
from ckptconv.graph.forms import Forms
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.lowered import Lowered, Made

Shapes = Mapping[str, tuple[int, ...]]
_SHOWN = 10


def settle_kinds(graph: Graph, target: Shapes, forms: Forms) -> Graph:
    """Let the target's parameters decide which kind an ambiguous layer is."""
    modules = _modules(target)
    structures = set(modules.values())
    layers = (_settled(layer, modules, structures, forms) for layer in graph)
    return replace(graph, layers=tuple(layers))


def _settled(
    layer: Layer, modules: Mapping[str, _Structure], structures: set[_Structure], forms: Forms
) -> Layer:
    if len(layer.candidates) < 2:
        return layer
    lowered = {kind: _as(kind, layer, forms) for kind in layer.candidates}
    by_path = [k for k, s in lowered.items() if modules.get(layer.path) == s]
    fitting = by_path or [k for k, s in lowered.items() if s in structures]
    if not fitting or len({lowered[kind] for kind in fitting}) != 1:
        return layer
    evidence = "parameters of the target (--like)"
    return replace(layer, kind=fitting[0], candidates=tuple(fitting), evidence=evidence)


def match(lowered: Lowered, target: Shapes) -> Lowered:
    """Return ``lowered`` under the target's names.

    Raises:
        DialectError: something on either side has no counterpart; it lists what and the closest.
    """
    matcher = _Matcher(lowered, target)
    matcher.by_name(str)
    matcher.by_name(str.lower)
    matcher.by_structure()
    matcher.refuse_rest()
    names = matcher.names
    return replace(
        lowered,
        tensors={names[name]: tensor for name, tensor in lowered.tensors.items()},
        made=tuple(Made(m.layer, tuple(names[name] for name in m.names)) for m in lowered.made),
        notes=(*lowered.notes, *(f"--like: {old} → {new}" for old, new in matcher.moved)),
    )


@dataclass(frozen=True)
class _Structure:
    """A module's parameters: (own name, shape) pairs."""

    params: frozenset[tuple[str, tuple[int, ...]]]


class _Matcher:
    """The state of one matching: what is still open on either side."""

    def __init__(self, lowered: Lowered, target: Shapes) -> None:
        self.names: dict[str, str] = {}
        self.moved: list[tuple[str, str]] = []
        self._source = {name: tensor.shape for name, tensor in lowered.tensors.items()}
        self._target = dict(target)

    def by_name(self, key: Callable[[str], str]) -> None:
        open_names: dict[str, list[str]] = {}
        for name in self._target:
            open_names.setdefault(key(name), []).append(name)
        for name, shape in list(self._source.items()):
            found = open_names.get(key(name), [])
            if len(found) == 1 and self._target.get(found[0]) == shape:
                self._take(name, found[0])

    def by_structure(self) -> None:
        """Pair what is unique on both sides, again and again: each pair may leave another."""
        paired = True
        while paired:
            paired = False
            sources = _unique(_modules(self._source))
            targets = _unique(_modules(self._target))
            for structure in [structure for structure in sources if structure in targets]:
                old, new = sources[structure], targets[structure]
                self.moved.append((old, new))
                for leaf, _ in structure.params:
                    self._take(_join(old, leaf), _join(new, leaf))
                paired = True

    def refuse_rest(self) -> None:
        missing, left = self._target, self._source
        if not missing and not left:
            return
        lines = [
            f"target parameter {n} {s} is not filled{_closest(n, left, s)}"
            for n, s in list(missing.items())[:_SHOWN]
        ]
        lines += [
            f"{n} {s} has no place in the target{_closest(n, missing, s)}"
            for n, s in list(left.items())[:_SHOWN]
        ]
        raise DialectError(
            f"--like: {len(missing)} parameters of the target and {len(left)} of the source have "
            f"no counterpart: {'; '.join(lines)}",
            hint="--rename or --map",
        )

    def _take(self, source: str, target: str) -> None:
        self.names[source] = target
        del self._source[source], self._target[target]


def _closest(name: str, others: Shapes, shape: tuple[int, ...]) -> str:
    """Suggest parameters of the same shape first, then of similar names."""
    ranked = sorted(
        others,
        key=lambda other: (
            others[other] != shape,
            -difflib.SequenceMatcher(None, name, other).ratio(),
        ),
    )
    return f" (closest: {', '.join(f'{c} {others[c]}' for c in ranked[:2])})" if ranked else ""


def _modules(shapes: Shapes) -> dict[str, _Structure]:
    groups: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
    for name, shape in shapes.items():
        path, _, leaf = name.rpartition(".")
        groups.setdefault(path, set()).add((leaf, shape))
    return {path: _Structure(frozenset(params)) for path, params in groups.items()}


def _unique(modules: Mapping[str, _Structure]) -> dict[_Structure, str]:
    paths: dict[_Structure, list[str]] = {}
    for path, structure in modules.items():
        paths.setdefault(structure, []).append(path)
    return {structure: found[0] for structure, found in paths.items() if len(found) == 1}


def _as(kind: str, layer: Layer, forms: Forms) -> _Structure:
    plain = Layer(layer.path, kind, layer.params, candidates=(kind,))
    shapes = {n: t.shape for n, t in lower_layer(plain, forms).tensors.items()}
    prefix = f"{layer.path}." if layer.path else ""
    return _Structure(frozenset((n.removeprefix(prefix), shape) for n, shape in shapes.items()))


def _join(path: str, leaf: str) -> str:
    return f"{path}.{leaf}" if path else leaf
