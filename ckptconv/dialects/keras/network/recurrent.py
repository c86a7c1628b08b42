"""Recurrent layers, and cells in an RNN.

A node ``recurrent`` is one layer in one direction or both. Inputs: x (batch, time, features), then,
where ``masked`` says so, a mask (batch, time), then the first states, if any, each (directions,
batch, units). Outputs: y (batch, time, directions * units), and the last states in that shape.

A masked step keeps the state and repeats the output before it, zeros at first; with ``zero_masked``
its output is zero (``backend.rnn`` of Keras).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ckptconv.dialects.keras.model_config import Entry
from ckptconv.dialects.keras.network.builder import Builder, Site, check_paths, masked
from ckptconv.dialects.keras.network.elementwise import cell_activation
from ckptconv.dialects.keras.network.structure import moved, step
from ckptconv.dialects.keras.recurrent import CLASSES
from ckptconv.errors import DialectError
from ckptconv.graph.network import Value

_STATEFUL = (
    "Stateful layers: their first states are the last inputs, zeros at first; their last states "
    "are the last results, in the same order, for the next call."
)


@dataclass(frozen=True)
class Cell:
    """What one direction of one layer computes."""

    kind: str
    units: int
    activation: str
    recurrent_activation: str
    reset_after: bool

    @property
    def states(self) -> tuple[str, ...]:
        """The letters of the states that it hands from step to step."""
        return ("h", "c") if self.kind == "LSTM" else ("h",)

    def arguments(self) -> dict[str, Any]:
        found = {"kind": self.kind, "activation": self.activation}
        if self.kind != "RNN":
            found["recurrent_activation"] = self.recurrent_activation
        return found | ({"reset_after": self.reset_after} if self.kind == "GRU" else {})


@dataclass(frozen=True)
class Run:
    """What a layer gave: y, and the states of each direction, (batch, units) each."""

    y: Value
    states: tuple[tuple[Value, ...], ...]


def cells_of(b: Builder, layer: Entry, where: str) -> list[Cell]:
    """Return the cells of a recurrent layer, from the input on."""
    if layer.class_name != "RNN":
        return [_cell(b, layer, where)]
    inner = layer.inner("cell")
    if inner is None:
        raise DialectError("an RNN without a cell", tensor=where)
    inside = inner.cells() if inner.class_name == "StackedRNNCells" else [inner]
    return [_cell(b, cell, where) for cell in inside]


def _cell(b: Builder, layer: Entry, where: str) -> Cell:
    kind = CLASSES.get(layer.class_name.removesuffix("Cell"))
    site = Site(layer, (where,), ())
    if kind is None:
        raise site.refuse(f"{layer.class_name} is no cell that is known")
    units = site.get("units", "output_dim")
    if type(units) is not int or units < 1:
        raise DialectError("units is no size", tensor=where, found=str(units)[:80])
    cudnn = layer.class_name.startswith("CuDNN")
    gates = site.get("recurrent_activation", "inner_activation", default="sigmoid")
    return Cell(
        kind,
        units,
        "tanh" if cudnn else cell_activation(b, site.get("activation", default="tanh"), where),
        "sigmoid" if cudnn or kind == "RNN" else cell_activation(b, gates, where),
        cudnn or site.get("reset_after", default=False) is True,
    )


def layer(b: Builder, site: Site) -> list[Value]:
    """LSTM, GRU, SimpleRNN, and RNN with cells."""
    cells = cells_of(b, site.layer, site.where)
    paths = b.paths_of(site.path)
    check_paths(site, paths, len(cells), f"the weights of {len(cells)} recurrent layers")
    x = batch_first(b, site)
    backwards = bool(site.get("go_backwards"))
    zero = bool(site.get("zero_output_for_mask"))
    mask = mask_of(b, site, x)
    if backwards and zero:
        require_rolled(site, site.layer, mask)
    states = rows(initial(b, site, cells), cells)
    if len(cells) > 1 and b.version < (2, 3) and not b.tf_keras:
        _require_untold(site, states)
    run = stack(b, x, mask, cells, paths, states, backwards=backwards, zero=zero)
    return _given(b, site, run, _sequence_or_last(b, site, x, run), x)


def require_rolled(site: Site, layer: Entry, mask: Value | None) -> None:
    """Refuse zeros that Keras's unrolled loop puts where other steps were masked, backwards."""
    if layer.config.get("unroll") and mask is not None:
        raise site.refuse("zeros of masked steps, unrolled and backwards")


def _require_untold(site: Site, states: Sequence[Sequence[Value]]) -> None:
    """Refuse states of cells that were told apart by their order, which Keras 2.2 turned round."""
    if site.get("return_state") or any(states):
        raise site.refuse("states of cells one on the other, by a Keras before 2.3")


def _given(b: Builder, site: Site, run: Run, out: Value, x: Value) -> list[Value]:
    if site.get("time_major") and site.get("return_sequences"):
        out = moved(b, out, (1, 0, 2))
    if site.get("return_sequences"):
        out = masked(out, x.mask)
    flat = [state for states in run.states for state in states]
    if site.get("stateful"):
        b.state_results += [*flat]
    return [out, *flat] if site.get("return_state") else [out]


def _sequence_or_last(b: Builder, site: Site, x: Value, run: Run) -> Value:
    if site.get("return_sequences"):
        return run.y
    if x.mask is None:
        return run.states[-1][0]
    return step(b, run.y, -1)


def stack(
    b: Builder,
    x: Value,
    mask: Value | None,
    cells: Sequence[Cell],
    paths: Sequence[str],
    states: Sequence[Sequence[Value]],
    *,
    backwards: bool,
    zero: bool,
) -> Run:
    """Run cells on each other's outputs, in one direction."""
    if backwards:
        x = b.add("flip", (x,), axis=1)
        mask = b.add("flip", (mask,), name="mask", axis=1) if mask is not None else None
    found: list[tuple[Value, ...]] = []
    for cell, path, first in zip(cells, paths, states, strict=True):
        last = len(found) == len(cells) - 1
        run = run_layer(b, x, mask, [cell], path, [first], zero=zero and last)
        x = run.y
        found.append(run.states[0])
    return Run(x, tuple(found))


def run_layer(
    b: Builder,
    x: Value,
    mask: Value | None,
    cells: Sequence[Cell],
    path: str,
    states: Sequence[Sequence[Value]],
    *,
    zero: bool,
) -> Run:
    """Append the node of one layer, with a cell for each direction."""
    cell, count = cells[0], len(cells)
    columns = list(zip(*states, strict=True))
    inputs = [
        x,
        *([mask] if mask is not None else []),
        *(b.add("stack", row, (count, *row[0].shape), name="state", axis=0) for row in columns),
    ]
    shapes: dict[str, Any] = {"y": (*x.shape[:2], count * cell.units)}
    shapes |= dict.fromkeys(cell.states, (count, x.shape[0], cell.units))
    y, *last = b.add_many(
        "recurrent", inputs, shapes, layer=path, **cell.arguments(), bidirectional=count == 2,
        masked=mask is not None, zero_masked=zero and mask is not None,
    )  # fmt: skip
    return Run(
        y,
        tuple(
            tuple(b.add("index", (s,), s.shape[1:], cuts=(d,)) for s in last) for d in range(count)
        ),
    )


def batch_first(b: Builder, site: Site) -> Value:
    x = site.x
    if x.rank != 3:
        raise DialectError(
            "takes (batch, time, features)", tensor=site.where, found=f"{x.rank} axes"
        )
    if not site.get("time_major"):
        return x
    if x.mask is not None:
        raise site.refuse("time_major with a mask")
    return moved(b, x, (1, 0, 2))


def initial(b: Builder, site: Site, cells: Sequence[Cell]) -> list[Value]:
    """Return the first states: of the call, or of a stateful layer new inputs of the network."""
    given = site.kwargs.get("initial_state")
    states = [given] if isinstance(given, Value) else list(given or site.inputs[1:])
    sizes = [cell.units for cell in cells for _ in cell.states]
    if site.get("stateful") and not states:
        letters = [letter for cell in cells for letter in cell.states]
        states = [
            b.value((site.x.shape[0], n), name=f"{site.layer.name}_{letter}")
            for n, letter in zip(sizes, letters, strict=True)
        ]
        b.state_inputs += states
        b.remark(_STATEFUL)
    flat = [s for state in states for s in (state if isinstance(state, list) else [state])]
    if flat and [value.shape[-1] for value in flat] != sizes:
        raise site.refuse(f"{len(flat)} first states for {len(sizes)}")
    return flat


def mask_of(b: Builder, site: Site, x: Value) -> Value | None:
    """Keras 3 hands a mask on by itself only to layers that take one tensor."""
    given = "initial_state" in site.kwargs or len(site.inputs) > 1
    return None if given and b.version >= (3, 0) and site.kwargs.get("mask") is None else x.mask


def rows(states: list[Value], cells: Sequence[Cell]) -> list[list[Value]]:
    """Share states out to cells: two for an LSTM, one for others."""
    rest = iter(states)
    return [[next(rest) for _ in cell.states] if states else [] for cell in cells]


RULES = dict.fromkeys((*CLASSES, "RNN"), layer)
