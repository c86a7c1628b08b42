"""A recurrent layer's weights as its own file holds them, untouched by the conversion.

The conversion's permutations and transposes are not asked: the reference cuts the gates out of the
file's own matrices, by the orders written down here.
"""

from __future__ import annotations

from typing import NamedTuple

from ckptconv.graph.graph import Cell, Graph, RecurrentLayer
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import ArrayTensor, FilledTensor, Tensor
from ckptconv.verification.reference.forward import GATES, CellWeights, Style, Weights, weights_of

KERAS_GATES = {"LSTM": "ifgo", "GRU": "zrn", "RNN": "h"}
"""Kind → gates as Keras 2 and 3 stack them along the columns of a kernel."""


class Stacked(NamedTuple):
    """How gates stand in a tensor of a file: their order, and the axis they are stacked along."""

    order: str
    axis: int


def own_weights(graph: Graph, layer: RecurrentLayer) -> Weights:
    """Return a layer's weights from the tensors of its file.

    A layout that is not plainly the framework's (Keras 1's arrays by gate, CuDNN's blocks,
    weights that are a product of others) is taken as the canonical graph holds it.
    """
    lifted = weights_of(layer)
    origin = graph.origin.provenance
    cells = {}
    for place, cell in layer.cells.items():
        own = _keras_cell(cell, lifted.kind, origin) if graph.dialect == "keras" else None
        cells[place] = own or lifted.cells[place]
    style = Style(lifted.style.activation)
    return Weights(lifted.kind, cells, style)


def stacking(graph: Graph) -> dict[str, Stacked]:
    """Return for each source tensor that holds stacked gates how it holds them."""
    found: dict[str, Stacked] = {}
    origin, keras = graph.origin.provenance, graph.dialect == "keras"
    for layer in graph.recurrent:
        order = (KERAS_GATES if keras else GATES)[layer.base]
        for param in layer.params.values():
            leaf = _origin(param, origin)
            if leaf is None or param.shape[0] % len(order):
                continue
            name = origin.own(leaf)[-1]
            if keras and leaf.ndim == 2:
                found[name] = Stacked(order, 1)
            elif leaf.shape == param.shape and "hr" not in name:
                found[name] = Stacked(order, 0)
    return found


def _keras_cell(cell: Cell, kind: str, origin: Provenance) -> CellWeights | None:
    w_ih, w_hh = (_origin(tensor, origin) for tensor in (cell.w_ih, cell.w_hh))
    if w_ih is None or w_hh is None:
        return None
    if (w_ih.shape, w_hh.shape) != (cell.w_ih.shape[::-1], cell.w_hh.shape[::-1]):
        return None
    biases = _keras_biases(cell, origin)
    return biases and CellWeights(w_ih, w_hh, *biases, None, KERAS_GATES[kind], columns=True)


def _keras_biases(cell: Cell, origin: Provenance) -> tuple[Tensor | None, Tensor | None] | None:
    """Return (input, recurrent) bias: one of (G·u), or the rows of one of (2, G·u)."""
    if cell.b_ih is None:
        return None, None
    bias = _origin(cell.b_ih, origin)
    if bias is None or bias.shape[-1:] != cell.b_ih.shape:
        return None
    if bias.ndim == 2:
        first, second = (ArrayTensor(row) for row in bias.numpy())
        return first, second
    return bias, None


def _origin(tensor: Tensor, origin: Provenance) -> Tensor | None:
    leaves = [t for t in origin.trace(tensor).origins if not isinstance(t, FilledTensor)]
    return leaves[0] if len(leaves) == 1 and origin.own(leaves[0]) else None
