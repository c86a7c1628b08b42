"""Recurrent layers of other ecosystems under torch's parameter names.

A state_dict of a user's own layer, or one brought over from ONNX, TensorFlow 1, Haiku or another,
has torch's shapes and says nothing of its gates. What the user says of them is undone here:

- the order of the gates: letters or an ecosystem of ``ckptconv.graph.gates.ORDERS``;
- a forget bias that is added at run time (TensorFlow 1's ``BasicLSTMCell`` and Haiku: 1.0), which
  becomes part of b_f;
- the other meaning of z, h' = (1 - z) ⊙ h + z ⊙ n (Haiku and many papers): since
  1 - σ(x) = σ(-x), the rows of z are negated.

GRU must apply r after the recurrent product (ONNX's ``linear_before_reset=1``): no weights make a
GRU that applies it before equal to one that applies it after.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from ckptconv.errors import CkptconvError, LossyError
from ckptconv.graph.gates import CANONICAL, FLAT, ORDERS, order, permute
from ckptconv.graph.graph import Cell, Graph, RecurrentLayer, cell_params
from ckptconv.options import ReadOptions
from ckptconv.spelling import option
from ckptconv.tensors.computed import Elementwise
from ckptconv.tensors.lazy import np
from ckptconv.tensors.ops import concat, divide
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import FilledTensor, Tensor

_RESET_BEFORE = ("haiku", "keras1", "cntk")
_RUN_TIME_BIAS = ("haiku", "tf1")
AS_SAID = ", as it was said"
_AFTER = "r is taken to act after the recurrent product (as ONNX's linear_before_reset=1)"


def to_canonical(graph: Graph, options: ReadOptions) -> Graph:
    """Return a graph in the canonical convention, from the one that ``options`` describe.

    Raises:
        CkptconvError: an option that fits no layer, or is silent on a layer that needs it, or a
            file whose own layout tells the order of its gates.
        LossyError: the GRU of an ecosystem that applies r before the recurrent product.
    """
    layout = options.flat_layout
    if layout and all(layer.evidence != FLAT[layout] for layer in graph.recurrent):
        there = "no LSTM of MindSpore before 1.6 in that layout"
        raise CkptconvError(f"{option('flat_layout', layout)}: the file has {there}")
    if not (options.gates or options.forget_bias or options.z_convention):
        return graph
    if not math.isfinite(options.forget_bias):
        raise CkptconvError(f"{option('forget_bias')}: not a number", found=options.forget_bias)
    layers = [layer for layer in graph.recurrent if not layer.gates_known]
    if graph.recurrent and not layers:
        raise CkptconvError(
            f"{option('gates')}, {option('forget_bias')} and {option('z_convention')} are for "
            "state_dicts; this file's layout has an order of its own"
        )
    kinds = {layer.base for layer in layers}
    _require("forget_bias", options.forget_bias != 0.0, "LSTM", kinds)
    _require("z_convention", options.z_convention, "GRU", kinds)
    orders = _orders(options.gates, kinds)
    made = {id(layer): _canonical(layer, orders, options) for layer in layers}
    return replace(graph, layers=tuple(made.get(id(layer), layer) for layer in graph))


def _require(name: str, given: bool, kind: str, kinds: set[str]) -> None:
    if given and kind not in kinds:
        raise CkptconvError(f"{option(name)}: the file has no {kind}")


def _orders(gates: str | None, kinds: set[str]) -> dict[str, str]:
    """Return kind → the order of its gates in the source."""
    orders = dict(CANONICAL)
    gated = [kind for kind in ("LSTM", "GRU") if kind in kinds]
    specs = _specs(gates)
    unused = set(specs)
    for kind in gated if specs else ():
        fitting = [(spec, found) for spec in specs if (found := _order(kind, spec))]
        if len(fitting) != 1:
            known = [s for s in specs if any(_order(other, s) for other in CANONICAL)]
            told = fitting[0][0] if fitting else " ".join([*known, ",".join(CANONICAL[kind])])
            raise CkptconvError(
                f"{option('gates', gates)} does not give one order for {kind}",
                expected=f"a permutation of {','.join(CANONICAL[kind])} or an ecosystem",
                hint=f"{option('gates', told)}; or one of {', '.join(ORDERS)}",
            )
        ((spec, orders[kind]),) = fitting
        unused.discard(spec)
    if unused:
        raise CkptconvError(
            f"{option('gates', ' '.join(sorted(unused)))}: no layer of the file has them"
        )
    if "GRU" in gated and (named := [s for s in specs if s in _RESET_BEFORE]):
        raise LossyError(
            f"the GRU of {named[0]} applies the reset gate before the recurrent product",
            hint="nothing: no weights make it equal to a GRU that applies it after",
        )
    return orders


def _specs(gates: str | None) -> list[str]:
    return re.sub(r",\s*", ",", gates or "").lower().split()


def _order(kind: str, spec: str) -> str | None:
    try:
        return order(kind, spec)
    except CkptconvError:
        return None


def _canonical(
    layer: RecurrentLayer, orders: dict[str, str], options: ReadOptions
) -> RecurrentLayer:
    kind = layer.base
    params: dict[str, Tensor] = {}
    for (k, d), cell in layer.cells.items():
        made = _each(cell, lambda t: permute(t, 0, orders[kind], CANONICAL[kind]))
        if kind == "LSTM" and options.forget_bias:
            made = _with_forget_bias(made, options.forget_bias)
        if kind == "GRU" and options.z_convention:
            made = _each(made, _negated_z)
        params |= cell_params(made, None if layer.is_cell else k, d)
    return replace(layer, params=params, notes=(*layer.notes, *_notes(kind, orders, options)))


def _notes(kind: str, orders: dict[str, str], options: ReadOptions) -> list[str]:
    notes = []
    if options.gates and kind != "RNN":
        notes.append(f"its gates are in the order {','.join(orders[kind])}{AS_SAID}")
    if (options.gates or options.z_convention) and kind == "GRU":
        notes.append(_AFTER)
    named = set(_specs(options.gates)) & set(_RUN_TIME_BIAS)
    if kind == "LSTM" and options.forget_bias:
        notes.append(f"the forget bias of {options.forget_bias:g} is now part of bias_ih")
    elif kind == "LSTM" and named:
        notes.append(
            f"such a layer adds 1.0 to the forget gate unless told: {option('forget_bias', 1.0)}"
        )
    if kind == "GRU" and options.z_convention:
        notes.append("the rows of z are negated, as its convention was said to be")
    return notes


def _each(cell: Cell, function: Callable[[Tensor], Tensor]) -> Cell:
    """Apply a function to all that has gates; the projection has none."""
    changed = {n: function(t) for n, t in cell._asdict().items() if t is not None and n != "w_hr"}
    return cell._replace(**changed)


def _with_forget_bias(cell: Cell, bias: float) -> Cell:
    zeros = FilledTensor(cell.w_ih.shape[:1], cell.w_ih.dtype)
    b_ih = _on_gate(
        cell.b_ih or zeros, "LSTM", "f", lambda values: values + values.dtype.type(bias),
        f"forget bias + {bias:g}", exact=False,
    )  # fmt: skip
    return cell._replace(b_ih=b_ih, b_hh=cell.b_hh or zeros)


def _negated_z(tensor: Tensor) -> Tensor:
    return _on_gate(tensor, "GRU", "z", np.negative, "z negated")


def _on_gate(
    tensor: Tensor,
    kind: str,
    gate: str,
    function: Callable[[Array], Array],
    label: str,
    *,
    exact: bool = True,
) -> Tensor:
    """Apply a function to the rows of one gate."""
    blocks = divide(tensor, 0, len(CANONICAL[kind]))
    place = CANONICAL[kind].index(gate)
    blocks[place] = Elementwise(function, (blocks[place],), tensor.dtype, label, exact=exact)
    return concat(blocks, 0)
