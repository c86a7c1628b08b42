"""LSTM with ``proj_size``, as an exactly equal LSTM without it and a Dense after it.

With s = o ⊙ tanh(c') a projected cell hands on h' = W_hr s (see ``graph/gates.py``), and h enters
the next step as W_hh h, the next layer as W_ih h. So an LSTM that hands on s itself has
W_hh' = W_hh·W_hr and W_ih' = W_ih·blockdiag(W_hr of each direction of the layer below), and a Dense
of blockdiag(W_hr) turns its output into the other's.
"""

from __future__ import annotations

from dataclasses import replace

from ckptconv.errors import LossyError
from ckptconv.graph.graph import Cell, Graph, Layer, RecurrentLayer, cell_params, is_projected
from ckptconv.spelling import option
from ckptconv.tensors.computed import Product
from ckptconv.tensors.ops import concat, divide
from ckptconv.tensors.tensor import FilledTensor, Tensor


def without_projections(graph: Graph, framework: str, *, fold: bool) -> Graph:
    """Return a graph of which no layer is projected, for a framework without ``proj_size``.

    Args:
        fold: the user accepts the folded form.

    Raises:
        LossyError: a projected layer, and ``fold`` is not set.
    """
    result: list[Layer] = []
    for layer in graph:
        if not is_projected(layer):
            result.append(layer)
        elif fold and layer.kind == "LSTM":
            result += fold_projection(layer)
        else:
            raise LossyError(
                f"proj_size has no equal in {framework}",
                tensor=layer.path,
                hint=f"{option('fold_proj', True)}; it gives an exactly equal LSTM "
                "followed by a Dense",
            )
    return replace(graph, layers=tuple(result))


def unneeded(graph: Graph, framework: str, *, fold: bool, has: bool) -> list[str]:
    """Say that nothing was folded, though that was asked.

    Args:
        has: whether the framework has ``proj_size``.
    """
    if not fold or (not has and any(map(is_projected, graph))):
        return []
    why = f"{framework} has proj_size" if has else "no LSTM of the source has proj_size"
    return [f"{option('fold_proj')}: nothing was folded, since {why}"]


def fold_projection(layer: RecurrentLayer) -> list[Layer]:
    """Return the LSTM without projection and the bias-free Dense that follows it.

    Products are computed in float64 when they are read, and rounded once.
    """
    cells = layer.cells
    params: dict[str, Tensor] = {}
    below: list[Tensor] = []
    for k in range(layer.num_layers):
        directions = [cells[k, d] for d in range(layer.num_directions)]
        for d, cell in enumerate(directions):
            params |= cell_params(_folded(cell, below), k, d)
        below = [cell.w_hr for cell in directions if cell.w_hr is not None]
    dense = f"{layer.path}_proj" if layer.path else "proj"
    attributes = {name: value for name, value in layer.attributes.items() if name != "proj_size"}
    notes = (
        *layer.notes,
        f"proj_size={below[0].shape[0]} is folded into the weights: apply the Dense '{dense}', "
        "which has no bias, to the output",
        "h_n of the last layer needs the same Dense (of a lower layer its own weight_hr), c_0 and "
        "c_n are as before; an h_0 other than zero cannot be carried",
    )
    projection = Layer(
        dense, "Linear", {"weight": _block_diagonal(below)}, {}, "weight_hr", ("Linear",)
    )
    return [replace(layer, params=params, attributes=attributes, notes=notes), projection]


def _folded(cell: Cell, below: list[Tensor]) -> Cell:
    if cell.w_hr is None:
        return cell
    w_ih = cell.w_ih
    if below:
        parts = zip(divide(w_ih, 1, len(below)), below, strict=True)
        w_ih = concat([Product(w, r, w_ih.dtype, "times weight_hr") for w, r in parts], 1)
    w_hh = Product(cell.w_hh, cell.w_hr, cell.w_hh.dtype, "times weight_hr")
    return Cell(w_ih, w_hh, cell.b_ih, cell.b_hh)


def _block_diagonal(blocks: list[Tensor]) -> Tensor:
    rows = []
    for i, block in enumerate(blocks):
        zeros = FilledTensor(block.shape, block.dtype)
        rows.append(concat([block if i == j else zeros for j in range(len(blocks))], 1))
    return concat(rows, 0)
