"""``--fuse`` and ``--split``: n recurrent layers as one of n layers, and back.

Frameworks differ in how they stack: Keras has one layer each, torch and MindSpore take
``num_layers``. The numbers are the same either way; only the target network's names decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from ckptconv.errors import DialectError
from ckptconv.graph.gates import CANONICAL
from ckptconv.graph.graph import Cell, Graph, Layer, RecurrentLayer, cell_params
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor


def fuse(graph: Graph, path: str, parts: Sequence[str]) -> Graph:
    """Make one layer called ``path`` of the consecutive recurrent layers ``parts``.

    Raises:
        DialectError: they are not recurrent layers of one kind, size and number of directions,
            each fed by the one before.
    """
    layers = [_find(graph, part) for part in parts]
    start = _place(graph, layers[0])
    if list(map(id, graph.layers[start : start + len(layers)])) != list(map(id, layers)):
        raise DialectError(
            f"{option('fuse')}: the layers do not follow one another",
            tensor=", ".join(parts),
            found=", ".join(layer.path for layer in graph.layers),
        )
    for before, after in itertools.pairwise(layers):
        _check_joint(graph, before, after)
        _check_chain(before, after)
    params: dict[str, Tensor] = {}
    offset = 0
    for layer in layers:
        for (k, d), cell in layer.cells.items():
            params |= cell_params(cell, offset + k, d)
        offset += layer.num_layers
    fused = replace(
        layers[0],
        path=path,
        params=params,
        evidence=f"fused of {', '.join(parts)}",
        attributes={**layers[0].attributes, "num_layers": offset},
        notes=tuple(note for layer in layers for note in layer.notes),
    )
    return _spliced(graph, start, len(layers), [fused])


def split(graph: Graph, path: str, joint: str = "_") -> Graph:
    """Make of the layer ``path`` one layer each, called ``path_0``, ``path_1`` …

    Args:
        joint: what stands before the number.

    Raises:
        DialectError: no recurrent layer of that path.
    """
    layer = _find(graph, path)
    single = {**layer.attributes, "num_layers": 1}
    single.pop("input_size", None)
    between = () if layer.num_layers == 1 else _between(single.pop("dropout", 0))
    params: list[dict[str, Tensor]] = [{} for _ in range(layer.num_layers)]
    for (k, d), cell in layer.cells.items():
        params[k] |= cell_params(cell, 0, d)
    parts = [
        replace(
            layer,
            path=f"{path}{joint}{k}",
            params=own,
            evidence=f"split of {path}",
            attributes=single,
            notes=(*layer.notes, *(between if k < len(params) - 1 else ())),
        )
        for k, own in enumerate(params)
    ]
    return _spliced(graph, _place(graph, layer), 1, parts)


def _between(dropout: object) -> tuple[str, ...]:
    """Say what acted between the levels, in training only."""
    return (f"dropout={dropout} of its output: a Dropout before the next layer",) if dropout else ()


def _place(graph: Graph, layer: Layer) -> int:
    return next(i for i, other in enumerate(graph.layers) if other is layer)


def _spliced(graph: Graph, at: int, count: int, layers: Sequence[Layer]) -> Graph:
    whole = graph.layers
    return replace(graph, layers=(*whole[:at], *layers, *whole[at + count :]))


def _find(graph: Graph, path: str) -> RecurrentLayer:
    layers = [layer for layer in graph.recurrent if not layer.is_cell]
    found = [layer for layer in layers if layer.path == path]
    if len(found) == 1:
        return found[0]
    known = [layer.path for layer in layers]
    raise DialectError(
        "no recurrent layer of this path", tensor=path, expected=" or ".join(known) or "none here"
    )


def _check_joint(graph: Graph, before: RecurrentLayer, after: RecurrentLayer) -> None:
    """Refuse layers of which the source does not say that one's output alone feeds the other."""
    if graph.feeds is None or graph.feeds.get(before.path) == after.path:
        return
    raise DialectError(
        f"{option('fuse')}: the file does not say that {before.path} alone feeds {after.path}",
        tensor=after.path,
        expected="a configuration with nothing between them, and nothing else that takes the "
        "first one's output",
        found=graph.feeds.get(before.path, "no such joint") if graph.feeds else "no configuration",
    )


def _hidden_size(layer: RecurrentLayer, cell: Cell) -> int:
    """Return the number of units; of a projected cell ``weight_hh`` has fewer columns."""
    return cell.w_hh.shape[0] // len(CANONICAL[layer.base])


def _check_chain(before: RecurrentLayer, after: RecurrentLayer) -> None:
    first, second = before.cells[0, 0], after.cells[0, 0]
    facts = {
        "kind": (before.kind, after.kind),
        "hidden size": (_hidden_size(before, first), _hidden_size(after, second)),
        "projection": tuple(c.w_hr.shape if c.w_hr else "none" for c in (first, second)),
        "directions": (before.num_directions, after.num_directions),
        "bias": (first.b_ih is not None, second.b_ih is not None),
        "dtype": (first.w_hh.dtype.name, second.w_hh.dtype.name),
        "nonlinearity": tuple(x.attributes.get("nonlinearity", "tanh") for x in (before, after)),
        "batch_first": tuple(x.attributes.get("batch_first") for x in (before, after)),
        "direction": tuple(bool(x.attributes.get("go_backwards")) for x in (before, after)),
        "input size": (before.num_directions * first.w_hh.shape[1], second.w_ih.shape[1]),
    }
    for fact, (expected, found) in facts.items():
        if expected != found:
            raise DialectError(
                f"{option('fuse')}: the {fact} of {after.path} does not fit {before.path}",
                tensor=after.path,
                expected=expected,
                found=found,
            )
    if before.attributes.get("go_backwards"):
        raise DialectError(
            f"{option('fuse')}: goes backwards, which no layer of several does", tensor=before.path
        )
    if before.attributes.get("return_sequences") is False:
        raise DialectError(
            f"{option('fuse')}: gives only its last step, so the next layer is not fed by its "
            "sequence",
            tensor=before.path,
        )
