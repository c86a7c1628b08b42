"""LSTM, GRU and RNN in NumPy: what a checkpoint computes, without any framework.

The equations are those in the docstring of ``graph/gates.py``; nothing else is shared with the
conversion: gates are cut from the matrices as they stand in a file, by the orders below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ckptconv.graph.graph import RecurrentLayer
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.reference.arithmetic import EXACT, Arithmetic
from ckptconv.verification.reference.matrix import Matrix

GATES = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}
"""Kind → gates as torch and MindSpore stack them along the rows of a weight."""


class CellWeights(NamedTuple):
    """The tensors of one layer and direction, as a file holds them.

    Attributes:
        w_ih, w_hh, w_hr: (G·H, in), (G·H, out), (P, H); transposed with ``columns``.
        b_ih, b_hh: (G·H,) or None; a single bias is ``b_ih``.
        order: the gates' letters, in the file's order.
        columns: inputs are rows and gates are stacked along columns, as Keras does.
    """

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    w_hr: Tensor | None
    order: str
    columns: bool = False


@dataclass(frozen=True)
class Style:
    """What Keras lets a user choose; the defaults are what torch and MindSpore compute."""

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reset_after: bool = True
    go_backwards: bool = False


@dataclass(frozen=True)
class Weights:
    """A recurrent layer: its kind, its cells by (layer, direction) and its style."""

    kind: str
    cells: Mapping[tuple[int, int], CellWeights]
    style: Style = Style()

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (layers, directions, hidden size, output size of one direction)."""
        layers, directions = (1 + max(place[i] for place in self.cells) for i in (0, 1))
        first = self.cells[0, 0]
        rows, columns = first.w_hh.shape[:: -1 if first.columns else 1]
        return layers, directions, rows // len(first.order), columns

    @property
    def input_size(self) -> int:
        first = self.cells[0, 0]
        return first.w_ih.shape[0 if first.columns else 1]


class Inputs(NamedTuple):
    """What a layer is run on: x (B, T, in), lengths (B,), h (L·D, B, out), c (L·D, B, H).

    ``c`` is empty but for LSTM. Steps from a sequence's length on do not count.
    """

    x: Array
    lengths: Array
    h: Array
    c: Array


class Outputs(NamedTuple):
    """y (B, T, D·out), zero past each length, and the states at each length."""

    y: Array
    h: Array
    c: Array


def weights_of(layer: RecurrentLayer) -> Weights:
    """Return the weights of a layer of the canonical graph."""
    cells = {place: CellWeights(*cell, GATES[layer.base]) for place, cell in layer.cells.items()}
    relu = layer.base == "RNN" and layer.attributes.get("nonlinearity") == "relu"
    return Weights(layer.base, cells, Style(activation="relu" if relu else "tanh"))


def forward(weights: Weights, inputs: Inputs, arithmetic: Arithmetic = EXACT) -> Outputs:
    """Compute a layer.

    Args:
        inputs: ``lengths`` may be ragged; see ``Inputs``.
        arithmetic: exact float64 by default.
    """
    layers, directions, _, _ = weights.shape
    y = arithmetic.rounding(inputs.x.astype(arithmetic.dtype))
    lengths = inputs.lengths
    last_h, last_c = [], []
    for k in range(layers):
        outputs = []
        for d in range(directions):
            at = k * directions + d
            state = [
                arithmetic.rounding(s[at].astype(arithmetic.dtype))
                for s in ((inputs.h, inputs.c) if weights.kind == "LSTM" else (inputs.h,))
            ]
            cell = _Cell(weights.kind, weights.cells[k, d], weights.style, arithmetic)
            with np.errstate(all="ignore"):
                out, state = _sequence(cell, y, state, lengths, backwards=d == 1)
            outputs.append(out)
            last_h.append(state[0])
            last_c += state[1:]
        y = np.concatenate(outputs, axis=2)
    c = np.stack(last_c) if last_c else np.zeros(0, y.dtype)
    return Outputs(y, np.stack(last_h), c)


def _sequence(
    cell: _Cell, x: Array, state: list[Array], lengths: Array, *, backwards: bool
) -> tuple[Array, list[Array]]:
    """Run one direction; a backward one reverses each sequence within its own length."""
    batch, steps = x.shape[:2]
    time = np.arange(steps)
    live = time < lengths[:, None]
    keras = cell.style.go_backwards
    turned = np.where(live, lengths[:, None] - 1 - time, time)
    rows = np.arange(batch)[:, None]
    x = x[rows, turned] if backwards or keras else x
    projected = cell.project(x.reshape(batch * steps, -1)).reshape(batch, steps, -1)
    y = np.zeros((batch, steps, state[0].shape[1]), x.dtype)
    for t in range(steps):
        new = cell.step(projected[:, t], state)
        state = [np.where(live[:, t, None], n, s) for n, s in zip(new, state, strict=True)]
        y[:, t] = np.where(live[:, t, None], state[0], 0)
    return (y[rows, turned] if backwards and not keras else y), state


class _Cell:
    """One layer and direction, ready to step."""

    def __init__(self, kind: str, cell: CellWeights, style: Style, arithmetic: Arithmetic) -> None:
        self.style, self._round, self._order = style, arithmetic.rounding, cell.order
        self._advance = _STEPS[kind]
        self._w_ih = Matrix(cell.w_ih, arithmetic, cell.columns)
        self.w_hh = Matrix(cell.w_hh, arithmetic, cell.columns)
        self.w_hr = cell.w_hr and Matrix(cell.w_hr, arithmetic, cell.columns)
        b_ih, b_hh = (
            np.zeros((), arithmetic.dtype) if b is None else b.numpy().astype(arithmetic.dtype)
            for b in (cell.b_ih, cell.b_hh)
        )
        if arithmetic.summed_bias and kind == "LSTM":
            b_ih, b_hh = b_ih + b_hh, np.zeros((), arithmetic.dtype)
        self._b_ih, self.b_hh = self._round(b_ih), self._round(b_hh)
        functions = arithmetic.functions
        self.activation = self._rounded(functions[style.activation])
        self.gate = self._rounded(functions[style.recurrent_activation])

    def project(self, x: Array) -> Array:
        return self._round(self._w_ih.times(x) + self._b_ih)

    def recur(self, h: Array) -> Array:
        return self._round(self.w_hh.times(h) + self.b_hh)

    def step(self, projected: Array, state: list[Array]) -> list[Array]:
        return [self._round(s) for s in self._advance(self, projected, *state)]

    def split(self, stacked: Array) -> dict[str, Array]:
        """Return the gates' blocks by letter."""
        width = stacked.shape[-1] // len(self._order)
        return {g: stacked[..., k * width :][..., :width] for k, g in enumerate(self._order)}

    def _rounded(self, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda x: self._round(function(self._round(x)))


def _lstm(cell: _Cell, projected: Array, h: Array, c: Array) -> list[Array]:
    a = cell.split(projected + cell.recur(h))
    i, f, o = (cell.gate(a[letter]) for letter in "ifo")
    c = f * c + i * cell.activation(a["g"])
    h = o * cell.activation(c)
    return [cell.w_hr.times(h) if cell.w_hr else h, c]


def _gru(cell: _Cell, projected: Array, h: Array) -> list[Array]:
    x, u = cell.split(projected), cell.split(cell.recur(h))
    r, z = (cell.gate(x[letter] + u[letter]) for letter in "rz")
    late = r * u["n"] if cell.style.reset_after else cell.split(cell.recur(r * h))["n"]
    n = cell.activation(x["n"] + late)
    return [(1 - z) * n + z * h]


def _rnn(cell: _Cell, projected: Array, h: Array) -> list[Array]:
    return [cell.activation(projected + cell.recur(h))]


_STEPS: dict[str, Callable[..., list[Array]]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
